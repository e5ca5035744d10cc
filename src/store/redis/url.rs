//! URLs of Redis. Parts that have no meaning here are errors, because a part that is ignored may be the one on which
//! somebody relies: `#insecure`, `?ca=`, `?timeout=`.

use ::redis::{ConnectionInfo, IntoConnectionInfo, parse_redis_url};

/// The expected forms, as errors and help texts give them.
pub(super) const EXPECTED: &str = "redis://HOST:PORT/DATABASE, rediss://HOST:PORT/DATABASE, unix://PATH, \
    redis+sentinel://HOST:PORT,HOST:PORT/DATABASE?master=NAME or redis+cluster://HOST:PORT,HOST:PORT";

/// The default ports of a Redis and of a Sentinel.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The parameters of the URL of a Unix socket.
const SOCKET_PARAMETERS: [&str; 3] = ["db", "user", "pass"];

/// Words in the names of parameters that other Redis libraries know, and what to do instead. A name consists of words
/// between `_` or `-`.
const ELSEWHERE: [(&[&str], &str); 5] = [
    (&["insecure", "verify", "reqs"], INSECURE),
    (&["ca", "cacert", "cafile", "certs"], "set BTCFEED_REDIS_CA to a PEM file"),
    (&["cert", "certfile", "key", "keyfile"], "set BTCFEED_REDIS_CERT and BTCFEED_REDIS_KEY to PEM files"),
    (&["tls", "ssl"], "begin the URL with rediss:// for TLS"),
    (&["timeout"], "set BTCFEED_REDIS_TIMEOUT"),
];

/// Parameters whose value belongs to another place in the URL of a server, and where to write it.
const IN_THE_URL: [(&[&str], &str); 3] = [
    (&["db", "database"], "write the number of the database after the server: redis://HOST:PORT/DATABASE"),
    (&["user", "username", "auth"], "write redis://USER:PASSWORD@HOST:PORT"),
    (PASSWORD, "write redis://USER:PASSWORD@HOST:PORT"),
];

/// The words in the names of parameters whose value is a password.
const PASSWORD: &[&str] = &["pass", "password"];

const INSECURE: &str =
    "certificates are always verified; to trust your own authority, set BTCFEED_REDIS_CA to its PEM file";

/// The place of a feed, from a URL.
#[derive(Clone, Debug)]
pub(super) enum RedisAddress {
    /// A server with one address.
    Server(ConnectionInfo),
    /// The primary that these Sentinels know by the name `master`. `server` has the settings of the primary, but not
    /// its address.
    Sentinel { sentinels: Vec<ConnectionInfo>, master: String, server: ConnectionInfo },
    /// The cluster of these nodes.
    Cluster { nodes: Vec<ConnectionInfo> },
}

/// The reason why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidUrl {
    /// It is not the URL of a Redis.
    #[error("expected {EXPECTED}")]
    Unexpected,
    /// A part of it is wrong.
    #[error("{0}")]
    Part(String),
}

impl RedisAddress {
    /// Reads a URL.
    pub(super) fn parse(text: &str) -> Result<RedisAddress, InvalidUrl> {
        reject_fragment(text)?;
        for (scheme, single) in [("redis+", "redis"), ("rediss+", "rediss")] {
            let Some((kind, rest)) = text.strip_prefix(scheme).and_then(|rest| rest.split_once("://")) else {
                continue;
            };
            match kind {
                "sentinel" => return parse_sentinel(single, rest),
                "cluster" => return parse_cluster(single, rest),
                _ => {}
            }
        }
        let url = parse_redis_url(text);
        let is_socket = is_socket(text);
        if let Some((before, query)) = text.split_once('?') {
            let (scheme, rest) = before.split_once("://").unwrap_or((before, ""));
            let (authority, known) = if is_socket { ("", &SOCKET_PARAMETERS[..]) } else { (authority(rest), &[][..]) };
            reject_parameters(scheme, authority, query, known)?;
        }
        let (_, rest) = text.split_once("://").unwrap_or_default();
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        if !is_socket && ["redis", "rediss"].iter().any(|scheme| text.starts_with(&format!("{scheme}://"))) {
            if host.contains(',') {
                return Err(part(
                    "it names several servers, expected redis+sentinel://HOST:PORT,HOST:PORT/0?master=NAME or \
                     redis+cluster://HOST:PORT,HOST:PORT for them",
                ));
            }
            check_database(authority(rest), host.split_once('/').unwrap_or_default().1)?;
        }
        let url = url.ok_or(InvalidUrl::Unexpected)?;
        Ok(RedisAddress::Server(url.into_connection_info().map_err(|_| InvalidUrl::Unexpected)?))
    }
}

