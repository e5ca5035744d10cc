//! Live page at `/`, price in a frame at `/embed`, and JavaScript SDK at `/btcfeed.js`. Their files are compiled into
//! the program, so that only one file is deployed, and cargo is the only build tool. The SDK's files are those of the
//! npm package, `sdk/js`.
//!
//! The page is a client like any other: it reads the WebSocket and the history. It refers to everything on this server
//! by relative addresses, so that a proxy can serve the page at any path. Only the tags for crawlers (Open Graph) have
//! absolute addresses, as that protocol demands. A content security policy allows the page to load and run only files
//! from this server (`api::document`).

use crate::api::base_url::BaseUrl;
use crate::api::document::{Document, StaticFile};
use crate::api::state::ApiState;
use crate::site::bundle::{bundle, without_comments};
use axum::Router;
use axum::http::HeaderMap;
use axum::response::Redirect;
use axum::routing::get;
use std::sync::Arc;

/// Path of the page that other pages may show in a frame. Its only control is a link, so tricking someone into a click
/// does no harm.
const EMBED: &str = "/embed";

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const PNG: &str = "image/png";

/// Path and content of each page.
const PAGES: [(&str, &str); 2] = [("/", include_str!("assets/index.html")), (EMBED, include_str!("assets/embed.html"))];

/// Path, media type and content of each text that is neither a page nor a module.
const FILES: [(&str, &str, &str); 5] = [
    ("/icon.svg", SVG, include_str!("assets/icon.svg")),
    // Browsers request this path for a document that names no icon, such as an answer in JSON.
    ("/favicon.ico", SVG, include_str!("assets/icon.svg")),
    ("/page/page.css", CSS, concat!(include_str!("theme.css"), include_str!("assets/page.css"))),
    ("/page/embed.css", CSS, concat!(include_str!("theme.css"), include_str!("assets/embed.css"))),
    ("/page/first_paint.js", JAVASCRIPT, include_str!("assets/first_paint.js")),
];

/// Path and content of each module of the SDK. They are served as they are published.
const SDK: [(&str, &str); 11] = [
    ("/btcfeed.js", include_str!("../../sdk/js/btcfeed.js")),
    ("/btcfeed/address.js", include_str!("../../sdk/js/btcfeed/address.js")),
    ("/btcfeed/connection.js", include_str!("../../sdk/js/btcfeed/connection.js")),
    ("/btcfeed/cursor.js", include_str!("../../sdk/js/btcfeed/cursor.js")),
    ("/btcfeed/history.js", include_str!("../../sdk/js/btcfeed/history.js")),
    ("/btcfeed/line.js", include_str!("../../sdk/js/btcfeed/line.js")),
    ("/btcfeed/merge.js", include_str!("../../sdk/js/btcfeed/merge.js")),
    ("/btcfeed/message.js", include_str!("../../sdk/js/btcfeed/message.js")),
    ("/btcfeed/moment.js", include_str!("../../sdk/js/btcfeed/moment.js")),
    ("/btcfeed/options.js", include_str!("../../sdk/js/btcfeed/options.js")),
    ("/btcfeed/share.js", include_str!("../../sdk/js/btcfeed/share.js")),
];

/// Path and content of each module of the page.
const MODULES: [(&str, &str); 24] = [
    ("/page/api_key.js", include_str!("assets/api_key.js")),
    ("/page/candles.js", include_str!("assets/candles.js")),
    ("/page/chart.js", include_str!("assets/chart.js")),
    ("/page/clock.js", include_str!("assets/clock.js")),
    ("/page/crosshair.js", include_str!("assets/crosshair.js")),
    ("/page/embed.js", include_str!("assets/embed.js")),
    ("/page/figures.js", include_str!("assets/figures.js")),
    ("/page/format.js", include_str!("assets/format.js")),
    ("/page/gestures.js", include_str!("assets/gestures.js")),
    ("/page/history.js", include_str!("assets/history.js")),
    ("/page/loader.js", include_str!("assets/loader.js")),
    ("/page/page.js", include_str!("assets/page.js")),
    ("/page/panels.js", include_str!("assets/panels.js")),
    ("/page/ranges.js", include_str!("assets/ranges.js")),
    ("/page/render.js", include_str!("assets/render.js")),
    ("/page/report.js", include_str!("assets/report.js")),
    ("/page/scale.js", include_str!("assets/scale.js")),
    ("/page/series.js", include_str!("assets/series.js")),
    ("/page/snippet.js", include_str!("assets/snippet.js")),
    ("/page/sources.js", include_str!("assets/sources.js")),
    ("/page/table.js", include_str!("assets/table.js")),
    ("/page/url_state.js", include_str!("assets/url_state.js")),
    ("/page/viewport.js", include_str!("assets/viewport.js")),
    ("/page/write.js", include_str!("assets/write.js")),
];

/// The modules of the page that are served, each joined with what it imports.
const ENTRIES: [&str; 4] = ["/page/page.js", "/page/embed.js", "/page/snippet.js", "/page/table.js"];

/// Path, media type and content of the picture that is shown with links to the page (Open Graph).
const PICTURE: (&str, &str, &[u8]) = ("/page/og.png", PNG, include_bytes!("assets/og.png"));

