//! The reference at `/docs`.

use super::descriptions::description;
use super::server::TestServer;
use std::collections::BTreeSet;

/// Returns the values of an attribute in HTML.
fn values(page: &str, attribute: &str) -> Vec<String> {
    let attribute = format!(" {attribute}=\"");
    page.split(&attribute).skip(1).map(|part| part.split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn page_obeys_its_content_security_policy() {
    let server = TestServer::new().await;
    let answer = server.get("/docs").await;
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!answer.text().contains(" style=") && !answer.text().contains("<style"), "the policy forbids inline style");
}

#[tokio::test]
async fn page_links_to_openapi_and_is_cacheable() {
    let server = TestServer::new().await;
    let answer = server.get("/docs").await;
    let link = answer.header("link");
    assert!(link.contains(r#"<http://localhost:8080/openapi.json>; rel="service-desc""#), "{link}");
    let again = server.get_with("/docs", &[("if-none-match", answer.header("etag"))]).await;
    assert_eq!((again.status, again.text()), (304, ""));
}

#[tokio::test]
async fn every_link_of_the_page_has_a_target() {
    let server = TestServer::new().await;
    let (answer, paths) = (server.get("/docs").await, description(&server).await.paths());
    let page = answer.text();
    let ids = values(page, "id");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "ids are unique");
    let links: Vec<_> = values(page, "href").into_iter().chain(values(page, "src")).collect();
    assert!(links.len() > 20, "{links:?}");
    for link in links {
        match link.strip_prefix('#') {
            Some(id) => assert!(ids.iter().any(|known| known == id), "{link} has no target"),
            // The price page and its icon are not part of the API. All links are relative, because a proxy may serve
            // this server under another path.
            None => {
                let is_known = ["./", "icon.svg"].contains(&&*link) || paths.contains(&format!("/{link}"));
                assert!(is_known, "{link} does not exist");
            }
        }
    }
}

#[tokio::test]
async fn page_has_every_path_message_and_parameter() {
    let server = TestServer::new().await;
    let (answer, description) = (server.get("/docs").await, description(&server).await);
    let page = answer.text();
    let parameters = description.paths().into_iter().flat_map(|path| description.parameters(&path));
    let parameters: BTreeSet<_> = parameters.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
    let is_part = |path: &String| description.openapi["paths"][path]["get"].get("x-part-of").is_some();
    let (parts, paths): (BTreeSet<_>, BTreeSet<_>) = description.paths().into_iter().partition(is_part);
    assert!(
        parts.contains("/docs.css") && !page.contains("<code>/docs.css</code>"),
        "{parts:?} belong to the page, so the page does not list them"
    );
    let names = [paths, description.messages("websocket"), description.messages("events"), parameters];
    for name in names.into_iter().flatten() {
        assert!(page.contains(&format!("<code>{name}</code>")), "{name} is not on the page");
    }
    assert!(page.find("<h1>") < page.find("class=\"contents\""), "a phone shows the title first");
    for (message, schema) in [("status", "Health"), ("gap", "GapReason"), ("goodbye", "GoodbyeReason")] {
        let (_, article) = page.split_once(&format!("<article id=\"message-{message}\">")).unwrap();
        let article = article.split("</article>").next().unwrap();
        for word in description.openapi["components"]["schemas"][schema]["enum"].as_array().unwrap() {
            let explained = format!("<code>{}</code>: ", word.as_str().unwrap());
            assert!(article.contains(&explained), "{message} does not explain {word}");
        }
    }
}
