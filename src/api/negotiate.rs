//! What an answer is written as: JSON, JSON lines or CSV, by the `format` of the query or else by `Accept` (RFC 9110 §12.5.1).

use crate::api::problem::Problem;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};

/// What an answer is written as.
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
    /// Every one, the one for those who do not mind first.
    pub(crate) const ALL: [Media; 3] = [Media::Json, Media::Ndjson, Media::Csv];

    /// The word that names it in a query.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Media::Json => "json",
            Media::Ndjson => "ndjson",
            Media::Csv => "csv",
        }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::Ndjson => "application/x-ndjson",
            Media::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// The type alone, as `Accept` names it.
    fn essence(self) -> &'static str {
        self.content_type().split(';').next().unwrap_or_default()
    }

    pub(crate) fn named(name: &str) -> Option<Media> {
        Media::ALL.into_iter().find(|media| media.name() == name)
    }

    /// What the query says or else the client accepts, and whether it was the latter.
    ///
    /// # Errors
    /// 406 if it accepts nothing of what there is.
    pub(crate) fn chosen(by_query: Option<Media>, headers: &HeaderMap) -> Result<(Media, bool), Problem> {
        by_query.map_or_else(|| Media::accepted(headers).map(|media| (media, true)), |media| Ok((media, false)))
    }

    /// What the client likes best, and has named most exactly where it likes several alike.
    fn accepted(headers: &HeaderMap) -> Result<Media, Problem> {
        let values: Vec<_> = headers.get_all(ACCEPT).iter().map(|value| value.to_str().unwrap_or_default()).collect();
        let ranges: Vec<_> = values.iter().flat_map(|value| value.split(',')).filter_map(Accepted::read).collect();
        if ranges.is_empty() {
            return Ok(Media::Json);
        }
        let liking = |media: Media| {
            // The most exact range that a type is in says how much it is liked.
            let range = ranges.iter().filter_map(|range| Some((range.exactness(media)?, range.quality)));
            range.max().filter(|(_, quality)| *quality > 0).map(|(exactness, quality)| (quality, exactness))
        };
        // Of several that are liked alike max_by_key takes the last.
        let best =
            Media::ALL.into_iter().rev().filter(|media| liking(*media).is_some()).max_by_key(|media| liking(*media));
        best.ok_or_else(|| {
            let there_is = Media::ALL.map(Media::essence).join(", ");
            let detail = format!("Accept reads {there_is} or a range with one of them, got {:?}", values.join(", "));
            Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
        })
    }
}

/// A range of types, and how much it is liked, in thousandths.
struct Accepted<'a> {
    range: &'a str,
    quality: u16,
}

impl Accepted<'_> {
    /// Reads a member of the header's list; one that is empty or has a quality that is none counts for nothing.
    fn read(member: &str) -> Option<Accepted<'_>> {
        let mut parts = member.split(';').map(str::trim);
        let range = parts.next().filter(|range| !range.is_empty())?;
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        Some(Accepted { range, quality: quality.map_or(Some(1000), thousandths)? })
    }

    /// How exactly the range names `media`; `None` if it does not.
    fn exactness(&self, media: Media) -> Option<u8> {
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

/// A quality: 0 to 1 with at most three decimals (RFC 9110 §12.4.2).
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
    fn what_is_liked_best_wins_and_among_likes_what_is_named_most_exactly() {
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
    fn what_there_is_not_is_refused_with_what_there_is() {
        for accept in ["text/html", "image/*", "application/json;q=0", "*/*;q=0.0", "json", "text/csvx"] {
            let detail = accepted(accept).expect_err(accept);
            assert!(detail.starts_with("Accept reads application/json, application/x-ndjson, text/csv"), "{detail}");
            assert!(detail.ends_with(&format!("got {accept:?}")), "{detail}");
        }
    }
}