/// Returns true if a URL names a Unix socket, as redis-rs reads it (`unix:`, `redis+unix:`, `valkey+unix:`).
pub(super) fn is_socket(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| scheme.ends_with("unix"))
}

/// The parts of a URL with several servers.
struct Servers<'a> {
    /// Everything before the database.
    authority: &'a str,
    /// `USER:PASSWORD@`, or nothing.
    credentials: &'a str,
    hosts: Vec<&'a str>,
    database: &'a str,
    query: &'a str,
}

impl<'a> Servers<'a> {
    /// Splits the part of a URL that follows its scheme.
    fn split(rest: &'a str) -> Servers<'a> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority(rest);
        let (credentials, rest) = rest.rfind('@').map_or(("", rest), |at| rest.split_at(at + 1));
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        Servers { authority, credentials, hosts: hosts.split(',').map(str::trim).collect(), database, query }
    }
}

/// Returns the part of a URL with the servers and their credentials, from the part that follows the scheme.
fn authority(rest: &str) -> &str {
    let host = rest.rfind('@').map_or(0, |at| at + 1);
    let end = rest[host..].find('/').map_or(rest.len(), |end| host + end);
    &rest[..end]
}

/// Returns true if somebody has perhaps forgotten the `@` after a password: a server has no name, or its port is no
/// number. Then the part after the authority may belong to the password, and an error must not quote it.
fn may_lack_at(authority: &str) -> bool {
    let has_wrong_port = |server: &str| {
        let after_ipv6 = server.rfind(']').map_or(0, |end| end + 1);
        let split = server[after_ipv6..].split_once(':');
        split.is_some_and(|(name, port)| (after_ipv6 == 0 && name.is_empty()) || port.parse::<u16>().is_err())
    };
    !authority.contains('@') && authority.split(',').any(has_wrong_port)
}

/// Checks the database of a URL: a number, or nothing.
fn check_database(authority: &str, database: &str) -> Result<(), InvalidUrl> {
    if database.is_empty() || database.parse::<u32>().is_ok() {
        return Ok(());
    }
    reject_part_of_password(authority, "/", "%2F")?;
    Err(part(format!("invalid database {database:?}: expected a number such as 0")))
}

/// Rejects a part after `mark` without quoting it, if it may belong to a password.
fn reject_part_of_password(authority: &str, mark: &str, escape: &str) -> Result<(), InvalidUrl> {
    if may_lack_at(authority) {
        return Err(part(format!(
            "the part after {mark:?} may belong to a password: write {escape} for this character in a password, and @ \
             after the password"
        )));
    }
    Ok(())
}

/// Parses one server. `port` is used if the host has none.
fn server(
    scheme: &str,
    credentials: &str,
    host: &str,
    port: u16,
    database: &str,
) -> Result<ConnectionInfo, InvalidUrl> {
    check_database(&format!("{credentials}{host}"), database)?;
    let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let port = if has_port { String::new() } else { format!(":{port}") };
    let info = parse_redis_url(&format!("{scheme}://{credentials}{host}{port}/{database}"));
    info.and_then(|url| url.into_connection_info().ok()).ok_or(InvalidUrl::Unexpected)
}

fn parse_sentinel(scheme: &str, rest: &str) -> Result<RedisAddress, InvalidUrl> {
    let Servers { authority, credentials, hosts, database, query } = Servers::split(rest);
    reject_parameters("redis+sentinel", authority, query, &["master", "sentinel_user", "sentinel_password"])?;
    let parameter = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(given, value)| given == name && !value.is_empty()).map(|(_, value)| value.into_owned())
    };
    let master = parameter("master").ok_or_else(|| {
        part("the name of the primary is missing, expected redis+sentinel://HOST:PORT,HOST:PORT/0?master=NAME")
    })?;
    let mut sentinels = Vec::new();
    for host in &hosts {
        let info = server(scheme, "", host, SENTINEL_PORT, "")?;
        let mut settings = info.redis_settings().clone();
        if let Some(user) = parameter("sentinel_user") {
            settings = settings.set_username(user);
        }
        if let Some(password) = parameter("sentinel_password") {
            settings = settings.set_password(password);
        }
        sentinels.push(info.set_redis_settings(settings));
    }
    let server = server(scheme, credentials, hosts[0], SENTINEL_PORT, database)?;
    Ok(RedisAddress::Sentinel { sentinels, master, server })
}