/// Returns a router for all files.
pub(crate) fn routes() -> Router<Arc<ApiState>> {
    let (path, content_type, picture) = PICTURE;
    let picture = (path, StaticFile::new(content_type, move || picture));
    let files = FILES
        .into_iter()
        .map(|(path, content_type, text)| (path, StaticFile::new(content_type, move || without_comments(text))));
    let sdk = SDK.into_iter().map(|(path, text)| (path, StaticFile::new(JAVASCRIPT, move || text)));
    let modules = ENTRIES.into_iter().map(|path| (path, StaticFile::new(JAVASCRIPT, move || bundle(path, &module))));
    let all = files.chain(sdk).chain(modules).chain([picture]);
    let router = all.fold(Router::new(), |router, (path, file)| {
        let file = Arc::new(file);
        router.route(path, get(async move |headers: HeaderMap| file.answer(&headers)))
    });
    PAGES.into_iter().fold(router, |router, (path, text)| {
        let page = Arc::new(page(path, text));
        let answer = async move |base: Option<BaseUrl>, headers: HeaderMap| page.answer(base, &headers);
        router.route(path, get(answer))
    })
}

/// Returns the text of a module of the page or of the SDK.
fn module(path: &str) -> &'static str {
    let mut all = MODULES.iter().chain(&SDK);
    all.find(|(known, _)| *known == path).unwrap_or_else(|| panic!("there is no module {path}")).1
}

fn page(path: &str, text: &'static str) -> Document {
    let page = Document::html(move || text);
    if path == EMBED { page.framable() } else { page }
}

/// Returns a router that redirects paths with a slash at the end, where the relative links of a page would be wrong.
pub(crate) fn redirects() -> Router {
    Router::new()
        .route("/docs/", get(async || Redirect::permanent("../docs")))
        .route("/embed/", get(async || Redirect::permanent("../embed")))
        .route("/method/", get(async || Redirect::permanent("../method")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::address::HTTP_BASE;
    use crate::site::bundle::resolve;
    use axum::http::header::CONTENT_SECURITY_POLICY;
    use std::collections::BTreeSet;

    /// Returns each text with its path.
    fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
        PAGES.into_iter().chain(FILES.into_iter().map(|(path, _, text)| (path, text))).chain(SDK).chain(MODULES)
    }

    #[test]
    fn assets_are_served_and_refer_to_assets() {
        let files =
            |folder: &str| std::fs::read_dir(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap().count();
        // The icon has two paths, and the picture is not a text. The SDK is one file and a folder.
        assert_eq!(files("src/site/assets") + 1 + files("sdk/js/btcfeed"), texts().count());
        for (path, text) in texts() {
            let parts = || text.split(['"', '\'']);
            let is_file = |part: &&str| matches!(part.rsplit_once('.'), Some((_, "js" | "css")));
            for part in parts().filter(is_file).filter(|part| !part.starts_with("https://feed.example/")) {
                let target = resolve(path, part);
                assert!(texts().any(|(path, _)| path == target), "{path} refers to {target}");
            }
            // A proxy may serve the page at any path.
            let absolute: Vec<_> = parts()
                .filter(|part| part.starts_with('/') && part[1..].starts_with(|c: char| c.is_ascii_lowercase()))
                .collect();
            assert!(SDK.iter().any(|(sdk, _)| *sdk == path) || absolute.is_empty(), "{path} has {absolute:?}");
        }
        for (path, text) in PAGES {
            for (name, target) in [("og:url", path), ("og:image", PICTURE.0)] {
                let tag = format!("<meta property=\"{name}\" content=\"{HTTP_BASE}{target}\">");
                assert!(text.contains(&tag), "{path} has no {tag}");
            }
        }
    }

    #[test]
    fn files_are_as_the_bundle_expects() {
        for (path, text) in texts() {
            let is_script = matches!(path.rsplit_once('.'), Some((_, "js")));
            for line in text.lines().map(str::trim) {
                let has_code = line.starts_with("/*") && line.contains("*/") && !line.ends_with("*/");
                let is_open = is_script && line.matches('`').count() % 2 != 0 && !line.starts_with(['/', '*']);
                assert!(!has_code && !is_open, "{path}: {line}");
            }
        }
        let imported = MODULES.into_iter().flat_map(|(path, text)| {
            let found = text.split("import('").skip(1).filter_map(|rest| rest.split_once("')"));
            found.map(move |(name, _)| resolve(path, name))
        });
        let named = PAGES.into_iter().flat_map(|(path, text)| {
            let sources = text.split("type=\"module\" src=\"").skip(1).filter_map(|rest| rest.split_once('"'));
            sources.map(move |(name, _)| resolve(path, name))
        });
        let entries: BTreeSet<_> = imported.chain(named).collect();
        assert_eq!(entries, ENTRIES.into_iter().map(str::to_owned).collect());
        for entry in ENTRIES {
            assert!(!bundle(entry, &module).contains("\nimport "));
        }
    }

    #[test]
    fn only_the_embed_may_be_framed() {
        for (path, ancestors) in [("/", "frame-ancestors 'none'"), (EMBED, "frame-ancestors *")] {
            let response = page(path, "page").answer(None, &HeaderMap::new());
            let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains(ancestors), "{path}: {policy}");
        }
    }
}
