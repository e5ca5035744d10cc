//! Processes of the bench: Redis, the replicas, the clients, and a witness that knows all ids of the feed.

use super::load::{Load, Report, Task};
use crate::shared::machine::{kernel_kib, memory_kib, processor_time, sleep};
use crate::shared::redis::Redis;
use crate::shared::server::Server;
use crate::shared::witness::Witness;
use crate::{PER_PROCESS, Plan};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time that a thousand clients may take to connect.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Redis, replicas and clients. All processes are stopped when this is dropped, the clients first.
pub(crate) struct Stack {
    pub(crate) loads: Vec<Load>,
    witness: Witness,
    pub(crate) replicas: Vec<Server>,
    pub(crate) redis: Redis,
    /// Memory of each replica without clients, in KiB.
    pub(crate) empty_kib: Vec<u32>,
    /// Memory of the kernel without clients, in KiB.
    pub(crate) empty_kernel_kib: u32,
    interval: Duration,
    buffer: Vec<u8>,
}

/// Processor time that the processes have used.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub(crate) replicas: Vec<Duration>,
    pub(crate) redis: Duration,
    pub(crate) clients: Duration,
    at: Instant,
}

impl Used {
    /// Returns the processor time since `before`, and the elapsed time.
    pub(crate) fn since(self, before: &Used) -> (Used, Duration) {
        let replicas = self.replicas.iter().zip(&before.replicas).map(|(now, then)| now.saturating_sub(*then));
        let used = Used {
            replicas: replicas.collect(),
            redis: self.redis.saturating_sub(before.redis),
            clients: self.clients.saturating_sub(before.clients),
            at: self.at,
        };
        (used, self.at - before.at)
    }
}

/// Deliveries of an update to all clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wave {
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    /// Number of processes in which a client received it.
    pub(crate) processes: usize,
}

impl Stack {
    /// Starts Redis and the replicas, and connects the clients.
    pub(crate) fn start(plan: &Plan) -> anyhow::Result<Stack> {
        let redis = Redis::start()?;
        let mut replicas = Vec::new();
        for number in 1..=plan.replicas {
            let name = format!("replica-{number}");
            let settings = [("REDIS_URL", redis.url()), ("BTCFEED_REPLICA", name.as_str())];
            replicas.push(Server::replica(plan.interval, &settings, None)?);
        }
        let servers: Vec<_> = replicas.iter().map(|replica| replica.endpoint().clone()).collect();
        let witness = Witness::connect(servers.last().context("no replica")?, 1)?;
        let empty_kib = replicas.iter().map(|replica| memory_kib(replica.pid())).collect::<Result<_, _>>()?;
        let empty_kernel_kib = kernel_kib()?;
        let processes = plan.clients.div_ceil(PER_PROCESS);
        let mut loads = Vec::new();
        for process in 0..processes {
            let clients = share(plan.clients, processes, process);
            let servers = servers.iter().map(|server| server.address).collect();
            let task = Task { process: u32::try_from(process)? + 1, clients, servers };
            loads.push(Load::start(&task)?);
        }
        let (interval, buffer) = (plan.interval, vec![0; 64 * 1024]);
        let mut stack = Stack { loads, witness, replicas, redis, empty_kib, empty_kernel_kib, interval, buffer };
        let thousands = u32::try_from(plan.clients.div_ceil(1000))?;
        eprintln!("connecting {} clients, for at most {:?}", plan.clients, CONNECT_DEADLINE * thousands);
        let started = Instant::now();
        while !stack.loads.iter_mut().try_fold(true, |all, load| Ok::<_, anyhow::Error>(load.is_connected()? && all))? {
            ensure!(started.elapsed() < CONNECT_DEADLINE * thousands, "not all clients are connected");
            // The witness has to answer pings meanwhile. Otherwise its replica would close the connection.
            stack.read_witness()?;
            sleep(Duration::from_millis(5));
        }
        Ok(stack)
    }

    /// Returns the index of the leader.
    pub(crate) fn leader(&self) -> anyhow::Result<usize> {
        let mut connection = self.redis.client()?.get_connection()?;
        let token: String = redis::cmd("GET").arg("{btcfeed}:lease").query(&mut connection)?;
        let number = token.strip_prefix("replica-").and_then(|rest| rest.split('/').next());
        Ok(number.context("the lease belongs to an unknown replica")?.parse::<usize>()? - 1)
    }

    pub(crate) fn used(&self) -> anyhow::Result<Used> {
        let replicas = self.replicas.iter().map(|replica| processor_time(replica.pid()));
        let clients = self.loads.iter().map(|load| processor_time(load.pid()));
        Ok(Used {
            replicas: replicas.collect::<Result<_, _>>()?,
            redis: processor_time(self.redis.pid())?,
            clients: clients.sum::<Result<Duration, _>>()?,
            at: Instant::now(),
        })
    }

    /// Waits for `count` more ticks. Returns the id of the last one, and the time at which it arrived.
    pub(crate) fn ticks(&mut self, count: usize) -> anyhow::Result<(String, Instant)> {
        self.read_witness()?;
        self.until(self.seen() + count)
    }

    /// Returns the number of ticks so far.
    pub(crate) fn seen(&self) -> usize {
        self.witness.ids().len()
    }

    /// Waits for the tick with this number, counted from one. Returns its id, and the time at which it was seen.
    pub(crate) fn until(&mut self, number: usize) -> anyhow::Result<(String, Instant)> {
        let deadline = self.interval * 3 + Duration::from_secs(10);
        let mut newest = Instant::now();
        while self.seen() < number {
            ensure!(newest.elapsed() < deadline, "no tick for {deadline:?}");
            sleep(Duration::from_millis(1));
            if self.read_witness()? {
                newest = Instant::now();
            }
        }
        let id = self.witness.ids().get(number - 1).context("no tick")?;
        Ok((String::from_utf8_lossy(id).into_owned(), newest))
    }

    /// Reads what the witness has received. Returns true if there is a new tick.
    fn read_witness(&mut self) -> anyhow::Result<bool> {
        let known = self.witness.ids().len();
        self.witness.read(&mut self.buffer)?;
        Ok(self.witness.ids().len() > known)
    }

    /// Returns the reports of all processes up to the update `last`.
    pub(crate) fn report(&mut self, last: &str) -> anyhow::Result<Vec<Report>> {
        self.loads.iter_mut().try_for_each(|load| load.request_report(last))?;
        self.loads.iter().map(Load::report).collect()
    }

    pub(crate) fn clients(&self) -> usize {
        self.loads.iter().map(|load| load.clients).sum()
    }

    /// Closes clients until there are `clients`.
    pub(crate) fn keep(&mut self, clients: usize) -> anyhow::Result<()> {
        let processes = self.loads.len();
        for (process, load) in self.loads.iter_mut().enumerate() {
            load.keep(share(clients, processes, process))?;
        }
        Ok(())
    }
}

/// Returns the number of clients of one process.
fn share(clients: usize, processes: usize, process: usize) -> usize {
    clients / processes + usize::from(process < clients % processes)
}

/// Merges the reports of all processes.
pub(crate) fn waves(reports: &[Report]) -> BTreeMap<&str, Wave> {
    let mut waves = BTreeMap::new();
    for seen in reports.iter().flat_map(|report| &report.updates) {
        let wave = waves.entry(seen.id.as_str()).or_insert(Wave { first_ns: u64::MAX, last_ns: 0, processes: 0 });
        wave.first_ns = wave.first_ns.min(seen.first_ns);
        wave.last_ns = wave.last_ns.max(seen.last_ns);
        wave.processes += 1;
    }
    waves
}
