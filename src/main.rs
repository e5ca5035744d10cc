//! The `btcfeed` program.

use std::process::ExitCode;

/// Allocator of the program. It needs less memory for the small blocks of connections than those of glibc and musl, and
/// returns memory to the system after a peak.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    btcfeed::cli::run(std::env::args_os())
}
