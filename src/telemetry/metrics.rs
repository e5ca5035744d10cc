//! The table of all metrics. `docs/metrics.md` is made from it, and a test compares it with the metrics of a running
//! replica.
//!
//! There are at most 400 series on a replica, and no label has a value that a client can choose.

pub use super::metric::{Metric, MetricKind};
use std::fmt::Write;

const TRANSPORTS: &[&str] = &["websocket", "events", "grpc"];

const fn metric(name: &'static str, kind: MetricKind, unit: &'static str, help: &'static str) -> Metric {
    Metric { name, kind, unit, label: "", values: &[], help }
}

const fn labelled(label: &'static str, values: &'static [&'static str], metric: Metric) -> Metric {
    Metric { label, values, ..metric }
}

const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    metric(name, MetricKind::Counter, unit, help)
}

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    metric(name, MetricKind::Gauge, unit, help)
}

/// Declares the metrics and the table of them.
macro_rules! table {
    ($($name:ident = $metric:expr;)*) => {
        $(pub(crate) const $name: Metric = $metric;)*
        /// Every metric of a replica.
        pub const TABLE: &[Metric] = &[$($name),*];
    };
}

table! {
    BUILD_INFO = labelled("version", &[env!("CARGO_PKG_VERSION")],
        gauge("btcfeed_build_info", "1", "The version of the program. The value is always 1."));
    CLIENTS = labelled("transport", TRANSPORTS,
        gauge("btcfeed_clients", "streams", "Open streams."));
    UPDATES_SENT = labelled("transport", TRANSPORTS,
        counter("btcfeed_updates_sent_total", "entries", "Entries of the feed that were sent. Each entry counts once for each client."));
    BYTES_SENT = labelled("transport", TRANSPORTS,
        counter("btcfeed_bytes_sent_total", "bytes", "Bytes that were sent on streams, before any encryption."));
    REPLAYED = labelled("transport", TRANSPORTS,
        counter("btcfeed_replayed_entries_total", "entries", "Entries that were sent before the client was in sync. They also count in `btcfeed_updates_sent_total`."));
    PUBLISH_TO_SOCKET = metric("btcfeed_publish_to_socket_seconds", MetricKind::Histogram, "seconds",
        "Time from the moment of a live entry, by the store's clock, to the write to a client's socket, by this machine's clock. \
         Only WebSockets and event streams that reach the replica over HTTP/1 are measured: one client in 64, and the last client of each broadcast.");
    TICK_AGE = labelled("currency", &[],
        gauge("btcfeed_tick_age_seconds", "seconds", "Age of the newest tick with a price in the currency. If there has been none, the time since the start of the replica."));
    FEED_STATE = labelled("state", &["live", "degraded", "stale", "down"],
        gauge("btcfeed_feed_state", "0 or 1", "1 for the state of the feed as this replica sees it, 0 for the other states."));
    SIMULATED = gauge("btcfeed_simulated", "0 or 1", "1 if the newest prices are simulated.");
    LEADER = gauge("btcfeed_leader", "0 or 1", "1 if this replica leads.");
    LEADER_CHANGES = counter("btcfeed_leader_changes_total", "changes", "Changes of the leader that this replica has seen.");
    REPLICAS = gauge("btcfeed_replicas", "replicas", "Replicas that are alive, by the last answer of the store.");
    SETTINGS_DIFFER = gauge("btcfeed_settings_differ", "0 or 1", "1 if the replicas that may lead have other settings than this replica.");
    HELD_RECORDS = gauge("btcfeed_held_records", "records", "Ticks and statuses that the leader holds because it could not write them to the store yet.");
    DROPPED_RECORDS = counter("btcfeed_dropped_records_total", "records", "Ticks and statuses that the leader dropped, because it held too many.");
    CLOCK_AHEAD = labelled("of", &["store", "sources"],
        gauge("btcfeed_clock_ahead_seconds", "seconds", "Time by which this machine's clock is ahead of the clock of Redis, or of the times in the answers of the sources. Negative if it is behind. The times of the sources may be a little old."));
    CLOCK_REJECTED = counter("btcfeed_clock_rejected_total", "entries", "Entries that did not get the time of the store's clock, because it contradicted the time of the feed, which the leader counts with its monotonic clock.");
    SOURCE_SECONDS = labelled("source", &[],
        metric("btcfeed_source_request_seconds", MetricKind::Histogram, "seconds", "Time that the source took to answer a poll. Only the leader polls."));
    SOURCE_ERRORS = labelled("source", &[],
        counter("btcfeed_source_errors_total", "polls", "Polls in which the source gave no price."));
    SOURCE_UP = labelled("source", &[],
        gauge("btcfeed_source_up", "0 or 1", "1 if the last poll of the source by this replica gave a price."));
    SOURCE_RESTING = labelled("source", &[],
        gauge("btcfeed_source_resting", "0 or 1", "1 while the source rests because it failed or asked for a pause. If a currency has fewer active sources than `BTCFEED_MIN_SOURCES`, or fewer than two, its failed sources are polled although they rest. During a pause that a source asked for, the source is never polled."));
    STORE_UP = gauge("btcfeed_store_up", "0 or 1", "1 if the store passed the last check, which runs once a second. The check tests whether Redis or the file of the feed can be written.");
    STORE_SECONDS = metric("btcfeed_store_request_seconds", MetricKind::Histogram, "seconds", "Time that a request to Redis or a write to the file of the feed took. Reads of the history are not measured. Empty with the memory store.");
    STORE_ERRORS = counter("btcfeed_store_errors_total", "requests", "Requests to Redis that got an error or no answer, and failed writes to the file of the feed.");
    STORE_UNSAVED = gauge("btcfeed_store_unsaved_entries", "entries", "Entries that are only in memory, because the file of the feed cannot be written, or not fast enough.");
    QUARANTINED = counter("btcfeed_quarantined_members_total", "members", "Members of the history in Redis that were not entries and that this leader moved into quarantine.");
    UNCONFIRMED = counter("btcfeed_unconfirmed_announcements_total", "messages", "Entries that were announced on the channel of Redis and are not in the history, for example forged ones. No client gets them.");
    PUT_BACK = counter("btcfeed_put_back_entries_total", "entries", "Entries that the store had lost and this replica has put back. The newest ones, which the leader restores, do not count.");
    PUT_BACK_BOOKMARKS = counter("btcfeed_put_back_bookmarks_total", "bookmarks", "Bookmarks of connected clients that Redis had lost and this replica has put back.");
    FORKS = counter("btcfeed_forks_total", "times", "Times that the feed continued from an entry that is older than this replica's newest one, because Redis had lost the later entries: after a failover, or after two primaries at the same time.");
    STORE_CONNECTS = counter("btcfeed_store_connects_total", "connections", "Connections to Redis that were opened, including reconnects.");
    GAPS = labelled("reason", &["source_outage", "history_expired", "history_lost", "replay_limit", "held_too_long", "unknown_client_id"],
        counter("btcfeed_gaps_total", "gaps", "Gaps. `source_outage` and `held_too_long` count once, when the tick that ends the outage arrives. Other gaps count once for each client that gets them."));
    CLOSES = labelled("reason", &["draining", "too_slow", "no_pong", "key_revoked", "key_expired", "violation"],
        counter("btcfeed_closes_total", "streams", "Streams that the server closed."));
    REFUSALS = labelled("limit", &["connections", "address_connections", "address_rate", "address_volume", "address_reads", "reads", "address_client_ids", "client_ids", "key", "key_streams", "origin"],
        counter("btcfeed_refusals_total", "refusals", "Connections and requests that were refused because of a limit, for example `BTCFEED_MAX_CONNECTIONS` or `BTCFEED_ADDRESS_RATE`. \
         `key`: they had no valid API key. `key_streams`: the key has too many streams. `origin`: a WebSocket came from a page that is not allowed."));
    CLIENT_MEMORY = gauge("btcfeed_client_memory_bytes", "bytes", "Memory of responses and replays that clients have not read yet. `BTCFEED_CLIENT_MEMORY` limits it.");
    CLIENT_MEMORY_RESETS = counter("btcfeed_client_memory_resets_total", "responses", "Unread responses and replays that were reset because the limit `BTCFEED_CLIENT_MEMORY` was exceeded.");
    TLS_HANDSHAKES = counter("btcfeed_tls_handshakes_total", "handshakes", "TLS handshakes that succeeded.");
    TLS_FAILURES = labelled("reason", &["certificate", "incompatible", "invalid", "plain", "disconnected", "timeout", "evicted"],
        counter("btcfeed_tls_handshake_failures_total", "handshakes", "TLS handshakes that failed. `certificate`: the client does not trust the certificate. \
         `incompatible`: there is no common version or cipher. `invalid`: the client broke the protocol. `plain`: the client does not use TLS. \
         `disconnected`: the client left, for example a port check. `evicted`: there were too many unfinished handshakes."));
    PROXY_HEADER_FAILURES = labelled("reason", &["untrusted", "invalid", "too_long", "timeout", "disconnected"],
        counter("btcfeed_proxy_header_failures_total", "connections", "Connections that were closed because they had no valid PROXY header (`BTCFEED_PROXY_PROTOCOL`). \
         `untrusted`: they came from an address that is not in `BTCFEED_TRUSTED_PROXIES`. `invalid`: their first bytes are no PROXY header. \
         `disconnected`: they ended before the header, for example a port check."));
    TLS_NOT_BEFORE = gauge("btcfeed_tls_certificate_not_before_timestamp_seconds", "Unix seconds", "The time from which the certificate is valid. 0 without TLS.");
    TLS_NOT_AFTER = gauge("btcfeed_tls_certificate_not_after_timestamp_seconds", "Unix seconds", "The time at which the certificate expires. 0 without TLS. \
         The time that is left is this value minus `time()`.");
    OPEN_FDS = gauge("process_open_fds", "files", "Open files, including sockets.");
    MAX_FDS = gauge("process_max_fds", "files", "The limit on open files.");
    RESIDENT_MEMORY = gauge("process_resident_memory_bytes", "bytes", "Resident memory.");
    START_TIME = gauge("process_start_time_seconds", "Unix seconds", "The time at which the replica started.");
}

