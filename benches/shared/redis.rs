//! Private redis-server of a bench. It stores nothing on disk.

use super::machine;
use anyhow::{Context, ensure};
use rustix::process::Pid;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time that the server may take to start.
const DEADLINE: Duration = Duration::from_secs(10);

/// Running redis-server. It is killed when this is dropped.
pub(crate) struct Redis {
    child: Child,
    url: String,
    _dir: TempDir,
}

impl Redis {
    /// Returns true if redis-server is installed.
    pub(crate) fn is_installed() -> bool {
        let mut command = Command::new("redis-server");
        command.arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    pub(crate) fn start() -> anyhow::Result<Redis> {
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
        command.arg(dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = machine::on_server_core(|| command.spawn()).context("cannot start redis-server")?;
        let redis = Redis { child, url: format!("redis://127.0.0.1:{port}"), _dir: dir };
        let started = Instant::now();
        while redis.client()?.get_connection().is_err() {
            ensure!(started.elapsed() < DEADLINE, "redis-server does not answer");
            machine::sleep(Duration::from_millis(10));
        }
        Ok(redis)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn client(&self) -> anyhow::Result<redis::Client> {
        Ok(redis::Client::open(self.url())?)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}
