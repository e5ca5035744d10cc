//! Errors as problem details (RFC 9457). They say what is wrong and what is expected, and reveal nothing internal.

use crate::admission::refusal::Refusal;
use crate::message::ProblemDetails;
use crate::store::StoreError;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::borrow::Cow;
use std::time::Duration;

/// Time after which a client may try again, if the error does not say it.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);
/// Maximum length of a detail. JSON may double it, and no error response may exceed 4 KiB.
const MAX_DETAIL_BYTES: usize = 1900;

/// Error for a client.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Time after which the client may try again, if the condition is temporary.
    retry_after: Option<Duration>,
}

impl Problem {
    /// Creates an error with this status.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let mut detail = detail.into();
        let mut end = detail.len().min(MAX_DETAIL_BYTES);
        while !detail.is_char_boundary(end) {
            end -= 1;
        }
        detail.truncate(end);
        Problem { status, detail, headers: Vec::new(), retry_after: None }
    }

    /// Creates an error for an invalid parameter or header.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Creates an error for a temporary condition, with `Retry-After`.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_retry_after(RETRY_AFTER_DEFAULT)
    }

    /// Creates the error for a history that cannot be read now. The client need not know why.
    pub(crate) fn unreadable(_: StoreError) -> Problem {
        Problem::unavailable("the history cannot be read now, try again")
    }

    /// Creates an error for a client that has reached a limit of its own, with `Retry-After`.
    pub(crate) fn too_many(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).with_retry_after(RETRY_AFTER_DEFAULT)
    }

    /// Sets the time after which the client may try again.
    pub(crate) fn with_retry_after(self, wait: Duration) -> Problem {
        Problem { retry_after: Some(wait), ..self }
    }

    /// Adds headers to the response.
    pub(crate) fn with(mut self, headers: &[(HeaderName, &'static str)]) -> Problem {
        self.headers.extend(headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
        self
    }

    /// Returns whether a limit of the client's address or of its API key is reached.
    #[cfg(feature = "grpc")]
    pub(crate) fn is_limit(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// Returns the time after which the client may try again, if the condition is temporary.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the description of the error.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<Refusal> for Problem {
    fn from(Refusal { limit, retry_after }: Refusal) -> Problem {
        let is_of_all = limit.is_of_all_addresses();
        let status = if is_of_all { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::TOO_MANY_REQUESTS };
        Problem::new(status, limit.message()).with_retry_after(retry_after)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { status, detail, headers, retry_after } = self;
        let title = status.canonical_reason().unwrap_or("Error");
        let details = ProblemDetails {
            r#type: Cow::Borrowed("about:blank"),
            title: Cow::Borrowed(title),
            status: status.as_u16(),
            detail: Cow::Owned(detail),
            request_id: None,
        };
        let common = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        let mut response = (status, common, body(&details)).into_response();
        response.headers_mut().extend(headers);
        if let Some(wait) = retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(details);
        response
    }
}

/// Adds the id of the request to the body, if the response is a problem. `is_head` is true if the body is not sent.
pub(crate) fn add_request_id(response: &mut Response, id: &str, is_head: bool) {
    let Some(mut details) = response.extensions_mut().remove::<ProblemDetails<'static>>() else { return };
    details.request_id = Some(Cow::Owned(id.to_owned()));
    let body = body(&details);
    // The old body may have been compressed. The new one is not.
    response.headers_mut().remove(CONTENT_ENCODING);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if !is_head {
        *response.body_mut() = Body::from(body);
    }
}

fn body(details: &ProblemDetails<'_>) -> Vec<u8> {
    let mut body = serde_json::to_vec(details).unwrap_or_default();
    body.push(b'\n');
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn error_responses_are_at_most_4_kib() {
        for detail in ["\"".repeat(100_000), "€".repeat(100_000), format!("{:?}", "\\\"\n".repeat(9999))] {
            let mut response = Problem::bad_request(detail).into_response();
            add_request_id(&mut response, &"x".repeat(128), false);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.len() <= 4096, "{} bytes", body.len());
            serde_json::from_slice::<serde_json::Value>(&body).unwrap();
        }
    }
}
