//! What the answers about the past have in common: how long they hold, whether the client has them already, where the next
//! page is.
//!
//! The feed is only ever added to, so a part of it that ends before the head can no longer change, except that its beginning
//! expires one day. Until then anybody may keep the answer (`max-age`); any other answer may be kept too, but must be asked
//! for again (`no-cache`), which costs next to nothing where nothing has changed (304).

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

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct CacheableResponse {
    pub(crate) media: Media,
    /// Whether `Accept` had a say in that.
    pub(crate) by_accept: bool,
    /// What the content follows from; `None` if that cannot be said before it is sent.
    pub(crate) tag: Option<String>,
    /// If the content can no longer change: the newest moment of the feed at which that is still so.
    pub(crate) settled_until: Option<TickId>,
    /// The reference to the next page.
    pub(crate) next: Option<String>,
}

/// A weak entity tag (RFC 9110 §8.8.3) of what follows from `content`: weak, since it is the same for every encoding. Another
/// version may write the same content in another way.
pub(crate) fn tag(content: &impl Debug) -> String {
    let digest = Sha1::new().chain_update(env!("CARGO_PKG_VERSION")).chain_update(format!("{content:?}")).finalize();
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..12]))
}

/// The same query from another place on.
pub(crate) fn link_after(query: &str, id: TickId) -> String {
    let kept = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| !crate::api::query::SINCE.contains(&&**name) && name != "after");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("after", &id.to_string())
        .finish();
    format!("?{query}")
}

impl CacheableResponse {
    /// Answers with `body`, unless the client has it.
    pub(crate) fn with(self, request: &HeaderMap, head: TickId, body: impl FnOnce() -> Body) -> Response {
        let mut headers = vec![(CACHE_CONTROL, self.cache_control(head))];
        headers.extend(self.tag.iter().map(|tag| (ETAG, tag.clone())));
        headers.extend(self.next.iter().map(|next| (LINK, format!("<{next}>; rel=\"next\""))));
        let known = self.tag.as_deref().is_some_and(|tag| is_current(request, tag));
        headers.extend(self.by_accept.then(|| (VARY, "accept".to_owned())));
        let mut response = if known {
            // The content would have been compressed, if it was long, and the layer that does it would have said so.
            headers.push((VARY, "accept-encoding".to_owned()));
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            headers.push((CONTENT_TYPE, self.media.content_type().to_owned()));
            Response::new(body())
        };
        for (name, value) in headers {
            // Made of what was read from a query or written here: all of it is plain ASCII.
            if let Ok(value) = value.parse() {
                response.headers_mut().append(name, value);
            }
        }
        response
    }

    fn cache_control(&self, head: TickId) -> String {
        // The head may be late, and this machine's clock slow; what is left by the later of the two is certain.
        let left = self.settled_until.map(|until| until.since(head.max(TickId::now())).as_secs());
        match left {
            Some(seconds @ 1..) => format!("public, max-age={seconds}, immutable"),
            _ => "no-cache".to_owned(),
        }
    }
}

/// Whether the client has the content that `tag` names (RFC 9110 §13.1.2).
pub(crate) fn is_current(request: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let values = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_tag_is_compared_weakly_and_in_lists() {
        let tag = tag(&1);
        let bare = tag.trim_start_matches("W/");
        let has = |value: &str| is_current(&[(IF_NONE_MATCH, value.parse().unwrap())].into_iter().collect(), &tag);
        assert!(has(&tag) && has(bare) && has("*") && has(&format!("\"x\", {tag}")));
        assert!(!has("\"x\"") && !has("") && !has(bare.trim_matches('"')));
        assert_ne!(tag, super::tag(&2));
    }

    #[test]
    fn an_answer_may_be_kept_until_its_beginning_expires_and_no_longer() {
        let now = TickId::now();
        let answer = |settled_until| CacheableResponse {
            media: Media::Json,
            by_accept: false,
            tag: None,
            settled_until,
            next: None,
        };
        let hour = Duration::from_secs(3600);
        let kept = answer(Some(now.plus(hour))).cache_control(TickId::ZERO);
        let seconds: u64 = kept.trim_start_matches("public, max-age=").trim_end_matches(", immutable").parse().unwrap();
        assert!((3590..=3600).contains(&seconds), "{kept}");
        for (settled_until, head) in [(None, now), (Some(now), now), (Some(now.plus(hour)), now.plus(hour))] {
            assert_eq!(answer(settled_until).cache_control(head), "no-cache");
        }
    }

    #[test]
    fn the_next_page_is_the_same_query_from_there_on() {
        let link = link_after("since=0&currency=USD,EUR&limit=3&start_timedate=x", TickId::from_ms(7));
        assert_eq!(link, "?currency=USD%2CEUR&limit=3&after=7");
        assert_eq!(link_after("after=1", TickId::from_ms(7)), "?after=7");
    }
}
