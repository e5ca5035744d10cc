//! The page at `/` and the JavaScript SDK at `/btcfeed.js`: files that are part of the program, so that there is nothing
//! beside it to deploy, and no build but cargo's.
//!
//! The page is a client like any other: it reads the WebSocket and the history. It may load nothing from elsewhere, and
//! run nothing that is not one of these files (see [`POLICY`]).

use crate::api::caching;
use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// What a browser lets the page do: only what comes from here, nothing inline, inside nobody's frame. `'self'` covers the
/// WebSocket too (CSP 3 §6.7.2.8).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Where each file is, what it is, and what is in it.
const FILES: [(&str, &str, &str); 15] = [
    ("/", HTML, include_str!("assets/index.html")),
    ("/btcfeed.js", JAVASCRIPT, include_str!("assets/btcfeed.js")),
    ("/icon.svg", SVG, include_str!("assets/icon.svg")),
    ("/page/page.css", CSS, concat!(include_str!("theme.css"), include_str!("assets/page.css"))),
    ("/page/theme.js", JAVASCRIPT, include_str!("assets/theme.js")),
    ("/page/page.js", JAVASCRIPT, include_str!("assets/page.js")),
    ("/page/clock.js", JAVASCRIPT, include_str!("assets/clock.js")),
    ("/page/url_state.js", JAVASCRIPT, include_str!("assets/url_state.js")),
    ("/page/series.js", JAVASCRIPT, include_str!("assets/series.js")),
    ("/page/history.js", JAVASCRIPT, include_str!("assets/history.js")),
    ("/page/render.js", JAVASCRIPT, include_str!("assets/render.js")),
    ("/page/format.js", JAVASCRIPT, include_str!("assets/format.js")),
    ("/page/scale.js", JAVASCRIPT, include_str!("assets/scale.js")),
    ("/page/chart.js", JAVASCRIPT, include_str!("assets/chart.js")),
    ("/page/crosshair.js", JAVASCRIPT, include_str!("assets/crosshair.js")),
];

/// The routes of all files.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        let tag = caching::tag(&text);
        router.route(path, get(async move |headers: HeaderMap| file(&headers, kind, text, &tag)))
    })
}

/// A file, or the word that the browser has it already. It asks each time, so that a page and its parts are never of two
/// versions for longer than a roll-out takes.
fn file(request: &HeaderMap, kind: &'static str, text: &'static str, tag: &str) -> Response {
    let known = caching::is_current(request, tag);
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { text.into_response() };
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(tag).ok().map(|tag| (ETAG, tag)));
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::IF_NONE_MATCH;

    #[test]
    fn every_file_of_the_page_is_served_and_names_only_files_that_are() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/site/assets");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), FILES.len());
        for (path, _, text) in FILES {
            for part in text.split(['"', '\'']).filter(|part| matches!(part.rsplit_once('.'), Some((_, "js" | "css"))))
            {
                let named = part.strip_prefix("./").map_or(part.to_owned(), |name| format!("/page/{name}"));
                let served = FILES.iter().any(|(path, ..)| *path == named);
                assert!(served || named.starts_with("https://feed.example/"), "{path} names {named}");
            }
        }
    }

    #[test]
    fn a_browser_that_has_a_file_is_told_so_and_is_always_told_the_policy() {
        let (_, kind, text) = FILES[0];
        let tag = caching::tag(&text);
        for (known, status) in [("\"x\"", StatusCode::OK), (tag.as_str(), StatusCode::NOT_MODIFIED)] {
            let request = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_str(known).unwrap())]);
            let response = file(&request, kind, text, &tag);
            assert_eq!((response.status(), &response.headers()[ETAG]), (status, &HeaderValue::from_str(&tag).unwrap()));
            assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], POLICY);
        }
    }
}
