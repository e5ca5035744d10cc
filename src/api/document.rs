//! Documents that do not change while the server runs.

use crate::api::caching;
use crate::api::compress::StaticText;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LINK, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

/// Document with its media type and entity tag.
pub(crate) struct Document {
    content_type: &'static str,
    text: StaticText,
    tag: String,
}

/// Content security policy: the page may load only style sheets and images, and only from this server.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// Links with which programs find the descriptions (RFC 8631).
const SERVICE_LINKS: &str = "</openapi.json>; rel=\"service-desc\"; type=\"application/json\", \
                             </asyncapi.json>; rel=\"service-desc\"; type=\"application/json\"";

impl Document {
    /// Creates a document.
    pub(crate) fn new(content_type: &'static str, text: String) -> Document {
        Document { content_type, tag: caching::tag(&text), text: StaticText::new(text) }
    }

    /// Returns the document, or 304 if the client has it. Clients must revalidate it each time, because the server may
    /// have been updated.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response {
        let common: [(HeaderName, &str); 2] = [(CACHE_CONTROL, "no-cache"), (ETAG, &self.tag)];
        if caching::is_current(request, &self.tag) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        let headers: [(HeaderName, &str); 5] = [
            (CONTENT_TYPE, self.content_type),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (LINK, SERVICE_LINKS),
        ];
        (common, headers, self.text.answer(request)).into_response()
    }
}