/// Returns the table in Markdown, which is `docs/metrics.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\nEach replica serves these metrics at `/metrics` on the operators' port (`BTCFEED_OPS_LISTEN`), in the text\n\
         format of Prometheus. A replica has at most 400 series, and no label has a value that a client can choose. Metrics of a\n\
         source exist on replicas that can lead. Counters begin at zero when the replica starts.\n\n\
         A test makes this page from the table in `src/telemetry/metrics.rs`: `UPDATE_DOCS=1 cargo test --test it metrics`.\n\n\
         | metric | type | unit | label | meaning |\n|---|---|---|---|---|\n",
    );
    for Metric { name, kind, unit, label, values, help } in TABLE {
        let values = if label == &"version" || values.is_empty() {
            String::new()
        } else {
            format!(": {}", values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "))
        };
        let label = if label.is_empty() { String::new() } else { format!("`{label}`{values}") };
        // Writing to a text cannot fail.
        writeln!(text, "| `{name}` | {} | {unit} | {label} | {help} |", kind.as_str()).ok();
    }
    text
}

/// Registers every metric, and sets those that do not change while the replica runs.
pub(super) fn start(now_seconds: f64) {
    TABLE.iter().for_each(Metric::register);
    BUILD_INFO.gauge(env!("CARGO_PKG_VERSION")).set(1);
    START_TIME.gauge("").set(now_seconds);
}
