//! The bodies of responses that are sent once: the latest price, a page of the history, a problem.

use super::candles::PageGap;
use super::stream::{GapMessage, StatusMessage};
use super::update::{PriceUpdate, UpdateKind};
use crate::tick::TickId;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The newest tick: one update, or, if several currencies were chosen, an array with an update for each. In the formats
/// `full` and `audit` it is always one tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "a message lives only while it is written or read")]
pub enum Latest<'a> {
    /// One update.
    One(PriceUpdate<'a>),
    /// An update for each currency.
    Several(Vec<PriceUpdate<'a>>),
}

/// A page of the history, oldest entry first, or with `order=desc` newest entry first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = History))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "prices": [{"timedate": "2026-11-20T09:20:26.071Z", "price": 97110}, {"timedate": "2026-11-20T09:20:31.075Z", "price": 97116.17}],
    "gaps": [{"after": 1_795_166_401_070_u64, "before": 1_795_166_426_071_u64, "reason": "source_outage"}],
    "next": 1_795_166_431_075_u64
}))))]
pub struct HistoryPage<'a> {
    /// The updates. In the formats `full` and `audit` and with `notices=true`, statuses and gaps are among them.
    pub prices: Vec<HistoryLine<'a>>,
    /// The ranges in which entries or prices are missing. The field is missing in the formats `full` and `audit` and
    /// with `notices=true`, where gaps are among the prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = Vec<PageGap>))]
    pub gaps: Option<Vec<PageGap>>,
    /// The `after` of the next page. `null` means that you have reached the end. Then poll again with `after` and the
    /// last id that you have. With `order=desc`, the `until` of the next page, and `null` if there are no older
    /// entries.
    #[cfg_attr(feature = "server", schema(required, value_type = Option<u64>))]
    pub next: Option<TickId>,
}

/// A line of the history: an update, or in the formats `full` and `audit` a tick, a status or a gap. With
/// `notices=true`, statuses and gaps are in every format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "a message lives only while it is written or read")]
pub enum HistoryLine<'a> {
    /// An update.
    Update(PriceUpdate<'a>),
    /// A status, in the formats `full` and `audit` or with `notices=true`.
    Status(StatusMessage<'a>),
    /// A gap, in the formats `full` and `audit` or with `notices=true`.
    Gap(GapMessage),
}

/// An error (RFC 9457): what is wrong, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Problem))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "type": "about:blank", "title": "Bad Request", "status": 400,
    "detail": "invalid currency \"GBP\": expected USD or EUR"
}))))]
pub struct ProblemDetails<'a> {
    /// Always `about:blank`, because the status is the type of the problem.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required, pattern = "^about:blank$"))]
    pub r#type: Cow<'a, str>,
    /// The status in words.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub title: Cow<'a, str>,
    /// The HTTP status.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required, minimum = 400, maximum = 599))]
    pub status: u16,
    /// The explanation. For an invalid request it names every invalid value, and what is allowed in its place.
    pub detail: Cow<'a, str>,
    /// The id of the request, as in the header `X-Request-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = String))]
    pub request_id: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for Latest<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let latest = if text.get().starts_with('[') {
            serde_json::from_str(text.get()).map(Latest::Several)
        } else {
            serde_json::from_str(text.get()).map(Latest::One)
        };
        latest.map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for HistoryLine<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let read = |text| {
            let kind: UpdateKind = serde_json::from_str(text)?;
            Ok(match kind.r#type.as_deref() {
                Some("status") => HistoryLine::Status(serde_json::from_str(text)?),
                Some("gap") => HistoryLine::Gap(serde_json::from_str(text)?),
                _ => HistoryLine::Update(serde_json::from_str(text)?),
            })
        };
        read(text.get()).map_err(|error: serde_json::Error| serde::de::Error::custom(error))
    }
}

/// Writes a page with an empty list as JSON, and splits this text where the items of the list belong. With the two
/// parts, a page can be sent while its items are still being read. The empty list must be the first list of the page.
#[cfg(feature = "server")]
pub(crate) fn text_around_list(page: &impl Serialize) -> (String, String) {
    let text = serde_json::to_string(page).expect("a page has string keys");
    let (before, after) = text.split_once("[]").expect("a page has an empty list");
    (format!("{before}["), format!("]{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_read_as_it_is_written() {
        let json = concat!(
            r#"{"prices":[{"timedate":"2026-11-20T09:20:26.071Z","price":97110.10},"#,
            r#"{"timestamp":1795166431,"price":89348.250,"currency":"EUR"},"#,
            r#"{"type":"tick","id":20,"prev":10,"timedate":"1970-01-01T00:00:00.020Z","prices":{"USD":1.50},"sources":{"USD":["kraken"]}},"#,
            r#"{"type":"status","id":30,"prev":20,"state":"stale","since":"1970-01-01T00:00:00.020Z","reason":"no answer"},"#,
            r#"{"type":"gap","after":30,"before":40,"reason":"history_lost"}],"next":40}"#
        );
        let page: HistoryPage<'_> = serde_json::from_str(json).unwrap();
        assert_eq!(page.prices.len(), 5);
        assert_eq!(serde_json::to_string(&page).unwrap(), json);
    }

    #[test]
    fn latest_is_one_update_or_an_array() {
        for json in [
            r#"{"timestamp":1795166431,"price":97116.170}"#,
            r#"[{"timestamp":1795166431,"price":97116.170,"currency":"USD"}]"#,
        ] {
            let latest: Latest<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(matches!(latest, Latest::Several(_)), json.starts_with('['));
            assert_eq!(serde_json::to_string(&latest).unwrap(), json);
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn text_around_list_makes_a_whole_page() {
        let page = HistoryPage { prices: Vec::new(), gaps: None, next: Some(TickId::from_ms(7)) };
        let (before, after) = text_around_list(&page);
        assert_eq!((&*before, &*after), (r#"{"prices":["#, r#"],"next":7}"#));
        let (_, after) = text_around_list(&HistoryPage { gaps: Some(Vec::new()), ..page });
        assert_eq!(after, r#"],"gaps":[],"next":7}"#);
    }
}
