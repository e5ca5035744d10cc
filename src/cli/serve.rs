//! `btcfeed serve`: a replica, until a signal stops it.

use super::runtime::{block_on, raise_file_limit};
use super::settings::warn_of_unknown_variables;
use crate::app::App;
use crate::config::{Config, Lookup};
use crate::source::SIMULATED;
use crate::telemetry::traces;
use crate::{reload, shutdown, telemetry};
use anyhow::Context;
use tracing::info;

/// Runs a replica.
///
/// # Errors
/// If it cannot start, or if a critical task fails.
pub(super) fn run(config: &Config, lookup: &Lookup) -> anyhow::Result<()> {
    telemetry::init(&config.telemetry);
    warn_of_unknown_variables(lookup);
    if let Some(options) = &config.traces {
        traces::start(options).context("cannot send traces to OTEL_EXPORTER_OTLP_ENDPOINT")?;
    }
    let result = block_on(async {
        let stop = shutdown::on_signal()?;
        reload::survive_hangup();
        raise_file_limit();
        let app = App::bind(config)?;
        let store = config.monitor.store;
        let sources = config.sources.iter().map(|source| source.definition.name).collect::<Vec<_>>().join(",");
        let simulated = sources == SIMULATED;
        let (replica, currencies) = (&config.leader.replica, config.leader.currencies);
        info!(version = env!("CARGO_PKG_VERSION"), replica, store, sources, %currencies, simulated, "starting");
        app.run(stop).await
    });
    traces::finish();
    result
}
