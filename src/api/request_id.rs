//! Ids of requests, with which operators can find the log lines about a request.
//!
//! A client or a proxy may choose the id. Every response of the clients' port to a valid HTTP request has the id in a
//! header. The problem details of an error also have it in the body.
//!
//! Log lines about a request, and about the stream that the request opens, are in the span `request`, which has the id.
//! Some log lines about the connection have the id in the field `request_id` instead. The span and all these lines have
//! the level `debug`. The span costs nothing if this level is not logged.

use super::headers::REQUEST_ID;
use super::problem;
use crate::text::excerpt;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, debug, debug_span};
use uuid::Uuid;

/// Maximum length of a path in the log.
const MAX_PATH: usize = 200;
/// Maximum length of an id that a client may choose.
const MAX_BYTES: usize = 128;

/// Gives the request an id. If the client has sent a usable id, that one is used.
pub(crate) async fn assign(request: Request, next: Next) -> Response {
    let id = usable(request.headers()).unwrap_or_else(new);
    let text = id.to_str().unwrap_or_default();
    let span = debug_span!("request", id = text);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(
        || debug!(%method, path = excerpt(uri.path(), MAX_PATH), status = response.status().as_u16(), "answered"),
    );
    problem::add_request_id(&mut response, text, method == Method::HEAD);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Returns the id that the client has sent, if it is the only one, and short and plain enough for logs and headers.
fn usable(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut ids = headers.get_all(REQUEST_ID).iter();
    let (Some(id), None) = (ids.next(), ids.next()) else { return None };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=+/@".contains(byte);
    let bytes = id.as_bytes();
    ((1..=MAX_BYTES).contains(&bytes.len()) && bytes.iter().all(is_plain)).then(|| id.clone())
}

fn new() -> HeaderValue {
    HeaderValue::from_str(&Uuid::now_v7().to_string()).expect("a UUID is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_short_ids_are_taken() {
        let taken = |ids: &[&str]| {
            let mut headers = HeaderMap::new();
            for id in ids {
                headers.append(REQUEST_ID, HeaderValue::from_str(id).unwrap());
            }
            usable(&headers).is_some()
        };
        assert!(taken(&["a"]) && taken(&["Root=1-67891233-abcdef:x/y+z@w_v.u"]) && taken(&[&"x".repeat(128)]));
        assert!(!taken(&[]) && !taken(&[""]) && !taken(&[&"x".repeat(129)]) && !taken(&["a", "b"]));
        assert!(!taken(&["a b"]) && !taken(&["a\"b"]) && !taken(&["a{b}"]) && !taken(&["a,b"]));
    }

    #[test]
    fn new_ids_are_unique_and_usable() {
        let ids = [new(), new()];
        assert_ne!(ids[0], ids[1]);
        assert!(usable(&[(REQUEST_ID, ids[0].clone())].into_iter().collect()).is_some());
    }
}
