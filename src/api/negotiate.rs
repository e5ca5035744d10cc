//! Content negotiation: JSON, JSON lines or CSV. The parameter `format` selects the media type. Without it, `Accept`
//! does (RFC 9110 §12.5.1).

use crate::api::problem::Problem;
use crate::text::quotable;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING};
use axum::http::{HeaderMap, HeaderName, StatusCode};

/// Media type of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// One JSON text.
    Json,
    /// A JSON text on each line (NDJSON).
    Ndjson,
    /// A table (RFC 4180).
    Csv,
}

impl Media {
    /// All media types. The first is the default.
    pub(crate) const ALL: [Media; 3] = [Media::Json, Media::Ndjson, Media::Csv];

    /// Returns its name in a query.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Media::Json => "json",
            Media::Ndjson => "ndjson",
            Media::Csv => "csv",
        }
    }

    /// Returns the value of `Content-Type`.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::Ndjson => "application/x-ndjson",
            Media::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// Returns the type without parameters, as `Accept` names it.
    fn essence(self) -> &'static str {
        self.content_type().split(';').next().unwrap_or_default()
    }

    /// Returns the media type of this name.
    pub(crate) fn named(name: &str) -> Option<Media> {
        Media::ALL.into_iter().find(|media| media.name() == name)
    }

    /// Returns the media type in the query, or the one that `Accept` prefers if the query has none. Also returns
    /// whether it was chosen by `Accept`.
    ///
    /// # Errors
    /// 406 if the client accepts none of the types.
    pub(crate) fn chosen(by_query: Option<Media>, headers: &HeaderMap) -> Result<(Media, bool), Problem> {
        by_query.map_or_else(|| Media::accepted(headers).map(|media| (media, true)), |media| Ok((media, false)))
    }

    /// Returns the type with the highest quality. If several types have this quality, the type with the most specific
    /// range is returned.
    fn accepted(headers: &HeaderMap) -> Result<Media, Problem> {
        let values: Vec<_> = headers.get_all(ACCEPT).iter().map(|value| value.to_str().unwrap_or_default()).collect();
        let ranges: Vec<_> = values.iter().flat_map(|value| value.split(',')).filter_map(Accepted::read).collect();
        if ranges.is_empty() {
            return Ok(Media::Json);
        }
        let preference = |media: Media| {
            // The most specific range that matches a type decides its quality.
            let range = ranges.iter().filter_map(|range| Some((range.specificity(media)?, range.quality)));
            range.max().filter(|(_, quality)| *quality > 0).map(|(specificity, quality)| (quality, specificity))
        };
        // If several are equal, `max_by_key` returns the last, so the types are reversed.
        let best = Media::ALL
            .into_iter()
            .rev()
            .filter(|media| preference(*media).is_some())
            .max_by_key(|media| preference(*media));
        best.ok_or_else(|| {
            let types = Media::ALL.map(Media::essence).join(", ");
            let detail = format!(
                "invalid Accept {:?}: expected {types} or a range that includes one",
                quotable(&values.join(", "), 200)
            );
            Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
        })
    }
}

/// Returns whether the client accepts `text/event-stream` by its name. `*/*`, which most clients send, is not enough.
pub(crate) fn accepts_events(headers: &HeaderMap) -> bool {
    members(headers, &ACCEPT).any(|member| member.range.eq_ignore_ascii_case("text/event-stream") && member.quality > 0)
}

/// Returns whether the client accepts gzip (RFC 9110 §12.5.3).
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let members: Vec<_> = members(headers, &ACCEPT_ENCODING).collect();
    let named = |name: &str| members.iter().find(|member| member.range.eq_ignore_ascii_case(name));
    named("gzip").or_else(|| named("x-gzip")).or_else(|| named("*")).is_some_and(|member| member.quality > 0)
}

/// Returns the members of the lists in these headers.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Accepted<'a>> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(Accepted::read)
}

/// Member of `Accept` or `Accept-Encoding`: a media range or a coding, and its quality in thousandths.
struct Accepted<'a> {
    range: &'a str,
    quality: u16,
}

impl Accepted<'_> {
    /// Parses a member of the header's list. Returns `None` if it is empty or its quality is invalid.
    fn read(member: &str) -> Option<Accepted<'_>> {
        let mut parts = member.split(';').map(str::trim);
        let range = parts.next().filter(|range| !range.is_empty())?;
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        Some(Accepted { range, quality: quality.map_or(Some(1000), thousandths)? })
    }

    /// Returns how specifically the range matches `media`, or `None` if it does not.
    fn specificity(&self, media: Media) -> Option<u8> {
        let essence = media.essence();
        let (group, _) = essence.split_once('/')?;
        let (range_group, name) = self.range.split_once('/')?;
        match (range_group, name) {
            _ if self.range.eq_ignore_ascii_case(essence) => Some(2),
            (range_group, "*") if range_group.eq_ignore_ascii_case(group) => Some(1),
            ("*", "*") => Some(0),
            _ => None,
        }
    }
}

/// Parses a quality: 0 to 1 with at most three decimals (RFC 9110 §12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits =
        matches!(whole, "0" | "1") && decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let quality = format!("{whole}{decimals:0<3}").parse().ok()?;
    (digits && quality <= 1000).then_some(quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &str) -> Result<Media, String> {
        let headers = [(ACCEPT, accept.parse().unwrap())].into_iter().collect();
        Media::accepted(&headers).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn highest_quality_then_specificity_wins() {
        let cases = [
            ("", Media::Json),
            (" , ", Media::Json),
            ("*/*", Media::Json),
            ("application/json", Media::Json),
            ("application/x-ndjson", Media::Ndjson),
            ("Text/CSV", Media::Csv),
            ("text/*", Media::Csv),
            ("application/*", Media::Json),
            ("text/csv, */*", Media::Csv),
            ("*/*, text/csv;q=0.9", Media::Json),
            ("application/json;q=0.1, text/csv;q=0.25", Media::Csv),
            ("application/*;q=0.5, application/json;q=0", Media::Ndjson),
            ("*/*;q=0.1, application/*;q=0", Media::Csv),
            ("application/json;q=0.5, application/x-ndjson; Q=0.501", Media::Ndjson),
            ("text/csv;header=absent;q=0.2, application/json;q=0.1", Media::Csv),
            ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", Media::Json),
            ("text/csv;q=2, application/x-ndjson;q=0.1", Media::Ndjson),
        ];
        for (accept, expected) in cases {
            assert_eq!(accepted(accept), Ok(expected), "{accept}");
        }
        assert_eq!(Media::accepted(&HeaderMap::new()).unwrap(), Media::Json);
    }

    #[test]
    fn error_for_unknown_types_lists_the_known_ones() {
        for accept in ["text/html", "image/*", "application/json;q=0", "*/*;q=0.0", "json", "text/csvx"] {
            let detail = accepted(accept).expect_err(accept);
            let expected = format!(
                "invalid Accept {accept:?}: expected application/json, application/x-ndjson, text/csv or a range that includes one"
            );
            assert_eq!(detail, expected);
        }
    }

    #[test]
    fn event_streams_are_accepted_by_name_only() {
        let accepts = |accept: &str| accepts_events(&[(ACCEPT, accept.parse().unwrap())].into_iter().collect());
        for accept in ["text/event-stream", "Text/Event-Stream; q=0.5", "text/html, text/event-stream;q=0.1"] {
            assert!(accepts(accept), "{accept}");
        }
        for accept in ["", "*/*", "text/*", "text/event-stream;q=0", "text/event-streams", "text/event-stream;q=2"] {
            assert!(!accepts(accept), "{accept}");
        }
    }
}
