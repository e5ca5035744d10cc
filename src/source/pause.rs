//! The pauses that sources ask for.

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use std::time::{Duration, SystemTime};

/// The maximum pause. A longer `Retry-After` is shortened to it: no exchange bans a client for longer than three days.
const MAX_PAUSE: Duration = Duration::from_secs(3 * 24 * 3600);
/// The pause after 429 (RFC 6585) and 418 (a ban, as Binance sends it) if the answer has no `Retry-After`.
const DEFAULT_PAUSE: Duration = Duration::from_secs(60);
/// The pause after 451 (RFC 7725) if the answer has no `Retry-After`. With 451 a source rejects the region of this
/// machine, and that region rarely changes.
const REGION_PAUSE: Duration = Duration::from_secs(600);

/// Returns the pause that a source asks for: its `Retry-After` (RFC 9110 §10.2.3), or the default of the status. A date
/// in `Retry-After` is compared with the source's own `Date`, or with `now` if it sends none.
pub(super) fn requested_pause(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let pause_until = |until: SystemTime| {
        let sent = text(DATE).and_then(date).unwrap_or(now);
        until.duration_since(sent).unwrap_or_default()
    };
    let requested = text(RETRY_AFTER).and_then(|text| match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => date(text).map(pause_until),
    });
    let default = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::IM_A_TEAPOT => Some(DEFAULT_PAUSE),
        StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => Some(REGION_PAUSE),
        _ => None,
    };
    requested.or(default).map(|pause| pause.min(MAX_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the pause in seconds after an answer that was received on 26 November 2026 at noon.
    fn pause(status: u16, headers: &[(HeaderName, &'static str)]) -> Option<u64> {
        let now = httpdate::parse_http_date("Thu, 26 Nov 2026 12:00:00 GMT").unwrap();
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        requested_pause(StatusCode::from_u16(status).unwrap(), &headers, now).map(|pause| pause.as_secs())
    }

    #[test]
    fn retry_after_may_be_seconds_or_a_date() {
        let (after, date) = (RETRY_AFTER, DATE);
        assert_eq!(pause(503, &[(after.clone(), " 120 ")]), Some(120));
        assert_eq!(pause(503, &[(after.clone(), "Thu, 26 Nov 2026 12:02:00 GMT")]), Some(120));
        assert_eq!(pause(429, &[(after.clone(), "Thu, 26 Nov 2026 11:00:00 GMT")]), Some(0), "the pause is over");
        let clocks_differ = [(after.clone(), "Thu, 26 Nov 2026 13:00:30 GMT"), (date, "Thu, 26 Nov 2026 13:00:00 GMT")];
        assert_eq!(pause(503, &clocks_differ), Some(30), "the source's own clock counts");
        assert_eq!(pause(418, &[(after.clone(), "9999999999")]), Some(3 * 24 * 3600));
        assert_eq!(pause(503, &[(after.clone(), "soon")]), None);
        assert_eq!(pause(429, &[(after, "-1")]), Some(60));
    }

    #[test]
    fn status_of_a_limit_or_ban_has_a_default_pause() {
        assert_eq!(
            [429, 418, 451, 500, 403].map(|status| pause(status, &[])),
            [Some(60), Some(60), Some(600), None, None]
        );
    }
}
