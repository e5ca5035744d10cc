//! Queries of the streams and of the newest price.

use super::reader::{ID_EXAMPLE, QueryReader, SupportedCurrencies, parse_id, quoted};
use crate::api::problem::Problem;
use crate::encode::Format;
use crate::feed::Start;
use crate::session::{REPLAY_LIMIT, Subscription, ThrottleOptions};
use crate::tick::TickId;
use axum::http::HeaderValue;

/// Reads the query of a stream.
///
/// # Errors
/// 400 that lists the mistakes, at most eight of them.
pub(crate) fn read_subscription(
    query: &str,
    default: Format,
    supported: SupportedCurrencies,
) -> Result<Subscription, Problem> {
    let mut query = QueryReader::new(query);
    let last_event_id = query.last_event_id();
    let mut subscription = query.subscription(default, supported);
    // A client that reconnects repeats its first query, so its last event id is newer than the start in the query.
    if let Some(id) = last_event_id {
        subscription.start = Start::After(id);
    }
    subscription.limit = query.limit(&REPLAY_LIMIT);
    subscription.throttle = ThrottleOptions { changes: query.switch("changes"), every: query.every() };
    subscription.client = query.one(&["client_id"], |text| text.parse().map_err(|error| format!("{error}")));
    subscription.hello = query.switch("hello");
    subscription.notices = query.switch("notices");
    let known = ["currency", "since", "after", "format", "limit", "changes", "every", "client_id", "hello", "notices"];
    query.finish(&known)?;
    Ok(subscription)
}

/// Reads the header `Last-Event-ID`. Returns `None` if it is missing or empty: before the first event, an `EventSource`
/// sends no header, and some libraries send an empty one.
///
/// # Errors
/// 400 if it is not an id.
pub(crate) fn read_last_event_id(header: Option<&HeaderValue>) -> Result<Option<TickId>, Problem> {
    let Some(header) = header.filter(|header| !header.is_empty()) else { return Ok(None) };
    let text = String::from_utf8_lossy(header.as_bytes());
    let id = parse_id(text.trim()).map(Some);
    let text = quoted(&text);
    id.ok_or_else(|| {
        Problem::bad_request(format!(
            "invalid Last-Event-ID {text:?}: expected the id of an update such as {ID_EXAMPLE}"
        ))
    })
}

