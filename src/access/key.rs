//! A key, and its line in the file of keys.

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

/// Start of each key. People and scanners for secrets recognise a key by it.
const PREFIX: &str = "btcfeed_";
/// Number of random bytes in a key.
const KEY_BYTES: usize = 32;
/// Expected form of a line, for errors.
const FORM: &str = "expected NAME HASH, and optionally streams=N and expires=MOMENT, as `btcfeed key new` prints it";

/// SHA-256 hash of a key.
pub(super) type Digest = [u8; SHA256_OUTPUT_LEN];

/// Returns the hash of a key.
pub(super) fn digest(key: &[u8]) -> Digest {
    let hash = aws_lc_rs::digest::digest(&SHA256, key);
    hash.as_ref().try_into().expect("a SHA-256 hash has 32 bytes")
}

/// Name of a key, which says who uses it. Several keys may have the same name, for example while a new key replaces an
/// old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName(String);

impl FromStr for KeyName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<KeyName, &'static str> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) {
            Ok(KeyName(text.to_owned()))
        } else {
            Err("expected 1 to 64 letters, digits, dots, dashes and underscores")
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Line of the file of keys. It contains the hash of a key instead of the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// Name of the key.
    pub name: KeyName,
    /// Hash of the key.
    pub(super) digest: Digest,
    /// Maximum number of concurrent streams on each replica. `None` means no limit.
    pub streams: Option<usize>,
    /// Moment from which the key is no longer valid.
    pub expires: Option<Timestamp>,
}

impl KeyLine {
    /// Returns true if the key has expired.
    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| SystemTime::from(expires) <= now)
    }
}

/// Creates a key. Returns the key and its line.
///
/// # Errors
/// If the system has no random numbers.
pub fn generate(name: &KeyName) -> Result<(String, KeyLine), &'static str> {
    let mut bytes = [0; KEY_BYTES];
    rand::fill(&mut bytes).map_err(|_| "the system has no random numbers")?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let line = KeyLine { name: name.clone(), digest: digest(key.as_bytes()), streams: None, expires: None };
    Ok((key, line))
}

impl fmt::Display for KeyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        self.streams.map_or(Ok(()), |streams| write!(f, " streams={streams}"))?;
        self.expires.map_or(Ok(()), |expires| write!(f, " expires={expires}"))
    }
}

impl FromStr for KeyLine {
    type Err = String;

    /// Parses a line. The error does not quote an invalid name or hash, because it may be a key that was pasted by
    /// mistake.
    fn from_str(text: &str) -> Result<KeyLine, String> {
        let mut words = text.split_ascii_whitespace();
        let (Some(name), Some(hash)) = (words.next(), words.next()) else { return Err(FORM.to_owned()) };
        let name = name.parse().map_err(|expected| format!("invalid name: {expected}"))?;
        let digest = parse_digest(hash).ok_or("invalid hash: expected 64 hexadecimal digits")?;
        let mut line = KeyLine { name, digest, streams: None, expires: None };
        for word in words {
            match word.split_once('=') {
                Some(("streams", number)) => line.streams = Some(parse_streams(number)?),
                Some(("expires", date)) => line.expires = Some(parse_expires(date)?),
                _ => return Err(FORM.to_owned()),
            }
        }
        Ok(line)
    }
}

/// Parses the number of streams of a key.
///
/// # Errors
/// If `text` is not a number above 0. The error quotes `text`.
pub fn parse_streams(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("invalid streams {text:?}: expected a number above 0"))
}

/// Parses the moment at which a key expires.
///
/// # Errors
/// If `text` is not a moment such as `2027-06-30T00:00:00Z`. The error quotes `text`.
pub fn parse_expires(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("invalid expires {text:?}: expected a moment such as 2027-06-30T00:00:00Z"))
}

fn parse_digest(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_line_is_read_back() {
        let (key, mut line) = generate(&"alice".parse().unwrap()).unwrap();
        assert!(key.starts_with(PREFIX) && key.len() == PREFIX.len() + 43, "{key}");
        assert_eq!(line.to_string().parse(), Ok(line.clone()));
        (line.streams, line.expires) = (Some(5), Some(parse_expires("2027-06-30T00:00:00Z").unwrap()));
        assert!(line.to_string().ends_with(" streams=5 expires=2027-06-30T00:00:00Z"), "{line}");
        assert_eq!(line.to_string().parse(), Ok(line.clone()));
        assert!(!line.to_string().contains(&key));
        assert_ne!(generate(&line.name).unwrap().0, key);
    }

    #[test]
    fn hash_equals_that_of_sha256sum() {
        // printf %s abc | sha256sum
        let line = "a ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(line.parse::<KeyLine>().unwrap().digest, digest(b"abc"));
    }

    #[test]
    fn errors_say_what_is_expected() {
        let hash = "0".repeat(64);
        for (line, expected) in [
            ("alice", "expected NAME HASH"),
            ("a/b 00", "invalid name: expected 1 to 64 letters"),
            ("alice 00", "invalid hash: expected 64 hexadecimal digits"),
            (&format!("alice {}", "+0".repeat(32)), "invalid hash: expected 64 hexadecimal digits"),
            // A key that was pasted in the place of its name is not repeated.
            ("btcfeed_key streams=5", "invalid hash: expected 64 hexadecimal digits"),
            (&format!("alice {hash} streams=0"), "invalid streams \"0\": expected a number above 0"),
            (&format!("alice {hash} expires=soon"), "invalid expires \"soon\": expected a moment such as 2027"),
            (&format!("alice {hash} admin"), "expected NAME HASH"),
        ] {
            let error = line.parse::<KeyLine>().unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
