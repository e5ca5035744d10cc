//! A text that does not change while the server runs.

use crate::api::caching;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LINK, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

/// A text, and what it is.
pub(crate) struct Document {
    kind: &'static str,
    text: Bytes,
    tag: String,
}

/// What a browser lets the page do: read its style and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// Where programs find the descriptions (RFC 8631).
const SERVICE_LINKS: &str = "</openapi.json>; rel=\"service-desc\"; type=\"application/json\", \
                             </asyncapi.json>; rel=\"service-desc\"; type=\"application/json\"";

impl Document {
    pub(crate) fn new(kind: &'static str, text: String) -> Document {
        Document { kind, tag: caching::tag(&text), text: Bytes::from(text) }
    }

    /// The text, or the word that the client has it already. It is to ask each time, since another version may be there.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response {
        let common: [(HeaderName, &str); 2] = [(CACHE_CONTROL, "no-cache"), (ETAG, &self.tag)];
        if caching::is_current(request, &self.tag) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        let headers: [(HeaderName, &str); 5] = [
            (CONTENT_TYPE, self.kind),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (LINK, SERVICE_LINKS),
        ];
        (common, headers, Body::from(self.text.clone())).into_response()
    }
}
