//! Checks of the sources. Each source is asked once.

use super::finding::Finding;
use crate::config::{Config, SourceConfig};
use crate::source::Origin;
use crate::tick::Currencies;
use futures_util::future::join_all;
use std::time::Duration;

/// Time for the answer of a source. It is longer than the deadline of a poll, because a check opens a new connection.
const DEADLINE: Duration = Duration::from_millis(3500);

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let currencies = config.server.currencies;
    let asked = join_all(config.sources.iter().map(|source| ask(source, currencies))).await;
    let priced: Currencies = asked.iter().flat_map(|(_, priced)| priced.iter()).collect();
    let missing = currencies.without(priced);
    let mut findings: Vec<_> = asked.into_iter().map(|(finding, _)| finding).collect();
    findings.push(if missing.is_empty() {
        Finding::ok("prices", format!("every currency has a source: {}", currencies.joined("and")))
    } else {
        Finding::fail(
            "prices",
            format!("no source has a price in {missing}"),
            "Add a source for each of these currencies to BTCFEED_SOURCES.",
        )
    });
    findings
}

/// Asks a source. Returns the finding, and the currencies in which the source has a price.
async fn ask(source: &SourceConfig, currencies: Currencies) -> (Finding, Currencies) {
    let name = source.definition.name;
    let wanted = currencies.and(source.definition.currencies);
    if let Origin::Simulation(_) = source.definition.origin {
        let found = format!("{name}: its prices are simulated");
        return (Finding::warn("source", found, "Choose real sources in BTCFEED_SOURCES."), wanted);
    }
    let failed = |reason: &str| {
        let remedy =
            "Check the network and BTCFEED_SOURCE_…_URL. The feed has prices as long as enough other sources agree.";
        Finding::warn("source", format!("{name}: {reason}"), remedy)
    };
    if wanted.is_empty() {
        let found = format!("{name} has no price in {currencies}");
        let remedy = "Remove it from BTCFEED_SOURCES, or add one of its currencies to BTCFEED_CURRENCIES.";
        return (Finding::warn("source", found, remedy), Currencies::NONE);
    }
    let opened = match source.open() {
        Ok(opened) => opened,
        Err(error) => return (failed(&format!("{error:#}")), Currencies::NONE),
    };
    let answers = opened.observe(wanted, DEADLINE).await;
    let priced: Currencies = answers.iter().flat_map(|answer| &answer.observations).map(|seen| seen.currency).collect();
    let errors: Vec<_> = answers.iter().flat_map(|answer| &answer.errors).collect();
    let finding = match errors[..] {
        [] => Finding::ok("source", format!("{name} has a price in {}", priced.joined("and"))),
        [error, ..] => failed(error.for_operators()),
    };
    (finding, priced)
}
