//! The method at `/method`: how a price is made, and how it can be computed again. The text is `docs/method.md`.

use super::head::head;
use crate::api::base_url::BaseUrl;
use crate::api::document::Document;
use crate::schema::{answers, parameters};
use axum::Extension;
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{DOCTYPE, PreEscaped, html};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};
use std::sync::Arc;

const TEXT: &str = include_str!("../../docs/method.md");
const DESCRIPTION: &str = "How btcfeed makes the price of Bitcoin, and how to compute it again.";

/// The page.
pub(crate) struct MethodPage(Document);

impl MethodPage {
    /// Creates the page.
    pub(crate) fn new() -> Arc<MethodPage> {
        Arc::new(MethodPage(Document::html(|| render(TEXT))))
    }
}

/// How the price is made, as a page for people
#[utoipa::path(
    get,
    path = "/method",
    tag = "descriptions",
    extensions(("x-part-of" = json!("/docs"))),
    operation_id = "method",
    params(parameters::IfNoneMatch),
    responses(answers::Page, answers::NotModified)
)]
pub(crate) async fn page(
    Extension(page): Extension<Arc<MethodPage>>,
    base: Option<BaseUrl>,
    headers: HeaderMap,
) -> Response {
    page.0.answer(base, &headers)
}

/// Renders a page from a text in `CommonMark` with tables.
fn render(text: &str) -> String {
    let mut events: Vec<_> = Parser::new_ext(text, Options::ENABLE_TABLES).collect();
    let sections = add_ids(&mut events);
    let mut body = String::new();
    pulldown_cmark::html::push_html(&mut body, events.into_iter());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { (head("btcfeed: the method", DESCRIPTION)) }
            body {
                a.skip href="#content" { "Skip to content" }
                header {
                    p.brand { a href="./" { "btcfeed" } }
                    nav aria-label="Pages" {
                        a href="v1/prices/latest?format=audit" { "Audit of the newest price" }
                        a href="docs" { "API reference" }
                    }
                }
                main.columns {
                    nav.contents aria-label="Contents" {
                        @for (id, title) in &sections { p { a href={ "#" (id) } { (title) } } }
                    }
                    div #content.text { (PreEscaped(body)) }
                }
            }
        }
    };
    page.into_string()
}

/// Gives each heading of level 2 or deeper an id. Returns the ids and the titles of those of level 2.
fn add_ids(events: &mut [Event<'_>]) -> Vec<(String, String)> {
    let mut sections = Vec::new();
    for start in 0..events.len() {
        let title: String = events[start..]
            .iter()
            .take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))))
            .filter_map(|event| if let Event::Text(text) | Event::Code(text) = event { Some(&**text) } else { None })
            .collect();
        if let Event::Start(Tag::Heading { level, id, .. }) = &mut events[start]
            && *level as usize > 1
        {
            let slug = title.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
            *id = Some(CowStr::from(slug.clone()));
            sections.extend((*level as usize == 2).then_some((slug, title)));
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_links_and_tables() {
        let page = render("# Title\n\n## One `thing`\n\n| a |\n|---|\n| b |\n\n### Inner part\n");
        for part in [
            "<a href=\"#one-thing\">One thing</a>",
            "<h2 id=\"one-thing\">One <code>thing</code></h2>",
            "<h3 id=\"inner-part\">",
            "<td>b</td>",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!page.contains("href=\"#inner-part\"") && page.contains("<h1>Title</h1>"), "{page}");
    }
}
