//! The scripts: everything that Redis must do in one atomic step.

use crate::store::entry::MAX_AHEAD;
use ::redis::Script;
use std::time::Duration;

/// The scripts in this folder.
pub(super) struct Scripts {
    pub(super) acquire: Script,
    pub(super) claim: Script,
    pub(super) append: Script,
    pub(super) beat: Script,
    pub(super) lacking: Script,
    pub(super) put_back: Script,
    pub(super) restore: Script,
    pub(super) renew: Script,
    pub(super) release: Script,
}

impl Scripts {
    /// Reads the scripts. Redis loads each of them when it is first used. The scripts ignore a claim whose time to live
    /// is longer than `claim_ttl`.
    pub(super) fn new(claim_ttl: Duration) -> Scripts {
        // `feed.lua` uses these limits.
        let limits =
            format!("local MAX_AHEAD = {}\nlocal MAX_CLAIM = {}\n", MAX_AHEAD.as_millis(), claim_ttl.as_millis());
        let with_feed = |text: &str| Script::new(&[&limits, include_str!("feed.lua"), text].concat());
        Scripts {
            acquire: with_feed(include_str!("acquire.lua")),
            claim: with_feed(include_str!("claim.lua")),
            append: with_feed(include_str!("append.lua")),
            beat: with_feed(include_str!("beat.lua")),
            lacking: with_feed(include_str!("lacking.lua")),
            put_back: with_feed(include_str!("put_back.lua")),
            restore: with_feed(include_str!("restore.lua")),
            renew: Script::new(include_str!("renew.lua")),
            release: Script::new(include_str!("release.lua")),
        }
    }
}