fn parse_cluster(scheme: &str, rest: &str) -> Result<RedisAddress, InvalidUrl> {
    let Servers { authority, credentials, hosts, database, query } = Servers::split(rest);
    reject_parameters("redis+cluster", authority, query, &[])?;
    if !["", "0"].contains(&database) {
        reject_part_of_password(authority, "/", "%2F")?;
        return Err(part(format!("invalid database {database:?}: a cluster has only the database 0")));
    }
    let nodes = hosts.into_iter().map(|host| server(scheme, credentials, host, PORT, database));
    Ok(RedisAddress::Cluster { nodes: nodes.collect::<Result<_, _>>()? })
}

fn part(reason: impl Into<String>) -> InvalidUrl {
    InvalidUrl::Part(reason.into())
}

/// Rejects a fragment. It is quoted only if it is known, because it may be a part of a password.
fn reject_fragment(text: &str) -> Result<(), InvalidUrl> {
    match text.split_once('#') {
        None => Ok(()),
        Some((_, "insecure")) => Err(part(format!("\"#insecure\" is not supported: {INSECURE}"))),
        Some(_) => Err(part("a part after \"#\" is not supported: write %23 for this character in a password")),
    }
}

/// Rejects every parameter that is not `known`. Its value is never quoted, and its name only if it cannot be a part of
/// a password.
fn reject_parameters(scheme: &str, authority: &str, query: &str, known: &[&str]) -> Result<(), InvalidUrl> {
    let mut follows_password = false;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default();
        let lower = name.to_ascii_lowercase();
        let has = |words: &[&str]| lower.split(['_', '-']).any(|word| words.contains(&word));
        if known.contains(&name) {
            follows_password |= has(PASSWORD);
            continue;
        }
        if follows_password {
            return Err(part("a part after \"&\" is not supported: write %26 for this character in a password"));
        }
        let is_name = !name.is_empty()
            && name.len() <= 24
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if query.contains('@') || !is_name {
            return Err(part("a part after \"?\" is not supported: write %3F for this character in a password"));
        }
        reject_part_of_password(authority, "?", "%3F")?;
        let places = if known == SOCKET_PARAMETERS { &[][..] } else { &IN_THE_URL };
        let found = ELSEWHERE.iter().chain(places).find(|(words, _)| has(words));
        let instead = found.map(|(_, instead)| (*instead).to_owned());
        let instead = instead.unwrap_or_else(|| match known {
            [] => format!("expected no parameters after {:?}", format!("{scheme}://HOST")),
            known => format!("expected only {}", known.join(", ")),
        });
        return Err(part(format!("unknown parameter {name:?}: {instead}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        match RedisAddress::parse(url) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{url} is accepted"),
        }
    }

    #[test]
    fn part_without_a_meaning_is_rejected() {
        for (url, reason) in [
            ("rediss://redis:6379#insecure", "\"#insecure\" is not supported: certificates are always verified"),
            ("rediss://redis?ca=/etc/ca.pem", "unknown parameter \"ca\": set BTCFEED_REDIS_CA"),
            ("rediss://redis?ssl_cert_reqs=none", "unknown parameter \"ssl_cert_reqs\": certificates are always"),
            ("rediss://redis?ssl_ca_certs=/ca.pem", "unknown parameter \"ssl_ca_certs\": set BTCFEED_REDIS_CA"),
            ("rediss://redis/0?tls_key=/k", "unknown parameter \"tls_key\": set BTCFEED_REDIS_CERT and"),
            ("redis://redis?timeout=5s", "unknown parameter \"timeout\": set BTCFEED_REDIS_TIMEOUT"),
            ("redis://redis?socket_timeout=5", "unknown parameter \"socket_timeout\": set BTCFEED_REDIS_TIMEOUT"),
            ("redis://redis?db=1", "unknown parameter \"db\": write the number of the database after"),
            ("redis://redis?password=x", "unknown parameter \"password\": write redis://USER:PASSWORD@"),
            ("redis://redis?protocol=resp3", "unknown parameter \"protocol\": expected no parameters after"),
            ("unix:///run/redis?database=1", "unknown parameter \"database\": expected only db, user, pass"),
            ("unix:///run/redis?password=x", "unknown parameter \"password\": expected only db, user, pass"),
            ("unix:///run/redis?timeout=1", "unknown parameter \"timeout\": set"),
            ("unix:///run/redis?color=1", "unknown parameter \"color\": expected only db, user, pass"),
            ("redis://redis/zero", "invalid database \"zero\": expected a number such as 0"),
            ("redis://[::1]:6379/zero", "invalid database \"zero\": expected a number such as 0"),
            ("redis://me:pw@redis/zero", "invalid database \"zero\": expected a number such as 0"),
            ("redis://redis/0/1", "invalid database \"0/1\": expected a number"),
            ("redis://a:6379,b:6379", "it names several servers, expected redis+sentinel://"),
            ("redis+sentinel://a,b/0", "the name of the primary is missing"),
            ("redis+sentinel://a,b/0?master=m&timeout=1", "unknown parameter \"timeout\": set BTCFEED_REDIS_TIMEOUT"),
            ("redis+sentinel://a,b/x?master=m", "invalid database \"x\""),
            ("redis+cluster://a,b/1", "invalid database \"1\": a cluster has only the database 0"),
            ("redis+cluster://a,b?master=m", "unknown parameter \"master\": expected no parameters"),
            ("redis+cluster://a:port", "expected redis://HOST:PORT/DATABASE"),
            ("redis+ring://a", "expected redis://HOST:PORT/DATABASE"),
            ("http://redis", "expected redis://HOST:PORT/DATABASE"),
            ("redis", "expected redis://HOST:PORT/DATABASE"),
        ] {
            assert!(error(url).starts_with(reason), "{url}: {}", error(url));
        }
    }

    #[test]
    fn error_has_no_part_of_a_password() {
        for url in [
            "redis://:se#cret@redis",
            "redis://:se?cret@redis",
            "redis://:se?cret=1&x=2@redis:1/0",
            "unix:///run/redis?pass=se&cret",
            "redis+sentinel://a/0?master=m&sentinel_password=se&cret=1",
            // The @ after the password is missing.
            "redis://:se/cret",
            "redis://me:se/cret",
            "redis://:1/cret",
            "redis://:se?cret",
            "redis+sentinel://me:se/cret?master=m",
            "redis+sentinel://me:se?cret",
            "redis+cluster://a:1,me:se/cret",
            "redis+cluster://:se?cret=1",
        ] {
            assert!(!error(url).contains("cret"), "{}", error(url));
        }
    }

    #[test]
    fn several_servers_have_ports_and_credentials() {
        let url = "rediss+sentinel://me:p%40w@s1,[::1]:5/2?master=the%20feed&sentinel_user=u&sentinel_password=s%26";
        let Ok(RedisAddress::Sentinel { sentinels, master, server }) = RedisAddress::parse(url) else { panic!() };
        let addresses: Vec<_> = sentinels.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!((addresses, master.as_str()), (vec!["s1:26379".to_owned(), "::1:5".to_owned()], "the feed"));
        let settings = sentinels[1].redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("u"), Some("s&"), 0));
        let settings = server.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("me"), Some("p@w"), 2));
        let Ok(RedisAddress::Cluster { nodes }) = RedisAddress::parse("redis+cluster://:pw@n1,n2:7000") else {
            panic!()
        };
        let addresses: Vec<_> = nodes.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(addresses, ["n1:6379", "n2:7000"]);
        assert_eq!(nodes[1].redis_settings().password(), Some("pw"));
    }

    #[test]
    fn good_urls_are_accepted() {
        for url in [
            "redis://redis",
            "rediss://user:p%23%3Fw@redis.example:6380/3",
            "redis://[::1]:6379/0",
            "redis://redis:6379/",
            "unix:///run/redis.sock",
            "unix:///run/redis.sock?db=1&user=me&pass=a",
            "valkey://redis:6379",
        ] {
            assert!(RedisAddress::parse(url).is_ok(), "{url}: {}", error(url));
        }
    }
}
