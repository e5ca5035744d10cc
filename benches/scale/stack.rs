//! Everything that runs: Redis, the replicas, the processes of clients, and a witness that tells what the feed has sent.

use crate::load::{Load, Report, Task};
use crate::shared::machine::{memory_kib, processor_time, rest};
use crate::shared::redis::Redis;
use crate::shared::server::Server;
use crate::shared::witness::Witness;
use crate::{PER_PROCESS, Plan};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long connecting may take, for each thousand clients.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Redis, replicas and clients. All of it ends with this; first the clients.
pub(crate) struct Stack {
    pub(crate) loads: Vec<Load>,
    witness: Witness,
    pub(crate) replicas: Vec<Server>,
    pub(crate) redis: Redis,
    /// The memory of each replica before it had clients, in KiB.
    pub(crate) empty_kib: Vec<u32>,
    interval: Duration,
    buffer: Vec<u8>,
}

/// The processor time that everything has used.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub(crate) replicas: Vec<Duration>,
    pub(crate) redis: Duration,
    pub(crate) clients: Duration,
    at: Instant,
}

impl Used {
    /// What was used since, and in which time.
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

/// What all clients together got of an update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wave {
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    /// In how many processes somebody got it.
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
        let servers: Vec<_> = replicas.iter().map(Server::address).collect();
        let witness = Witness::connect(*servers.last().context("no replica")?, 1)?;
        let empty_kib = replicas.iter().map(|replica| memory_kib(replica.pid())).collect::<Result<_, _>>()?;
        let processes = plan.clients.div_ceil(PER_PROCESS);
        let mut loads = Vec::new();
        for process in 0..processes {
            let clients = share(plan.clients, processes, process);
            let task = Task { process: u32::try_from(process)? + 1, clients, servers: servers.clone() };
            loads.push(Load::start(&task)?);
        }
        let mut stack =
            Stack { loads, witness, replicas, redis, empty_kib, interval: plan.interval, buffer: vec![0; 64 * 1024] };
        let thousands = u32::try_from(plan.clients.div_ceil(1000))?;
        eprintln!("{} clients connect, at most {:?} long", plan.clients, CONNECT_DEADLINE * thousands);
        let began = Instant::now();
        while !stack.loads.iter_mut().try_fold(true, |all, load| Ok::<_, anyhow::Error>(load.is_connected()? && all))? {
            ensure!(began.elapsed() < CONNECT_DEADLINE * thousands, "not all clients are connected");
            // The witness answers pings meanwhile, or its replica would let it go.
            stack.look()?;
            rest(Duration::from_millis(5));
        }
        Ok(stack)
    }

    /// The replica that writes the feed.
    pub(crate) fn leader(&self) -> anyhow::Result<usize> {
        let mut connection = self.redis.client()?.get_connection()?;
        let token: String = redis::cmd("GET").arg("{btcfeed}:lease").query(&mut connection)?;
        let number = token.strip_prefix("replica-").and_then(|rest| rest.split('/').next());
        Ok(number.context("a lease of a stranger")?.parse::<usize>()? - 1)
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

    /// Waits for so many more ticks: the id of the last, and when it was here.
    pub(crate) fn ticks(&mut self, count: usize) -> anyhow::Result<(String, Instant)> {
        self.look()?;
        self.until(self.seen() + count)
    }

    /// How many ticks have been read.
    pub(crate) fn seen(&self) -> usize {
        self.witness.ids().len()
    }

    /// Waits for the tick with this number, counted from one: its id, and when it was here at the latest.
    pub(crate) fn until(&mut self, number: usize) -> anyhow::Result<(String, Instant)> {
        let deadline = self.interval * 3 + Duration::from_secs(10);
        let mut newest = Instant::now();
        while self.seen() < number {
            ensure!(newest.elapsed() < deadline, "no tick for {deadline:?}");
            rest(Duration::from_millis(1));
            if self.look()? {
                newest = Instant::now();
            }
        }
        let id = self.witness.ids().get(number - 1).context("no tick")?;
        Ok((String::from_utf8_lossy(id).into_owned(), newest))
    }

    /// Reads what the feed has sent: whether there is a new tick.
    fn look(&mut self) -> anyhow::Result<bool> {
        let known = self.witness.ids().len();
        self.witness.read(&mut self.buffer)?;
        Ok(self.witness.ids().len() > known)
    }

    /// What all clients got up to this update.
    pub(crate) fn report(&mut self, last: &str) -> anyhow::Result<Vec<Report>> {
        self.loads.iter_mut().try_for_each(|load| load.ask_for_report(last))?;
        self.loads.iter().map(Load::report).collect()
    }

    pub(crate) fn clients(&self) -> usize {
        self.loads.iter().map(|load| load.clients).sum()
    }

    /// Lets clients go until there are so many.
    pub(crate) fn keep(&mut self, clients: usize) -> anyhow::Result<()> {
        let processes = self.loads.len();
        for (process, load) in self.loads.iter_mut().enumerate() {
            load.keep(share(clients, processes, process))?;
        }
        Ok(())
    }
}

/// What one of so many processes gets of all clients.
fn share(clients: usize, processes: usize, process: usize) -> usize {
    clients / processes + usize::from(process < clients % processes)
}

/// All updates, from the reports of all processes.
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
