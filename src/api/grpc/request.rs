//! Fields of a request, and the timeout and the encoding in its head. Errors name the invalid values, at most eight of
//! them, and what is expected.

use crate::api::query::SupportedCurrencies;
use crate::api::request_errors::RequestErrors;
use crate::session::{EVERY, REPLAY_LIMIT, every_range};
use crate::text::{excerpt, quotable};
use crate::tick::{Currencies, Currency, TickId};
use axum::http::HeaderMap;
use prost_types::Timestamp;
use std::time::Duration;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// Maximum number of characters of a value in an error message.
const MAX_VALUE_CHARACTERS: usize = 40;
/// Maximum number of mistakes in the details of a status. [`RequestErrors`] limits their number in the message.
const MAX_VIOLATIONS: usize = 8;
/// Maximum number of characters of a status's message.
const MAX_MESSAGE_CHARACTERS: usize = 600;
/// Maximum number of characters of the description of a mistake.
const MAX_CHARACTERS: usize = 160;

/// Returns the client's deadline, if there is one (`grpc-timeout`: up to eight digits and a unit).
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let read = || {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let digits = Some(digits).filter(|digits| (1..=8).contains(&digits.len()))?;
        let count = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())??;
        Some(match unit {
            "H" => Duration::from_secs(count * 3600),
            "M" => Duration::from_secs(count * 60),
            "S" => Duration::from_secs(count),
            "m" => Duration::from_millis(count),
            "u" => Duration::from_micros(count),
            "n" => Duration::from_nanos(count),
            _ => return None,
        })
    };
    match read() {
        Some(deadline) => Ok(Some(deadline)),
        None => Err(Status::invalid_argument(format!(
            "invalid grpc-timeout {:?}: expected up to eight digits and one of H, M, S, m, u, n, such as 5S",
            quotable(text, MAX_VALUE_CHARACTERS)
        ))),
    }
}

/// Returns the encoding of the request's messages, or `None` if they are not compressed.
///
/// # Errors
/// `UNIMPLEMENTED`, with the supported encodings, as the gRPC compression specification requires.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Option<CompressionEncoding>, Status> {
    match headers.get("grpc-encoding").map(|value| value.to_str().unwrap_or_default()) {
        None | Some("identity") => Ok(None),
        Some("gzip") => Ok(Some(CompressionEncoding::Gzip)),
        Some(other) => {
            let mut status = Status::unimplemented(format!(
                "unsupported grpc-encoding {:?}: expected identity or gzip",
                quotable(other, MAX_VALUE_CHARACTERS)
            ));
            status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static("identity,gzip"));
            Err(status)
        }
    }
}

/// Escapes non-ASCII characters. The message of a status is percent-encoded in a header. There, a non-ASCII character
/// can need twelve bytes, but an ASCII character needs at most three. So a limit on the characters is a limit on the
/// bytes, too.
fn ascii(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_ascii() { vec![c] } else { c.escape_unicode().collect() }).collect()
}

/// Reader of fields. It collects all mistakes, so that they are reported together.
#[derive(Default)]
pub(crate) struct Fields {
    errors: RequestErrors,
    violations: Vec<FieldViolation>,
}

