//! Rules for every request and response of the public port, whatever the path.

use super::problem::Problem;
use axum::extract::Request;
use axum::http::header::{HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Rejects an HTTP/1.1 request without exactly one `Host` (RFC 9112 §3.2), because a proxy and this server might interpret it
/// differently. Adds `X-Content-Type-Options`, so that browsers do not guess the content type.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(HOST).iter().count();
    let mut response = if request.version() == Version::HTTP_11 && hosts != 1 {
        Problem::bad_request(format!("invalid request with {hosts} Host headers: expected one")).into_response()
    } else {
        next.run(request).await
    };
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt;

    #[tokio::test]
    async fn http_1_1_needs_exactly_one_host() {
        for (version, hosts, status) in [
            (Version::HTTP_11, 1, 200),
            (Version::HTTP_11, 0, 400),
            (Version::HTTP_11, 2, 400),
            (Version::HTTP_10, 0, 200),
            (Version::HTTP_2, 0, 200),
        ] {
            let mut request = Request::get("/").version(version);
            for _ in 0..hosts {
                request = request.header(HOST, "x");
            }
            let router = Router::new().route("/", get(async || "here")).layer(from_fn(harden));
            let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{hosts} in {version:?}");
            assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }
}
