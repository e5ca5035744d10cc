//! The documents that are made from the tables of settings. `UPDATE_DOCS=1 cargo test documents` updates them.

use super::lookup::environment;
use super::setting::{DefaultValue, Setting};
use super::settings::{sections, settings};
use crate::source::DEFINITIONS;
use crate::text::format_duration;
use crate::tick::Currency;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

const EXAMPLE_HEAD: &str = "\
# All settings of btcfeed with their defaults. Copy this file to .env for docker-compose, or export the variables that
# you need. Each setting is also a flag: BTCFEED_INTERVAL=5s is --interval 5s. `btcfeed config` prints the values in
# use, and docs/configuration.md describes all settings. A test makes this file: UPDATE_DOCS=1 cargo test documents
#
# docker-compose.yml gives all settings in .env to the replicas, except these six, because its replicas are all alike,
# share its Redis and are reached through its nginx:
#   REDIS_URL REDIS_URL_FILE BTCFEED_ROLE BTCFEED_REPLICA BTCFEED_LISTEN BTCFEED_OPS_LISTEN
";

const EXAMPLE_TAIL: &str = "
# --- docker-compose only ---

# The port of this machine for clients, as PORT or ADDRESS:PORT
# BTCFEED_PORT=8080

# The same for gRPC
# BTCFEED_GRPC_PORT=8081

# The same for Prometheus and Grafana (profile `monitoring`)
# BTCFEED_PROMETHEUS_PORT=127.0.0.1:9090
# BTCFEED_GRAFANA_PORT=127.0.0.1:3000
";

const REFERENCE_HEAD: &str = "\
# Configuration

<!-- A test makes this page from the tables in src/config/. To update it: UPDATE_DOCS=1 cargo test documents -->

Every setting is an environment variable and a flag: `BTCFEED_INTERVAL=2s` is `--interval 2s`. A flag takes
precedence over the variable, and an empty value counts as not set. [`.env.example`](../.env.example) lists all
variables for docker-compose, and `btcfeed config` prints the values in use in the same form, without passwords.

- All invalid settings are reported together, before any port is bound. The exit code is then 2.
- A variable that looks like a setting but is none (`BTCFEED_INTERVALL`, `REDIS_URI`) causes a warning. If a setting has
  a similar name, the warning suggests it.
- Durations have the units `ms`, `s`, `m`, `h` and `d`: `500ms`, `30s`, `1h30m`.
- `TOKIO_WORKER_THREADS` sets the number of threads in each of three groups: for streams, for other requests of clients
  and for all other work. The default is the number of cores.
";

const COMPOSE: &str = "
## docker-compose

`docker-compose.yml` takes the settings from the environment or from a file `.env` beside it, except `REDIS_URL`,
`REDIS_URL_FILE`, `BTCFEED_ROLE`, `BTCFEED_REPLICA`, `BTCFEED_LISTEN` and `BTCFEED_OPS_LISTEN`, which it does not pass
on. It has four more variables. Each of them sets a port of this machine, as `PORT` or `ADDRESS:PORT`: `BTCFEED_PORT`
for clients (default `8080`), `BTCFEED_GRPC_PORT` for gRPC (`8081`) and, with the profile `monitoring`,
`BTCFEED_PROMETHEUS_PORT` for Prometheus (`127.0.0.1:9090`) and `BTCFEED_GRAFANA_PORT` for Grafana (`127.0.0.1:3000`).
";

fn example() -> String {
    let mut text = EXAMPLE_HEAD.to_owned();
    for (section, settings) in sections() {
        write!(text, "\n# --- {section} ---\n").unwrap();
        for setting in settings {
            let note = match setting.default {
                DefaultValue::Fixed(_) => String::new(),
                DefaultValue::Derived(words) => format!(" (default: {words})"),
            };
            let (help, expected, default) =
                (setting.help, &setting.expected, setting.default.fixed().unwrap_or_default());
            write!(text, "\n# {help}{note}\n# Value: {expected}\n# {}={default}\n", setting.env).unwrap();
        }
    }
    text + EXAMPLE_TAIL
}

fn reference() -> String {
    let mut text = REFERENCE_HEAD.to_owned();
    for (section, settings) in sections() {
        write!(text, "\n## {section}\n").unwrap();
        if section == "Prices" {
            text += &sources();
        }
        for setting in settings {
            text += &entry(setting);
        }
    }
    text + COMPOSE
}

const SOURCES: &str = "
A source is asked only for the currencies that it has, and asked again only after its minimum interval, which
`BTCFEED_SOURCE_MIN_INTERVAL` can change. Until then its last answer is used again, and its age grows. Where you show
the prices, credit the sources as their terms require.

| source | name | currencies | default | minimum interval | terms |
|---|---|---|---|---|---|
";

fn sources() -> String {
    let mut text = SOURCES.to_owned();
    for source in &DEFINITIONS {
        let codes: Vec<_> = source.currencies.iter().map(Currency::code).collect();
        let default = if source.is_default { "yes" } else { "no" };
        let title = source.attribution.map_or(source.title.to_owned(), |link| format!("[{}]({link})", source.title));
        let terms = source.terms.map_or("–".to_owned(), |link| format!("[terms]({link})"));
        let interval = match source.least_interval {
            Duration::ZERO => "–".to_owned(),
            interval => format_duration(interval),
        };
        let (name, codes) = (source.name, codes.join(", "));
        writeln!(text, "| {title} | `{name}` | {codes} | {default} | {interval} | {terms} |").unwrap();
    }
    text
}

fn entry(setting: &Setting) -> String {
    let default = match setting.default {
        DefaultValue::Fixed(value) => format!("`{value}`"),
        DefaultValue::Derived(words) => words.to_owned(),
    };
    let details = if setting.details.is_empty() { String::new() } else { format!(" {}", setting.details) };
    format!(
        "\n### `{}`\n\n{}.{details}\n\n- Flag: `--{}`\n- Value: {}\n- Default: {default}\n- Example: `{}`\n",
        setting.env,
        setting.help,
        setting.flag(),
        setting.expected,
        setting.example
    )
}

/// Compares a document with the file in the repository, or writes the file.
fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let update = environment("UPDATE_DOCS").is_some_and(|value| !value.is_empty());
    if update {
        fs::write(&path, text).unwrap();
    }
    let is_current = fs::read_to_string(&path).is_ok_and(|found| found == text);
    assert!(is_current, "{file} differs from the tables in src/config: run UPDATE_DOCS=1 cargo test documents");
}

#[test]
fn env_example_is_up_to_date() {
    check(".env.example", &example());
    // The defaults of these variables are in docker-compose.yml.
    let compose = include_str!("../../docker-compose.yml");
    for line in EXAMPLE_TAIL.lines().filter_map(|line| line.strip_prefix("# BTCFEED_")) {
        let default = format!("${{BTCFEED_{}}}", line.replacen('=', ":-", 1));
        assert!(compose.contains(&default), "{default}");
    }
}

#[test]
fn configuration_reference_is_up_to_date() {
    check("docs/configuration.md", &reference());
}

#[test]
fn help_lines_are_short_and_plain() {
    for setting in settings() {
        assert!(setting.help.len() <= 100 && !setting.help.ends_with('.'), "{}", setting.env);
        assert!(setting.details.is_empty() || setting.details.ends_with('.'), "{}", setting.env);
        assert!(!setting.example.is_empty() && setting.default.as_str() != setting.example, "{}", setting.env);
    }
}
