//! The rights that the feed needs in Redis, and a trial of them.
//!
//! A script that lacks a right stops in the middle: without PUBLISH, an append would add its entry to the history and
//! not announce it. So a replica tries the rights before it leads. The trial writes only to keys of its own.

use super::keys::KeyNames;
use ::redis::{Pipeline, RedisResult, Value, pipe};
use Need::{Acks, Candles, Cluster, Lead};

/// What a right is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Leading.
    Lead,
    /// Keeping the candles of hours. Without these rights, candles are made from the entries.
    Candles,
    /// Waiting for replicas of Redis (`BTCFEED_REDIS_MIN_ACKS`).
    Acks,
    /// Following the slot of the feed to another node of a cluster.
    Cluster,
}

/// A right: the command as an ACL names it, how it is tried, and what it is needed for. `$text`, `$set` and `$hash` are
/// keys of the trial, and `$channel` is its channel. `$keys` stands for the number and the names of all keys of the
/// feed.
type Right = (&'static str, &'static [&'static str], Need);

/// The rights that the feed needs.
const NEEDED: [Right; 28] = [
    ("ping", &["PING"], Lead),
    ("unwatch", &["UNWATCH"], Lead),
    ("time", &["TIME"], Lead),
    ("set", &["SET", "$text", "1", "NX", "PX", TTL_MS], Lead),
    ("get", &["GET", "$text"], Lead),
    ("pttl", &["PTTL", "$text"], Lead),
    ("zadd", &["ZADD", "$set", "1", "one"], Lead),
    ("zcount", &["ZCOUNT", "$set", "-inf", "+inf"], Lead),
    ("zrange", &["ZRANGE", "$set", "0", "-1"], Lead),
    ("zrangebyscore", &["ZRANGEBYSCORE", "$set", "-inf", "+inf"], Lead),
    ("zrevrange", &["ZREVRANGE", "$set", "0", "0"], Lead),
    ("zrevrangebyscore", &["ZREVRANGEBYSCORE", "$set", "+inf", "-inf"], Lead),
    ("zremrangebyrank", &["ZREMRANGEBYRANK", "$set", "1", "0"], Lead),
    ("zremrangebyscore", &["ZREMRANGEBYSCORE", "$set", "-inf", "+inf"], Lead),
    ("hset", &["HSET", "$hash", "one", "1"], Lead),
    ("pexpire", &["PEXPIRE", "$hash", TTL_MS], Lead),
    ("hsetnx", &["HSETNX", "$hash", "two", "2"], Candles),
    ("hmget", &["HMGET", "$hash", "one"], Lead),
    ("hkeys", &["HKEYS", "$hash"], Candles),
    ("hdel", &["HDEL", "$hash", "two"], Candles),
    ("del", &["DEL", "$text", "$set", "$hash"], Lead),
    ("script|load", &["SCRIPT", "LOAD", SCRIPT], Lead),
    // Redis rejects a script unless its caller has the right to read and write every key that the call names. So this
    // call names all keys of the feed.
    ("evalsha", &["EVALSHA", SCRIPT_DIGEST, "$keys"], Lead),
    ("publish", &["PUBLISH", "$channel", "1"], Lead),
    ("wait", &["WAIT", "0", "0"], Acks),
    ("asking", &["ASKING"], Cluster),
    // These two are not tried here. They are sent when a subscription begins and when a connection opens.
    ("subscribe", &[], Lead),
    ("client|setname", &[], Lead),
];

/// The commands that only a feed with Sentinel needs. Any other feed works without them, but notices some faults later.
const USEFUL: [&str; 1] = ["role"];

/// The time in milliseconds after which `$text` and `$hash` expire, in case they are not deleted. `$set` needs none,
/// because the trial empties it.
const TTL_MS: &str = "10000";
/// A script without effects, and its SHA-1 digest.
const SCRIPT: &str = "return 1";
const SCRIPT_DIGEST: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";

/// Returns the words of an ACL for the user of a feed with this prefix. They grant the rights in [`NEEDED`] and
/// [`USEFUL`], without the rights for [`Acks`] and [`Cluster`].
pub(super) fn acl(prefix: &str) -> String {
    let needed = NEEDED.iter().filter(|(_, _, need)| matches!(need, Lead | Candles)).map(|(name, ..)| *name);
    let commands = needed.chain(USEFUL).map(|name| format!(" +{name}"));
    format!("~{{{prefix}}}:* &{{{prefix}}}:* -@all{}", commands.collect::<String>())
}

/// Returns the rights for these needs, without those that have no command to try.
fn tried(needs: &[Need]) -> impl Iterator<Item = &'static Right> {
    NEEDED.iter().filter(|(_, words, need)| !words.is_empty() && needs.contains(need))
}

/// Returns the commands of a trial. `trial` is a part of the names of its keys, and `publish` the command that
/// publishes.
pub(super) fn commands(keys: &KeyNames, trial: &str, publish: &str, needs: &[Need]) -> Pipeline {
    let mut commands = pipe();
    for (_, words, _) in tried(needs) {
        commands.cmd(if words[0] == "PUBLISH" { publish } else { words[0] });
        for word in &words[1..] {
            match word.strip_prefix('$') {
                Some("channel") => commands.arg(&keys.check),
                Some("keys") => commands.arg(keys.all().len()).arg(&keys.all()[..]),
                Some(kind) => commands.arg(format!("{}:{trial}:{kind}", keys.check)),
                None => commands.arg(*word),
            };
        }
    }
    commands.ignore_errors();
    commands
}

/// Returns the rights whose commands were rejected, each with the server's reason.
pub(super) fn rejected(answers: &[RedisResult<Value>], needs: &[Need]) -> Vec<(Need, String)> {
    let describe = |((_, words, need), answer): (&Right, &RedisResult<Value>)| {
        let error = answer.as_ref().err()?;
        let command = if words[0] == "SCRIPT" { "SCRIPT LOAD" } else { words[0] };
        let reason = error.to_string();
        let target = match words.iter().find_map(|word| word.strip_prefix('$')) {
            Some("channel") if reason.contains("access") => " on the channels of the feed",
            Some(_) if reason.contains("access") => " on the keys of the feed",
            _ => "",
        };
        Some((*need, format!("{command}{target}: {reason}")))
    };
    tried(needs).zip(answers).filter_map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_command_of_the_code_is_tried() {
        // The other files have commands of tools and of connections, and commands that only Sentinel or a cluster
        // needs.
        let files = ["audits", "reads", "writes", "lease", "hours", "bookmarks", "history", "subscription", "../redis"];
        for file in files {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/store/redis/{file}.rs"));
            let code = fs::read_to_string(&path).unwrap();
            for call in code.split("cmd(\"").skip(1) {
                let command = call.split('"').next().unwrap().to_ascii_lowercase();
                assert!(NEEDED.iter().any(|(name, ..)| *name == command), "{}: {command}", path.display());
            }
        }
    }

    #[test]
    fn every_command_of_a_script_is_tried() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/redis");
        let mut scripts = 0;
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.extension().is_none_or(|extension| extension != "lua") {
                continue;
            }
            scripts += 1;
            let code = fs::read_to_string(&path).unwrap();
            for call in code.split("call('").skip(1) {
                let command = call.split('\'').next().unwrap().to_ascii_lowercase();
                assert!(NEEDED.iter().any(|(name, ..)| *name == command), "{}: {command}", path.display());
            }
        }
        assert!(scripts > 5);
    }

    #[test]
    fn documents_have_exactly_these_rights() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
        let line = format!("\nACL SETUSER btcfeed on >PASSWORD {}\n", acl("btcfeed"));
        assert!(fs::read_to_string(page).unwrap().contains(&line), "expected the line {line}");
    }
}
