//! The settings of the sources and of the price that is made of their answers. The registry of sources gives their
//! names, URLs and currencies.

use super::reader::Reader;
use super::row::{Rejected, Row, Values};
use super::setting::{DefaultValue, Setting};
use super::url::HttpUrl;
use super::values::{DAY, Durations, HOUR, Numbers, Share};
use crate::aggregate;
use crate::source::{DEFINITIONS, Definition, Endpoint, Origin, Source, find};
use crate::text::join_list;
use crate::tick::{Currencies, Currency};
use secrecy::SecretString;
use std::sync::LazyLock;
use std::time::Duration;

const SECTION: &str = "Prices";

const INTERVAL: Row<Durations> = Row {
    env: "BTCFEED_INTERVAL",
    help: "Time between two polls of the sources",
    details: "A source must answer within 60 % of it, and within 3s.",
    values: Durations::between(Duration::from_millis(10), HOUR),
    default: DefaultValue::Fixed("5s"),
    example: "2s",
};

const CURRENCIES: Row<CurrencyList> = Row {
    env: "BTCFEED_CURRENCIES",
    help: "Currencies of the prices, the first of which is the default for clients",
    details: "",
    values: CurrencyList,
    default: DefaultValue::Fixed("USD,EUR"),
    example: "EUR",
};

const MIN_INTERVAL: Row<Durations> = Row {
    env: "BTCFEED_SOURCE_MIN_INTERVAL",
    help: "Minimum time between two polls of a source",
    details: "Until the next poll of a source, its last answer is used again, and the age of the answer grows. Each \
              source has a minimum of its own. Set a shorter time only for mirrors: the exchanges reject clients that \
              ask more often.",
    values: Durations { min: Duration::ZERO, max: HOUR, min_words: Some("0s") },
    default: DefaultValue::Derived("each source's own, see the table in docs/configuration.md"),
    example: "10s",
};

const MAX_AGE: Row<Durations> = Row {
    env: "BTCFEED_SOURCE_MAX_AGE",
    help: "Maximum age of a source's price",
    details: "This applies to the time in the answer, to the arrival of the answer and, if the price is that of the \
              last trade, to the time of this trade. None of these times may be in the future by more than this \
              maximum. For a source with a minimum interval, the maximum age is at least three times that interval.",
    values: Durations::up_to(DAY),
    default: DefaultValue::Fixed("60s"),
    example: "30s",
};

const OUTLIER_SHARE: Row<Share> = Row {
    env: "BTCFEED_OUTLIER_SHARE",
    help: "Maximum difference between a source's value and the median of the other sources, as a share",
    details: "A source that differs more is left out, until its difference is at most half of this share.",
    values: Share,
    default: DefaultValue::Fixed("0.01"),
    example: "0.02",
};

const CLAMP_SHARE: Row<Share> = Row {
    env: "BTCFEED_CLAMP_SHARE",
    help: "Maximum difference between a used value and the median of the values that agree, as a share",
    details: "A value that differs more is moved to this bound.",
    values: Share,
    default: DefaultValue::Fixed("0.005"),
    example: "0.01",
};

const MIN_SOURCES: Row<Numbers> = Row {
    env: "BTCFEED_MIN_SOURCES",
    help: "Minimum number of sources that must agree on a price",
    details: "If fewer sources are configured for a currency, all of them must agree. With 1, a source that is alone \
              may move the price at most as fast as several sources did in the hour that ended with their last \
              agreement.",
    values: Numbers { min: 1, max: 100, max_words: None },
    default: DefaultValue::Fixed("2"),
    example: "3",
};

const FROZEN_POLLS: Row<Numbers> = Row {
    env: "BTCFEED_FROZEN_POLLS",
    help: "Number of polls after which a source that repeats its answer is left out",
    details: "A poll counts only if more than half of the other sources moved in it. An answer with a new time is not \
              a repeat.",
    values: Numbers { min: 2, max: 1_000_000, max_words: None },
    default: DefaultValue::Fixed("24"),
    example: "60",
};

