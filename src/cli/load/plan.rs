//! What is to be done, as the command line says it, and whether this machine can do it.

use crate::cli::arguments::{self, amount};
use crate::client::{Client, Error, Start, Transport};
use crate::tick::{Currencies, TickId};
use clap::{Arg, ArgAction, ArgMatches};
use std::fs::read_to_string;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

/// Open files that are no connections.
const SPARE_FILES: u64 = 64;
/// The most clients, and the most that come in a second: beyond anything that one machine has ports for.
const MOST: u32 = 1_000_000;

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) urls: Vec<String>,
    pub(super) connections: usize,
    /// Clients that come in a second.
    pub(super) rate: u32,
    /// How long is measured when all are there.
    pub(super) duration: Duration,
    pub(super) transport: Transport,
    currencies: Currencies,
    /// What each client reads first.
    pub(super) since: Option<TickId>,
    /// Where clients connect from, if it is not for the system to choose.
    from: Vec<IpAddr>,
}

/// The arguments.
pub(super) fn arguments() -> Vec<Arg> {
    vec![
        Arg::new("url")
            .value_name("URL")
            .num_args(1..)
            .default_value(arguments::FEED)
            .help("The feed: http://host:port (https, ws, wss too), or host:port. Several: its replicas, in turn"),
        amount("connections", "N", "How many clients").value_parser(arguments::number(1..=MOST)).default_value("1000"),
        amount("rate", "N", "How many of them come in a second")
            .value_parser(arguments::number(1..=MOST))
            .default_value("500"),
        amount("duration", "TIME", "How long to measure when all are there (5m)")
            .value_parser(arguments::some_time)
            .default_value("30s"),
        arguments::how(),
        arguments::currency(),
        amount(
            "since",
            "MOMENT",
            "Each reads first what came since so long ago (10m) or a moment (2026-11-20T09:20:31Z, Unix time)",
        )
        .value_parser(arguments::moment),
        Arg::new("source-address")
            .long("source-address")
            .value_name("ADDRESSES")
            .help("The addresses to connect from, in turn (127.0.0.2,127.0.0.3); the system's choice if not said")
            .value_parser(|text: &str| {
                text.parse::<IpAddr>()
                    .map_err(|_| "it reads IP addresses with commas between them (127.0.0.2,127.0.0.3)")
            })
            .value_delimiter(',')
            .action(ArgAction::Append),
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("The result as JSON"),
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
            currencies: arguments::currencies(flags),
            since: flags.get_one("since").copied(),
            from: flags.get_many("source-address").into_iter().flatten().copied().collect(),
        }
    }

    /// What the clients are made with: one for each address that they connect from.
    pub(super) fn clients(&self) -> Result<Vec<Client>, Error> {
        let (first, others) = self.urls.split_first().map_or(("", &[][..]), |(first, others)| (first, others));
        let start = self.since.map_or(Start::Latest, Start::Since);
        let client = Client::builder(first).transport(self.transport).currencies(self.currencies.iter()).start(start);
        let client = others.iter().fold(client, |client, url| client.also_at(url));
        if self.from.is_empty() {
            return Ok(vec![client.build()?]);
        }
        self.from.iter().map(|address| client.clone().local_address(*address).build()).collect()
    }

    /// What is wrong with an address to connect from that is none of this machine's.
    pub(super) fn foreign_address(&self) -> Option<String> {
        // Nothing is sent: the kernel only says whether it could be.
        let bind = |address: IpAddr| UdpSocket::bind((address, 0));
        let is_foreign = |error: io::Error| error.kind() == ErrorKind::AddrNotAvailable;
        let foreign = self.from.iter().find(|address| bind(**address).is_err_and(is_foreign))?;
        Some(format!("--source-address reads addresses of this machine, got {foreign}"))
    }

    /// What is wrong with so many clients, where a process may have so many open files.
    pub(super) fn beyond(&self, files: u64) -> Option<String> {
        let most = files.saturating_sub(SPARE_FILES);
        (self.connections as u64 > most).then(|| {
            format!(
                "--connections reads at most {most} here, for each is an open file, and this process may have {files} of those \
                 (ulimit -Hn), got {}",
                self.connections
            )
        })
    }

    /// What may be wrong with so many clients, where so many ports are there to connect from.
    pub(super) fn short_of_ports(&self, ports: u64) -> Option<String> {
        // Where the address is chosen before the port is, a port is taken for every server alike.
        let pairs = if self.from.is_empty() { self.urls.len() } else { self.from.len() };
        let most = ports.saturating_mul(pairs as u64);
        (self.connections as u64 > most).then(|| {
            format!(
                "this machine has {ports} ports to connect from (net.ipv4.ip_local_port_range), enough for {most} clients: more need \
                 further addresses (--source-address)"
            )
        })
    }
}

/// How many ports there are to connect from, where the kernel says so.
pub(super) fn ports() -> Option<u64> {
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
    fn what_the_machine_has_too_little_of_is_told_with_numbers() {
        let plan = plan(&["--connections", "1000"]);
        assert_eq!(plan.beyond(1064), None);
        let said = plan.beyond(256).unwrap();
        assert!(
            said.contains("at most 192 here") && said.contains("may have 256 of") && said.ends_with("got 1000"),
            "{said}"
        );
    }

    #[test]
    fn ports_are_counted_for_each_server_or_each_address_to_connect_from() {
        assert_eq!(plan(&["--connections", "1000"]).short_of_ports(1000), None);
        assert!(plan(&["--connections", "1001"]).short_of_ports(1000).unwrap().contains("enough for 1000 clients"));
        assert_eq!(plan(&["a", "b", "--connections", "1001"]).short_of_ports(1000), None);
        let from = ["a", "b", "--connections", "1001", "--source-address"];
        assert!(plan(&[&from[..], &["127.0.0.2"]].concat()).short_of_ports(1000).is_some());
        assert_eq!(plan(&[&from[..], &["127.0.0.2,127.0.0.3"]].concat()).short_of_ports(1000), None);
    }
}
