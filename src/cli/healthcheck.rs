//! `btcfeed healthcheck`: whether the replica on this machine is ready, for container engines.

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the answer may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Asks for `/readyz` on the operators' port, which a replica on this machine listens on.
pub(super) fn run(ops_listen: SocketAddr) -> anyhow::Result<()> {
    let address = reachable(ops_listen);
    super::block_on(async {
        let asked = timeout(DEADLINE, ask(address)).await;
        asked.with_context(|| format!("no answer from {address} within {DEADLINE:?}"))?
    })
}

async fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("nothing listens on {address}"))?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz").header("host", address.to_string()).body(Empty::<Bytes>::new())?;
    let asking = async {
        let response = requests.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "not ready: {}", String::from_utf8_lossy(&body).trim());
        Ok(())
    };
    // The connection is driven by the side; it ends only when the request is done.
    tokio::select! {
        asked = asking => asked,
        Err(error) = connection => Err(error.into()),
    }
}

/// The address to connect to for one that is listened on: 0.0.0.0 is every address, and none to connect to.
fn reachable(listened: SocketAddr) -> SocketAddr {
    let ip = match listened.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listened.port())
}
