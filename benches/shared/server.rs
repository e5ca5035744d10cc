//! Process under test: btcfeed, or the baseline.

use super::endpoint::{Certificate, Endpoint};
use super::machine;
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::env::var_os;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// Time that the server may take to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Running server. It is stopped when this is dropped.
pub(crate) struct Server {
    child: Child,
    endpoint: Endpoint,
    is_baseline: bool,
}

impl Server {
    /// Starts a replica with the feed in memory and a simulated market. With a certificate, its clients use TLS.
    pub(crate) fn btcfeed(tick_every: Duration, certificate: Option<&Certificate>) -> anyhow::Result<Server> {
        let files = certificate.map(Certificate::files);
        let names = ["BTCFEED_TLS_CERT", "BTCFEED_TLS_KEY"];
        let settings: Vec<_> = names.into_iter().zip(files.iter().flatten().filter_map(|file| file.to_str())).collect();
        Ok(Server::replica(tick_every, &settings, None)?.with(certificate))
    }

    /// Starts a replica with these settings, by default with a simulated market. If `BTCFEED_MEASURED` is set, it names
    /// the program. The replica does not inherit this process's environment. Its log entries are sent to `log`, if
    /// there is one.
    pub(crate) fn replica(
        tick_every: Duration,
        settings: &[(&str, &str)],
        log: Option<Sender<Value>>,
    ) -> anyhow::Result<Server> {
        let mut command = Command::new(var_os("BTCFEED_MEASURED").unwrap_or(env!("CARGO_BIN_EXE_btcfeed").into()));
        command.arg("serve").env_clear().envs([
            ("BTCFEED_DATA", "none"),
            ("BTCFEED_LISTEN", "127.0.0.1:0"),
            ("BTCFEED_OPS_LISTEN", "127.0.0.1:0"),
            ("BTCFEED_SOURCES", "simulated"),
            ("BTCFEED_LOG_FORMAT", "json"),
            ("BTCFEED_ADDRESS_CONNECTIONS", "1000000"),
            ("BTCFEED_ADDRESS_RATE", "1000000"),
            ("BTCFEED_ADDRESS_VOLUME", "1000000000"),
            ("RUST_LOG", "info"),
        ]);
        command.env("BTCFEED_INTERVAL", format!("{}ms", tick_every.as_millis())).envs(settings.iter().copied());
        Server::start(command, false, log)
    }

    /// Starts the baseline: this program with other arguments.
    pub(crate) fn baseline(tick_every: Duration, certificate: Option<&Certificate>) -> anyhow::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--baseline").arg(tick_every.as_millis().to_string());
        command.args(certificate.map(Certificate::files).iter().flatten());
        Ok(Server::start(command, true, None)?.with(certificate))
    }

    fn start(mut command: Command, is_baseline: bool, to: Option<Sender<Value>>) -> anyhow::Result<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = machine::on_server_core(|| command.spawn()).with_context(|| format!("{command:?}"))?;
        let mut log = BufReader::new(child.stderr.take().context("its log is not piped")?).lines();
        let address = logged(&mut log, "listening")?["address"].as_str().context("no address")?.parse()?;
        if !is_baseline {
            // A replica serves no clients before it has read the history.
            logged(&mut log, "following the store")?;
        }
        // The log must be read. Otherwise the pipe gets full and the server blocks. Warnings and errors are printed.
        std::thread::spawn(move || {
            for line in log.map_while(Result::ok) {
                let entry: Value = serde_json::from_str(&line).unwrap_or_default();
                if !matches!(entry["level"].as_str(), Some("INFO" | "DEBUG" | "TRACE")) {
                    eprintln!("{line}");
                }
                if let Some(to) = &to {
                    // The receiver may have been dropped.
                    to.send(entry).ok();
                }
            }
        });
        Ok(Server { child, endpoint: Endpoint::new(address, None), is_baseline })
    }

    /// Makes clients encrypt if there is a certificate.
    fn with(mut self, certificate: Option<&Certificate>) -> Server {
        self.endpoint = Endpoint::new(self.endpoint.address, certificate);
        self
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn is_baseline(&self) -> bool {
        self.is_baseline
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Server {
    /// Kills the server, so that it cannot clean up.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().and_then(|()| self.child.wait()).context("cannot kill the server")?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        kill_process(self.pid(), Signal::TERM).ok();
        let started = Instant::now();
        while started.elapsed() < STOP_DEADLINE {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            machine::sleep(Duration::from_millis(10));
        }
        eprintln!("the server did not stop in {STOP_DEADLINE:?}");
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}

/// Reads the log up to the line with this message.
fn logged(log: &mut Lines<BufReader<ChildStderr>>, message: &str) -> anyhow::Result<Value> {
    let mut read = String::new();
    for line in log.map_while(Result::ok) {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        if entry["message"] == message {
            return Ok(entry);
        }
        read += &line;
    }
    bail!("the server has ended before {message:?} was in its log: {read}")
}
