//! Protection by nginx against forged headers, slow and long requests, and too many connections from one address.

use crate::support::grpc::{client, pb};
use crate::support::nginx::Nginx;
use crate::support::tls::Authority;
use crate::support::{SERVE, TestCluster, http, http_over_2, soon, until};
use reqwest::Version;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Starts a server in place of a replica. It records the head of the last request, and gives each request the same
/// answer.
async fn recorder() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, last) = (listener.local_addr().unwrap().to_string(), Arc::<Mutex<String>>::default());
    let kept = last.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && socket.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
            *kept.lock().unwrap() = String::from_utf8(head).unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.ok();
        }
    });
    (address, last)
}

/// Connects to nginx from an address of this machine.
async fn connect_from(address: &str, nginx: &Nginx) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    soon("a connection", socket.connect(nginx.address.parse().unwrap())).await.unwrap()
}

/// Sends a request. Returns the connection, and the head of the answer with the bytes that came with it.
async fn ask(mut socket: TcpStream, path: &str, headers: &str) -> (TcpStream, String) {
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::with_capacity(4096);
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        assert!(soon("an answer", socket.read_buf(&mut answer)).await.unwrap() > 0, "the end");
    }
    (socket, String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn replicas_get_no_forged_headers() {
    let (address, last) = recorder().await;
    let nginx = Nginx::start(&[&address]).await;
    let forged = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: a\r\nX-Forwarded-Prefix: /a\r\nForwarded: for=192.0.2.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n";
    let (_, answer) = ask(connect_from("127.0.0.9", &nginx).await, "/v1/prices", forged).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut head: Vec<_> = last.lock().unwrap().lines().map(str::to_ascii_lowercase).collect();
    head.sort();
    let expected = [
        "",
        "connection: close",
        "get /v1/prices http/1.1",
        "host: x",
        "x-forwarded-for: 127.0.0.9",
        "x-forwarded-proto: http",
    ];
    assert_eq!(head, expected);
    // Upper and lower case make no difference in these headers (RFC 6455).
    ask(connect_from("127.0.0.9", &nginx).await, "/v1/ws", "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n")
        .await;
    let head = last.lock().unwrap().to_ascii_lowercase();
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
}

#[tokio::test]
async fn long_heads_do_not_look_like_an_outage() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(3).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    let nginx = Nginx::start(&[&replica.address]).await;
    let status = async |query: &str, headers: &[usize]| {
        let mut request = http().get(format!("http://{}/v1/prices?limit=1{query}", nginx.address));
        for (number, length) in headers.iter().enumerate() {
            request = request.header(format!("x-{number}"), "x".repeat(*length));
        }
        let answer = soon("an answer", request.send()).await.unwrap();
        (answer.status().as_u16(), answer.headers().get("link").map_or(0, |link| link.len()))
    };
    assert_eq!(status("", &[7000, 7000]).await.0, 200);
    for headers in [&[7200][..], &[7000, 7000, 2000], &[7000, 7000, 7000], &[4000; 9]] {
        assert_eq!(status("", headers).await.0, 431, "{headers:?}");
    }
    // The longest valid query. The `Link` header of its answer is even longer.
    let (longest, link) = status(&format!("&currency=USD{}", ",USD".repeat(249)), &[]).await;
    assert!(longest == 200 && link > 1500, "{longest}, a link of {link} bytes");
    assert_eq!(status(&format!("&currency=USD{}", ",USD".repeat(260)), &[]).await.0, 400);
}

#[tokio::test]
async fn long_grpc_errors_do_not_look_like_an_outage() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(2).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    let nginx = Nginx::start(&[&replica.address]).await;
    let request = pb::GetLatestRequest { currencies: vec!["ä%€".repeat(12); 50] };
    let status = soon("an answer", client(&nginx.grpc_address).await.get_latest(request)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
}

#[tokio::test]
async fn grpc_port_serves_only_grpc() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(2).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    let nginx = Nginx::start(&[&replica.address]).await;
    for path in ["/", "/v1/prices/latest", "/v1/ws", "/btcfeed.v1.PriceFeed/GetLatest/x", "/grpc.health.v1.Health"] {
        let answer =
            soon(path, http_over_2().get(format!("http://{}{path}", nginx.grpc_address)).send()).await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    let request = pb::GetLatestRequest { currencies: vec!["USD".to_owned()] };
    soon("an answer", client(&nginx.grpc_address).await.get_latest(request)).await.unwrap();
}

#[tokio::test]
async fn one_address_gets_only_its_share() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(2).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    let nginx =
        Nginx::start_with(&[&replica.address], &[("limit_conn connections 4096;", "limit_conn connections 3;")]).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let (socket, answer) = ask(connect_from("127.0.0.2", &nginx).await, "/v1/prices/stream", "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        streams.push(socket);
    }
    let url = format!("http://{}/v1/prices/latest", nginx.address);
    let attacker = reqwest::Client::builder()
        .tls_certs_only([])
        .local_address(std::net::IpAddr::from([127, 0, 0, 2]))
        .build()
        .unwrap();
    let refused = soon("an answer", attacker.get(&url).send()).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "10"));
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(problem["status"], 429);
    // An EventSource would not reconnect after another status than 200.
    let (_, events) =
        ask(connect_from("127.0.0.2", &nginx).await, "/v1/prices/stream", "Accept: text/event-stream\r\n").await;
    assert!(events.starts_with("HTTP/1.1 200") && events.contains("event: goodbye"), "{events}");
    // Other addresses are served.
    assert!(soon("an answer", http().get(&url).send()).await.unwrap().status().is_success());
    streams.pop();
    until("a place", async || attacker.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())).await;
}

