use super::*;
use crate::server::TrustedProxies;
use crate::tick::Currencies;
use secrecy::ExposeSecret;
use std::path::Path;
use std::time::Duration;

fn lookup(environment: &[(&str, &str)]) -> Lookup {
    Lookup::new([], environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn read(environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    Config::read(&lookup(environment)).map_err(|errors| errors.0)
}

fn errors(environment: &[(&str, &str)]) -> Vec<String> {
    read(environment).err().unwrap_or_default()
}

#[test]
fn defaults_poll_five_exchanges_in_one_process() {
    let config = read(&[]).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert!(config.redis.is_none());
    assert_eq!(config.data.as_deref(), Some(Path::new("./btcfeed-data")));
    assert_eq!(config.leader.interval, Duration::from_secs(5));
    assert_eq!(config.leader.stale_after, Duration::from_secs(15));
    assert_eq!(config.leader.down_after, Duration::from_secs(60));
    assert_eq!(config.aggregate.deadline, Duration::from_secs(3));
    assert_eq!(config.store.retention, Duration::from_secs(24 * 3600));
    assert_eq!(config.server.ops_listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.source_names().collect::<Vec<_>>(), ["coinbase", "kraken", "bitstamp", "gemini", "bitfinex"]);
}

#[test]
fn values_that_depend_on_others_are_shown() {
    let config = read(&[("BTCFEED_TRUSTED_PROXIES", "10.1.2.3/8, ::1")]).unwrap_or_else(|errors| panic!("{errors:?}"));
    let shown = |name| config.effective(name).unwrap_or_default();
    assert_eq!(shown("BTCFEED_TRUSTED_PROXIES"), "10.0.0.0/8,::1/128");
    let memory = shown("BTCFEED_CLIENT_MEMORY");
    assert!(memory.ends_with("MiB"), "{memory}");
    let again = read(&[("BTCFEED_CLIENT_MEMORY", &memory)]).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(again.server.client_memory, config.server.client_memory);
    assert_eq!(again.effective("BTCFEED_TRUSTED_PROXIES").as_deref(), Some("none"));
}

const DURATION: &str = "expected a duration such as 5s or 500ms, from";

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_error_says_what_value_is_expected() {
    let cases = [
        (
            "REDIS_URL",
            "http://localhost:80",
            r#"REDIS_URL "http://localhost:80": expected redis://HOST:PORT/DATABASE, red"#,
        ),
        ("REDIS_URL", "foo", r#"REDIS_URL "foo": expected redis://"#),
        ("REDIS_URL", "rediss://r#insecure", r##"REDIS_URL "rediss://***": "#insecure" is not supported: "##),
        ("BTCFEED_REDIS_CERT", "r.crt", r#"BTCFEED_REDIS_CERT "r.crt": expected BTCFEED_REDIS_KEY to be set too"#),
        ("BTCFEED_REDIS_KEY", "r.key", r#"BTCFEED_REDIS_KEY "r.key": expected BTCFEED_REDIS_CERT to be set too"#),
        ("BTCFEED_REDIS_CA", "Cargo.toml", r#""Cargo.toml": expected a PEM file with certificates, found none"#),
        ("BTCFEED_REDIS_MIN_ACKS", "all", r#"BTCFEED_REDIS_MIN_ACKS "all": expected a number from 0 to 10"#),
        ("BTCFEED_REDIS_TIMEOUT", "1ms", r#"BTCFEED_REDIS_TIMEOUT "1ms": expected a duration such as"#),
        ("REDIS_URL_FILE", "/nowhere/url", r#"REDIS_URL_FILE "/nowhere/url": No such file or directory"#),
        ("BTCFEED_KEY_PREFIX", "a{b", r#"BTCFEED_KEY_PREFIX "a{b": expected a name without braces or spaces"#),
        ("BTCFEED_DATA", "Cargo.toml", r#"BTCFEED_DATA "Cargo.toml": it is a file, expected a directory"#),
        ("BTCFEED_ROLE", "both", r#"BTCFEED_ROLE "both": expected all, fetch or serve"#),
        ("BTCFEED_ROLE", "serve", r#"BTCFEED_ROLE "serve": expected all, because there is no other replica if REDIS"#),
        (
            "BTCFEED_LISTEN",
            "8080",
            r#"BTCFEED_LISTEN "8080": expected HOST:PORT such as 0.0.0.0:8080, [::]:8080 or loc"#,
        ),
        ("BTCFEED_LISTEN", "nowhere.invalid:80", r#"LISTEN "nowhere.invalid:80": cannot resolve the host name: "#),
        (
            "BTCFEED_CLIENT_MEMORY",
            "1MB",
            r#""1MB": expected an amount of memory such as 512MiB or 2GiB, at least 16MiB"#,
        ),
        ("BTCFEED_OPS_LISTEN", "localhost", r#"BTCFEED_OPS_LISTEN "localhost": expected HOST:PORT such as"#),
        ("BTCFEED_INTERVAL", "2h", &format!(r#"BTCFEED_INTERVAL "2h": {DURATION} 10ms to 1h"#)),
        ("BTCFEED_INTERVAL", "5", r#"invalid BTCFEED_INTERVAL "5": "#),
        ("BTCFEED_INTERVAL", "0s", r#"invalid BTCFEED_INTERVAL "0s": "#),
        (
            "BTCFEED_CURRENCIES",
            "USD,XBT",
            r#"CURRENCIES "XBT": expected USD, EUR, GBP, JPY, CHF, CAD or AUD (a list wi"#,
        ),
        ("BTCFEED_CURRENCIES", "usd,EUR,USD", r#""usd,EUR,USD": expected each name once, but USD appears twice"#),
        (
            "BTCFEED_SOURCES",
            "kraken,mtgox",
            r#"BTCFEED_SOURCES "mtgox": expected coinbase, kraken, bitstamp, gemini, bitfinex, bitvavo, "#,
        ),
        ("BTCFEED_SOURCES", "simulated,kraken", "(a list with commas), or simulated alone"),
        ("BTCFEED_SOURCES", "kraken,kraken", r#""kraken,kraken": expected each name once, but kraken appears twice"#),
        (
            "BTCFEED_SOURCE_KRAKEN_URL",
            "ftp://kraken",
            r#"KRAKEN_URL "ftp://kraken": expected an http:// or https:// U"#,
        ),
        ("BTCFEED_SOURCE_MAX_AGE", "-1s", &format!(r#"BTCFEED_SOURCE_MAX_AGE "-1s": {DURATION} 1s to 24h"#)),
        ("BTCFEED_MAX_DEVIATION", "0.05", r#""0.05": this setting has been replaced, expected BTCFEED_OUTLIER_SHARE"#),
        ("BTCFEED_OUTLIER_SHARE", "5%", r#""5%": expected a share between 0 and 1 with at most 6 decimals, for "#),
        ("BTCFEED_CLAMP_SHARE", "0.0000001", r#"CLAMP_SHARE "0.0000001": expected a share between 0 and 1 with"#),
        ("BTCFEED_MIN_SOURCES", "0", r#"MIN_SOURCES "0": expected a number from 1 to 100"#),
        ("BTCFEED_FROZEN_POLLS", "1", r#"FROZEN_POLLS "1": expected a number from 2 to 1000000"#),
        ("BTCFEED_STALE_AFTER", "1s", &format!(r#""1s": {DURATION} 10s (twice BTCFEED_INTERVAL) to 24h"#)),
        ("BTCFEED_STALE_AFTER", "x", &format!(r#""x": {DURATION} twice BTCFEED_INTERVAL to 24h"#)),
        ("BTCFEED_DOWN_AFTER", "14s", &format!(r#""14s": {DURATION} 15s (BTCFEED_STALE_AFTER) to 24h"#)),
        ("BTCFEED_RETENTION", "a day", &format!(r#""a day": {DURATION} 10s to 366d"#)),
        ("BTCFEED_WINDOW", "0", r#"BTCFEED_WINDOW "0": expected a number from 100 to 10000000"#),
        ("BTCFEED_LEASE_TTL", "1ms", &format!(r#""1ms": {DURATION} 1s to 1m"#)),
        (
            "BTCFEED_TRUSTED_PROXIES",
            "10.0.0.1,nginx",
            r#"PROXIES "nginx": expected none, or a list of addresses and netw"#,
        ),
        ("BTCFEED_PROXY_PROTOCOL", "v2", r#"BTCFEED_PROXY_PROTOCOL "v2": expected true or false"#),
        ("BTCFEED_ADDRESS_CONNECTIONS", "0", r#"CONNECTIONS "0": expected a number from 1 to 10000000"#),
        ("BTCFEED_ADDRESS_VOLUME", "0", r#"VOLUME "0": expected a number from 1 to 1000000000"#),
        ("BTCFEED_ADDRESS_READS", "0", r#"READS "0": expected a number from 1 to 1000000"#),
        ("BTCFEED_MAX_READS", "-1", r#"READS "-1": expected a number from 1 to 1000000"#),
        ("BTCFEED_ADDRESS_CLIENT_IDS", "0", r#"CLIENT_IDS "0": expected a number from 1 to 1000000"#),
        ("BTCFEED_CLIENT_IDS", "none", r#"CLIENT_IDS "none": expected a number from 1 to 1000000"#),
        ("BTCFEED_DRAIN_DELAY", "2h", &format!(r#"DELAY "2h": {DURATION} 0s to 1h"#)),
        ("BTCFEED_DRAIN_SPREAD", "5", &format!(r#"SPREAD "5": {DURATION} 0s to 1h"#)),
        ("BTCFEED_ADDRESS_RATE", "0", r#"RATE "0": expected a number from 1 to 1000000"#),
        ("BTCFEED_TLS_CERT", "tls.crt", r#"BTCFEED_TLS_CERT "tls.crt": expected BTCFEED_TLS_KEY to be set too"#),
        ("BTCFEED_TLS_KEY", "tls.key", r#"BTCFEED_TLS_KEY "tls.key": expected BTCFEED_TLS_CERT to be set too"#),
        ("BTCFEED_TLS_MIN_VERSION", "1.1", r#"BTCFEED_TLS_MIN_VERSION "1.1": expected 1.2 or 1.3"#),
        ("BTCFEED_KEYS_FILE", "/nowhere/keys", r#"KEYS_FILE "/nowhere/keys": cannot read the file: No such"#),
        ("BTCFEED_MAX_CONNECTIONS", "many", "expected a number from 1 to the limit on open files minus 256"),
        ("BTCFEED_MAX_CONNECTIONS", "99999999999", " (the limit on open files minus 256)"),
        ("BTCFEED_MAX_LAG", "0s", "from 1s to 1h"),
        ("BTCFEED_WRITE_STALL", "x", "from 1s to 1h"),
        ("BTCFEED_PING_EVERY", "x", "from 1s to 1h"),
        ("BTCFEED_HEARTBEAT", "x", "from 1s to 1h"),
        ("BTCFEED_CORS_ORIGINS", "https://Example.org", "expected *, none, or a list of origins with commas, in lower"),
        ("RUST_LOG", "info,loud=very", r#"RUST_LOG "loud=very": expected a level (off, error, warn, info, debug, "#),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "\"collector:4318\": expected an http:// or https:// URL"),
        ("BTCFEED_LOG_FORMAT", "xml", r#"BTCFEED_LOG_FORMAT "xml": expected text or json"#),
    ];
    for (name, value, expected) in cases {
        let errors = errors(&[(name, value)]);
        assert_eq!(errors.len(), 1, "{name}={value}: {errors:?}");
        assert!(errors[0].starts_with("invalid ") && errors[0].contains(expected), "{}", errors[0]);
    }
    let of_sources = ["BTCFEED_SOURCE_MIN_INTERVAL", "BTCFEED_SOURCE_COINGECKO_KEY"];
    let tested: Vec<_> = cases.iter().map(|(name, ..)| *name).chain(of_sources).collect();
    for setting in
        settings().iter().filter(|setting| setting.env != "BTCFEED_REPLICA" && !setting.env.ends_with("_URL"))
    {
        assert!(tested.contains(&setting.env), "no invalid value of {} is tested", setting.env);
    }
}

#[test]
fn every_example_is_valid() {
    // Names of files are left out, because no such file exists here.
    let file = ["_FILE", "_CA", "_CERT", "_KEY"];
    let is_file = |env: &str| file.iter().any(|end| env.ends_with(end));
    for setting in settings().iter().filter(|setting| !is_file(setting.env)) {
        let needed = ("BTCFEED_SOURCES", "coinbase,kraken,bitstamp,coindesk");
        let redis = ("REDIS_URL", "redis://localhost");
        let mirror = ("BTCFEED_SOURCE_COINDESK_URL", "http://mirror");
        assert_eq!(
            errors(&[redis, needed, mirror, (setting.env, setting.example)]),
            [] as [&str; 0],
            "{}",
            setting.env
        );
    }
}

#[test]
fn errors_name_the_flag_if_a_flag_was_given() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let flags = [pair("BTCFEED_INTERVAL", "soon"), pair("BTCFEED_ROLE", "serve")];
    let lookup = Lookup::new(flags, [pair("BTCFEED_INTERVAL", "5s"), pair("BTCFEED_MAX_LAG", "x")]);
    let errors = Config::read(&lookup).err().unwrap().0;
    assert!(errors.contains(&format!(r#"invalid --interval "soon": {DURATION} 10ms to 1h"#)), "{errors:?}");
    assert!(errors.iter().any(|error| error.starts_with(r#"invalid --role "serve": expected all, "#)), "{errors:?}");
    assert!(errors.iter().any(|error| error.starts_with(r#"invalid BTCFEED_MAX_LAG "x": "#)), "{errors:?}");
}

#[test]
fn first_currency_is_the_default() {
    let config = read(&[]).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(config.server.default_currency, Currency::Usd);
    let config = read(&[("BTCFEED_CURRENCIES", "EUR, USD")]).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!((config.server.default_currency, config.server.currencies), (Currency::Eur, Currencies::USD_EUR));
}

#[test]
fn all_errors_are_reported_at_once() {
    let errors = errors(&[("BTCFEED_INTERVAL", "x"), ("BTCFEED_LISTEN", "y"), ("BTCFEED_SOURCES", "z")]);
    assert_eq!(errors.len(), 3, "{errors:?}");
}

#[test]
fn redis_is_named_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "redis://:secret@redis:6379").unwrap();
    let file = ("REDIS_URL_FILE", file.path().to_str().unwrap());
    let config = read(&[file, ("BTCFEED_ROLE", "serve")]).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(config.redis.unwrap().url.expose_secret(), "redis://:secret@redis:6379");
    let errors = errors(&[file, ("REDIS_URL", "redis://localhost")]);
    assert!(errors.len() == 1 && errors[0].ends_with("expected no file, because REDIS_URL is set"), "{errors:?}");
}

#[test]
fn feed_is_in_one_store() {
    let store = |environment: &[(&str, &str)]| {
        let config = read(environment).unwrap_or_else(|errors| panic!("{errors:?}"));
        (config.monitor.store, config.redis.is_some(), config.data.is_some())
    };
    assert_eq!(store(&[]), ("disk", false, true));
    assert_eq!(store(&[("BTCFEED_DATA", "none")]), ("memory", false, false));
    assert_eq!(store(&[("BTCFEED_DATA", "/data"), ("REDIS_URL", "redis://localhost")]), ("redis", true, false));
    let demo = read(&[]).unwrap_or_else(|errors| panic!("{errors:?}")).in_memory();
    assert_eq!((demo.monitor.store, demo.data), ("memory", None));
}

#[test]
fn proxy_protocol_needs_trusted_proxies() {
    let on = ("BTCFEED_PROXY_PROTOCOL", "true");
    let addresses = |environment: &[(&str, &str)]| {
        let config = read(environment).unwrap_or_else(|errors| panic!("{errors:?}"));
        (config.server.addresses.proxies, config.server.addresses.has_proxy_protocol)
    };
    assert_eq!(addresses(&[]), (TrustedProxies::default(), false));
    assert_eq!(addresses(&[on]), (TrustedProxies::parse("127.0.0.0/8,::1").unwrap(), true));
    let proxy = ("BTCFEED_TRUSTED_PROXIES", "10.0.0.1");
    assert_eq!(addresses(&[on, proxy]), (TrustedProxies::parse("10.0.0.1").unwrap(), true));
    let expected =
        r#"invalid BTCFEED_PROXY_PROTOCOL "true": expected false, because BTCFEED_TRUSTED_PROXIES names no pr"#;
    let errors = errors(&[on, ("BTCFEED_TRUSTED_PROXIES", "none")]);
    assert!(errors.len() == 1 && errors[0].starts_with(expected), "{errors:?}");
}

#[test]
fn errors_do_not_repeat_passwords() {
    for name in ["REDIS_URL", "BTCFEED_SOURCE_KRAKEN_URL"] {
        for wrong in ["redis:/user:secret@host", "redis://user:secret@host:99999", "ftp://user:sec@ret@host"] {
            let errors = errors(&[(name, wrong)]);
            assert!(errors.len() == 1 && !errors[0].contains("sec"), "{errors:?}");
        }
    }
}

#[test]
fn source_settings_apply_to_their_sources() {
    let given = [
        ("BTCFEED_SOURCES", "coindesk,coingecko,kraken"),
        ("BTCFEED_SOURCE_COINDESK_URL", "http://mirror"),
        ("BTCFEED_SOURCE_COINGECKO_KEY", "CG-1"),
        ("BTCFEED_SOURCE_MIN_INTERVAL", "10s"),
    ];
    let config = read(&given).unwrap_or_else(|errors| panic!("{errors:?}"));
    let secret = |text: &Option<secrecy::SecretString>| text.as_ref().map(|text| text.expose_secret().to_owned());
    let endpoints: Vec<_> = config.sources.iter().map(|source| &source.endpoint).collect();
    let urls: Vec<_> = endpoints.iter().map(|endpoint| secret(&endpoint.url)).collect();
    assert_eq!(urls, [Some("http://mirror".to_owned()), None, None]);
    let keys: Vec<_> = endpoints.iter().map(|endpoint| secret(&endpoint.key)).collect();
    assert_eq!(keys, [None, Some("CG-1".to_owned()), None]);
    assert!(endpoints.iter().all(|endpoint| endpoint.least_interval == Some(Duration::from_secs(10))));
    for (given, error) in [
        (
            ("BTCFEED_SOURCES", "kraken,coindesk"),
            r#""kraken,coindesk": coindesk has no public host, so BTCFEED_SOURCE_COINDESK_URL must be set"#,
        ),
        (("BTCFEED_SOURCE_MIN_INTERVAL", "2h"), &format!(r#"MIN_INTERVAL "2h": {DURATION} 0s to 1h"#)),
    ] {
        let errors = errors(&[given]);
        assert!(errors.len() == 1 && errors[0].contains(error), "{errors:?}");
    }
    let wrong_key = [("BTCFEED_SOURCES", "coingecko"), ("BTCFEED_SOURCE_COINGECKO_KEY", "a b")];
    assert_eq!(errors(&wrong_key), [r#"invalid BTCFEED_SOURCE_COINGECKO_KEY "***": expected a key, in one word"#]);
}
