//! Rules for requests and responses: `harden` on every path of both ports, and `require_tls` on the clients' port if it
//! has TLS.

use super::base_url::requested_host;
use super::problem::Problem;
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, HOST, STRICT_TRANSPORT_SECURITY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Rejects an HTTP/1.1 request without exactly one `Host` (RFC 9112 §3.2), because a proxy and this server might
/// interpret it differently. Adds `X-Content-Type-Options`, so that browsers do not guess the content type.
///
/// Proxies keep all headers of a response in memory until the stream ends. Therefore a response on the path of a
/// WebSocket has no CORS headers, and the 101 response has no `X-Content-Type-Options`. Browsers ignore these headers
/// for a WebSocket.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    let is_websocket = request.uri().path().trim_end_matches('/').ends_with("/ws");
    let hosts = request.headers().get_all(HOST).iter().count();
    let mut response = if request.version() == Version::HTTP_11 && hosts != 1 {
        Problem::bad_request(format!("invalid number of Host headers {hosts}: expected 1")).into_response()
    } else {
        next.run(request).await
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    join_vary(response.headers_mut());
    if is_websocket {
        for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS] {
            response.headers_mut().remove(name);
        }
    }
    response
}

/// Joins the lines of `Vary`, because nginx before 1.23 reads only the last one, and its cache would mix responses.
fn join_vary(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(VARY).iter().filter_map(|line| line.to_str().ok()).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::try_from(lines.join(", "))
    {
        headers.insert(VARY, joined);
    }
}

/// Makes browsers use TLS for this host for a year (`Strict-Transport-Security`, RFC 6797). They then use TLS for all
/// ports of the host. The header is not sent for `localhost`, because there it would break all other servers of a
/// developer.
pub(crate) async fn require_tls(request: Request, next: Next) -> Response {
    let is_local = requested_host(request.uri(), request.headers()).is_some_and(is_localhost);
    let mut response = next.run(request).await;
    if !is_local {
        let year = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

fn is_localhost(authority: &str) -> bool {
    authority.split(':').next().is_some_and(|host| host.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::http::HeaderName;
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

    #[tokio::test]
    async fn handshake_of_a_websocket_has_few_headers() {
        let cors = crate::api::cors::Cors::Any;
        for (path, status, headers) in [("/v1/ws", 101, 0), ("/ws", 400, 1), ("/v1/prices", 400, 3)] {
            let answer = async move || StatusCode::from_u16(status).unwrap();
            let router = Router::new().fallback(answer).layer(cors.layer()).layer(from_fn(harden));
            let request = Request::get(path).header(HOST, "x").body(Body::empty()).unwrap();
            let response = router.oneshot(request).await.unwrap();
            let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
            let count = names.iter().filter(|name| name.starts_with("access-") || name.starts_with("x-")).count();
            assert_eq!(count, headers, "{path} {names:?}");
        }
    }

    #[tokio::test]
    async fn tls_is_required_on_every_host_but_localhost() {
        for (uri, host, required) in [
            ("/", "feed.example:8443", true),
            ("/", "localhost:8443", false),
            ("https://feed.example/", "", true),
            ("https://LOCALHOST:8443/", "", false),
        ] {
            let request = Request::get(uri).header(HOST, host).body(Body::empty()).unwrap();
            let router = Router::new().route("/", get(async || "here")).layer(from_fn(require_tls));
            let response = router.oneshot(request).await.unwrap();
            let sent = response.headers().get(STRICT_TRANSPORT_SECURITY);
            assert_eq!(sent.is_some(), required, "{uri} {host}");
        }
    }
}
