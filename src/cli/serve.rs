//! `btcfeed serve`: a replica, until a signal stops it.

use crate::app::App;
use crate::config::Config;
use crate::{shutdown, telemetry};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::info;

/// Runs a replica.
pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    telemetry::init(&config.telemetry);
    super::warn_of_unknown_variables();
    super::block_on(async {
        let stop = shutdown::on_signal()?;
        raise_file_limit();
        let app = App::bind(config)?;
        let store = if config.redis.is_some() { "redis" } else { "memory" };
        info!(version = env!("CARGO_PKG_VERSION"), replica = config.leader.replica, store, "starting");
        app.run(stop).await
    })
}

/// Every client is an open file, and shells start programs with few; the hard limit is what counts. How many files that is, where
/// there is a limit.
pub(super) fn raise_file_limit() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If it cannot be raised, clients beyond it are refused by the kernel, and the log says so.
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    getrlimit(Resource::Nofile).current
}
