//! The scenarios of `sdk/scenarios.json` with running replicas, over every transport. Every SDK runs them.

use super::MS;
use crate::support::proxy::Proxy;
use crate::support::replica::Replica;
use crate::support::sdk::TRANSPORTS;
use crate::support::{TestCluster, entries};
use btcfeed::client::{Builder, Client, Start, Statistics, Transport, Update, Updates};
use btcfeed::tick::{Currency, TickId};
use futures_util::future::join_all;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The time for which connections break at random moments.
const TROUBLE: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(90);

/// What a client has received: entries with their contents, and the reasons of gaps.
#[derive(Default)]
struct Seen {
    entries: Vec<(u64, Value)>,
    gaps: Vec<String>,
}

struct Scenario<'a> {
    spec: &'a Value,
    transport: Transport,
    proxies: Vec<Proxy>,
    client_id: String,
}

impl Scenario<'_> {
    fn client(&self, start: Start) -> Updates {
        let options = &self.spec["options"];
        let path = self.spec["path"].as_str().unwrap_or_default();
        let mut addresses = self.proxies.iter().map(|proxy| format!("http://{}{path}", proxy.address));
        let builder = Client::builder(&addresses.next().unwrap()).transport(self.transport).start(start);
        let builder = addresses.fold(builder, |builder, address| builder.also_at(&address));
        let builder = builder.silence(1500 * MS).retry(20 * MS, 200 * MS).redundancy(self.proxies.len());
        let builder = builder.changes(options["changes"] == true);
        let set = |builder: Builder, name: &str, set: fn(Builder, &Value) -> Builder| match options.get(name) {
            Some(value) => set(builder, value),
            None => builder,
        };
        let builder = set(builder, "currencies", |builder, codes| builder.currencies(parse(codes)));
        let builder = set(builder, "every", |builder, every| {
            builder.every(every.as_str().unwrap().trim_end_matches("ms").parse::<u32>().unwrap() * MS)
        });
        let builder =
            set(builder, "limit", |builder, limit| builder.limit(limit.as_u64().unwrap().try_into().unwrap()));
        let builder = if options.get("clientId").is_some() { builder.client_id(&*self.client_id) } else { builder };
        builder.build().unwrap().subscribe()
    }

    fn start(&self) -> Start {
        let id = |name: &str| self.spec["options"][name].as_u64().map(TickId::from_ms);
        id("since").map(Start::Since).or(id("after").map(Start::After)).unwrap_or_default()
    }

    /// Returns what the client has received, or the error that has ended the stream.
    async fn run(&self) -> Result<(Seen, Statistics), String> {
        let (mut seen, mut updates) = (Seen::default(), self.client(self.start()));
        for step in self.spec["steps"].as_array().unwrap() {
            let number = |name: &str| step[name].as_u64();
            let proxy = &self.proxies[usize::try_from(number("proxy").unwrap_or(0)).unwrap()];
            for _ in 0..number("read").unwrap_or(0) {
                read(&mut updates, &mut seen).await?;
            }
            if let Some(ms) = number("cut") {
                proxy.cut();
                sleep(Duration::from_millis(ms)).await;
                proxy.restore();
            }
            if let Some(bytes) = number("break") {
                proxy.break_after(usize::try_from(bytes).unwrap());
            }
            if let Some(ms) = number("resume").or(number("reopen")) {
                let after = updates.last_id().filter(|_| step.get("resume").is_some());
                drop(updates);
                sleep(Duration::from_millis(ms)).await;
                updates = self.client(after.map_or(Start::Latest, Start::After));
            }
            if step.get("trouble").is_some() {
                let end = Instant::now() + TROUBLE;
                let reading = async {
                    while Instant::now() < end {
                        read(&mut updates, &mut seen).await?;
                    }
                    Ok::<_, String>(())
                };
                tokio::join!(reading, proxy.break_until(end)).0?;
            }
        }
        Ok((seen, updates.statistics()))
    }
}

fn parse(codes: &Value) -> Vec<Currency> {
    // The unknown code `XXX` becomes francs: a currency that the builder accepts and the feed does not have.
    codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap().parse().unwrap_or(Currency::Chf)).collect()
}

/// Reads until the next entry.
async fn read(updates: &mut Updates, seen: &mut Seen) -> Result<(), String> {
    loop {
        match updates.next().await.unwrap().map_err(|error| error.to_string())? {
            Update::Tick(tick) => {
                let prices =
                    tick.prices.iter().map(|(currency, price)| (currency.code().to_owned(), price.to_string()));
                seen.entries.push((tick.id.ms(), prices.collect()));
                return Ok(());
            }
            Update::Status(status) => {
                seen.entries.push((status.id.ms(), Value::from(status.state.as_str())));
                return Ok(());
            }
            Update::Gap(gap) => seen.gaps.push(gap.reason.to_string()),
            _ => {}
        }
    }
}

