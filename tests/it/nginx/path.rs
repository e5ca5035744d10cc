//! Replicas behind an nginx that serves them under a path.

use crate::support::client::Client;
use crate::support::nginx::Nginx;
use crate::support::{SERVE, TestCluster, entries, http, soon};
use reqwest::Url;
use serde_json::Value;

/// The location for the path as in docs/deployment.md, and a cache. The default key of the cache has no `Host`.
const LOCATION: &str = "location /btc/ {
            proxy_pass http://replicas/;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $upgrade;
            proxy_set_header Connection $connection_header;
            proxy_set_header Forwarded '';
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host '';
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Prefix /btc;
            proxy_buffering on;
            proxy_cache answers;
            add_header X-Cache $upstream_cache_status;
        }

        location / {
            proxy_pass http://$replicas;";
const CACHE: &str = "proxy_cache_path cache keys_zone=answers:1m;\n    access_log off;";

struct Answer {
    text: String,
    link: String,
    cache: String,
    url: Url,
}

async fn get(url: &str, host: &str) -> Answer {
    let answer = soon(url, http().get(url).header("Host", host).send()).await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let (link, cache, url) = (header("link"), header("x-cache"), answer.url().clone());
    Answer { text: answer.text().await.unwrap(), link, cache, url }
}

/// Returns the address in a `Link`.
fn target(link: &str) -> &str {
    link.trim_start_matches('<').split('>').next().unwrap()
}

#[tokio::test]
async fn feed_is_served_under_a_path() {
    let cluster = TestCluster::new().await;
    let ids = cluster.redis.fill(5).await;
    let replica = cluster.replica("r1", &[SERVE, ("BTCFEED_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let root = "location / {\n            proxy_pass http://$replicas;";
    let nginx = Nginx::start_with(&[&replica.address], &[(root, LOCATION), ("access_log off;", CACHE)]).await;
    let base = format!("http://{}/btc", nginx.address);

    // The links of pages lead to the end of the history.
    let (mut url, mut read) = (format!("{base}/v1/prices?since=0&limit=2&format=full"), Vec::new());
    loop {
        let answer = get(&url, &nginx.address).await;
        let page: Value = serde_json::from_str(&answer.text).unwrap();
        read.extend(page["prices"].as_array().unwrap().iter().map(|entry| entry["id"].as_u64().unwrap()));
        if answer.link.is_empty() {
            break;
        }
        url = target(&answer.link).to_owned();
        assert!(url.starts_with(&format!("{base}/v1/prices?")), "{url}");
    }
    assert_eq!(read, ids);

    // The cache does not serve the page of one host to another, although its key has no `Host`.
    let url = format!("{base}/v1/prices?since=0&limit=2");
    for (host, cache) in [("a.example", "MISS"), ("b.example", "MISS"), ("a.example", "HIT"), ("b.example", "HIT")] {
        let answer = get(&url, host).await;
        assert_eq!(target(&answer.link).split('?').next(), Some(&*format!("http://{host}/btc/v1/prices")));
        assert_eq!(answer.cache, cache, "{host}");
    }

    // Crawlers follow only absolute addresses.
    for (page, path) in [("", "/"), ("embed", "/embed")] {
        let page = get(&format!("{base}/{page}"), &nginx.address).await.text;
        for target in
            [format!("og:url\" content=\"{base}{path}\""), format!("og:image\" content=\"{base}/page/og.png\"")]
        {
            assert!(page.contains(&target), "{target} is not in {page}");
        }
    }
    get(&format!("{base}/page/og.png"), &nginx.address).await;

    // The reference and what it links to.
    let docs = get(&format!("{base}/docs/"), &nginx.address).await;
    assert_eq!(docs.url.as_str(), format!("{base}/docs"));
    assert!(docs.text.contains(&format!("curl '{base}/v1/prices/latest'")));
    for attribute in [" href=\"", " src=\""] {
        for link in docs.text.split(attribute).skip(1).map(|part| part.split('"').next().unwrap()) {
            let target = docs.url.join(link).unwrap();
            assert!(target.as_str().starts_with(&format!("{base}/")), "{link}");
            get(target.as_str(), &nginx.address).await;
        }
    }
    let openapi: Value = serde_json::from_str(&get(target(&docs.link), &nginx.address).await.text).unwrap();
    assert_eq!(openapi["servers"][0]["url"], base);

    let mut client = Client::connect(&format!("{}/v1/ws?format=full&since=0", base.replace("http:", "ws:"))).await;
    assert_eq!(
        entries(&mut client, 5).await.iter().map(|entry| entry["id"].as_u64().unwrap()).collect::<Vec<_>>(),
        ids
    );
}
