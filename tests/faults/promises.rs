//! What may be lost under each fault. Each case of the matrix (`matrix.rs`) checks its promise. `docs/promises.md` is
//! generated from this file.

use super::case::Leadership;
use super::checker::Findings;
use super::clock::Place;
use super::fault::Fault;
use std::fmt::Write;

/// What a case may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Nothing: every poll is in the history once, and no client gets a gap.
    NothingLost,
    /// The polls that only the killed process held. A pause longer than `BTCFEED_STALE_AFTER` is a gap.
    LostWithTheProcess,
    /// The polls of the old leader until another replica leads.
    LostInTheHandover,
}

impl Promise {
    /// Returns the promise of a case.
    pub fn of(faults: &[Fault], leadership: Leadership) -> Promise {
        match leadership {
            Leadership::Killed | Leadership::Restarted => Promise::LostWithTheProcess,
            _ if faults.iter().any(|fault| fault.isolates_the_leader()) => Promise::LostInTheHandover,
            _ => Promise::NothingLost,
        }
    }

    /// Returns a message if the findings break this promise.
    pub fn broken_by(self, findings: &Findings) -> Option<String> {
        let Findings { died, handover, explained, gaps, .. } = findings;
        let is_kept = match self {
            Promise::NothingLost => *died + handover + explained == 0 && gaps.is_empty(),
            Promise::LostWithTheProcess => gaps.keys().all(|reason| reason == "source_outage"),
            Promise::LostInTheHandover => *died + explained == 0 && gaps.is_empty(),
        };
        (!is_kept).then(|| format!("{self:?} was promised"))
    }

    fn words(self) -> &'static str {
        match self {
            Promise::NothingLost => "nothing",
            Promise::LostWithTheProcess => "what only the killed process held",
            Promise::LostInTheHandover => "polls of the old leader until another one leads (at most lease + 1 s)",
        }
    }
}

const HEAD: &str = "# Promises under faults

Each row is a fault that `make faults` causes on a real Redis with three replicas and a client on each of them. A
checker compares three records: what the exchange answered, what Redis holds, and what each client got. In every case:

- No poll is in the history twice, and every price in it is one that an exchange gave.
- The `prev` of each entry is the id of the entry before it, and ids increase.
- Each client gets each entry once and in order, or a `gap` that says where entries are missing.
- If no replica can write, each replica says so within 5 s: `store.fault` in `/v1/status`, the metric
  `btcfeed_store_up`, and a line of the log once a minute.
- The feed goes on by itself within seconds after the fault.

The last two columns say what may be lost. The cases in which the leader *lives* include those in which other replicas
start during the fault. In the cases in which the leader is *killed*, the kill happens during the fault. In some of
them, the killed replica starts again during the fault. This page is made from `tests/faults/promises.rs`.

| fault | replicas report that they cannot write | lost if the leader lives | lost if the leader is killed |
|---|---|---|---|
";

const CLOCKS: &str = "
## Wrong clocks

The clock of a machine is 2 minutes, 2 hours or 48 hours ahead or behind, for a second or for minutes. In every case:

- Ids increase, no part of the history expires early, and ticks go on, also for a client that asked for `every=1s`.
  Bookmarks (`client_id`) in a file do not expire early either.
- If a clock, or the times of two sources, contradict the wrong clock, replicas report that: in `warnings` of
  `/v1/status`, in `btcfeed_clock_ahead_seconds` and `btcfeed_clock_rejected_total`, and in the log once a minute. The
  leader also reports it in a status of the feed.

The columns say which times ticks get. If the clocks of Redis and of the leader are wrong in the same way for longer
than 15 minutes, they are believed, unless at least two sources give other times.

| wrong clock of | it becomes wrong while the feed runs | it is wrong when the feed starts |
|---|---|---|
";

const TAIL: &str = "
## More faults

