//! The `btcfeed` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    btcfeed::cli::run(std::env::args_os())
}
