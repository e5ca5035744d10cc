//! What the settings promise.

use super::*;
use std::collections::BTreeMap;

fn read(given: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let given: BTreeMap<_, _> = given.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Config::read(|name| given.get(name).cloned()).map_err(|mistakes| mistakes.0)
}

#[test]
fn without_any_setting_it_is_one_process_that_polls_three_exchanges_every_five_seconds() {
    let config = read(&[]).unwrap();
    assert!(config.redis.is_none());
    assert_eq!(config.leader.interval, Duration::from_secs(5));
    assert_eq!(config.leader.stale_after, Duration::from_secs(15));
    assert_eq!(config.leader.down_after, Duration::from_secs(60));
    assert_eq!(config.aggregate.deadline, Duration::from_secs(3));
    assert_eq!(config.store.retention, Duration::from_secs(24 * 3600));
    let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["coinbase", "kraken", "bitstamp"]);
}

#[test]
fn each_wrong_value_names_the_variable_the_value_and_what_is_allowed() {
    let cases = [
        (
            "REDIS_URL",
            "http://localhost:80",
            r#"REDIS_URL reads redis://HOST:PORT/DATABASE, rediss://… or unix://PATH, got "http://localhost:80""#,
        ),
        ("REDIS_URL", "foo", r#"got "foo""#),
        ("BTCFEED_KEY_PREFIX", "a{b", r#"BTCFEED_KEY_PREFIX reads a name without braces and spaces, got "a{b""#),
        ("BTCFEED_ROLE", "both", r#"BTCFEED_ROLE reads all, fetch or serve, got "both""#),
        (
            "BTCFEED_ROLE",
            "serve",
            r#"BTCFEED_ROLE reads all where no REDIS_URL is set, for there is no other replica, got "serve""#,
        ),
        (
            "BTCFEED_LISTEN",
            "8080",
            r#"BTCFEED_LISTEN reads an IP address and a port (0.0.0.0:8080, [::]:8080), got "8080""#,
        ),
        ("BTCFEED_OPS_LISTEN", "localhost", "BTCFEED_OPS_LISTEN reads an IP address and a port"),
        ("BTCFEED_INTERVAL", "2h", r#"BTCFEED_INTERVAL reads a duration in ms, s, m or h, from 10ms to 1h, got "2h""#),
        ("BTCFEED_INTERVAL", "5", r#"got "5""#),
        ("BTCFEED_INTERVAL", "0s", r#"got "0s""#),
        (
            "BTCFEED_CURRENCIES",
            "USD,GBP",
            r#"BTCFEED_CURRENCIES reads USD or EUR, or several of them with commas, got "USD,GBP""#,
        ),
        (
            "BTCFEED_CURRENCIES",
            "usd,EUR,USD",
            r#"BTCFEED_CURRENCIES reads each currency once, got USD again in "usd,EUR,USD""#,
        ),
        (
            "BTCFEED_SOURCES",
            "kraken,mtgox",
            r#"BTCFEED_SOURCES reads names out of coinbase, kraken, bitstamp, coindesk, simulated, got "mtgox""#,
        ),
        (
            "BTCFEED_SOURCES",
            "simulated,kraken",
            r#"BTCFEED_SOURCES reads simulated alone, or none of it: made up prices are not to be mixed with real ones, got "simulated,kraken""#,
        ),
        (
            "BTCFEED_SOURCES",
            "kraken,kraken",
            r#"BTCFEED_SOURCES reads each name once, got "kraken" again in "kraken,kraken""#,
        ),
        (
            "BTCFEED_SOURCE_KRAKEN_URL",
            "ftp://kraken",
            r#"BTCFEED_SOURCE_KRAKEN_URL: an address begins with http:// or https://, got "ftp://kraken""#,
        ),
        ("BTCFEED_SOURCE_MAX_AGE", "-1s", "BTCFEED_SOURCE_MAX_AGE reads a duration in ms, s, m or h, from 1s to 24h"),
        (
            "BTCFEED_MAX_DEVIATION",
            "5%",
            r#"BTCFEED_MAX_DEVIATION reads a share between 0 and 1 (0.05 is 5 %), got "5%""#,
        ),
        (
            "BTCFEED_STALE_AFTER",
            "1s",
            r#"BTCFEED_STALE_AFTER reads a duration in ms, s, m or h, from 10s (twice BTCFEED_INTERVAL) to 24h, got "1s""#,
        ),
        (
            "BTCFEED_DOWN_AFTER",
            "14s",
            r#"BTCFEED_DOWN_AFTER reads a duration in ms, s, m or h, from 15s (BTCFEED_STALE_AFTER) to 24h, got "14s""#,
        ),
        ("BTCFEED_RETENTION", "a day", "BTCFEED_RETENTION reads a duration in ms, s, m or h, from 10s to 8784h"),
        ("BTCFEED_WINDOW", "0", r#"BTCFEED_WINDOW reads a number from 100 to 10000000, got "0""#),
        ("BTCFEED_LEASE_TTL", "1ms", "BTCFEED_LEASE_TTL reads a duration in ms, s, m or h, from 1s to 1m"),
        ("BTCFEED_MAX_CONNECTIONS", "many", "BTCFEED_MAX_CONNECTIONS reads a number from 1 to"),
        ("BTCFEED_MAX_LAG", "0s", "from 1s to 1h, got"),
        ("BTCFEED_WRITE_STALL", "x", "from 1s to 1h, got"),
        ("BTCFEED_PING_EVERY", "x", "from 1s to 1h, got"),
        ("BTCFEED_HEARTBEAT", "x", "from 1s to 1h, got"),
        (
            "BTCFEED_CORS_ORIGINS",
            "https://Example.org",
            "BTCFEED_CORS_ORIGINS reads *, none, or origins with commas between them as browsers write them \
             (https://example.org, in small letters, without a path and without the usual port), got \"https://Example.org\"",
        ),
        (
            "RUST_LOG",
            "info,loud=very",
            r#"invalid RUST_LOG "loud=very": expected a level (off, error, warn, info, debug, trace), or target=level pairs separated by commas"#,
        ),
        ("BTCFEED_LOG_FORMAT", "xml", r#"BTCFEED_LOG_FORMAT reads text or json, got "xml""#),
    ];
    for (name, value, expected) in cases {
        let mistakes = read(&[(name, value)]).expect_err(name);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].contains(expected), "{}", mistakes[0]);
    }
    let tested: Vec<_> = cases.iter().map(|(name, ..)| *name).collect();
    for setting in SETTINGS.iter().filter(|setting| setting.env != "BTCFEED_REPLICA" && !setting.env.ends_with("_URL"))
    {
        assert!(tested.contains(&setting.env), "{} takes anything, or is not tested", setting.env);
    }
}

#[test]
fn the_first_currency_is_for_those_who_choose_none() {
    assert_eq!(read(&[]).unwrap().server.default_currency, Currency::Usd);
    let config = read(&[("BTCFEED_CURRENCIES", "EUR, USD")]).unwrap();
    assert_eq!((config.server.default_currency, config.server.currencies), (Currency::Eur, Currencies::all()));
}

#[test]
fn every_mistake_is_reported_at_once() {
    let mistakes = read(&[("BTCFEED_INTERVAL", "x"), ("BTCFEED_LISTEN", "y"), ("BTCFEED_SOURCES", "z")]).unwrap_err();
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
}

#[test]
fn a_password_in_a_wrong_address_is_not_repeated() {
    for (wrong, shown) in [
        ("redis:/user:secret@host", "***"),
        ("redis://:secret", "redis://***"),
        ("redis://user:secret@host:99999", "redis://***"),
        ("redis://host:secret", "redis://***"),
        ("http://user:sec@ret@host", "http://***"),
        ("unix:/run/redis?pass=secret", "***"),
    ] {
        assert_eq!(secrets::without_secrets(wrong), shown);
        if let Err(mistakes) = read(&[("REDIS_URL", wrong)]) {
            assert!(!mistakes[0].contains("sec"), "{}", mistakes[0]);
        }
    }
}

#[test]
fn the_example_lists_every_setting_with_its_default() {
    let example = include_str!("../../.env.example");
    let lines: BTreeMap<_, _> = example
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once('='))
        .filter(|(name, _)| !name.contains(' '))
        .collect();
    for setting in SETTINGS {
        let listed = lines.get(setting.env).unwrap_or_else(|| panic!("{} is not in .env.example", setting.env));
        assert_eq!(*listed, setting.default.unwrap_or(""), "the default of {}", setting.env);
        assert!(example.contains(setting.help), "{} has another help text in .env.example", setting.env);
    }
    // docker-compose.yml has two of its own, and their defaults.
    let compose = include_str!("../../docker-compose.yml");
    for own in ["BTCFEED_PORT", "BTCFEED_GRPC_PORT"] {
        assert!(compose.contains(&format!("${{{own}:-{}}}", lines[own])), "the default of {own}");
    }
    assert_eq!(lines.len(), SETTINGS.len() + 2, "the example has settings that do not exist: {lines:?}");
}