/// The names of the default sources.
static DEFAULT_SOURCES: LazyLock<String> =
    LazyLock::new(|| names(|definition| definition.is_default).collect::<Vec<_>>().join(","));

fn sources_row() -> Row<SourceList> {
    Row {
        env: "BTCFEED_SOURCES",
        help: "Sources to poll",
        details: "docs/method.md says how their answers become a price.",
        values: SourceList,
        default: DefaultValue::Fixed(&DEFAULT_SOURCES),
        example: "kraken,bitstamp",
    }
}

/// Returns the row of the URL of a source, if it has one.
fn url_row(definition: &'static Definition) -> Option<Row<HttpUrl>> {
    let api = definition.api()?;
    Some(Row {
        env: api.url_variable,
        help: api.url_help,
        details: "",
        values: HttpUrl,
        default: api.base_url.map_or(DefaultValue::Derived("none"), DefaultValue::Fixed),
        example: "http://localhost:8000",
    })
}

/// Returns the row of the API key of a source, if it can use one.
fn key_row(definition: &'static Definition) -> Option<Row<ApiKey>> {
    let key = definition.api()?.key?;
    Some(Row {
        env: key.variable,
        help: key.help,
        details: "",
        values: ApiKey,
        default: DefaultValue::Derived("none"),
        example: "CG-1a2b3c",
    })
}

/// The settings of the prices.
pub(super) struct PriceSettings {
    /// The time between two polls.
    pub(super) interval: Duration,
    /// The currency of clients that choose none.
    pub(super) default_currency: Currency,
    /// The sources to poll.
    pub(super) sources: Vec<SourceConfig>,
    /// The options of the aggregator.
    pub(super) aggregate: aggregate::Options,
}

/// A source to poll. Its URL may contain a password, so this type does not implement `Debug`.
#[derive(Clone)]
pub struct SourceConfig {
    /// The source.
    pub definition: &'static Definition,
    /// How it is reached.
    pub endpoint: Endpoint,
}

impl SourceConfig {
    /// Opens the source.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self) -> anyhow::Result<Box<dyn Source>> {
        self.definition.open(&self.endpoint)
    }
}

/// API keys. They are never shown.
#[derive(Clone, Copy)]
struct ApiKey;

impl Values for ApiKey {
    type Value = SecretString;

    fn expected(&self) -> String {
        "a key, in one word".to_owned()
    }

    fn parse(&self, text: &str) -> Result<SecretString, Rejected> {
        let is_key = text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_key { Ok(text.into()) } else { Err(Rejected::Unexpected) }
    }

    fn redact(&self, _: &str) -> String {
        "***".to_owned()
    }

    fn is_secret(&self) -> bool {
        true
    }
}

/// Currencies, separated by commas.
#[derive(Clone, Copy)]
struct CurrencyList;

impl Values for CurrencyList {
    type Value = Vec<Currency>;

    fn expected(&self) -> String {
        format!("{} (a list with commas)", alternatives(Currency::ALL.iter().map(|currency| currency.code())))
    }

    fn parse(&self, text: &str) -> Result<Vec<Currency>, Rejected> {
        let part = |code: &str| code.parse().map_err(|_| Rejected::Part(code.to_owned()));
        distinct(text.split(',').map(str::trim).map(part).collect::<Result<_, _>>()?, Currency::code)
    }
}

/// Sources, separated by commas.
#[derive(Clone, Copy)]
struct SourceList;

impl Values for SourceList {
    type Value = Vec<&'static Definition>;

    fn expected(&self) -> String {
        let real = alternatives(names(|definition| !is_simulation(definition)));
        let simulated = alternatives(names(is_simulation));
        format!("{real} (a list with commas), or {simulated} alone")
    }

    fn parse(&self, text: &str) -> Result<Self::Value, Rejected> {
        let part = |name: &str| find(name).ok_or_else(|| Rejected::Part(name.to_owned()));
        let sources = text.split(',').map(str::trim).map(part).collect::<Result<Vec<_>, _>>()?;
        // Simulated prices must not be mixed with real ones.
        if sources.len() > 1 && sources.iter().any(|definition| is_simulation(definition)) {
            return Err(Rejected::Unexpected);
        }
        distinct(sources, |definition| definition.name)
    }
}

