//! The names in Redis that belong to one feed.

/// The names of the keys and the channels. The prefix in braces is a hash tag: Redis Cluster keeps all names with the
/// same tag on one node.
#[derive(Clone)]
pub(super) struct KeyNames {
    pub(super) ticks: String,
    pub(super) lease: String,
    /// The replica for which the lease is reserved.
    pub(super) claim: String,
    /// The replicas that are alive, a sorted set by the time at which each is forgotten.
    pub(super) replicas: String,
    /// The settings of the replicas that may lead.
    pub(super) settings: String,
    /// The audits of entries, a sorted set like the ticks.
    pub(super) audits: String,
    /// A hash with the id of the newest record that was written, and other fields. `append.lua` lists all of them.
    pub(super) record: String,
    /// Members that the leader has moved here from the set of the ticks, because they are not entries.
    pub(super) quarantine: String,
    /// The minute candles of each hour that has ended, a hash by the start of the hour.
    pub(super) candles: String,
    /// The candle of each hour that has ended, a hash like the one of the minutes. Nothing in it expires.
    pub(super) hours: String,
    pub(super) live: String,
    /// The prefix of keys that hold no data of the feed. The leader writes one of them before `WAIT`. `btcfeed check`
    /// and candidates for the lease write others to try their rights, and try `PUBLISH` on a channel whose name is this
    /// prefix alone.
    pub(super) check: String,
    /// The channel for messages between replicas.
    pub(super) messages: String,
    /// The prefix of each client's key.
    pub(super) client: String,
}

impl KeyNames {
    /// Returns the keys of the feed, and the key of an imaginary client. They are used to try whether the user of Redis
    /// may access them.
    pub(super) fn all(&self) -> [String; 11] {
        let KeyNames { ticks, lease, claim, replicas, settings, audits, record, quarantine, candles, hours, .. } = self;
        let client = format!("{}check", self.client);
        [ticks, lease, claim, replicas, settings, audits, record, quarantine, candles, hours, &client].map(Clone::clone)
    }

    /// The names for a feed with this prefix in the database `db`. All databases of a Redis share their channels, so
    /// the names of the channels that replicas read contain the number, except for database 0.
    pub(super) fn new(prefix: &str, db: i64) -> KeyNames {
        let key = |name: &str| format!("{{{prefix}}}:{name}");
        let channel = |name: &str| if db == 0 { key(name) } else { key(&format!("{name}:{db}")) };
        KeyNames {
            ticks: key("ticks"),
            lease: key("lease"),
            claim: key("claim"),
            replicas: key("replicas"),
            settings: key("settings"),
            audits: key("audits"),
            record: key("record"),
            quarantine: key("quarantine"),
            candles: key("candles"),
            hours: key("hours"),
            live: channel("live"),
            check: key("check"),
            messages: channel("messages"),
            client: key("client:"),
        }
    }
}
