//! Compiles `proto/` to Rust. The compiler is a crate, so `protoc` is not needed.
//!
//! It writes the messages (for `src/encode/proto.rs`), the descriptors (for reflection), and a client for the tests.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: cargo sets it")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_file("btcfeed/v1/price_feed.proto")?;
    fs::write(out.join("btcfeed.v1.bin"), compiler.encode_file_descriptor_set())?;

    let files = compiler.file_descriptor_set();
    tonic_prost_build::configure().build_client(false).build_server(false).compile_fds(files.clone())?;
    let client = out.join("client");
    fs::create_dir_all(&client)?;
    tonic_prost_build::configure().build_server(false).out_dir(client).compile_fds(files)?;
    Ok(())
}
