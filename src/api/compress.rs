//! Compression of long responses, for clients that accept it.
//!
//! The only encoding is gzip. Every client can decode it, and it reduces the size of prices to an eighth. Event streams
//! and gRPC are not compressed, because each message must be sent at once.

use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// Minimum size of a response that is compressed. A smaller one fits into a packet without compression.
const MIN_BYTES: u64 = 1024;

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
    use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
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
}