`make faults` also causes random mixes: up to three faults of the first table at the same time. What may be lost is the
same as in the table. `BTCFEED_FAULTS_SECONDS=600 make faults` does this for ten minutes. The seed of each round of
mixes is printed, and `BTCFEED_FAULTS_SEED` repeats a round.

If Redis loses a history of 17,000 entries, and loses it again while it is put back (`DEL`, or eviction by
`allkeys-lru`), all of it comes back. Clients get ticks in the meantime, even if a round trip between the replicas and
Redis takes 300 ms.

If another program puts a value of a wrong type at a key of the feed:

- The key `ticks` (the history), `lease` or `record`: nothing can be written until the key is deleted. Until then, the
  replicas report that they cannot write. After that, nothing is missing in the feed, as after `FLUSHALL`.
- A key of candles (`candles` or `hours`): the feed goes on. The value stays until the key is deleted. A replica that
  starts before that makes its candles only from the entries in the history.
- Any other key: the feed goes on and replaces the value. If the key is a bookmark, its client gets a `gap` and then the
  whole history.

## Not promised

- A tick that only one process held is lost with this process. The leader's ticks are in no other process until they
  are in the store.
- If the leader alone cannot reach Redis, another replica leads after at most the lease and one second. Clients get no
  ticks in this pause, and no `gap` reports it unless it is longer than `BTCFEED_STALE_AFTER`. The old leader drops its
  ticks of this pause when it reaches Redis again, because clients have had later ones.
- If Redis has two primaries at the same time, only one of them stays a primary. The entries that the other one has
  accepted are lost. Clients that got these entries get a `gap` with `history_lost`. They do not get the entries of the
  remaining primary whose ids are less than the last id that they got. The `gap` stands for these entries, too. Replicas
  that were connected to the other primary report the loss within 5 s after they connect to the remaining one: in a line
  of the log, and in the metric `btcfeed_forks_total`. Before that, no replica notices that there are two primaries. But
  a replica with `BTCFEED_ROLE=serve` becomes `stale` if its primary has no leader.
- Whoever can write to the keys of the feed can forge prices. An entry that is only on the channel, and not in the
  history, is ignored.
- A bookmark (`client_id`) that Redis has lost, or that expires because the clock of Redis jumps ahead, is put back
  within 5 s if its client is connected. Otherwise it is forgotten. The client then begins with the latest tick, and a
  `gap` with `unknown_client_id` says so. If Redis comes back with older bookmarks, clients get some ticks twice.
- An entry in the middle of the history that was replaced by garbage is missing until a replica that has it in memory
  puts it back, within two minutes. If none has it, reads skip it, and clients get a `gap`.
- If Redis loses an entry and its inputs (`format=audit`), only the entry is put back. The reason is that no process
  keeps inputs in memory after they are written. With a tick that is not in the store yet, the leader also holds the
  inputs, up to 32 MiB of them, and writes both together.
- While the slot of the feed moves to another node of a Redis Cluster, no other replica can begin to lead, and inputs
  may be missing. The leader goes on.
- While a replica of version 0.2.0 leads, ids follow the clock of Redis even if it is wrong. If this clock is ahead,
  entries expire early.
";

/// Returns the text of the page.
fn page() -> String {
    let mut text = HEAD.to_owned();
    for fault in Fault::ALL {
        let says = if fault.stops_all_writes() { "yes" } else { "–" };
        let promise = |leadership| Promise::of(&[*fault], leadership).words();
        let (lives, killed) = (promise(Leadership::Stays), promise(Leadership::Killed));
        writeln!(text, "| {} | {says} | {lives} | {killed} |", fault.words()).unwrap();
    }
    text += CLOCKS;
    for place in Place::ALL {
        let [flight, start] = [false, true].map(|from_start| place.dates(from_start).words());
        writeln!(text, "| {} | {flight} | {start} |", place.words()).unwrap();
    }
    text + TAIL
}

#[test]
fn promises_are_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/promises.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let hint = "run UPDATE_DOCS=1 cargo test --test faults promises";
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page(), "{hint}");
}
