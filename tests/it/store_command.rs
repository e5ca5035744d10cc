//! `btcfeed store`: a feed is shown, saved, restored, deleted and moved between a file and Redis.

use crate::support::exchange::Exchange;
use crate::support::program::program;
use crate::support::redis::Redis as Server;
use crate::support::store_contract::{EVERYTHING, OPTIONS, append, audited, audits, lease};
use crate::support::tls::Authority;
use crate::support::{TestCluster, data_directory, embedded, entries, soon};
use btcfeed::candle::Detail;
use btcfeed::feed::{Entry, Event};
use btcfeed::store::{Disk, Portable, Redis, ReplicaBeat, Store};
use btcfeed::tick::TickId;
use rustix::process::Signal;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

/// Runs `btcfeed store` with these arguments and this input. Returns its exit code, its output and its errors.
async fn run(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = program();
    command.arg("store").args(arguments);
    // The flags `--data` and `--redis-url` take precedence over this setting.
    command.env("REDIS_URL", "redis://127.0.0.1:9");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The program may end before it has read everything.
    stdin.write_all(input.as_bytes()).await.ok();
    drop(stdin);
    let output = soon("the program", child.wait_with_output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn succeed(arguments: &[&str], input: &str) -> String {
    let (code, output, error) = run(arguments, input).await;
    assert_eq!(code, Some(0), "{arguments:?}: {error}");
    output
}

async fn fail(arguments: &[&str], input: &str) -> String {
    let (code, output, error) = run(arguments, input).await;
    assert_eq!((code, output.as_str()), (Some(1), ""), "{arguments:?}: {error}");
    error
}

/// Returns the start of an hour with one tick, and the text of its candles.
fn hour(detail: Detail, start: TickId) -> (TickId, String) {
    let candle = format!(r#"{{"id":{start},"ticks":[[["USD"],1]],"prices":{{"USD":["1","3","1","2"]}}}}"#);
    let candles = match detail {
        Detail::Minutes => format!(r#""minutes":[{candle}]"#),
        Detail::Hour => format!(r#""hour":{candle}"#),
    };
    (start, format!(r#"{{"prev":1,"first":{start},"id":{start},{candles}}}"#))
}

/// Asserts that the store has the candles of exactly these hours.
async fn has_hours(store: &dyn Store, expected: &[TickId]) {
    for detail in Detail::ALL {
        assert_eq!(store.kept_hours(detail).await.unwrap().unwrap(), expected);
        let texts = expected.iter().map(|start| Some(hour(detail, *start).1));
        assert_eq!(store.read_hours(detail, expected).await.unwrap(), texts.collect::<Vec<_>>());
    }
}

/// An hour whose entries have expired.
const OLD_HOUR: TickId = TickId::from_ms(1_530_000_000_000);

/// Writes 2,500 entries (one with an audit), the candles of an hour, and two bookmarks. Returns the entries.
async fn fill(store: &dyn Store) -> Vec<Entry> {
    let lease = lease(store).await;
    let mut lost = Vec::new();
    let record = audited("97116.10", std::time::Duration::ZERO);
    let template = store.append(&lease, &record, TickId::ZERO).await.unwrap();
    for number in 0..2499 {
        let id = template.id.minus(std::time::Duration::from_millis(3000 - number));
        let prev = id.before();
        lost.push(std::sync::Arc::new(Entry { id, prev, event: template.event.clone() }));
    }
    store.renew(&lease).await.unwrap();
    store.restore(&lease, &lost).await.unwrap();
    let bookmarks = [("a", lost[0].id), ("key:b*[c]", template.id)].map(|(client, id)| (client.to_owned(), id));
    store.remember(&bookmarks).await.unwrap();
    for detail in Detail::ALL {
        store.keep_hours(detail, &[hour(detail, OLD_HOUR)], &[]).await.unwrap();
    }
    store.release(&lease).await.unwrap();
    all(store).await
}

async fn all(store: &dyn Store) -> Vec<Entry> {
    store.range(TickId::ZERO, EVERYTHING, 1_000_000).await.unwrap()
}

#[tokio::test]
async fn feed_moves_to_redis_and_back_without_a_change() {
    let (server, directory, other) = (Server::start().await, data_directory(), data_directory());
    let paths = [&directory, &other].map(|directory| directory.path().to_str().unwrap());
    let filled = fill(&Disk::open(directory.path(), OPTIONS).unwrap()).await;
    assert_eq!(filled.len(), 2500);
    let url = server.url();
    succeed(&["--data", paths[0], "move", "--to", &url, "--to-prefix", "shop*"], "").await;
    let redis = Redis::new(&url, "shop*", OPTIONS).unwrap();
    assert_eq!(all(&redis).await, filled);
    has_hours(&redis, &[OLD_HOUR]).await;
    let audit = (filled[2499].id, "97116.10".to_owned());
    assert_eq!(audits(&redis, TickId::ZERO, EVERYTHING, 9).await, std::slice::from_ref(&audit));
    assert_eq!(redis.recall("key:b*[c]").await.unwrap(), Some(filled[2499].id));
    assert!(succeed(&["--data", paths[0], "info"], "").await.contains("entries    0\ninputs     0\nbookmarks  0\n"));
    let info = succeed(&["--redis-url", &url, "--key-prefix", "shop*", "info"], "").await;
    assert!(info.contains("entries    2500\ninputs     1\nbookmarks  2\noldest     "), "{info}");
    // This bookmark belongs to another feed, with the prefix `shop`. The move must not delete it, although its key
    // would match `shop*` if this prefix were read as a pattern.
    Redis::new(&url, "shop", OPTIONS).unwrap().remember(&[("a".to_owned(), TickId::from_ms(5))]).await.unwrap();
    succeed(&["--redis-url", &url, "--key-prefix", "shop*", "move", "--to", paths[1]], "").await;
    assert!(all(&redis).await.is_empty());
    has_hours(&redis, &[]).await;
    assert_eq!(audits(&redis, TickId::ZERO, EVERYTHING, 9).await, []);
    assert_eq!(redis.recall("a").await.unwrap(), None);
    assert_eq!(Redis::new(&url, "shop", OPTIONS).unwrap().recall("a").await.unwrap(), Some(TickId::from_ms(5)));
    let disk = Disk::open(other.path(), OPTIONS).unwrap();
    assert_eq!(all(&disk).await, filled);
    has_hours(&disk, &[OLD_HOUR]).await;
    assert_eq!(audits(&disk, TickId::ZERO, EVERYTHING, 9).await, [audit]);
    assert_eq!(disk.recall("a").await.unwrap(), Some(filled[0].id));
    let lease = lease(&disk).await;
    assert_eq!(append(&disk, &lease, "1").await.prev, filled[2499].id, "the ids go on");
}

#[tokio::test]
async fn export_is_imported_into_an_empty_store() {
    let (directory, other) = (data_directory(), data_directory());
    let paths = [&directory, &other].map(|directory| directory.path().to_str().unwrap());
    let filled = fill(&Disk::open(directory.path(), OPTIONS).unwrap()).await;
    let exported = succeed(&["--data", paths[0], "export"], "").await;
    assert_eq!(exported.lines().count(), 2505);
    let backup = other.path().join("backup.jsonl");
    let backup = backup.to_str().unwrap();
    succeed(&["--data", paths[0], "export", backup], "").await;
    assert_eq!(std::fs::read_to_string(backup).unwrap(), exported);
    assert!(fail(&["--data", paths[0], "export", backup], "").await.contains("cannot create "));
    let error = fail(&["--data", paths[0], "import"], &exported).await;
    assert!(error.contains("already has entries (2500): clear it first, or add --merge"), "{error}");
    succeed(&["--data", paths[0], "import", "--merge", backup], "").await;
    // A second import, with `--merge`, completes one that was interrupted.
    let start: String = exported.split_inclusive('\n').take(1200).collect();
    succeed(&["--data", paths[1], "import"], &start).await;
    succeed(&["--data", paths[1], "import", "--merge", backup], "").await;
    assert_eq!(succeed(&["--data", paths[1], "export"], "").await, exported);
    assert_eq!(run(&["--data", paths[1], "clear"], "").await.0, Some(2));
    succeed(&["--data", paths[1], "clear", "--yes"], "").await;
    assert_eq!(succeed(&["--data", paths[1], "export"], "").await, "");
    let backwards: String =
        exported.lines().take(3).collect::<Vec<_>>().into_iter().rev().map(|line| line.to_owned() + "\n").collect();
    for (wrong, expected) in
        [("{}\n", "invalid line 1: expected an entry"), (&*backwards, "invalid line 2: its id is not")]
    {
        let error = fail(&["--data", paths[1], "import"], wrong).await;
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(all(&Disk::open(directory.path(), OPTIONS).unwrap()).await, filled);
}

#[tokio::test]
async fn import_keeps_the_bookmarks_of_the_store() {
    let directory = data_directory();
    let path = directory.path().to_str().unwrap();
    let bookmark = |client: &str, id: u64| format!("{{\"type\":\"bookmark\",\"client\":\"{client}\",\"id\":{id}}}\n");
    succeed(&["--data", path, "import"], &bookmark("a", 20)).await;
    succeed(&["--data", path, "import", "--merge"], &[bookmark("a", 10), bookmark("b", 10)].concat()).await;
    assert_eq!(succeed(&["--data", path, "export"], "").await, [bookmark("a", 20), bookmark("b", 10)].concat());
}

#[tokio::test]
async fn refused_move_can_be_repeated_at_once() {
    let (server, directory) = (Server::start().await, data_directory());
    let (url, path) = (server.url(), directory.path().to_str().unwrap());
    fill(&Redis::new(&url, "btcfeed", OPTIONS).unwrap()).await;
    let file = Disk::open(directory.path(), OPTIONS).unwrap();
    append(&file, &lease(&file).await, "1").await;
    drop(file);
    let error = fail(&["--redis-url", &url, "move", "--to", path], "").await;
    assert!(error.contains("already has entries (1): clear it first, or add --merge"), "{error}");
    succeed(&["--redis-url", &url, "move", "--to", path, "--merge"], "").await;
}

#[tokio::test]
async fn feed_of_a_running_replica_is_refused() {
    let (exchange, directory) = (Exchange::start().await, data_directory());
    let path = directory.path().to_str().unwrap();
    let replica = embedded(&exchange, &[("BTCFEED_DATA", path)]).await;
    entries(&mut replica.connect("format=full&since=0").await, 2).await;
    let in_use = format!("in use by process {}", replica.pid());
    let clear = ["clear", "--simulated", "--yes"];
    for arguments in [&["info"][..], &["export"], &clear, &["clear", "--yes"], &["move", "--to", "/nowhere"]] {
        let error = fail(&[&["--data", path], arguments].concat(), "").await;
        assert!(error.contains(&in_use), "{error}");
    }
    let server = Server::start().await;
    let url = server.url();
    let led = Redis::new(&url, "btcfeed", OPTIONS).unwrap();
    let _lease = lease(&led).await;
    led.beat(&ReplicaBeat { name: "r7".to_owned(), version: "1".to_owned() }).await.unwrap();
    let error = fail(&["--redis-url", &url, "clear", "--yes"], "").await;
    assert!(error.contains("a replica leads the feed in ") && error.contains(": stop all replicas (r7)"), "{error}");
    let missing = directory.path().join("missing");
    let error = fail(&["--data", missing.to_str().unwrap(), "info"], "").await;
    assert!(error.contains("there is no feed in ") && !missing.exists(), "{error}");
    assert!(fail(&["--data", "none", "info"], "").await.contains("there is no store: BTCFEED_DATA is none"));
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_that_reports_during_a_read_is_seen() {
    let server = Server::start().await;
    let open = || Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    let (store, replica) = (open(), open());
    let beat = ReplicaBeat { name: "r1".to_owned(), version: "1".to_owned() };
    replica.beat(&beat).await.unwrap();
    let reporting = tokio::spawn(async move { while replica.beat(&beat).await.is_ok() {} });
    for _ in 0..500 {
        assert_eq!(store.reports().await.unwrap().len(), 1);
    }
    reporting.abort();
    let far = TickId::now().ms() + 60_000;
    server.command(&["ZADD", "{shop}:replicas", &far.to_string(), "r2/1"]).await;
    assert!(store.reports().await.unwrap().iter().all(|(replica, _)| replica.name == "r1"), "Redis's clock was ahead");
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_that_does_not_lead_is_named() {
    let cluster = TestCluster::new().await;
    let url = cluster.redis.url();
    let mixed = mix(&Redis::new(&url, "btcfeed", OPTIONS).unwrap()).await;
    // These replicas have the simulated ticks in memory, and nobody leads.
    let serve = async |name| cluster.replica(name, &[("BTCFEED_ROLE", "serve")]).await;
    let (first, mut second) = (serve("r1").await, serve("r2").await);
    let directory = data_directory();
    let path = directory.path().to_str().unwrap();
    for arguments in [&["clear", "--simulated", "--yes"][..], &["clear", "--yes"], &["move", "--to", path], &["import"]]
    {
        let error = fail(&[&["--redis-url", &url], arguments].concat(), "").await;
        assert!(error.contains("would undo this from their memory: stop all replicas (r1, r2)"), "{error}");
    }
    let error = fail(&["--data", path, "move", "--to", &url, "--merge"], "").await;
    assert!(error.contains("stop all replicas (r1, r2)"), "{error}");
    let redis = Redis::new(&url, "btcfeed", OPTIONS).unwrap();
    let ids: Vec<_> = all(&redis).await.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, mixed, "nothing has changed");
    succeed(&["--redis-url", &url, "info"], "").await;
    second.signal(Signal::TERM);
    second.exit().await;
    let error = fail(&["--redis-url", &url, "clear", "--simulated", "--yes"], "").await;
    assert!(error.contains("stop all replicas (r1)"), "a replica that has just stopped does not count: {error}");
    drop(first);
    succeed(&["--redis-url", &url, "clear", "--simulated", "--yes"], "").await;
    let ids: Vec<_> = all(&redis).await.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [mixed[0], mixed[3]]);
}

#[tokio::test]
async fn garbage_in_redis_does_not_stop_the_tools() {
    let (server, directory) = (Server::start().await, data_directory());
    let redis = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    let filled = fill(&redis).await;
    let (first, last) = (filled[0].id.ms(), filled[2499].id.ms());
    let far = (TickId::now().ms() + 400 * 24 * 3_600_000).to_string();
    for (score, member) in [("1.5", "x"), ("-inf", "y"), (&(first + 1).to_string(), "{}"), (&far, "z"), ("+inf", "[]")]
    {
        server.command(&["ZADD", "{shop}:ticks", score, member]).await;
    }
    let future = format!(r#"{{"id":{far},"prev":{last},"type":"status","state":"live","since":1,"reason":""}}"#);
    server.command(&["ZADD", "{shop}:ticks", &far, &future]).await;
    server.command(&["SET", "{shop}:client:garbage", "garbage"]).await;
    // A newer version may have written this.
    let newer = (OLD_HOUR.plus(std::time::Duration::from_secs(3600)), "newer".to_owned());
    redis.keep_hours(Detail::Hour, std::slice::from_ref(&newer), &[]).await.unwrap();
    let url = server.url();
    let here = ["--redis-url", &url, "--key-prefix", "shop"];
    let info = succeed(&[&here[..], &["info"]].concat(), "").await;
    assert!(info.contains("bookmarks  3\n") && info.contains(&format!("oldest     {first} ")), "{info}");
    let (_, lines, told) = run(&[&here[..], &["export"]].concat(), "").await;
    assert!(told.contains("(without the candles of hours that this version cannot read: 1)"), "{told}");
    assert_eq!(lines.lines().count(), 2506);
    assert!(lines.contains(r#""client":"garbage","id":1230940800000}"#), "an invalid bookmark gets the earliest id");
    let path = directory.path().to_str().unwrap();
    let (code, _, told) = run(&[&here[..], &["move", "--to", path]].concat(), "").await;
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("moved 2500 entries (1 with inputs), the candles of 2 hours and 3 bookmarks (without 6 members of the set in Redis that are not entries)"),
        "{told}"
    );
    let left = redis::from_redis_value::<Vec<String>>(server.command(&["KEYS", "{shop}:*"]).await).unwrap();
    assert!(left.iter().all(|key| key.contains(":check:")), "{left:?}");
    let disk = Disk::open(directory.path(), OPTIONS).unwrap();
    assert_eq!(all(&disk).await, filled);
    assert_eq!(disk.read_hours(Detail::Hour, &[newer.0]).await.unwrap(), [Some(newer.1)]);
    drop(disk);
    let error = fail(&[&here[..], &["import"]].concat(), &format!("{future}\n")).await;
    assert!(error.contains("invalid line 1: its id is more than a day ahead"), "{error}");
}

/// Writes four ticks with inputs (real, simulated, simulated, real) and the candles of two hours. Returns the ids.
async fn mix(store: &dyn Store) -> Vec<TickId> {
    let (lease, mut all) = (lease(store).await, Vec::new());
    for source in ["kraken", "simulated", "simulated", "kraken"] {
        let mut record = audited("97116.10", std::time::Duration::ZERO);
        if let Event::Tick { tick, .. } = &mut record.event {
            tick.sources.values_mut().for_each(|names| *names = vec![source.to_owned()]);
        }
        all.push(store.append(&lease, &record, TickId::ZERO).await.unwrap().id);
    }
    let hour = TickId::from_ms(all[1].ms() / 3_600_000 * 3_600_000);
    let hours = [hour.minus(std::time::Duration::from_secs(3600)), hour].map(|hour| (hour, "{}".to_owned()));
    for detail in Detail::ALL {
        store.keep_hours(detail, &hours, &[]).await.unwrap();
    }
    store.release(&lease).await.unwrap();
    all
}

/// Asserts that only the real ticks are left, and the candles of the hour without simulated ticks.
async fn is_real(store: &dyn Store, mixed: &[TickId]) {
    let real = [mixed[0], mixed[3]];
    assert_eq!(all(store).await.iter().map(|entry| entry.id).collect::<Vec<_>>(), real);
    assert_eq!(audits(store, TickId::ZERO, EVERYTHING, 9).await.iter().map(|(id, _)| *id).collect::<Vec<_>>(), real);
    for detail in Detail::ALL {
        assert_eq!(store.kept_hours(detail).await.unwrap().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn simulated_ticks_are_deleted_alone() {
    let (server, directory) = (Server::start().await, data_directory());
    let (url, path) = (server.url(), directory.path().to_str().unwrap());
    let redis = Redis::new(&url, "btcfeed", OPTIONS).unwrap();
    let mixed = mix(&redis).await;
    assert_eq!(run(&["--redis-url", &url, "clear", "--simulated"], "").await.0, Some(2), "`--yes` is missing");
    let (code, _, told) = run(&["--redis-url", &url, "clear", "--simulated", "--yes"], "").await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("deleted 2 simulated ticks from "), "{told}");
    is_real(&redis, &mixed).await;
    let mixed = mix(&Disk::open(directory.path(), OPTIONS).unwrap()).await;
    succeed(&["--data", path, "clear", "--simulated", "--yes"], "").await;
    is_real(&Disk::open(directory.path(), OPTIONS).unwrap(), &mixed).await;
}

#[tokio::test]
async fn hours_before_simulated_ticks_are_deleted() {
    let directory = data_directory();
    let path = directory.path().to_str().unwrap();
    let store = Disk::open(directory.path(), OPTIONS).unwrap();
    fill(&store).await;
    drop(store);
    succeed(&["--data", path, "clear", "--simulated", "--yes"], "").await;
    has_hours(&Disk::open(directory.path(), OPTIONS).unwrap(), &[OLD_HOUR]).await;
    // The same feed, but all ticks are simulated. The ticks of the old hour have expired.
    let exported = succeed(&["--data", path, "export"], "").await.replace("kraken", "simulated");
    succeed(&["--data", path, "clear", "--yes"], "").await;
    succeed(&["--data", path, "import"], &exported).await;
    has_hours(&Disk::open(directory.path(), OPTIONS).unwrap(), &[OLD_HOUR]).await;
    succeed(&["--data", path, "clear", "--simulated", "--yes"], "").await;
    has_hours(&Disk::open(directory.path(), OPTIONS).unwrap(), &[]).await;
}

#[tokio::test]
async fn target_has_tls_files_of_its_own() {
    let (authority, directory) = (Authority::new(), data_directory());
    let (_server, port) = Server::start_with_tls(&authority, true).await;
    let (url, path) = (format!("rediss://localhost:{port}"), directory.path().to_str().unwrap());
    let filled = fill(&Disk::open(directory.path(), OPTIONS).unwrap()).await;
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| authority.path(name));
    let to = ["--data", path, "move", "--keep", "--to", &url];
    assert!(fail(&to, "").await.contains("TLS: "));
    let error = fail(&[&to[..], &["--to-ca", path]].concat(), "").await;
    assert!(error.contains("cannot use the files of TLS for --to"), "{error}");
    assert_eq!(run(&[&to[..], &["--to-cert", &cert]].concat(), "").await.0, Some(2), "there is no key");
    succeed(&[&to[..], &["--to-ca", &ca, "--to-cert", &cert, "--to-key", &key]].concat(), "").await;
    // The flags `--redis-ca`, `--redis-cert` and `--redis-key` are for the source. This target has no TLS.
    let plain = Server::start().await;
    let target = plain.url();
    let files = ["--redis-ca", &ca, "--redis-cert", &cert, "--redis-key", &key];
    let from = [&["--redis-url", &url][..], &files, &["move", "--to", &target]].concat();
    succeed(&from, "").await;
    assert_eq!(all(&Redis::new(&target, "btcfeed", OPTIONS).unwrap()).await, filled);
}
