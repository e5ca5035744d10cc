//! What went into the prices of a tick, so that anyone can compute them again.

use super::currency::Currency;
use super::id::TickId;
use super::method::MethodParameters;
use super::price::Price;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// What one source said about one currency in a poll, and how it was used.
///
/// In an audit, exactly one of [`used`](Input::used) and [`excluded`](Input::excluded) has a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The name of the source.
    pub source: String,
    /// The currency.
    pub currency: Currency,
    /// The best bid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bid: Option<Price>,
    /// The best ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Price>,
    /// The price of the last trade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Price>,
    /// The price that the source stands for, made from the three prices above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Price>,
    /// The time of the answer by the source's clock, if the source gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<TickId>,
    /// The time by the leader's clock at which the answer arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<TickId>,
    /// The time that the request took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u32>,
    /// The price that went into the aggregated price: `value`, or the limit to which the method moved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Price>,
    /// The reason why the source was not used, as text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<String>,
}

/// Everything that is needed to compute the prices of a tick again. The store keeps it beside the tick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The numbers of the method that applied to this tick.
    #[serde(default)]
    pub parameters: MethodParameters,
    /// The inputs, grouped by currency. Within a currency, they are in the order in which the sources are configured.
    #[serde(deserialize_with = "known_inputs")]
    pub inputs: Vec<Input>,
}

/// Reads inputs, without those in a currency of a newer version.
fn known_inputs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Input>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Known(Input),
        Other { currency: String },
    }
    let known = |stored| match stored {
        Stored::Known(input) => Some(Ok(input)),
        Stored::Other { currency } => match currency.parse::<Currency>() {
            Ok(currency) => Some(Err(D::Error::custom(format!("invalid input in {currency}")))),
            Err(_) => None,
        },
    };
    Vec::<Stored>::deserialize(deserializer)?.into_iter().filter_map(known).collect()
}

/// The maximum number of characters of a text in an input. Some texts come from a source.
const MAX_TEXT: usize = 200;

impl Input {
    /// The input of a source that gave no price, with the reason.
    pub fn excluded(source: &str, currency: Currency, reason: &str) -> Input {
        let reason = reason.chars().take(MAX_TEXT).collect();
        Input { excluded: Some(reason), ..Input::new(source, currency) }
    }

    /// An input without any price.
    pub fn new(source: &str, currency: Currency) -> Input {
        Input {
            source: source.to_owned(),
            currency,
            bid: None,
            ask: None,
            last: None,
            value: None,
            time: None,
            fetched: None,
            latency_ms: None,
            used: None,
            excluded: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_audit_decodes_to_the_same() {
        let json = concat!(
            r#"{"parameters":{},"inputs":[{"source":"kraken","currency":"USD","bid":"97116.1","ask":"97116.30","#,
            r#""value":"97116.20","fetched":1795166431075,"latency_ms":81,"used":"97116.20"},"#,
            r#"{"source":"bitstamp","currency":"EUR","excluded":"HTTP 503"}]}"#
        );
        let audit: Audit = serde_json::from_str(json).unwrap();
        assert_eq!(audit.inputs[0].bid.unwrap().to_string(), "97116.1");
        assert_eq!(serde_json::to_string(&audit).unwrap(), json);
        let newer = json.replacen("{}", r#"{"share":"0.01"}"#, 1).replacen("{\"source\"", r#"{"depth":1,"source""#, 1);
        assert!(serde_json::from_str::<Audit>(&newer).is_ok(), "fields of newer versions are ignored");
        let gold = json.replacen(r#""inputs":["#, r#""inputs":[{"source":"kraken","currency":"XAU","last":"7"},"#, 1);
        assert_eq!(serde_json::from_str::<Audit>(&gold).unwrap(), audit, "a currency of a newer version is left out");
        assert!(serde_json::from_str::<Audit>(&json.replacen("97116.1", "cheap", 1)).is_err());
        let audit: Audit = serde_json::from_str(r#"{"inputs":[]}"#).unwrap();
        assert_eq!(audit, Audit::default());
    }

    #[test]
    fn long_reason_is_cut() {
        let input = Input::excluded("kraken", Currency::Usd, &"é".repeat(1000));
        assert_eq!(input.excluded.unwrap().chars().count(), MAX_TEXT);
    }
}