/// Reads the query of a request for the newest tick.
///
/// # Errors
/// 400 that lists the mistakes, at most eight of them.
pub(crate) fn read_latest(
    query: &str,
    default: Format,
    supported: SupportedCurrencies,
) -> Result<Subscription, Problem> {
    let mut query = QueryReader::new(query);
    let (currencies, format) = (query.currencies(supported), query.format(default));
    query.finish(&["currency", "format"])?;
    Ok(Subscription::new(currencies, format, Start::Latest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::{Currencies, Currency};
    use std::time::Duration;

    const BOTH: SupportedCurrencies = SupportedCurrencies { currencies: Currencies::USD_EUR, default: Currency::Usd };

    fn read(query: &str) -> Result<Subscription, String> {
        read_subscription(query, Format::Timedate, BOTH).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn default_is_the_latest_price_in_dollars() {
        let expected = Subscription::new(Currency::Usd.into(), Format::Timedate, Start::Latest);
        assert_eq!(read(""), Ok(expected));
    }

    #[test]
    fn alternative_names_mean_the_same() {
        for query in
            ["currency=USD&currency=EUR", "currencies=usd,eur", "currency=EUR&currencies=USD", "currency=USD,%20EUR"]
        {
            assert_eq!(read(query).unwrap().currencies, Currencies::USD_EUR, "{query}");
        }
        for query in ["since=1795166431", "since_date=2026-11-20T09:20:31Z", "start_timedate=2026-11-20T10:20:31+01:00"]
        {
            assert_eq!(read(query).unwrap().start, Start::Since(TickId::from_ms(1_795_166_431_000)), "{query}");
        }
        assert_eq!(read("after=1795166431075").unwrap().start, Start::After(TickId::from_ms(1_795_166_431_075)));
        assert_eq!(read("format=full").unwrap().format, Format::Full);
        let all = read("changes=true&every=1m&limit=7&client_id=a.b-c_1.4f9b2c71d0e85a36&hello=true").unwrap();
        assert_eq!(all.throttle, ThrottleOptions { changes: true, every: Some(Duration::from_secs(60)) });
        assert_eq!((all.limit, all.client, all.hello), (Some(7), "a.b-c_1.4f9b2c71d0e85a36".parse().ok(), true));
    }

    #[test]
    fn mistakes_name_value_and_expectation() {
        let cases = [
            ("currency=GBP", r#"invalid currency "GBP": expected USD or EUR"#),
            ("currency=", r#"invalid currency "": expected USD or EUR"#),
            ("since=yesterday", "yesterday"),
            ("start_timedate=12:00", r#""12:00""#),
            ("since=1&since_date=2", r#"repeated since, since_date or start_timedate "1" and "2": expected one value"#),
            ("after=1&after=1&after=2", r#"repeated after "1", "1" and "2": expected one value"#),
            ("after=-1", r#"invalid after "-1": expected the id of an update such as 1795166431075"#),
            ("after=", r#"invalid after """#),
            ("after=99999999999999999999", "invalid after"),
            ("since_date=0&after=2", r#"conflicting since_date="0" and after="2": expected since or after, not both"#),
            ("format=xml", r#""xml""#),
            (
                "curency=EUR",
                r#"unknown parameter "curency": expected currency, currencies, since, since_date, start_timedate, after, format, limit"#,
            ),
            ("limit=0", r#"invalid limit "0": expected a number from 1 to 10000"#),
            ("changes=yes", r#"invalid changes "yes": expected true or false"#),
            ("every=0s", r#"invalid every "0s": expected a duration from 100ms to 24h"#),
            ("every=30", r#"invalid every "30""#),
            ("every=-5s", r#"invalid every "-5s""#),
            ("client_id=a/b", r#"invalid client_id "a/b": expected a random name of 22 to 64 letters"#),
            ("client_id=", r#"invalid client_id """#),
            ("client_id=my-shop", r#"invalid client_id "my-shop""#),
        ];
        for (query, expected) in cases {
            let detail = read(query).expect_err(query);
            assert!(detail.contains(expected), "{query}: {detail}");
        }
        let all = read("currency=GBP&format=xml&since=x").unwrap_err();
        assert!(all.contains("GBP") && all.contains("xml") && all.contains("\"x\""), "all at once: {all}");
    }

    #[test]
    fn forms_of_other_libraries_are_accepted() {
        let resumed = Start::After(TickId::from_ms(1_795_166_431_075));
        for name in ["lastEventId", "lastEventID", "last-event-id", "Last-Event-ID"] {
            for start in ["", "&since=2026-11-20", "&after=7"] {
                assert_eq!(read(&format!("{name}=1795166431075{start}")).unwrap().start, resumed, "{name} {start}");
            }
            assert_eq!(read(&format!("{name}=&after=7")).unwrap().start, Start::After(TickId::from_ms(7)), "{name}");
            assert!(read(&format!("{name}=x")).unwrap_err().contains(r#"invalid Last-Event-ID "x""#), "{name}");
        }
        assert_eq!(read("currency[]=USD&currency%5B%5D=EUR&_=1795166431075").unwrap().currencies, Currencies::USD_EUR);
        assert!(read("changes=True&hello=FALSE").unwrap().throttle.changes);
        assert!(read("limit[]=7").unwrap_err().contains(r#"unknown parameter "limit[]""#));
    }

    #[test]
    fn currencies_of_other_feeds_are_rejected() {
        let problem = read_subscription(
            "currency=EUR",
            Format::Timedate,
            SupportedCurrencies { currencies: Currency::Usd.into(), ..BOTH },
        )
        .unwrap_err();
        assert_eq!(problem.detail(), r#"invalid currency "EUR": expected USD"#);
    }
}