impl Fields {
    /// Adds a mistake in a field.
    pub(crate) fn mistake(&mut self, field: &str, description: impl Into<String>) {
        let description = excerpt(&ascii(&description.into()), MAX_CHARACTERS);
        self.errors.push(&description);
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(FieldViolation::new(field, description));
        }
    }

    /// Reads the currencies. An empty list means the default.
    pub(crate) fn currencies(&mut self, codes: &[String], supported: SupportedCurrencies) -> Currencies {
        if codes.is_empty() {
            return supported.default.into();
        }
        let served = supported.currencies;
        let mut chosen = Vec::new();
        for (place, code) in codes.iter().enumerate() {
            match code.parse::<Currency>().ok().filter(|currency| served.contains(*currency)) {
                Some(currency) => chosen.push(currency),
                None => {
                    self.mistake(
                        &format!("currencies[{place}]"),
                        format!("invalid currency {:?}: expected {served}", quotable(code, MAX_VALUE_CHARACTERS)),
                    );
                }
            }
        }
        chosen.into_iter().collect()
    }

    /// Reads a point in time.
    pub(crate) fn moment(&mut self, field: &str, moment: Timestamp) -> TickId {
        TickId::from_moment(moment.seconds, moment.nanos).unwrap_or_else(|| {
            let Timestamp { seconds, nanos } = moment;
            let expected = "expected a time from 1970-01-01T00:00:00Z to 9999-12-30T22:00:00Z";
            self.mistake(field, format!("invalid {field} {seconds} s and {nanos} ns: {expected}"));
            TickId::ZERO
        })
    }

    /// Reads the period between updates.
    pub(crate) fn every(&mut self, every: prost_types::Duration) -> Option<Duration> {
        let read = Duration::try_from(every).ok().filter(|every| EVERY.contains(every));
        if read.is_none() {
            let prost_types::Duration { seconds, nanos } = every;
            self.mistake("every", format!("invalid every {seconds} s and {nanos} ns: expected {}", every_range()));
        }
        read
    }

    /// Reads the replay limit.
    pub(crate) fn limit(&mut self, limit: u32) -> Option<usize> {
        let read = usize::try_from(limit).ok().filter(|limit| REPLAY_LIMIT.contains(limit));
        if read.is_none() {
            self.mistake("limit", format!("invalid limit {limit}: expected a number up to {}", REPLAY_LIMIT.end()));
        }
        read
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` that lists the mistakes, at most eight of them.
    pub(crate) fn finish(self) -> Result<(), Status> {
        if self.errors.is_empty() {
            return Ok(());
        }
        // Percent-encoding may triple the message, and the details repeat it.
        let message = excerpt(&self.errors.report(), MAX_MESSAGE_CHARACTERS);
        let details = ErrorDetails::with_bad_request(self.violations);
        Err(Status::with_error_details(Code::InvalidArgument, message, details))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: SupportedCurrencies = SupportedCurrencies { currencies: Currencies::USD_EUR, default: Currency::Usd };

    #[test]
    fn deadline_is_read_in_every_unit() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]);
            deadline(&headers).map_err(|status| status.message().to_owned())
        };
        for (text, ns) in
            [("2H", 7_200_000_000_000), ("1M", 60_000_000_000), ("3S", 3_000_000_000), ("250m", 250_000_000)]
        {
            assert_eq!(read(text), Ok(Some(Duration::from_nanos(ns))), "{text}");
        }
        assert_eq!(read("99999999u"), Ok(Some(Duration::from_micros(99_999_999))));
        assert_eq!(read("0n"), Ok(Some(Duration::ZERO)));
        for text in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S"] {
            assert!(read(text).is_err_and(|message| message.contains(&format!("{text:?}"))), "{text}");
        }
        assert_eq!(deadline(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn unknown_encodings_are_rejected() {
        let of =
            |name: &str| encoding(&HeaderMap::from_iter([("grpc-encoding".parse().unwrap(), name.parse().unwrap())]));
        assert_eq!(of("identity").unwrap(), None);
        assert_eq!(of("gzip").unwrap(), Some(CompressionEncoding::Gzip));
        let status = of("deflate").unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "identity,gzip");
    }

    #[test]
    fn mistakes_are_reported_by_field() {
        let mut fields = Fields::default();
        let chosen = fields.currencies(&["eur".to_owned(), "GBP".to_owned()], BOTH);
        assert_eq!(chosen, Currency::Eur.into());
        fields.moment("since", Timestamp { seconds: -1, nanos: 0 });
        let status = fields.finish().unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(r#"invalid currency "GBP": expected USD or EUR"#), "{}", status.message());
        let details = status.get_error_details();
        let fields: Vec<_> =
            details.bad_request().unwrap().field_violations.iter().map(|mistake| mistake.field.as_str()).collect();
        assert_eq!(fields, ["currencies[1]", "since"]);
    }

    #[test]
    fn status_is_small_whatever_is_wrong() {
        let mut fields = Fields::default();
        fields.currencies(&vec!["ä\n%".repeat(999); 999], BOTH);
        let (status, mut headers) = (fields.finish().unwrap_err(), HeaderMap::new());
        status.add_header(&mut headers).unwrap();
        let bytes: usize = headers.values().map(axum::http::HeaderValue::len).sum();
        assert!(bytes <= 4096, "{bytes} bytes");
    }

    #[test]
    fn currencies_have_a_default() {
        let mut fields = Fields::default();
        assert_eq!(fields.currencies(&[], BOTH), Currency::Usd.into());
        fields.finish().unwrap();
    }
}
