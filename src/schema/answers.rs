//! The answers that several paths have in common.

#![allow(dead_code, reason = "these are shapes, which nobody makes")]

use super::bodies::Problem;
use utoipa::IntoResponses;

/// A mistake in the request.
#[derive(IntoResponses)]
#[response(
    status = 400,
    description = "A parameter or header cannot be read. All mistakes are named at once, with what is allowed.",
    content_type = "application/problem+json"
)]
pub(crate) struct BadRequest(Problem);

/// Nothing that can be had now.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "Not now: there is no price yet (only where the latest is asked for), the history has not been read yet or cannot be, the replica is stopping or \
                   has as many connections as it can.",
    content_type = "application/problem+json",
    headers(("Retry-After" = u32, description = "Seconds to wait before the next try.")),
    example = json!({"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "there is no price yet"})
)]
pub(crate) struct Unavailable(Problem);

/// A page that may not.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "The page that asks is of an origin that may not read the feed (`BTCFEED_CORS_ORIGINS`).",
    content_type = "application/problem+json",
    example = json!({
        "type": "about:blank", "title": "Forbidden", "status": 403,
        "detail": "origin not allowed: pages of this origin may not read the feed (BTCFEED_CORS_ORIGINS)"
    })
)]
pub(crate) struct Forbidden(Problem);

/// Another protocol is needed.
#[derive(IntoResponses)]
#[response(
    status = 426,
    description = "This is a WebSocket, and the request is no handshake of one (RFC 6455).",
    content_type = "application/problem+json",
    headers(("Upgrade" = String, description = "`websocket`"), ("Sec-WebSocket-Version" = String, description = "`13`")),
    example = json!({
        "type": "about:blank", "title": "Upgrade Required", "status": 426,
        "detail": "missing upgrade: this path is a WebSocket, connect with ws:// or wss://"
    })
)]
pub(crate) struct UpgradeRequired(Problem);

/// Nothing new.
#[derive(IntoResponses)]
#[response(
    status = 304,
    description = "What `If-None-Match` names is what there is.",
    headers(("ETag" = String, description = "What the content is."))
)]
pub(crate) struct NotModified;

/// Nothing that the client reads.
#[derive(IntoResponses)]
#[response(
    status = 406,
    description = "`Accept` has nothing of what there is.",
    content_type = "application/problem+json",
    example = json!({
        "type": "about:blank", "title": "Not Acceptable", "status": 406,
        "detail": "Accept reads application/json, application/x-ndjson, text/csv or a range with one of them, got \"text/html\""
    })
)]
pub(crate) struct NotAcceptable(Problem);

/// The description.
#[derive(IntoResponses)]
#[response(
    status = 200,
    description = "The description.",
    content_type = "application/json",
    headers(
        ("ETag" = String, description = "Names this content, for `If-None-Match`."),
        ("Link" = String, description = "Where both descriptions are (RFC 8631).")
    )
)]
pub(crate) struct Description(serde_json::Value);

/// A page.
#[derive(IntoResponses)]
#[response(
    status = 200,
    description = "A page.",
    content_type = "text/html",
    headers(
        ("ETag" = String, description = "Names this content, for `If-None-Match`."),
        ("Link" = String, description = "Where both descriptions are (RFC 8631).")
    )
)]
pub(crate) struct Page(String);

/// A style sheet.
#[derive(IntoResponses)]
#[response(
    status = 200,
    description = "A style sheet.",
    content_type = "text/css",
    headers(
        ("ETag" = String, description = "Names this content, for `If-None-Match`."),
        ("Link" = String, description = "Where both descriptions are (RFC 8631).")
    )
)]
pub(crate) struct Style(String);
