//! HTTP caching of responses about the past: their lifetime, their entity tag, and the link to the next page.
//!
//! The feed is append-only, so a part of it that ends before the head cannot change until its first entry expires.
//! Until then, every cache may use the response (`max-age`). Caches must validate any other response before they use it
//! (`no-cache`). This costs little if nothing has changed (304).

use crate::api::base_url::DEPENDS_ON;
use crate::api::negotiate::Media;
use crate::tick::TickId;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::{Digest, Sha1};
use std::fmt::Debug;

/// Head of a response that caches may keep.
#[derive(Debug)]
pub(crate) struct CacheableResponse {
    pub(crate) media: Media,
    /// True if the media type was chosen by `Accept`.
    pub(crate) by_accept: bool,
    /// Entity tag. `None` if the content is not known before it is sent, always changes, or may be incomplete.
    pub(crate) tag: Option<String>,
    /// The moment, by the feed's clock, until which the content cannot change. `None` if it may change at any time.
    pub(crate) settled_until: Option<TickId>,
    /// Link to the next page.
    pub(crate) next: Option<String>,
    /// True if the link contains the host that the request names.
    pub(crate) by_host: bool,
}

/// Returns a weak entity tag (RFC 9110 §8.8.3) for a response. Responses with an equal `identity` must have equal
/// contents. The tag is weak because it is the same for every encoding. It depends on the version of btcfeed, because
/// another version may write the content differently.
pub(crate) fn tag(identity: &impl Debug) -> String {
    tag_of_bytes(format!("{identity:?}").as_bytes())
}

/// Returns a weak entity tag for this content.
pub(crate) fn tag_of_bytes(content: &[u8]) -> String {
    let digest = Sha1::new().chain_update(env!("CARGO_PKG_VERSION")).chain_update(content).finalize();
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..12]))
}

/// Returns the same query with another start.
pub(crate) fn link_after(query: &str, id: TickId) -> String {
    let kept = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| !crate::api::query::SINCE.contains(&&**name) && name != "after");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("after", &id.to_string())
        .finish();
    format!("?{query}")
}

/// Returns the same query with another end. If its start is relative to now (such as `10m`), `since` is the fixed
/// moment that replaces it. Otherwise `since` is `None`.
pub(crate) fn link_until(query: &str, id: TickId, since: Option<TickId>) -> String {
    let is_replaced = |name: &str| name == "until" || since.is_some() && crate::api::query::SINCE.contains(&name);
    let kept = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !is_replaced(name));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .extend_pairs(since.map(|since| ("since", since.to_string())))
        .append_pair("until", &id.to_string())
        .finish();
    format!("?{query}")
}

impl CacheableResponse {
    /// A response of a path that offers only JSON. It has no next page, and may change at any time.
    pub(crate) fn json(tag: Option<String>) -> CacheableResponse {
        CacheableResponse { media: Media::Json, by_accept: false, tag, settled_until: None, next: None, by_host: false }
    }

    /// Returns a response with `body`, or 304 if the client has it.
    pub(crate) fn with(self, request: &HeaderMap, head: TickId, body: impl FnOnce() -> Body) -> Response {
        let mut headers = vec![(CACHE_CONTROL, self.cache_control(head))];
        headers.extend(self.tag.iter().map(|tag| (ETAG, tag.clone())));
        headers.extend(self.next.iter().map(|next| (LINK, format!("<{next}>; rel=\"next\""))));
        let known = self.tag.as_deref().is_some_and(|tag| is_current(request, tag));
        headers.extend((self.by_host && self.next.is_some()).then(|| (VARY, DEPENDS_ON.to_owned())));
        headers.extend(self.by_accept.then(|| (VARY, "accept".to_owned())));
        let mut response = if known {
            // The compression layer adds this header only to responses with content.
            headers.push((VARY, "accept-encoding".to_owned()));
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            headers.push((CONTENT_TYPE, self.media.content_type().to_owned()));
            Response::new(body())
        };
        for (name, value) in headers {
            // All values are ASCII, because they are made of parsed parameters and of constants.
            if let Ok(value) = value.parse() {
                response.headers_mut().append(name, value);
            }
        }
        response
    }

    fn cache_control(&self, head: TickId) -> String {
        // The head may be old, and this machine's clock may be slow, so the later of the two counts as now.
        let left = self.settled_until.map(|until| until.since(head.max(TickId::now())).as_secs());
        match left {
            Some(seconds @ 1..) => format!("public, max-age={seconds}, immutable, no-transform"),
            _ => "no-cache, no-transform".to_owned(),
        }
    }
}

/// Returns whether the client has the content of `tag` (`If-None-Match`, RFC 9110 §13.1.2). Proxies that compress add
/// `-gzip` to a tag.
pub(crate) fn is_current(request: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").replace("-gzip\"", "\"");
    let values = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn tag_is_compared_weakly_and_in_lists() {
        let tag = tag(&1);
        let bare = tag.trim_start_matches("W/");
        let has = |value: &str| is_current(&[(IF_NONE_MATCH, value.parse().unwrap())].into_iter().collect(), &tag);
        let compressed = format!("{}-gzip\"", tag.trim_end_matches('"'));
        assert!(has(&compressed) && has(compressed.trim_start_matches("W/")));
        assert!(has(&tag) && has(bare) && has("*") && has(&format!("\"x\", {tag}")));
        assert!(!has("\"x\"") && !has("") && !has(bare.trim_matches('"')));
        assert_ne!(tag, super::tag(&2));
    }

    #[test]
    fn lifetime_ends_when_the_first_entry_expires() {
        let now = TickId::now();
        let answer = |settled_until| CacheableResponse { settled_until, ..CacheableResponse::json(None) };
        let hour = Duration::from_secs(3600);
        let kept = answer(Some(now.plus(hour))).cache_control(TickId::ZERO);
        let seconds: u64 =
            kept.trim_start_matches("public, max-age=").trim_end_matches(", immutable, no-transform").parse().unwrap();
        assert!((3590..=3600).contains(&seconds), "{kept}");
        for (settled_until, head) in [(None, now), (Some(now), now), (Some(now.plus(hour)), now.plus(hour))] {
            assert_eq!(answer(settled_until).cache_control(head), "no-cache, no-transform");
        }
    }

    #[test]
    fn next_page_changes_only_the_start() {
        let link = link_after("since=0&currency=USD,EUR&limit=3&start_timedate=x", TickId::from_ms(7));
        assert_eq!(link, "?currency=USD%2CEUR&limit=3&after=7");
        assert_eq!(link_after("after=1", TickId::from_ms(7)), "?after=7");
    }

    #[test]
    fn next_older_page_changes_only_the_end() {
        let link = link_until("order=desc&since=0&until=9&limit=3", TickId::from_ms(7), None);
        assert_eq!(link, "?order=desc&since=0&limit=3&until=7");
        let moving = link_until("order=desc&start_timedate=10m", TickId::from_ms(7), Some(TickId::from_ms(5)));
        assert_eq!(moving, "?order=desc&since=5&until=7");
    }
}
