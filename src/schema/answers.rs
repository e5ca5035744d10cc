//! Responses that several paths share.

#![allow(dead_code, reason = "the types are only described, never constructed")]

use crate::message::ProblemDetails;
use crate::message::udf::UdfErrorMessage;
use utoipa::IntoResponses;

/// A request with an invalid parameter or header.
#[derive(IntoResponses)]
#[response(
    status = 400,
    description = "A parameter or a header is invalid. The answer names the invalid values, at most eight of them, and what is allowed.",
    content_type = "application/problem+json"
)]
pub(crate) struct BadRequest(ProblemDetails<'static>);

/// A moment without a price.
#[derive(IntoResponses)]
#[response(
    status = 404,
    description = "At least one of the currencies had no price in force at the requested moment. Either the moment is \
                   before the oldest entry or in the future, or the newest price was already stale by then, or the \
                   moment is in a gap. The answer names the gap. With `window`, that currency also had no price in the \
                   window.",
    content_type = "application/problem+json",
    example = json!({
        "type": "about:blank", "title": "Not Found", "status": 404,
        "detail": "no price in USD at 2026-11-20T09:20:40.000Z: the feed has a gap after 1795166431075 and before 1795166461080 (source_outage)"
    })
)]
pub(crate) struct NoPriceAt(ProblemDetails<'static>);

/// A moment without a price in the hour before it.
#[derive(IntoResponses)]
#[response(
    status = 404,
    description = "The feed has no price in `currency` at `timestamp` or in the hour before it. Without `currency`, it \
                   has none in any currency.",
    content_type = "application/problem+json"
)]
pub(crate) struct NoPriceBefore(ProblemDetails<'static>);

/// A request that cannot be served now.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "The replica cannot serve the request now: it has no price (only on paths that return the newest \
                   one), the history has not been read yet or cannot be read, the replica is stopping, or it has \
                   reached its limit of clients, of concurrent requests that read the history, or of new `client_id`s.",
    content_type = "application/problem+json",
    headers(("Retry-After" = u32, description = "The number of seconds to wait before the next attempt.")),
    example = json!({"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "this replica has no price in the chosen currencies, try again later"})
)]
pub(crate) struct Unavailable(ProblemDetails<'static>);

/// A request beyond a limit of its client's address.
#[derive(IntoResponses)]
#[response(
    status = 429,
    description = "The address of this client has reached a limit: open connections and requests, new connections and \
                   requests per second, concurrent requests that read the history, updates per minute in replays and \
                   pages, or new `client_id`s per hour. Or the API key has too many open streams.",
    content_type = "application/problem+json",
    headers(("Retry-After" = u32, description = "The number of seconds to wait before the next attempt.")),
    example = json!({
        "type": "about:blank", "title": "Too Many Requests", "status": 429,
        "detail": "too many new connections and requests from your address, try again later"
    })
)]
pub(crate) struct TooManyRequests(ProblemDetails<'static>);

/// A request without a valid API key.
#[derive(IntoResponses)]
#[response(
    status = 401,
    description = "This server serves only clients with an API key, and the request has no valid key. Send a key as \
                   `Authorization: Bearer KEY`, or as the parameter `key` if your client cannot set headers.",
    content_type = "application/problem+json",
    headers(("WWW-Authenticate" = String, description = "`Bearer`, and `error=\"invalid_token\"` if the request has a key.")),
    example = json!({
        "type": "about:blank", "title": "Unauthorized", "status": 401,
        "detail": "missing API key: expected the header `Authorization: Bearer KEY`, or `key=KEY` in the query"
    })
)]
pub(crate) struct Unauthorized(ProblemDetails<'static>);

/// A page whose origin is not allowed.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "Pages of this origin may not read the feed (`BTCFEED_CORS_ORIGINS`).",
    content_type = "application/problem+json",
    example = json!({
        "type": "about:blank", "title": "Forbidden", "status": 403,
        "detail": "origin not allowed: pages of this origin may not read the feed (BTCFEED_CORS_ORIGINS)"
    })
)]
pub(crate) struct Forbidden(ProblemDetails<'static>);

/// A request that is not a WebSocket handshake.
#[derive(IntoResponses)]
#[response(
    status = 426,
    description = "This path serves a WebSocket, and the request is not a WebSocket handshake (RFC 6455).",
    content_type = "application/problem+json",
    headers(("Upgrade" = String, description = "`websocket`"), ("Sec-WebSocket-Version" = String, description = "`13`")),
    example = json!({
        "type": "about:blank", "title": "Upgrade Required", "status": 426,
        "detail": "missing upgrade: this path is a WebSocket, connect with ws:// or wss://"
    })
)]
pub(crate) struct UpgradeRequired(ProblemDetails<'static>);

/// Content that the client already has.
#[derive(IntoResponses)]
#[response(
    status = 304,
    description = "The content has not changed since the response whose `ETag` is in `If-None-Match`.",
    headers(("ETag" = String, description = "The tag of the content."))
)]
pub(crate) struct NotModified;

