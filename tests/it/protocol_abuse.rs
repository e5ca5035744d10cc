//! Attacks on the HTTP protocols. Each affects only its own connection, and another client notices nothing.

use crate::support::client::Client;
use crate::support::exchange::Exchange;
use crate::support::frames::{self, CONTINUATION, DEFAULT_WINDOW, END_HEADERS, END_STREAM, HEADERS, RST_STREAM};
use crate::support::replica::Replica;
use crate::support::{embedded, entries, soon, unbroken};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest payload of a frame (RFC 9113 §6.5.2).
const MAX_PAYLOAD: usize = 16_384;
/// Memory that an attack may cost, in KiB.
const MAX_MORE_KIB: u64 = 16 * 1024;

/// A replica with an honest client.
struct Attacked {
    replica: Replica,
    honest: Client,
    seen: Vec<serde_json::Value>,
    memory_kib: u64,
    _exchange: Exchange,
}

impl Attacked {
    async fn start() -> Attacked {
        let exchange = Exchange::start().await;
        let replica = embedded(&exchange, &[]).await;
        let mut honest = replica.connect("format=full").await;
        let seen = entries(&mut honest, 2).await;
        let memory_kib = replica.memory_kib();
        Attacked { replica, honest, seen, memory_kib, _exchange: exchange }
    }

    /// Sends `begin`, and then the bytes that `next` returns for each number, until `next` returns `None` or the server
    /// closes the connection. Returns everything that the server has sent.
    async fn attack(&self, begin: &[u8], mut next: impl FnMut(u32) -> Option<Vec<u8>>) -> Vec<u8> {
        let (mut reader, mut writer) = TcpStream::connect(&self.replica.address).await.unwrap().into_split();
        writer.write_all(begin).await.unwrap();
        let writing = async {
            for number in 0.. {
                let Some(bytes) = next(number) else { return };
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        let mut read = Vec::new();
        let reading = async {
            // The server may reset the connection instead of closing it.
            while reader.read_buf(&mut read).await.is_ok_and(|bytes| bytes > 0) {}
        };
        soon("the connection to end", async { tokio::join!(writing, reading) }).await;
        read
    }

    /// Sends a request. Returns everything that the server sends until it closes the connection, or until the third
    /// update of a stream.
    async fn ask(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(&self.replica.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let updates = |answer: &[u8]| String::from_utf8_lossy(answer).matches("data: ").count();
        while updates(&answer) < 3 && soon(request, socket.read_buf(&mut answer)).await.is_ok_and(|bytes| bytes > 0) {}
        String::from_utf8(answer).unwrap()
    }

    /// Checks that the client has missed nothing, that others are served, and that the attack has cost little memory.
    async fn check(mut self) {
        self.seen.extend(entries(&mut self.honest, 3).await);
        unbroken(&self.seen);
        assert_eq!(self.replica.get("/v1/prices/latest").await.0, 200);
        let more = self.replica.memory_kib().saturating_sub(self.memory_kib);
        assert!(more < MAX_MORE_KIB, "{more} KiB more");
    }
}

/// CVE-2023-44487.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let attacked = Attacked::start().await;
    let fields = frames::fields("/v1/prices?limit=1000", &[]);
    let pairs = |number: u32| {
        let mut bytes = Vec::new();
        for stream in number * 100..(number + 1) * 100 {
            frames::frame(&mut bytes, HEADERS, END_STREAM | END_HEADERS, 2 * stream + 1, &fields);
            frames::frame(&mut bytes, RST_STREAM, 0, 2 * stream + 1, &8u32.to_be_bytes());
        }
        (number < 10_000).then_some(bytes)
    };
    attacked.attack(&frames::preface(DEFAULT_WINDOW), pairs).await;
    attacked.check().await;
}

/// CVE-2024-27316.
#[tokio::test]
async fn head_without_an_end_ends_the_connection() {
    let attacked = Attacked::start().await;
    let mut begin = frames::preface(DEFAULT_WINDOW);
    frames::frame(&mut begin, HEADERS, END_STREAM, 1, &frames::fields("/", &[]));
    let mut field = Vec::new();
    field.push(0);
    frames::text(&mut field, "a");
    frames::text(&mut field, &"x".repeat(MAX_PAYLOAD - 10));
    let mut sent = 0;
    let more = |number: u32| {
        let mut bytes = Vec::new();
        frames::frame(&mut bytes, CONTINUATION, 0, 1, &field);
        sent += bytes.len();
        (number < 10_000).then_some(bytes)
    };
    attacked.attack(&begin, more).await;
    assert!(sent < 16 << 20, "the server has read {sent} bytes of one head");
    attacked.check().await;
}

/// Each head contains a field of 3900 bytes, and then 12,000 single bytes. Each of these bytes stands for the whole
/// field (RFC 7541 §7.3), so the head expands to 47 MB.
#[tokio::test]
async fn head_that_expands_is_rejected() {
    let attacked = Attacked::start().await;
    let mut fields = frames::fields("/v1/prices/latest", &[]);
    // The literal goes to place 62, the first one of the dynamic table.
    fields.push(0x40);
    frames::text(&mut fields, "a");
    frames::text(&mut fields, &"x".repeat(3900));
    fields.extend(vec![0x80 | 62; 12_000]);
    let mut begin = frames::preface(DEFAULT_WINDOW);
    for stream in 0..50 {
        frames::frame(&mut begin, HEADERS, END_STREAM | END_HEADERS, 2 * stream + 1, &fields);
    }
    // GOAWAY from the client ends the connection after the answers.
    frames::frame(&mut begin, 7, 0, 0, &[0; 8]);
    let answers = attacked.attack(&begin, |_| None).await;
    let text = String::from_utf8_lossy(&answers);
    assert!(!text.contains("price"), "a head of 47 MB is accepted: {text}");
    attacked.check().await;
}

/// Two servers may disagree about where a request without a clear length ends. Therefore it must be the last request of
/// its connection (RFC 9112 §6.1, §6.3).
#[tokio::test]
async fn unclear_length_hides_no_other_request() {
    let attacked = Attacked::start().await;
    let hidden = "GET /v1/prices/latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for (headers, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
        ("Content-Length: 5\r\nContent-Length: 6", "12345"),
        ("Content-Length: 5, 6", "12345"),
        ("Content-Length: +5", "12345"),
        ("Content-Length: 0x5", "12345"),
        ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("Content-Length: 5\r\n Transfer-Encoding: chunked", "0\r\n\r\n"),
    ] {
        for path in ["/v1/prices/latest", "/v1/prices/stream", "/v1/ws"] {
            for method in ["GET", "POST"] {
                let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}{hidden}");
                let answer = attacked.ask(&request).await;
                assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{method} {path} {headers:?}: {answer}");
            }
        }
    }
    // If the length is clear, the rest is a request of its own.
    let clear = format!("POST /v1/prices/latest HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345{hidden}");
    assert_eq!(attacked.ask(&clear).await.matches("HTTP/1.1 ").count(), 2);
    attacked.check().await;
}

#[tokio::test]
async fn request_needs_exactly_one_host() {
    let attacked = Attacked::start().await;
    for path in ["/v1/prices/latest", "/v1/prices/stream", "/v1/ws", "/"] {
        for hosts in ["", "Host: x\r\nHost: y\r\n", "Host: x\r\nhost: x\r\n"] {
            let answer = attacked.ask(&format!("GET {path} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("Host"), "{path} {hosts:?}: {answer}");
        }
    }
    attacked.check().await;
}
