//! Messages to systemd (`sd_notify(3)`), for units with `Type=notify`. If another program starts the replica, nothing
//! is sent.

use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::interval;
use tracing::warn;

/// Reports that the replica serves the feed. systemd then starts the units that depend on it.
pub(super) fn ready() {
    notify(NotifyState::Ready);
}

/// Reports that the replica is stopping.
pub(super) fn stopping() {
    notify(NotifyState::Stopping);
}

/// Sends a keep-alive message twice in each period of the unit's `WatchdogSec`. It must run on the same runtime as the
/// leader and the hub: if that runtime hangs, no message is sent and systemd restarts the replica.
pub(super) async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else { return };
    let mut ticks = interval((period / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        notify(NotifyState::Watchdog);
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot notify systemd");
    }
}
