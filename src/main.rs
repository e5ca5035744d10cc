//! The `btcfeed` program.

use std::process::ExitCode;

/// Allocator of the program. For the small blocks of connections it needs less memory than the allocators of glibc and
/// musl. It returns memory to the system after a peak.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    btcfeed::cli::run(std::env::args_os())
}
