//! The reference at `/docs` and its text at `/llms.txt`.

use super::descriptions::description;
use super::server::{TestServer, ticks};
use std::collections::BTreeSet;
use std::fs;

/// Returns the values of an attribute in HTML.
fn values(page: &str, attribute: &str) -> Vec<String> {
    let attribute = format!(" {attribute}=\"");
    page.split(&attribute).skip(1).map(|part| part.split('"').next().unwrap().to_owned()).collect()
}

/// Returns what is visible of HTML as plain text.
fn text_of(html: &str) -> String {
    let text: String = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// Returns the page and the text.
async fn both(server: &TestServer) -> (String, String) {
    (server.get("/docs").await.text().to_owned(), server.get("/llms.txt").await.text().to_owned())
}

#[tokio::test]
async fn page_obeys_its_content_security_policy() {
    let server = TestServer::new().await;
    let answer = server.get("/docs").await;
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let page = answer.text();
    assert!(!page.contains(" style=") && !page.contains("<style"), "the policy forbids inline style");
    assert_eq!(page.matches("<script").count(), 1, "the policy forbids inline scripts");
    assert!(page.contains("<script src=\"docs.js\" type=\"module\"></script>"));
}

#[tokio::test]
async fn redirect_to_a_page_has_the_usual_headers() {
    let server = TestServer::new().await;
    for path in ["/docs/", "/embed/", "/method/"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.header("x-content-type-options")), (308, "nosniff"), "{path}");
        assert_eq!(answer.header("x-request-id").len(), 36, "{path}");
    }
}

