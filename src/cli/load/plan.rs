//! The plan of a load test, read from the command line, and checks that this machine can run it.

use crate::cli::arguments::{self, amount};
use crate::client::{Client, Error, Start, Transport};
use crate::tick::{Currencies, TickId};
use clap::{Arg, ArgAction, ArgMatches};
use secrecy::{ExposeSecret, SecretString};
use std::fs::read_to_string;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

/// Open files that are not connections.
const RESERVED_FILES: u64 = 64;
/// The maximum of `--connections` and of `--rate`.
const MAX: u32 = 1_000_000;

/// The parameters of a load test.
pub(super) struct Plan {
    pub(super) urls: Vec<String>,
    pub(super) connections: usize,
    /// The number of clients that start in a second.
    pub(super) rate: u32,
    /// The time of the measurement.
    pub(super) duration: Duration,
    pub(super) transport: Transport,
    currencies: Currencies,
    /// The beginning of the replay that each client reads first.
    pub(super) since: Option<TickId>,
    key: Option<SecretString>,
    /// The PEM text of the certificate authorities to trust. `None` for those of the system.
    authorities: Option<Vec<u8>>,
    /// The addresses to connect from. Empty if the system chooses.
    from: Vec<IpAddr>,
}

/// The arguments.
pub(super) fn arguments() -> Vec<Arg> {
    vec![
        Arg::new("url")
            .value_name("URL")
            .num_args(1..)
            .default_value(arguments::FEED)
            .help("Addresses of the feed: HOST:PORT, or URLs with http, https, ws or wss. Clients use them in turn"),
        amount("connections", "N", "Number of clients").value_parser(arguments::number(1..=MAX)).default_value("1000"),
        amount("rate", "N", "Number of clients that start in a second")
            .value_parser(arguments::number(1..=MAX))
            .default_value("500"),
        amount("duration", "TIME", "Time of the measurement (5m). It begins when all clients are in sync")
            .value_parser(arguments::positive_duration)
            .default_value("30s"),
        arguments::transport_flag(),
        arguments::authority_flag(),
        arguments::key_flag(),
        arguments::currency_flag(),
        amount(
            "since",
            "MOMENT",
            "Begin with a replay from this long ago (10m) or from a moment (2026-11-20T09:20:31Z, Unix time)",
        )
        .value_parser(arguments::moment),
        Arg::new("source-address")
            .long("source-address")
            .value_name("ADDRESSES")
            .help("Addresses to connect from, in turn (127.0.0.2,127.0.0.3) [default: the system chooses]")
            .value_parser(|text: &str| {
                text.parse::<IpAddr>()
                    .map_err(|_| "expected IP addresses with commas between them (127.0.0.2,127.0.0.3)")
            })
            .value_delimiter(',')
            .action(ArgAction::Append),
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the result as JSON"),
    ]
}

impl Plan {
    pub(super) fn read(flags: &ArgMatches) -> Plan {
        let number = |name| flags.get_one::<u32>(name).copied().unwrap_or(1);
        Plan {
            urls: flags.get_many::<String>("url").into_iter().flatten().cloned().collect(),
            connections: number("connections") as usize,
            rate: number("rate"),
            duration: flags.get_one("duration").copied().unwrap_or_default(),
            transport: arguments::transport(flags),
            key: arguments::key(flags),
            authorities: arguments::authorities(flags),
            currencies: arguments::currencies(flags),
            since: flags.get_one("since").copied(),
            from: flags.get_many("source-address").into_iter().flatten().copied().collect(),
        }
    }

    /// Returns the clients of the SDK from which the test subscribes: one for each local address, or one if none is
    /// given.
    pub(super) fn clients(&self) -> Result<Vec<Client>, Error> {
        let (first, others) = self.urls.split_first().map_or(("", &[][..]), |(first, others)| (first, others));
        let start = self.since.map_or(Start::Latest, Start::Since);
        let client = Client::builder(first).transport(self.transport).currencies(self.currencies.iter()).start(start);
        let client = self.authorities.iter().fold(client, |client, pem| client.authority(pem.clone()));
        let client = self.key.iter().fold(client, |client, key| client.key(key.expose_secret()));
        let client = others.iter().fold(client, |client, url| client.also_at(url));
        if self.from.is_empty() {
            return Ok(vec![client.build()?]);
        }
        self.from.iter().map(|address| client.clone().local_address(*address).build()).collect()
    }

    /// Returns an error if an address to connect from is not one of this machine.
    pub(super) fn foreign_address(&self) -> Option<String> {
        // Binding a UDP socket sends nothing.
        let bind = |address: IpAddr| UdpSocket::bind((address, 0));
        let is_foreign = |error: io::Error| error.kind() == ErrorKind::AddrNotAvailable;
        let foreign = self.from.iter().find(|address| bind(**address).is_err_and(is_foreign))?;
        Some(format!("invalid --source-address \"{foreign}\": expected addresses of this machine"))
    }

    /// Returns an error if there are more clients than a process with a limit of `files` open files can have.
    pub(super) fn exceeds_files(&self, files: u64) -> Option<String> {
        let max = files.saturating_sub(RESERVED_FILES);
        (self.connections as u64 > max).then(|| {
            format!(
                "invalid --connections \"{}\": expected at most {max}, because each is an open file and the limit on those is \
                 {files} (ulimit -Hn)",
                self.connections
            )
        })
    }

    /// Returns a warning if there are more clients than the local ports allow.
    pub(super) fn exceeds_ports(&self, ports: u64) -> Option<String> {
        // If the local address is given, the kernel chooses the port before it knows the server. So each port of this
        // address can be used for only one connection. Without a local address, a port can be used once for each
        // server.
        let pairs = if self.from.is_empty() { self.urls.len() } else { self.from.len() };
        let max = ports.saturating_mul(pairs as u64);
        (self.connections as u64 > max).then(|| {
            format!(
                "this machine has {ports} local ports (net.ipv4.ip_local_port_range), enough for {max} clients; \
                 for more, add local addresses with --source-address"
            )
        })
    }
}

/// Returns the number of local ports, if the kernel reports it.
pub(super) fn local_ports() -> Option<u64> {
    let range = read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(|end| end.parse::<u64>().ok());
    let (first, last) = (ends.next()??, ends.next()??);
    Some(last.checked_sub(first)? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &[&str]) -> Plan {
        let command = clap::Command::new("load").args(arguments());
        Plan::read(&command.try_get_matches_from([&["load"], line].concat()).unwrap())
    }

    #[test]
    fn too_few_open_files_are_reported_with_numbers() {
        let plan = plan(&["--connections", "1000"]);
        assert_eq!(plan.exceeds_files(1064), None);
        let error = plan.exceeds_files(256).unwrap();
        assert!(error.starts_with("invalid --connections \"1000\": expected at most 192, "), "{error}");
        assert!(error.contains("is 256 "), "{error}");
    }

    #[test]
    fn ports_count_for_each_server_or_local_address() {
        assert_eq!(plan(&["--connections", "1000"]).exceeds_ports(1000), None);
        assert!(plan(&["--connections", "1001"]).exceeds_ports(1000).unwrap().contains("enough for 1000 clients"));
        assert_eq!(plan(&["a", "b", "--connections", "1001"]).exceeds_ports(1000), None);
        let from = ["a", "b", "--connections", "1001", "--source-address"];
        assert!(plan(&[&from[..], &["127.0.0.2"]].concat()).exceeds_ports(1000).is_some());
        assert_eq!(plan(&[&from[..], &["127.0.0.2,127.0.0.3"]].concat()).exceeds_ports(1000), None);
    }
}