fn is_simulation(definition: &Definition) -> bool {
    matches!(definition.origin, Origin::Simulation(_))
}

fn names(is_wanted: impl Fn(&Definition) -> bool) -> impl Iterator<Item = &'static str> {
    DEFINITIONS.iter().filter(move |definition| is_wanted(definition)).map(|definition| definition.name)
}

fn alternatives(words: impl Iterator<Item = &'static str>) -> String {
    join_list(&words.collect::<Vec<_>>(), "or")
}

/// Rejects a list in which something appears twice.
fn distinct<T>(list: Vec<T>, name: impl Fn(T) -> &'static str) -> Result<Vec<T>, Rejected>
where
    T: Copy,
{
    let names: Vec<_> = list.iter().map(|item| name(*item)).collect();
    match names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)) {
        Some((_, twice)) => Err(Rejected::Because(format!("expected each name once, but {twice} appears twice"))),
        None => Ok(list),
    }
}

/// Returns the rows of this file.
pub(super) fn settings() -> Vec<Setting> {
    let mut rows = vec![INTERVAL.setting(SECTION), CURRENCIES.setting(SECTION), sources_row().setting(SECTION)];
    rows.extend(DEFINITIONS.iter().filter_map(|definition| Some(url_row(definition)?.setting(SECTION))));
    rows.extend(DEFINITIONS.iter().filter_map(|definition| Some(key_row(definition)?.setting(SECTION))));
    rows.extend([MIN_INTERVAL.setting(SECTION)]);
    rows.extend([MAX_AGE.setting(SECTION), OUTLIER_SHARE.setting(SECTION), CLAMP_SHARE.setting(SECTION)]);
    rows.extend([MIN_SOURCES.setting(SECTION), FROZEN_POLLS.setting(SECTION)]);
    rows
}

/// Reads the settings of the prices.
pub(super) fn read(reader: &mut Reader<'_>) -> PriceSettings {
    reader.reject_removed("BTCFEED_MAX_DEVIATION", OUTLIER_SHARE.env);
    let interval = reader.value(&INTERVAL);
    let list = reader.value(&CURRENCIES);
    let currencies: Currencies = list.iter().copied().collect();
    let least_interval = reader.lookup(&MIN_INTERVAL);
    let sources = reader.value(&sources_row());
    let sources = sources.into_iter().map(|definition| {
        let url = url_row(definition).and_then(|row| reader.lookup(&row));
        if let (Some(api), None) = (definition.api(), &url)
            && api.base_url.is_none()
        {
            let reason = format!("{} has no public host, so {} must be set", definition.name, api.url_variable);
            reader.reject_because(&sources_row(), &reason);
        }
        let key = key_row(definition).and_then(|row| reader.lookup(&row));
        SourceConfig { definition, endpoint: Endpoint { url, key, least_interval } }
    });
    PriceSettings {
        interval,
        default_currency: list.first().copied().unwrap_or(Currency::Usd),
        sources: sources.collect(),
        aggregate: aggregate::Options {
            currencies,
            // The deadline is well before the next poll. A later price would be too old to be useful.
            deadline: (interval * 6 / 10).min(Duration::from_secs(3)),
            rules: aggregate::Rules {
                interval,
                max_age: reader.value(&MAX_AGE),
                outlier_share: reader.value(&OUTLIER_SHARE),
                clamp_share: reader.value(&CLAMP_SHARE),
                min_sources: reader.value(&MIN_SOURCES),
                frozen_polls: u32::try_from(reader.value(&FROZEN_POLLS)).unwrap_or(u32::MAX),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_sources_come_from_the_registry() {
        let expected = SourceList.expected();
        assert!(expected.starts_with("coinbase, kraken, bitstamp, gemini, bitfinex, bitvavo, "), "{expected}");
        assert!(expected.ends_with(" or coindesk (a list with commas), or simulated alone"), "{expected}");
        assert_eq!(*DEFAULT_SOURCES, "coinbase,kraken,bitstamp,gemini,bitfinex");
    }
}
