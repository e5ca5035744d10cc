//! Compiles `proto/` to Rust, for the feature `grpc`. The compiler is a crate, so `protoc` is not needed.

#[cfg(feature = "grpc")]
use std::error::Error;

#[cfg(not(feature = "grpc"))]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}

/// Writes the messages (for `src/message/pb.rs`), the descriptors (for reflection), and a client for the tests.
#[cfg(feature = "grpc")]
fn main() -> Result<(), Box<dyn Error>> {
    use std::path::PathBuf;
    use std::{env, fs};

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
