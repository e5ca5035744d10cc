//! Files and documents of the program. A file is the same for every client. A document contains the address under which
//! the client reaches the server.

use super::base_url::{BaseUrl, DEPENDS_ON};
use super::caching;
use super::compress::StaticText;
use super::template::Template;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LINK, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Content security policy of a page. `$ancestors` says which pages may show it in a frame. The page may load only
/// files from this server, and may have no inline scripts or styles. `'self'` includes the WebSocket (CSP 3 §6.7.2.8).
macro_rules! policy {
    ($ancestors:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; ",
            "base-uri 'none'; form-action 'none'; frame-ancestors ",
            $ancestors
        )
    };
}
/// Policy of a page that may not be framed.
const POLICY: &str = policy!("'none'");
/// Policy of a page that every other page may frame.
const FRAMABLE: &str = policy!("*");

/// Value that is made when it is first used, so that a replica starts fast and does not keep what nobody asks for.
pub(crate) type Lazy<T> = LazyLock<T, Box<dyn FnOnce() -> T + Send + Sync>>;

/// File with its media type and entity tag.
pub(crate) struct StaticFile {
    content_type: &'static str,
    content: Lazy<(StaticText, String)>,
}

/// Document with placeholders for the address of the server. They are filled for each request. A cache of filled
/// documents would gain little, and would need a bound, because a client can name any host.
pub(crate) struct Document {
    content_type: &'static str,
    template: Lazy<(Template, String)>,
    policy: &'static str,
}

impl StaticFile {
    /// Creates a file.
    pub(crate) fn new<T: Into<Bytes>>(
        content_type: &'static str,
        content: impl FnOnce() -> T + Send + Sync + 'static,
    ) -> StaticFile {
        let with_tag = || {
            let content = content().into();
            let tag = caching::tag_of_bytes(&content);
            (StaticText::new(content), tag)
        };
        StaticFile { content_type, content: Lazy::new(Box::new(with_tag)) }
    }

    /// Returns the file, or 304 if the client has it.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response {
        let (text, tag) = &*self.content;
        with_headers(self.content_type, tag, POLICY, request, || text.answer(request))
    }
}

impl Document {
    /// Creates a document.
    pub(crate) fn new<T: Into<Cow<'static, str>>>(
        content_type: &'static str,
        text: impl FnOnce() -> T + Send + Sync + 'static,
    ) -> Document {
        let with_tag = || {
            let text = text().into();
            let tag = caching::tag_of_bytes(text.as_bytes());
            (Template::new(text), tag)
        };
        Document { content_type, template: Lazy::new(Box::new(with_tag)), policy: POLICY }
    }

    /// Creates a page.
    pub(crate) fn html<T: Into<Cow<'static, str>>>(text: impl FnOnce() -> T + Send + Sync + 'static) -> Document {
        Document::new("text/html; charset=utf-8", text)
    }

    /// Lets other pages show the document in a frame.
    pub(crate) fn framable(self) -> Document {
        Document { policy: FRAMABLE, ..self }
    }

    /// Returns the document with the address `base`, or 304 if the client has it. A response with the document has
    /// links to the OpenAPI and AsyncAPI descriptions, for programs (RFC 8631).
    pub(crate) fn answer(&self, base: Option<BaseUrl>, request: &HeaderMap) -> Response {
        let base = base.unwrap_or_else(BaseUrl::example);
        let (template, tag) = &*self.template;
        let tag = caching::tag(&(tag, &base));
        let fill = || template.fill(&base).into_response();
        let mut response = with_headers(self.content_type, &tag, self.policy, request, fill);
        let link = |path| format!("<{base}/{path}>; rel=\"service-desc\"; type=\"application/json\"");
        let links = HeaderValue::try_from([link("openapi.json"), link("asyncapi.json")].join(", "));
        if response.status() == StatusCode::OK {
            response.headers_mut().extend(links.map(|links| (LINK, links)));
        }
        response.headers_mut().append(VARY, HeaderValue::from_static(DEPENDS_ON));
        response
    }
}

/// Returns a response with the content, or 304 if the client has it. Clients must revalidate it each time, so that a
/// page never mixes files of different versions, except while a new version is being deployed.
fn with_headers(
    content_type: &str,
    tag: &str,
    policy: &str,
    request: &HeaderMap,
    content: impl FnOnce() -> Response,
) -> Response {
    let is_known = caching::is_current(request, tag);
    let content = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, content_type)], content()).into_response()
    };
    let headers: [(HeaderName, &str); 5] = [
        (CACHE_CONTROL, "no-cache"),
        (ETAG, tag),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::IF_NONE_MATCH;

    #[test]
    fn file_is_revalidated_and_has_the_policy() {
        let file = StaticFile::new("text/css", || "a{}");
        let tag = &*file.content.1;
        for (known, status) in [("\"x\"", StatusCode::OK), (tag, StatusCode::NOT_MODIFIED)] {
            let request = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_str(known).unwrap())]);
            let response = file.answer(&request);
            assert_eq!((response.status(), response.headers()[ETAG].to_str().unwrap()), (status, tag));
            assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], POLICY);
        }
    }

    #[test]
    fn documents_of_two_addresses_have_two_tags() {
        let document = Document::new("text/plain", || "curl 'http://localhost:8080/v1/prices'");
        let tag = |base: &str| {
            let response = document.answer(BaseUrl::parse(base), &HeaderMap::new());
            (response.headers()[ETAG].clone(), response.headers()[LINK].to_str().unwrap().to_owned())
        };
        let (first, link) = tag("https://a.example/btc");
        assert!(link.starts_with("<https://a.example/btc/openapi.json>; rel=\"service-desc\""), "{link}");
        assert_ne!(first, tag("https://b.example/btc").0);
        let request = HeaderMap::from_iter([(IF_NONE_MATCH, first)]);
        for (base, status) in [("https://a.example/btc", 304), ("https://b.example/btc", 200)] {
            assert_eq!(document.answer(BaseUrl::parse(base), &request).status().as_u16(), status);
        }
    }
}
