//! Compression of answers that are long enough to gain by it, for clients that ask for it.
//!
//! gzip alone: everybody reads it, and prices shrink to an eighth by it. Event streams and gRPC are left alone: each message must
//! leave at once.

use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// What fits in a packet is not made faster by being smaller.
const WORTH_BYTES: u64 = 1024;

/// A layer that compresses long answers as they are sent, without holding them.
pub(crate) fn layer() -> CompressionLayer<impl Predicate> {
    let worth = SizeAbove::new(WORTH_BYTES)
        // GRPC would let gRPC for the web through.
        .and(NotForContentType::const_new("application/grpc"))
        .and(NotForContentType::SSE)
        .and(NotForContentType::IMAGES);
    // The fastest: what is sent live to many must not cost much more to compress than to make.
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth)
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
    async fn only_what_is_long_and_does_not_have_to_leave_at_once_is_compressed() {
        let long = "x".repeat(usize::try_from(WORTH_BYTES).unwrap());
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