/// Runs a scenario and compares what was received with the history.
async fn check(spec: &Value, transport: Transport, replicas: &[Replica]) {
    let name = format!("{transport:?}: {}", spec["name"]);
    let count = usize::try_from(spec["options"]["redundancy"].as_u64().unwrap_or(1)).unwrap();
    let proxies = join_all(replicas[..count].iter().map(|replica| Proxy::start(replica.port()))).await;
    let client_id = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let scenario = Scenario { spec, transport, proxies, client_id };
    let result = timeout(DEADLINE, scenario.run()).await.unwrap_or_else(|_| panic!("{name} takes too long"));
    if let Some(expected) = spec["error"].as_str() {
        let error = result.map(|_| ()).unwrap_err();
        let expected = expected.replace("XXX", "CHF").replace("unknown path", "");
        assert!(error.contains(&expected), "{name}: {error}");
        return;
    }
    let (seen, statistics) = result.unwrap_or_else(|error| panic!("{name}: {error}"));
    let expected: Vec<_> = spec["gaps"].as_array().into_iter().flatten().map(|gap| gap.as_str().unwrap()).collect();
    let is_as_expected = if expected == ["*"] { seen.gaps.len() == 1 } else { seen.gaps == expected };
    assert!(is_as_expected, "{name}: {:?}", seen.gaps);
    let (first, last) = (seen.entries[0].0, seen.entries.last().unwrap().0);
    let known: Vec<_> = history(&replicas[0], &spec["options"], first, last).await;
    // Everything that was received is in the history, in the same order, and was received once.
    let common: Vec<_> = known.iter().filter(|entry| seen.entries.contains(entry)).cloned().collect();
    assert_eq!(common, seen.entries, "{name}");
    if spec["expect"] == "history" {
        let missing = usize::try_from(spec["missing"].as_u64().unwrap_or(0)).unwrap();
        assert!(known.len() - seen.entries.len() <= missing, "{name}: {} of {}", seen.entries.len(), known.len());
    }
    assert!(statistics.taken + statistics.healed > 0, "{name}: {statistics:?}");
}

/// Returns the entries of a replica with ids from `first` to `last`. Prices are text.
async fn history(replica: &Replica, options: &Value, first: u64, last: u64) -> Vec<(u64, Value)> {
    let codes = options.get("currencies").map_or_else(|| vec![Currency::Usd], parse);
    let codes: Vec<_> = codes.into_iter().map(Currency::code).collect();
    let query = format!("format=full&limit=100000&since={first}&until={last}&currency={}", codes.join(","));
    let (_, answer) = replica.get(&format!("/v1/prices?{query}")).await;
    let answer: Value = serde_json::from_str(answer.lines().next().unwrap()).unwrap();
    let mut entries = Vec::new();
    for entry in answer["prices"].as_array().unwrap() {
        let id = entry["id"].as_u64().unwrap_or_default();
        let contents = match entry["type"].as_str() {
            Some("tick") => {
                let text = |price: &Value| format!("{:.2}", price.as_f64().unwrap());
                entry["prices"].as_object().unwrap().iter().map(|(code, price)| (code.clone(), text(price))).collect()
            }
            Some("status") => entry["state"].clone(),
            _ => continue,
        };
        entries.extend((first..=last).contains(&id).then_some((id, contents)));
    }
    entries
}

#[tokio::test]
async fn sdk_passes_the_shared_scenarios() {
    let scenarios: Value = serde_json::from_str(include_str!("../../../sdk/scenarios.json")).unwrap();
    let cluster = TestCluster::new().await;
    let settings = [("BTCFEED_SOURCES", "simulated"), ("BTCFEED_INTERVAL", "100ms")];
    let replicas = [cluster.replica("r1", &settings).await, cluster.replica("r2", &settings).await];
    entries(&mut replicas[0].connect("format=full&since=0").await, 6).await;
    // A `lossy` scenario needs servers that omit entries, as in `redundancy.rs`.
    let all: Vec<_> = scenarios["feed"].as_array().unwrap().iter().filter(|it| it.get("lossy").is_none()).collect();
    let runs = TRANSPORTS.into_iter().flat_map(|transport| all.iter().map(move |spec| (*spec, transport)));
    join_all(runs.map(|(spec, transport)| check(spec, transport, &replicas))).await;
}
