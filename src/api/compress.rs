//! Compression of long responses, for clients that accept it.
//!
//! The only encoding is gzip. Every client can decode it, and it reduces the size of prices to an eighth. Event streams
//! are not compressed, because each message must be sent at once. gRPC compresses its messages itself.

use super::negotiate::accepts_gzip;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, VARY};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::OnceLock;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// Minimum size of a response that is compressed. A smaller one fits into a packet without compression.
const MIN_BYTES: u64 = 1024;

/// Text that does not change. It is compressed once, when a client first accepts gzip.
#[derive(Debug)]
pub(crate) struct StaticText {
    plain: Bytes,
    gzip: OnceLock<Option<Bytes>>,
}

impl StaticText {
    /// Creates a text.
    pub(crate) fn new(text: impl Into<Bytes>) -> StaticText {
        StaticText { plain: text.into(), gzip: OnceLock::new() }
    }

    /// Returns the text in an encoding that the client accepts.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response {
        if accepts_gzip(request)
            && let Some(gzip) = self.gzip.get_or_init(|| gzip(&self.plain))
        {
            return ([(CONTENT_ENCODING, "gzip"), (VARY, "accept-encoding")], gzip.clone()).into_response();
        }
        // If the text is long, `layer` adds `Vary`.
        self.plain.clone().into_response()
    }
}

/// Returns the compressed text, or `None` if it is short.
fn gzip(text: &Bytes) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).ok()?;
    let packed = encoder.finish().ok()?;
    (text.len() as u64 >= MIN_BYTES).then(|| packed.into())
}

/// Returns a layer that compresses long responses while they are sent, without buffering them.
pub(crate) fn layer() -> CompressionLayer<impl Predicate> {
    let is_long = SizeAbove::new(MIN_BYTES)
        // The constant `GRPC` does not cover gRPC-Web.
        .and(NotForContentType::const_new("application/grpc"))
        .and(NotForContentType::SSE)
        .and(NotForContentType::IMAGES);
    // The fastest level, so that compressing a response does not cost much more than encoding it.
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(is_long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::http::Request;
    use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
    use axum::routing::get;
    use tower::ServiceExt;

    #[tokio::test]
    async fn only_long_finite_responses_are_compressed() {
        let long = "x".repeat(usize::try_from(MIN_BYTES).unwrap());
        for (kind, body, compressed) in [
            ("application/json", long.clone(), true),
            ("text/csv; charset=utf-8", long.clone(), true),
            ("application/json", long[1..].to_owned(), false),
            ("text/event-stream", long.clone(), false),
            ("application/grpc", long.clone(), false),
            ("application/grpc-web+proto", long.clone(), false),
            ("image/png", long, false),
        ] {
            let router = Router::new().route("/", get(async move || ([(CONTENT_TYPE, kind)], body)));
            let request =
                Request::get("/").header(ACCEPT_ENCODING, "gzip, br").body(axum::body::Body::empty()).unwrap();
            let response = router.layer(layer()).oneshot(request).await.unwrap();
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), compressed, "{kind}");
        }
    }

    #[test]
    fn static_text_is_compressed_once() {
        let text = StaticText::new("x".repeat(5000));
        let answer = |encodings: &'static str| {
            let response = text.answer(&HeaderMap::from_iter([(ACCEPT_ENCODING, encodings.parse().unwrap())]));
            let packed = text.gzip.get().cloned().flatten().map(|packed| packed.as_ptr());
            (response.headers().contains_key(CONTENT_ENCODING), packed)
        };
        for encodings in ["", "br", "gzip;q=0", "*;q=0, br", "gzip;q=0, *"] {
            assert_eq!(answer(encodings), (false, None), "{encodings}");
        }
        let (is_packed, first) = answer("deflate, GZip;q=0.5");
        assert!(is_packed && first.is_some());
        assert_eq!(answer("*"), (true, first));
        let short = StaticText::new("x".repeat(1023));
        let gzip = HeaderMap::from_iter([(ACCEPT_ENCODING, "gzip".parse().unwrap())]);
        assert!(!short.answer(&gzip).headers().contains_key(CONTENT_ENCODING));
    }
}