#[tokio::test]
async fn requests_of_an_address_are_limited() {
    let (address, _) = recorder().await;
    let changes = [("rate=500r/s;", "rate=1r/s;"), ("burst=5000 ", "burst=5 ")];
    let nginx = Nginx::start_with(&[&address], &changes).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let (_, answer) = ask(connect_from("127.0.0.3", &nginx).await, "/v1/prices/latest", "").await;
        statuses.push(answer[9..12].to_owned());
    }
    assert!(statuses[..6].iter().all(|status| status == "200"), "{statuses:?}");
    assert!(statuses[6..].iter().filter(|status| *status == "429").count() >= 10, "{statuses:?}");
}

#[tokio::test]
async fn addresses_of_an_ipv6_network_count_as_one() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(2).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    // A load balancer names the clients, as the comments in the configuration of nginx describe.
    let changes = [
        ("# set_real_ip_from 10.0.0.0/8;", "set_real_ip_from 127.0.0.0/8;"),
        ("# real_ip_header X-Forwarded-For;", "real_ip_header X-Forwarded-For;"),
        ("# real_ip_recursive on;", "real_ip_recursive on;"),
        ("limit_conn connections 4096;", "limit_conn connections 1;"),
    ];
    let nginx = Nginx::start_with(&[&replica.address], &changes).await;
    let connect = async |address: &str| {
        let from = format!("X-Forwarded-For: 2001:db8:9:9::9, {address}\r\n");
        ask(connect_from("127.0.0.2", &nginx).await, "/v1/prices/stream", &from).await
    };
    let mut open = Vec::new();
    for (address, expected) in [
        ("2001:db8:0:1::1", "200"),
        ("2001:db8:0:1:ffff::2", "429"),
        // The first 64 bits of this address contain the byte of a line feed.
        ("2001:db8:0:a::1", "200"),
        ("2001:db8:0:a::2", "429"),
        ("192.0.2.1", "200"),
        ("192.0.2.2", "200"),
        ("192.0.2.1", "429"),
    ] {
        let (socket, answer) = connect(address).await;
        assert_eq!(&answer[9..12], expected, "{address}");
        open.push(socket);
    }
}

#[tokio::test]
async fn tls_port_serves_every_transport() {
    let cluster = TestCluster::new().await;
    let last = cluster.redis.fill(2).await[1];
    let replica = cluster.replica("r1", &[SERVE]).await;
    let authority = Authority::new();
    let (_nginx, address) = Nginx::start_tls(&[&replica.address], &authority).await;
    let http = authority.http().build().unwrap();
    let get = async |path: &str| soon(path, http.get(format!("https://{address}{path}")).send()).await.unwrap();
    let latest = get("/v1/prices/latest?format=full").await;
    assert_eq!((latest.version(), latest.status().as_u16()), (Version::HTTP_2, 200));
    assert_eq!(latest.headers()["strict-transport-security"], "max-age=31536000");
    assert_eq!(serde_json::from_str::<Value>(&latest.text().await.unwrap()).unwrap()["id"], last);
    let mut events = get("/v1/prices/stream").await;
    assert!(soon("an event", events.chunk()).await.unwrap().is_some());
    let mut socket = authority.websocket(&address, "format=full").await;
    assert_eq!(socket.json().await["id"], last);
    let health = http.post(format!("https://{address}/grpc.health.v1.Health/Check"));
    let health = health.header("content-type", "application/grpc").header("te", "trailers").body(vec![0; 5]);
    let health = soon("a call", health.send()).await.unwrap();
    // The status is SERVING.
    assert_eq!(health.bytes().await.unwrap()[5..], [8, 1]);
}

#[tokio::test]
async fn every_answer_forbids_guessing_its_type() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(2).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    let nginx = Nginx::start(&[&replica.address]).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(10_000));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", 413),
        (&long, 414),
        ("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET /v1/prices/latest HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ] {
        let mut socket = connect_from("127.0.0.5", &nginx).await;
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            assert!(soon("an answer", socket.read_buf(&mut answer)).await.unwrap() > 0, "the end");
        }
        let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        assert_eq!(answer.matches("\r\nx-content-type-options: nosniff\r\n").count(), 1, "{answer}");
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{answer}");
    }
    let answer = soon("an answer", http_over_2().get(format!("http://{}/", nginx.grpc_address)).send()).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["x-content-type-options"].to_str().unwrap()),
        (404, "nosniff")
    );
}

#[tokio::test]
async fn slow_requests_are_closed() {
    let (address, _) = recorder().await;
    let changes = [
        ("client_header_timeout 10s;", "client_header_timeout 1s;"),
        ("client_body_timeout 10s;", "client_body_timeout 1s;"),
    ];
    let nginx = Nginx::start_with(&[&address], &changes).await;
    let body = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf";
    for request in ["", "GET / HTTP/1.1\r\nHost: x\r\n", body] {
        let started = Instant::now();
        let mut socket = connect_from("127.0.0.4", &nginx).await;
        socket.write_all(request.as_bytes()).await.unwrap();
        soon("the end", socket.read_to_end(&mut Vec::new())).await.ok();
        assert!(started.elapsed() < Duration::from_secs(20), "{request:?}: {:?}", started.elapsed());
    }
    // This head starts in time, but never ends.
    let mut socket = connect_from("127.0.0.4", &nginx).await;
    socket.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let dripping = async {
        while socket.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    soon("the end", dripping).await;
}
