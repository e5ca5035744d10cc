//! The rights that the feed needs in Redis, and a trial of each.
//!
//! A script that lacks a right stops in the middle: without HSET, an append would add its entry to the history and not
//! note that it did. So every right is tried before a replica leads, on keys that exist only for the trial.

use super::keys::KeyNames;
use ::redis::{Pipeline, RedisResult, Value, pipe};

/// The commands that the feed needs, as an ACL names them, and how each is tried. `$text`, `$set` and `$hash` are
/// keys of the trial, `$keys` stands for the number and the names of all keys of the feed.
const NEEDED: [(&str, &[&str]); 26] = [
    ("ping", &["PING"]),
    ("unwatch", &["UNWATCH"]),
    ("time", &["TIME"]),
    ("set", &["SET", "$text", "1", "NX", "PX", TTL_MS]),
    ("get", &["GET", "$text"]),
    ("pttl", &["PTTL", "$text"]),
    ("zadd", &["ZADD", "$set", "1", "one"]),
    ("pexpire", &["PEXPIRE", "$set", TTL_MS]),
    ("zcount", &["ZCOUNT", "$set", "-inf", "+inf"]),
    ("zrange", &["ZRANGE", "$set", "0", "-1"]),
    ("zrangebyscore", &["ZRANGEBYSCORE", "$set", "-inf", "+inf"]),
    ("zrevrange", &["ZREVRANGE", "$set", "0", "0"]),
    ("zrevrangebyscore", &["ZREVRANGEBYSCORE", "$set", "+inf", "-inf"]),
    ("zremrangebyrank", &["ZREMRANGEBYRANK", "$set", "1", "0"]),
    ("zremrangebyscore", &["ZREMRANGEBYSCORE", "$set", "-inf", "+inf"]),
    ("hset", &["HSET", "$hash", "one", "1"]),
    ("hsetnx", &["HSETNX", "$hash", "two", "2"]),
    ("hmget", &["HMGET", "$hash", "one"]),
    ("hkeys", &["HKEYS", "$hash"]),
    ("hdel", &["HDEL", "$hash", "two"]),
    ("del", &["DEL", "$text", "$set", "$hash"]),
    ("script|load", &["SCRIPT", "LOAD", SCRIPT]),
    // A script may use only the keys that its caller may read and write.
    ("evalsha", &["EVALSHA", SCRIPT_DIGEST, "$keys"]),
    ("publish", &["PUBLISH", "$channel", "1"]),
    // They are tried when a connection opens or a subscription begins.
    ("subscribe", &[]),
    ("client|setname", &[]),
];

/// The commands without which the feed works, but notices some faults later.
const USEFUL: [&str; 1] = ["role"];

/// The time in milliseconds after which a key of the trial expires, in case it is not deleted.
const TTL_MS: &str = "10000";
/// A script without effects, and its SHA-1 digest.
const SCRIPT: &str = "return 1";
const SCRIPT_DIGEST: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";

/// Returns the words of an ACL that grant exactly these rights to a feed with this prefix.
pub(super) fn acl(prefix: &str) -> String {
    let commands = NEEDED.iter().map(|(name, _)| *name).chain(USEFUL).map(|name| format!(" +{name}"));
    format!("~{{{prefix}}}:* &{{{prefix}}}:* -@all{}", commands.collect::<String>())
}

/// Returns the commands of a trial. `trial` is a name that no other trial has, `publish` the command that publishes.
pub(super) fn commands(keys: &KeyNames, trial: &str, publish: &str) -> Pipeline {
    let mut commands = pipe();
    for (_, words) in NEEDED.iter().filter(|(_, words)| !words.is_empty()) {
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

/// Returns the commands of a trial that were rejected, each with the server's reason.
pub(super) fn rejected(answers: &[RedisResult<Value>]) -> Vec<String> {
    let tried = NEEDED.iter().filter(|(_, words)| !words.is_empty());
    let describe = |((_, words), answer): (&(&str, &[&str]), &RedisResult<Value>)| {
        let error = answer.as_ref().err()?;
        let command = if words[0] == "SCRIPT" { "SCRIPT LOAD" } else { words[0] };
        let reason = error.to_string();
        let target = match words.iter().find_map(|word| word.strip_prefix('$')) {
            Some("channel") if reason.contains("access") => " on the channels of the feed",
            Some(_) if reason.contains("access") => " on the keys of the feed",
            _ => "",
        };
        Some(format!("{command}{target}: {reason}"))
    };
    tried.zip(answers).filter_map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_command_of_the_code_is_tried() {
        // Commands of tools, of connections, and of uses that need more rights.
        let files = ["audits", "reads", "hours", "bookmarks", "history", "subscription", "../redis"];
        for file in files {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/store/redis/{file}.rs"));
            let code = fs::read_to_string(&path).unwrap();
            for call in code.split("cmd(\"").skip(1) {
                let command = call.split('"').next().unwrap().to_ascii_lowercase();
                assert!(NEEDED.iter().any(|(name, _)| *name == command), "{}: {command}", path.display());
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
                assert!(NEEDED.iter().any(|(name, _)| *name == command), "{}: {command}", path.display());
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
