//! Access by API key. If the server has keys, every request for data needs one, in the header `Authorization: Bearer`.
//! Clients that cannot set headers, such as a browser's `EventSource`, use the parameter `key`.

#[cfg(feature = "grpc")]
use super::grpc::call;
use super::problem::Problem;
use crate::access::{Denied, Keys};
use crate::telemetry::metrics::REFUSALS;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Paths that need no key: the pages with their files, the documents and the descriptions.
const OPEN: [&str; 12] = [
    "/",
    "/embed",
    "/btcfeed.js",
    "/icon.svg",
    "/favicon.ico",
    "/openapi.json",
    "/asyncapi.json",
    "/docs",
    "/docs.css",
    "/docs.js",
    "/llms.txt",
    "/method",
];
/// Prefixes of paths that need no key. Load balancers call the gRPC health service without a key.
const OPEN_BELOW: [&str; 4] = ["/page/", "/btcfeed/", "/grpc.health.v1.Health/", "/grpc.reflection."];

/// Rejects a request whose key is missing or invalid, except on paths that need no key. Replaces a valid key by its
/// permission, and marks the response as private.
pub(crate) async fn require_key(State(keys): State<Arc<Keys>>, mut request: Request, next: Next) -> Response {
    let parameter = take_parameter(request.uri_mut());
    let path = request.uri().path();
    if OPEN.contains(&path) || OPEN_BELOW.iter().any(|begin| path.starts_with(begin)) {
        return next.run(request).await;
    }
    let header = request.headers_mut().remove(AUTHORIZATION);
    let key = header.as_ref().and_then(bearer).map(<[u8]>::to_vec).or(parameter.map(String::into_bytes));
    let permission = match key.as_deref().map(|key| keys.permission(key)) {
        Some(Ok(permission)) => permission,
        Some(Err(denied)) => return unauthorized(request.headers(), Some(denied)),
        None => return unauthorized(request.headers(), None),
    };
    request.extensions_mut().insert(permission);
    let mut response = next.run(request).await;
    keep_private(response.headers_mut());
    response
}

/// Returns the key in `Authorization` (RFC 6750 §2.1).
fn bearer(header: &HeaderValue) -> Option<&[u8]> {
    let (scheme, key) = header.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
}

/// Removes the parameter `key` from the query and returns it, so that no handler, no log line and no link repeats it.
fn take_parameter(uri: &mut Uri) -> Option<String> {
    let query = uri.query()?;
    let is_key = |pair: &&str| form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name == "key");
    let pair = query.split('&').find(is_key)?;
    let key = form_urlencoded::parse(pair.as_bytes()).next()?.1.into_owned();
    let rest: Vec<_> = query.split('&').filter(|pair| !is_key(pair)).collect();
    let path = if rest.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), rest.join("&")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    *uri = Uri::from_parts(parts).ok()?;
    Some(key)
}

#[cfg_attr(not(feature = "grpc"), expect(unused_variables, reason = "only gRPC looks at the headers"))]
fn unauthorized(headers: &HeaderMap, denied: Option<Denied>) -> Response {
    const INVALID: &str = "Bearer realm=\"btcfeed\", error=\"invalid_token\"";
    let (detail, challenge) = match denied {
        None => (
            "missing API key: expected the header `Authorization: Bearer KEY`, or `key=KEY` in the query",
            "Bearer realm=\"btcfeed\"",
        ),
        Some(Denied::Unknown) => ("unknown API key: it is mistyped, or it was revoked", INVALID),
        Some(Denied::Expired) => ("this API key has expired", INVALID),
    };
    REFUSALS.counter("key").increment(1);
    #[cfg(feature = "grpc")]
    if call::is_grpc(headers) {
        return call::status_response(tonic::Status::unauthenticated(detail));
    }
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(&[(WWW_AUTHENTICATE, challenge)]).into_response()
}

/// Marks a response as private, so that shared caches do not give it to clients without a key.
fn keep_private(headers: &mut HeaderMap) {
    let shared = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    if let Some(shared) = shared.filter(|value| value.contains("public")) {
        let private = HeaderValue::try_from(shared.replace("public", "private"));
        headers.insert(CACHE_CONTROL, private.unwrap_or(HeaderValue::from_static("private")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_is_taken_out_of_the_query() {
        for (uri, key, rest) in [
            ("/v1/ws?key=a%2Bb", Some("a+b"), "/v1/ws"),
            ("/v1/ws?currency=USD&key=a&since=0", Some("a"), "/v1/ws?currency=USD&since=0"),
            ("/v1/ws?key=a&key=b", Some("a"), "/v1/ws"),
            ("/v1/ws?%6bey=a", Some("a"), "/v1/ws"),
            ("https://x/v1/ws?key=&a=b%26", Some(""), "https://x/v1/ws?a=b%26"),
            ("/v1/ws?keys=a", None, "/v1/ws?keys=a"),
            ("/v1/ws", None, "/v1/ws"),
        ] {
            let mut uri: Uri = uri.parse().unwrap();
            assert_eq!(take_parameter(&mut uri).as_deref(), key);
            assert_eq!(uri.to_string(), rest);
        }
    }

    #[test]
    fn scheme_is_bearer_in_any_case() {
        let read = |text: &'static str| bearer(&HeaderValue::from_static(text)).map(<[u8]>::to_vec);
        assert_eq!(read("bearer abc "), Some(b"abc".to_vec()));
        assert_eq!(read("Basic abc"), None);
        assert_eq!(read("Bear"), None);
    }
}
