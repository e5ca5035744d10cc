//! Live page at `/` and JavaScript SDK at `/btcfeed.js`. Their files are compiled into the program, so that only one
//! file is deployed, and cargo is the only build tool. The SDK's files are those of the npm package, `sdk/js`.
//!
//! The page is a client like any other: it reads the WebSocket and the history. A content security policy allows it to
//! load and run only these files (`api::document`).

use crate::api::document::StaticFile;
use axum::Router;
use axum::http::HeaderMap;
use axum::response::Redirect;
use axum::routing::get;
use std::sync::Arc;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, media type and content of each file.
const FILES: [(&str, &str, &str); 28] = [
    ("/", HTML, include_str!("assets/index.html")),
    ("/btcfeed.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed.js")),
    ("/btcfeed/address.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed/address.js")),
    ("/btcfeed/connection.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed/connection.js")),
    ("/btcfeed/cursor.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed/cursor.js")),
    ("/btcfeed/history.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed/history.js")),
    ("/btcfeed/line.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed/line.js")),
    ("/btcfeed/merge.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed/merge.js")),
    ("/btcfeed/message.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed/message.js")),
    ("/btcfeed/moment.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed/moment.js")),
    ("/btcfeed/options.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed/options.js")),
    ("/btcfeed/share.js", JAVASCRIPT, include_str!("../../sdk/js/btcfeed/share.js")),
    ("/icon.svg", SVG, include_str!("assets/icon.svg")),
    // Browsers ask for it if a page names no icon, for example for an answer in JSON.
    ("/favicon.ico", SVG, include_str!("assets/icon.svg")),
    ("/page/page.css", CSS, concat!(include_str!("theme.css"), include_str!("assets/page.css"))),
    ("/page/theme.js", JAVASCRIPT, include_str!("assets/theme.js")),
    ("/page/page.js", JAVASCRIPT, include_str!("assets/page.js")),
    ("/page/api_key.js", JAVASCRIPT, include_str!("assets/api_key.js")),
    ("/page/clock.js", JAVASCRIPT, include_str!("assets/clock.js")),
    ("/page/url_state.js", JAVASCRIPT, include_str!("assets/url_state.js")),
    ("/page/series.js", JAVASCRIPT, include_str!("assets/series.js")),
    ("/page/history.js", JAVASCRIPT, include_str!("assets/history.js")),
    ("/page/render.js", JAVASCRIPT, include_str!("assets/render.js")),
    ("/page/report.js", JAVASCRIPT, include_str!("assets/report.js")),
    ("/page/format.js", JAVASCRIPT, include_str!("assets/format.js")),
    ("/page/scale.js", JAVASCRIPT, include_str!("assets/scale.js")),
    ("/page/chart.js", JAVASCRIPT, include_str!("assets/chart.js")),
    ("/page/crosshair.js", JAVASCRIPT, include_str!("assets/crosshair.js")),
];

/// Returns a router for all files.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, content_type, text)| {
        let file = Arc::new(StaticFile::new(content_type, text));
        router.route(path, get(async move |headers: HeaderMap| file.answer(&headers)))
    })
}

/// Returns a router for other addresses of pages whose links are relative.
pub(crate) fn redirects() -> Router {
    Router::new().route("/docs/", get(async || Redirect::permanent("../docs")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_served_and_refer_to_assets() {
        let files =
            |folder: &str| std::fs::read_dir(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap().count();
        // The icon has two paths. The SDK is one file and a folder.
        assert_eq!(files("src/site/assets") + 2 + files("sdk/js/btcfeed"), FILES.len());
        for (path, _, text) in FILES {
            let is_file = |part: &&str| matches!(part.rsplit_once('.'), Some((_, "js" | "css")));
            for part in text.split(['"', '\'']).filter(is_file) {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let target = part.strip_prefix("./").map_or(part.to_owned(), |name| format!("{folder}/{name}"));
                let is_served = FILES.iter().any(|(path, ..)| *path == target);
                assert!(is_served || target.starts_with("https://feed.example/"), "{path} refers to {target}");
            }
        }
    }
}
