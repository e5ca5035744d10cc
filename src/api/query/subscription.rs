//! The queries of the streams and of the newest price.

use super::reader::{ID_EXAMPLE, QueryReader, SupportedCurrencies, parse_id};
use crate::api::problem::Problem;
use crate::encode::Format;
use crate::session::{REPLAY_LIMIT, Start, Subscription, ThrottleOptions};
use crate::tick::TickId;
use axum::http::HeaderValue;

/// Reads the query of a stream. `offer` is what there is to choose from.
pub(crate) fn read_subscription(
    query: &str,
    default: Format,
    offer: SupportedCurrencies,
) -> Result<Subscription, Problem> {
    let mut query = QueryReader::new(query);
    let mut subscription = query.subscription(default, offer);
    subscription.limit = query.limit(&REPLAY_LIMIT);
    subscription.throttle = ThrottleOptions { changes: query.switch("changes"), every: query.every() };
    subscription.client = query.one(&["client_id"], |text| text.parse().map_err(|error| format!("{error}")));
    subscription.hello = query.switch("hello");
    let known = ["currency", "since", "after", "format", "limit", "changes", "every", "client_id", "hello"];
    query.finish(&known)?;
    Ok(subscription)
}

/// Reads the id that an `EventSource` saw last. It sends none before it saw one, and some libraries an empty one.
pub(crate) fn read_last_event_id(header: Option<&HeaderValue>) -> Result<Option<TickId>, Problem> {
    let Some(header) = header.filter(|header| !header.is_empty()) else { return Ok(None) };
    let text = String::from_utf8_lossy(header.as_bytes());
    let id = parse_id(text.trim()).map(Some);
    id.ok_or_else(|| {
        Problem::bad_request(format!("Last-Event-ID reads the id of an update ({ID_EXAMPLE}), got {text:?}"))
    })
}

/// Reads the query of a request that begins nowhere, for the newest tick.
pub(crate) fn read_latest(query: &str, default: Format, offer: SupportedCurrencies) -> Result<Subscription, Problem> {
    let mut query = QueryReader::new(query);
    let (currencies, format) = (query.currencies(offer), query.format(default));
    query.finish(&["currency", "format"])?;
    Ok(Subscription::new(currencies, format, Start::Latest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::{Currencies, Currency};
    use std::time::Duration;

    const BOTH: SupportedCurrencies = SupportedCurrencies { currencies: Currencies::all(), default: Currency::Usd };

    fn read(query: &str) -> Result<Subscription, String> {
        read_subscription(query, Format::Timedate, BOTH).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn without_a_query_it_is_the_latest_price_in_dollars() {
        let expected = Subscription::new(Currency::Usd.into(), Format::Timedate, Start::Latest);
        assert_eq!(read(""), Ok(expected));
    }

    #[test]
    fn every_name_of_a_parameter_means_the_same() {
        for query in
            ["currency=USD&currency=EUR", "currencies=usd,eur", "currency=EUR&currencies=USD", "currency=USD,%20EUR"]
        {
            assert_eq!(read(query).unwrap().currencies, Currencies::all(), "{query}");
        }
        for query in ["since=1795166431", "since_date=2026-11-20T09:20:31Z", "start_timedate=2026-11-20T10:20:31+01:00"]
        {
            assert_eq!(read(query).unwrap().start, Start::Since(TickId::from_ms(1_795_166_431_000)), "{query}");
        }
        assert_eq!(read("after=1795166431075").unwrap().start, Start::After(TickId::from_ms(1_795_166_431_075)));
        assert_eq!(read("format=full").unwrap().format, Format::Full);
        let all = read("changes=true&every=1m&limit=7&client_id=a.b-c_1&hello=true").unwrap();
        assert_eq!(all.throttle, ThrottleOptions { changes: true, every: Some(Duration::from_secs(60)) });
        assert_eq!((all.limit, all.client.unwrap().to_string(), all.hello), (Some(7), "a.b-c_1".to_owned(), true));
    }

    #[test]
    fn every_mistake_is_named_with_what_is_allowed() {
        let cases = [
            ("currency=GBP", r#"currency reads USD or EUR, got "GBP""#),
            ("currency=", r#"currency reads USD or EUR, got """#),
            ("since=yesterday", "since reads RFC 3339"),
            ("start_timedate=12:00", r#"got "12:00""#),
            ("since=1&since_date=2", r#"one of since, since_date and start_timedate may stand once, got "1" and "2""#),
            ("after=1&after=1&after=2", r#"after may stand once, got "1", "1" and "2""#),
            ("after=-1", r#"after reads the id of an update (1795166431075), got "-1""#),
            ("after=", "after reads the id"),
            ("after=99999999999999999999", "after reads the id"),
            ("since_date=1&after=2", r#"since and after exclude each other, got since_date="1" and after="2""#),
            ("format=xml", r#"format reads timedate, timestamp or full, got "xml""#),
            (
                "curency=EUR",
                r#"there is no parameter "curency", only currency, currencies, since, since_date, start_timedate, after, format, limit"#,
            ),
            ("limit=0", r#"limit reads a number from 1 to 10000, got "0""#),
            ("changes=yes", r#"changes reads true or false, got "yes""#),
            ("every=0s", "every reads a time from 100ms to 24h"),
            ("every=30", r#"got "30""#),
            ("every=-5s", r#"got "-5s""#),
            ("client_id=a/b", "client_id reads 1 to 64 letters"),
            ("client_id=", r#"got """#),
        ];
        for (query, expected) in cases {
            let detail = read(query).expect_err(query);
            assert!(detail.contains(expected), "{query}: {detail}");
        }
        let all = read("currency=GBP&format=xml&since=x").unwrap_err();
        assert!(all.contains("GBP") && all.contains("xml") && all.contains("\"x\""), "all at once: {all}");
    }

    #[test]
    fn a_currency_that_this_feed_does_not_have_is_refused() {
        let problem = read_subscription(
            "currency=EUR",
            Format::Timedate,
            SupportedCurrencies { currencies: Currency::Usd.into(), ..BOTH },
        )
        .unwrap_err();
        assert_eq!(problem.detail(), r#"currency reads USD, got "EUR""#);
    }
}
