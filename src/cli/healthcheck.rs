//! `btcfeed healthcheck`: asks the replica on this machine whether it is ready, for container engines.

use super::runtime::block_on;
use super::settings::flags;
use anyhow::{Context, bail, ensure};
use clap::Command;
use reqwest::Client;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The timeout of the request.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The arguments.
pub(super) fn command() -> Command {
    Command::new("healthcheck")
        .about("Ask the replica on this machine whether it is ready")
        .after_long_help("Exit codes: 0 ready; 1 not ready, or no answer; 2 the setting or an argument is invalid.")
        .args(flags(|setting| setting.env == "BTCFEED_OPS_LISTEN"))
}

/// Requests `/readyz` from the replica that listens on `ops_listen`.
///
/// # Errors
/// If it does not answer or is not ready.
pub(super) fn run(ops_listen: SocketAddr) -> anyhow::Result<()> {
    block_on(check(reachable(ops_listen)))
}

async fn check(address: SocketAddr) -> anyhow::Result<()> {
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build().context("cannot create an HTTP client")?;
    let response = match client.get(format!("http://{address}/readyz")).send().await {
        Ok(response) => response,
        Err(error) if error.is_timeout() => bail!("no answer from {address} within {TIMEOUT:?}"),
        Err(error) if error.is_connect() => bail!("cannot connect to {address}: is a replica running here?"),
        Err(error) => return Err(error.into()),
    };
    let (status, body) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "not ready: {}", body.trim());
    Ok(())
}

/// Returns the address to connect to. An unspecified address such as 0.0.0.0 can only be listened on.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}