#[tokio::test]
async fn page_links_to_openapi_and_is_cacheable() {
    let server = TestServer::new().await;
    for path in ["/docs", "/llms.txt"] {
        let answer = server.get(path).await;
        let link = answer.header("link");
        assert!(link.contains(r#"<http://localhost:8080/openapi.json>; rel="service-desc""#), "{link}");
        let again = server.get_with(path, &[("if-none-match", answer.header("etag"))]).await;
        assert_eq!((again.status, again.text()), (304, ""));
    }
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
async fn page_and_text_have_everything() {
    let server = TestServer::new().await;
    let (page, text) = both(&server).await;
    let description = description(&server).await;
    let parameters = description.paths().into_iter().flat_map(|path| description.parameters(&path));
    let parameters: BTreeSet<_> = parameters.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
    let operation = |path: &String| &description.openapi["paths"][path]["get"];
    let is_part = |path: &String| operation(path).get("x-part-of").is_some();
    let (parts, paths): (BTreeSet<_>, BTreeSet<_>) = description.paths().into_iter().partition(is_part);
    assert!(
        parts.contains("/docs.css") && !page.contains("<code>/docs.css</code>"),
        "{parts:?} belong to the page, so the page does not list them"
    );
    for path in &paths {
        assert!(page.contains(&format!("<code>{path}</code>")) && text.contains(path.as_str()), "{path} is missing");
    }
    let names = [description.messages("websocket"), description.messages("events"), parameters];
    for name in names.into_iter().flatten() {
        assert!(page.contains(&format!("<code>{name}</code>")), "{name} is not on the page");
        assert!(
            text.contains(&format!("`{name}`")) || text.contains(&format!("### {name}\n")),
            "{name} is not in the text"
        );
    }
    assert!(page.find("<h1>") < page.find("class=\"contents\""), "a phone shows the title first");
    for (message, schema) in [("status", "Health"), ("gap", "GapReason"), ("goodbye", "GoodbyeReason")] {
        let (_, article) = page.split_once(&format!(" id=\"message-{message}\">")).unwrap();
        let article = article.split("</details>").next().unwrap();
        for word in description.openapi["components"]["schemas"][schema]["enum"].as_array().unwrap() {
            let explained = format!("<code>{}</code>: ", word.as_str().unwrap());
            assert!(article.contains(&explained), "{message} does not explain {word}");
            assert!(text.contains(&format!("`{}`: ", word.as_str().unwrap())), "the text does not explain {word}");
        }
    }
    let schemas = description.openapi["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        let is_message = description
            .messages("events")
            .iter()
            .any(|message| page.contains(&format!("#message-{message}\">{name}<")));
        assert!(
            is_message
                || page.contains(&format!("id=\"message-{}\"", name.to_lowercase()))
                || page.contains(&format!("id=\"schema-{name}\""))
                || text.contains(&format!("### {name}\n")),
            "{name}"
        );
    }
    let statuses = paths.iter().flat_map(|path| operation(path)["responses"].as_object().into_iter().flatten());
    for (status, _) in statuses {
        assert!(text.contains(&format!("- {status}: ")) && page.contains(&format!(">{status}</dt>")), "{status}");
    }
}

#[tokio::test]
async fn page_and_text_have_every_close_code() {
    let server = TestServer::new().await;
    let (page, text) = both(&server).await;
    let description = description(&server).await;
    let codes = description.asyncapi["channels"]["websocket"]["x-close-codes"].as_array().unwrap().clone();
    assert!(codes.len() > 6, "{codes:?}");
    for code in &codes {
        let (code, reason) = (code["code"].to_string(), code["reason"].as_str().unwrap());
        assert!(text_of(&page).contains(&format!("{code}{reason}")), "{code}");
        assert!(text.contains(&format!("- {code}: {reason}. Reconnect: ")), "{code}");
    }
}

/// Returns the names that are declared with this keyword in a file of `proto/`.
fn declared(proto: &str, keyword: &str) -> Vec<String> {
    let lines = proto.lines().filter_map(|line| line.trim_start().strip_prefix(&format!("{keyword} ")));
    lines.map(|rest| rest.split([' ', '(']).next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn page_and_text_have_all_of_grpc() {
    let server = TestServer::new().await;
    let (page, text) = both(&server).await;
    let proto = fs::read_to_string("proto/btcfeed/v1/price_feed.proto").unwrap();
    let (methods, types) = (declared(&proto, "rpc"), [declared(&proto, "message"), declared(&proto, "enum")].concat());
    assert!(methods.len() >= 3 && types.len() > 14, "{methods:?} {types:?}");
    for name in methods.iter().chain(&types) {
        assert!(page.contains(&format!(" id=\"grpc-{name}\"")), "{name} is not on the page");
        assert!(
            text.contains(&format!("### {name}\n")) || text.contains(&format!("### {name}(")),
            "{name} is not in the text"
        );
    }
    // An indented line with ` = ` declares a field, or a value of an enum.
    let fields = proto.lines().filter(|line| line.starts_with("  ") && line.ends_with(';') && line.contains(" = "));
    let names: Vec<_> = fields.map(|line| line.split(" = ").next().unwrap().split(' ').next_back().unwrap()).collect();
    assert!(names.len() > 60, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("<code>{name}</code>")), "{name} is not on the page");
        assert!(text.contains(&format!("- `{name}` (")), "{name} is not in the text");
    }
}

#[tokio::test]
async fn samples_are_the_tested_programs() {
    let server = TestServer::new().await;
    let (page, text) = both(&server).await;
    let shown = text_of(&page);
    let folder = fs::read_dir("examples/docs").unwrap().map(|file| file.unwrap().path());
    for path in folder.chain(["examples/docs_get.rs".into(), "examples/docs_follow.rs".into()]) {
        let source = fs::read_to_string(&path).unwrap();
        let source = source.trim_end();
        assert!(shown.contains(source), "{} is not on the page", path.display());
        let is_get = path.to_str().unwrap().contains("get.");
        assert!(is_get || text.contains(source), "{} is not in the text", path.display());
    }
    for language in ["curl", "JavaScript", "Python", "Rust", "Go"] {
        assert!(page.contains(&format!("<figure data-language=\"{language}\">")), "{language}");
    }
}

#[tokio::test]
async fn method_page_is_the_document() {
    let server = TestServer::with(&[("BTCFEED_PUBLIC_URL", "https://feed.example/btc")], &ticks(3)).await;
    let answer = server.get("/method").await;
    let page = answer.text();
    let shown = text_of(page);
    let document = fs::read_to_string("docs/method.md").unwrap();
    let (headings, cells): (Vec<_>, Vec<_>) =
        document.lines().filter(|line| line.starts_with(['#', '|'])).partition(|line| line.starts_with('#'));
    for line in headings.iter().map(|line| line.trim_start_matches(['#', ' '])) {
        assert!(shown.contains(line), "{line} is missing");
    }
    assert_eq!(page.matches("<tr>").count(), cells.len() - 1, "each line except the line of hyphens is a row");
    assert!(shown.contains("btcfeed verify https://feed.example/btc "), "it shows the address of this server");
    let ids = values(page, "id");
    for link in values(page, "href").into_iter().chain(values(page, "src")) {
        match link.strip_prefix('#') {
            Some(id) => assert!(ids.iter().any(|known| known == id), "{link} has no target"),
            None => assert_eq!(server.get(&format!("/{}", link.trim_start_matches("./"))).await.status, 200, "{link}"),
        }
    }
    let again = server.get_with("/method", &[("if-none-match", answer.header("etag"))]).await;
    assert_eq!(again.status, 304);
    let (docs, _) = both(&server).await;
    assert!(values(&docs, "href").contains(&"method".to_owned()), "the reference links to the method");
}