/// A media type that the client does not accept.
#[derive(IntoResponses)]
#[response(
    status = 406,
    description = "`Accept` allows none of the media types of this path.",
    content_type = "application/problem+json",
    example = json!({
        "type": "about:blank", "title": "Not Acceptable", "status": 406,
        "detail": "invalid Accept \"text/html\": expected application/json, application/x-ndjson, text/csv or a range that includes one"
    })
)]
pub(crate) struct NotAcceptable(ProblemDetails<'static>);

/// A description of the API.
#[derive(IntoResponses)]
#[response(
    status = 200,
    description = "The description.",
    content_type = "application/json",
    headers(
        ("ETag" = String, description = "The tag of the content, for `If-None-Match`."),
        ("Link" = String, description = "The addresses of the OpenAPI and AsyncAPI documents (RFC 8631).")
    )
)]
pub(crate) struct Description(serde_json::Value);

/// A page for browsers.
#[derive(IntoResponses)]
#[response(
    status = 200,
    description = "The page.",
    content_type = "text/html",
    headers(
        ("ETag" = String, description = "The tag of the content, for `If-None-Match`."),
        ("Link" = String, description = "The addresses of the OpenAPI and AsyncAPI documents (RFC 8631).")
    )
)]
pub(crate) struct Page(String);

/// A style sheet.
#[derive(IntoResponses)]
#[response(
    status = 200,
    description = "The style sheet.",
    content_type = "text/css",
    headers(("ETag" = String, description = "The tag of the content, for `If-None-Match`."))
)]
pub(crate) struct Style(String);

/// A chart's request with an invalid parameter.
#[derive(IntoResponses)]
#[response(
    status = 400,
    description = "A parameter is invalid. `errmsg` names the invalid values, and what is expected.",
    content_type = "application/json"
)]
pub(crate) struct UdfBadRequest(UdfErrorMessage);

/// A chart's request beyond a limit of its client's address.
#[derive(IntoResponses)]
#[response(
    status = 429,
    description = "The address of this client has reached a limit. The limits that apply before the path is known \
                   answer with problem details (RFC 9457).",
    content_type = "application/json",
    headers(("Retry-After" = u32, description = "The number of seconds to wait before the next attempt."))
)]
pub(crate) struct UdfTooManyRequests(UdfErrorMessage);

/// A chart's request that cannot be served now.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "The replica cannot serve the request now.",
    content_type = "application/json",
    headers(("Retry-After" = u32, description = "The number of seconds to wait before the next attempt."))
)]
pub(crate) struct UdfUnavailable(UdfErrorMessage);

/// A script.
#[derive(IntoResponses)]
#[response(
    status = 200,
    description = "The script.",
    content_type = "text/javascript",
    headers(("ETag" = String, description = "The tag of the content, for `If-None-Match`."))
)]
pub(crate) struct Script(String);

/// A text.
#[derive(IntoResponses)]
#[response(
    status = 200,
    description = "The text.",
    content_type = "text/plain",
    headers(
        ("ETag" = String, description = "The tag of the content, for `If-None-Match`."),
        ("Link" = String, description = "The addresses of the OpenAPI and AsyncAPI documents (RFC 8631).")
    )
)]
pub(crate) struct Text(String);
