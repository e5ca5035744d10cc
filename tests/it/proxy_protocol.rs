//! A replica behind a proxy that forwards TCP and names its clients with the PROXY protocol. Without nginx, so that the
//! test chooses every byte.

use crate::support::client::Client;
use crate::support::program::program;
use crate::support::replica::Replica;
use crate::support::tls::Authority;
use crate::support::{SERVE, TestCluster, http, soon, until};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

const PROXY: &str = "127.0.0.2";
const ON: [(&str, &str); 3] = [SERVE, ("BTCFEED_PROXY_PROTOCOL", "true"), ("BTCFEED_TRUSTED_PROXIES", PROXY)];
const HTTP: &[u8] = b"GET /v1/prices/latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Connects from an address of this machine, and sends `first`.
async fn connect_from(address: &str, replica: &Replica, first: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    let mut stream = soon("a connection", socket.connect(replica.socket_address())).await.unwrap();
    stream.write_all(first).await.unwrap();
    stream
}

/// Returns the header of version 1 for a client over IPv4.
fn line(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.9 4711 443\r\n").into_bytes()
}

/// Returns the header of version 2 for a client, with a field (TLV) that has 100 bytes.
fn binary(client: &str) -> Vec<u8> {
    let SocketAddr::V6(client) = client.parse().unwrap() else { panic!("not IPv6: {client}") };
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x8b";
    [head, &client.ip().octets()[..], &[0; 16], &client.port().to_be_bytes(), &[1, 187, 0xea, 0, 100], &[7; 100]]
        .concat()
}

/// Sends the bytes, and returns everything that comes back.
async fn answer_to(from: &str, replica: &Replica, bytes: &[u8]) -> String {
    let mut stream = connect_from(from, replica, bytes).await;
    let mut answer = Vec::new();
    soon("the end", stream.read_to_end(&mut answer)).await.ok();
    String::from_utf8(answer).unwrap()
}

