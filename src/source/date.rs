//! The time at which a source sent an answer.
//!
//! Many answers have no time of their own, but every HTTP server with a clock sends a `Date`. The times of several
//! sources together show whether a clock of the feed is wrong.

use crate::tick::TickId;
use reqwest::header::{AGE, DATE, HeaderMap, HeaderName};
use std::time::{Duration, UNIX_EPOCH};

/// Returns the time at which an answer was sent: its `Date` (RFC 9110 §6.6.1). If a cache sent the answer, adds the
/// `Age` of the answer (RFC 9111 §5.1).
pub(super) fn date_of(headers: &HeaderMap) -> Option<TickId> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = httpdate::parse_http_date(text(DATE)?).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let age = text(AGE).and_then(|seconds| seconds.parse::<u32>().ok()).unwrap_or_default();
    let sent = date + Duration::from_secs(age.into());
    Some(TickId::from_ms(u64::try_from(sent.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice;

    #[test]
    fn date_and_age_give_the_time_of_an_answer() {
        let date = |headers: &[(HeaderName, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            date_of(&headers).map(TickId::timedate)
        };
        let sent = (DATE, "Fri, 20 Nov 2026 09:20:31 GMT");
        assert_eq!(date(slice::from_ref(&sent)).unwrap(), "2026-11-20T09:20:31.000Z");
        assert_eq!(date(&[sent.clone(), (AGE, "90")]).unwrap(), "2026-11-20T09:22:01.000Z");
        assert_eq!(date(&[sent, (AGE, "-1")]).unwrap(), "2026-11-20T09:20:31.000Z");
        assert_eq!(date(&[(DATE, "soon")]), None);
        assert_eq!(date(&[(AGE, "90")]), None);
    }
}