/// Opens a WebSocket for a client. The error is the status of a rejection.
async fn websocket(replica: &Replica, header: &[u8]) -> Result<Client<TcpStream>, u16> {
    let stream = connect_from(PROXY, replica, header).await;
    match soon("a handshake", client_async("ws://localhost/v1/ws", stream)).await {
        Ok((socket, _)) => Ok(Client::over(socket)),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn limits_and_logs_see_the_named_client() {
    let cluster = TestCluster::new().await;
    let last = cluster.redis.fill(2).await[1];
    let more = [("BTCFEED_ADDRESS_CONNECTIONS", "2"), ("BTCFEED_LOG_FORMAT", "json")];
    let replica = cluster.replica("r1", &[&ON[..], &more].concat()).await;
    // Each version of the header is sent before a WebSocket, which the reactor takes over, and in one packet with a
    // plain request. All addresses of an IPv6 network count as one.
    for headers in [
        [line("198.51.100.1"), line("198.51.100.1"), line("198.51.100.1")],
        ["1", "2", "3"].map(|host| binary(&format!("[2001:db8::{host}]:4711"))),
    ] {
        let mut first = websocket(&replica, &headers[0]).await.unwrap();
        let _second = websocket(&replica, &headers[1]).await.unwrap();
        assert_eq!(websocket(&replica, &headers[2]).await.map(drop), Err(429));
        let answer = answer_to(PROXY, &replica, &[&headers[2][..], HTTP].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        first.send(Message::Ping(Default::default())).await;
    }
    until("a log line", async || !replica.logged("refused clients over a limit").is_empty()).await;
    assert_eq!(replica.logged("refused clients over a limit")[0]["example"], "198.51.100.1");
    // Other clients are not affected, and cannot choose another address with headers of HTTP.
    let forged = [&line("198.51.100.2")[..], b"GET /v1/prices/latest?format=full HTTP/1.1\r\nHost: x\r\n"].concat();
    let forged = [&forged[..], b"X-Forwarded-For: 198.51.100.1\r\nConnection: close\r\n\r\n"].concat();
    let answer = answer_to(PROXY, &replica, &forged).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&last.to_string()), "{answer}");
    // The header of a health check that the proxy itself makes names no client. The request then counts for the proxy's
    // own address.
    for local in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let answer = answer_to(PROXY, &replica, &[local, HTTP].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn untrusted_or_invalid_header_is_refused() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(2).await;
    let replica = cluster.replica("r1", &ON).await;
    let endless = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", &[0; 1000][..]].concat();
    let known = [&line("198.51.100.1")[..], HTTP].concat();
    for (from, bytes, reason) in [
        ("127.0.0.1", &known[..], "untrusted"),
        ("127.0.0.1", b"", "untrusted"),
        (PROXY, HTTP, "invalid"),
        (PROXY, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "invalid"),
        (PROXY, &endless, "too_long"),
    ] {
        let series = format!("btcfeed_proxy_header_failures_total{{reason=\"{reason}\"}}");
        let before = replica.metric(&series).await;
        assert_eq!(answer_to(from, &replica, bytes).await, "", "{reason}");
        until(&series, async || replica.metric(&series).await == before + 1.0).await;
    }
    // A port check connects and leaves. It is not worth a warning.
    drop(connect_from(PROXY, &replica, b"").await);
    let series = r#"btcfeed_proxy_header_failures_total{reason="disconnected"}"#;
    until(series, async || replica.metric(series).await == 1.0).await;
    // Within a minute, each of the three reasons is logged once.
    let warnings =
        || replica.log().iter().filter(|line| line.contains("WARN") && line.contains("PROXY header")).count();
    until("three warnings", async || warnings() == 3).await;
    // The operators' port wants no header. There, `btcfeed check` and probes reach each replica.
    assert!(
        http().get(format!("http://{}/healthz?max_age=24h", replica.ops)).send().await.unwrap().status().is_success()
    );
    let mut check = program();
    check.args(["check", "--json", "--peer", &replica.ops]);
    check.env("REDIS_URL", cluster.redis.url()).env("BTCFEED_SOURCES", "simulated");
    let found = String::from_utf8(soon("the check", check.output()).await.unwrap().stdout).unwrap();
    assert!(found.contains(&format!("\"{}: live, r1 ", replica.ops)), "{found}");
}

#[tokio::test]
async fn header_comes_before_tls() {
    let cluster = TestCluster::new().await;
    let last = cluster.redis.fill(2).await[1];
    let authority = Authority::new();
    let files = authority.settings();
    let tls = files.each_ref().map(|(name, path)| (*name, path.as_str()));
    let replica = cluster.replica("r1", &[&ON[..], &tls, &[("BTCFEED_ADDRESS_CONNECTIONS", "1")]].concat()).await;
    // The first bytes of TLS come in the same packet as the header.
    let connect = async |header: &[u8]| {
        let mut stream = BufStream::new(connect_from(PROXY, &replica, b"").await);
        stream.write_all(header).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = soon("a handshake", authority.connector(&["http/1.1"]).connect(name, stream)).await.unwrap();
        soon("a handshake", client_async("wss://localhost/v1/ws?format=full", stream)).await
    };
    let (socket, _) = connect(&line("198.51.100.1")).await.unwrap();
    let mut held = Client::over(socket);
    assert_eq!(held.json().await["id"], last);
    let answer = answer_to(PROXY, &replica, &[&line("198.51.100.2")[..], HTTP].concat()).await;
    assert!(answer.contains("plain HTTP on a port with TLS"), "{answer}");
    // The answer may arrive before the failure is counted.
    let failures = r#"btcfeed_tls_handshake_failures_total{reason="plain"}"#;
    until("a counted failure", async || replica.metric(failures).await > 0.0).await;
    // The address has one place, which is free again when its client has left.
    assert_eq!(
        connect(&line("198.51.100.1")).await.map(drop).unwrap_err().to_string(),
        "HTTP error: 429 Too Many Requests"
    );
    drop(held);
    until("a free place", async || connect(&line("198.51.100.1")).await.is_ok()).await;
}
