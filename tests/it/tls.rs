//! TLS on the port for clients: every protocol, certificates that are replaced, and clients that misbehave.

use crate::support::events::Event;
use crate::support::exchange::Exchange;
use crate::support::program::program;
use crate::support::replica::Replica;
use crate::support::sdk::{self, TRANSPORTS};
use crate::support::tls::Authority;
use crate::support::{INTERVAL, TIMEOUT, embedded, entries, soon, tick, unbroken, until};
use btcfeed::client::Client;
use futures_util::future::join_all;
use rustix::process::Signal;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

/// Starts a replica that uses the certificate of `authority`.
async fn secured(exchange: &Exchange, authority: &Authority, settings: &[(&str, &str)]) -> Replica {
    let files = authority.settings();
    let files: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).collect();
    embedded(exchange, &[&files, settings].concat()).await
}

/// Returns what a command prints, on both outputs. Its input is empty.
async fn output(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).env("NO_PROXY", "*").stdin(Stdio::null()).kill_on_drop(true);
    let output = soon(program, command.output()).await.unwrap_or_else(|error| panic!("{program}: {error}"));
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

#[tokio::test]
async fn sdk_follows_the_feed_over_tls() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    for transport in TRANSPORTS {
        let client = Client::builder(&format!("https://localhost:{}", replica.port())).transport(transport);
        let client = client.authority(fs::read(authority.file("ca.pem")).unwrap());
        let mut updates = client.build().unwrap().subscribe();
        let first = sdk::tick(&mut updates).await;
        assert_eq!(sdk::tick(&mut updates).await.prev, first.id, "{transport:?}");
        // A client that does not know the authority does not connect.
        let stranger = Client::builder(&format!("https://localhost:{}", replica.port())).transport(transport);
        let other = Authority::new();
        let mut updates = stranger.authority(fs::read(other.file("ca.pem")).unwrap()).build().unwrap().subscribe();
        let update = format!("{:?}", sdk::next(&mut updates).await);
        assert!(update.starts_with("Disconnected") && update.contains("invalid peer certificate"), "{update}");
    }
}

#[tokio::test]
async fn sdk_names_the_right_scheme() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let (secured, plain) = (secured(&exchange, &authority, &[]).await, embedded(&exchange, &[]).await);
    for transport in TRANSPORTS {
        for (url, advice) in [
            (format!("https://localhost:{}", plain.port()), "; perhaps the server does not use TLS: try http://"),
            (format!("http://localhost:{}", secured.port()), " https://"),
        ] {
            let client = Client::builder(&url).transport(transport).build().unwrap();
            let update = match soon("an update", client.subscribe().next()).await.unwrap() {
                Ok(update) => format!("{update:?}"),
                Err(error) => error.to_string(),
            };
            assert!(update.contains(advice), "{transport:?} {url}: {update}");
        }
    }
}

#[tokio::test]
async fn rest_and_events_work_over_http_1_and_2() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let url = format!("https://127.0.0.1:{}", replica.port());
    for (client, version) in [
        (authority.http().http1_only().build().unwrap(), reqwest::Version::HTTP_11),
        (authority.http().build().unwrap(), reqwest::Version::HTTP_2),
    ] {
        until("a price", async || {
            let response = client.get(format!("{url}/v1/prices/latest")).send().await.unwrap();
            assert_eq!(response.version(), version);
            assert_eq!(response.headers()["strict-transport-security"], "max-age=31536000");
            response.status() == 200
        })
        .await;
        let mut stream = client.get(format!("{url}/v1/prices/stream?format=full&since=0")).send().await.unwrap();
        assert_eq!(stream.headers()["strict-transport-security"], "max-age=31536000");
        let (mut text, mut seen) = (String::new(), Vec::new());
        while seen.len() < 4 {
            text += std::str::from_utf8(&soon("an event", stream.chunk()).await.unwrap().expect("more")).unwrap();
            while let Some((block, rest)) = text.split_once("\n\n") {
                let event = Event::parse(block);
                if event.data.is_some() && event.name.as_deref().is_none_or(|name| name == "status") {
                    seen.push(event.json());
                }
                text = rest.to_owned();
            }
        }
        unbroken(&seen);
    }
}

#[tokio::test]
async fn websocket_is_closed_cleanly_over_tls() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let mut replica = secured(&exchange, &authority, &[("BTCFEED_PING_EVERY", "1s")]).await;
    let mut client = authority.websocket(&replica.address, "format=full&since=0").await;
    unbroken(&entries(&mut client, 4).await);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        tick(&mut client).await;
    }
    replica.signal(Signal::TERM);
    assert_eq!(u16::from(client.closed().await.code), 1001);
    // This would be an error if the server closed the socket without a `close_notify` (RFC 8446 §6.1).
    client.ended().await.unwrap();
    assert!(replica.exit().await.success());
}

#[tokio::test]
async fn curl_and_openssl_connect() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let (ca, port) = (authority.path("ca.pem"), replica.port());
    let url = format!("https://localhost:{port}/v1/ws");
    for (version, tls) in [("--http1.1", "--tlsv1.2"), ("--http2", "--tlsv1.3")] {
        let answer = output("curl", &["-q", "-sS", version, tls, "--cacert", &ca, &url]).await;
        assert!(answer.contains("missing upgrade"), "{answer}");
        let answer = output("curl", &["-q", "-sS", version, tls, &url]).await;
        assert!(answer.contains("certificate"), "{answer}");
    }
    let (address, insecure) = (format!("localhost:{port}"), "DEFAULT@SECLEVEL=0");
    for (flags, expected) in [
        (&["-tls1_3", "-alpn", "h2,http/1.1"][..], &["TLSv1.3", "ALPN protocol: h2"][..]),
        (&["-tls1_2", "-alpn", "http/1.1"], &["TLSv1.2", "ALPN protocol: http/1.1"]),
        (&["-tls1_2"], &["TLSv1.2", "No ALPN negotiated"]),
        (&["-tls1_1", "-cipher", insecure], &["no peer certificate available"]),
    ] {
        let arguments = [&["s_client", "-connect", &address, "-CAfile", &ca][..], flags].concat();
        let answer = output("openssl", &arguments).await;
        let expected = expected.iter().chain(&["Verify return code: 0 (ok)"]);
        assert!(expected.into_iter().all(|expected| answer.contains(expected)), "{flags:?}: {answer}");
    }
}

#[tokio::test]
async fn certificate_is_replaced_without_a_disconnect() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let first = authority.issue();
    let replica = secured(&exchange, &authority, &[]).await;
    let mut client = authority.websocket(&replica.address, "format=full").await;
    let mut seen = vec![tick(&mut client).await];
    assert_eq!(authority.seen(&replica.address).await, first);
    // The replica detects that the files have changed.
    let second = authority.issue();
    until("the second certificate", async || authority.seen(&replica.address).await == second).await;
    // A certificate that cannot be used is ignored.
    fs::write(authority.file("cert.pem"), "nonsense").unwrap();
    replica.signal(Signal::HUP);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        seen.push(tick(&mut client).await);
        assert_eq!(authority.seen(&replica.address).await, second);
    }
    let third = authority.issue();
    replica.signal(Signal::HUP);
    until("the third certificate", async || authority.seen(&replica.address).await == third).await;
    seen.push(tick(&mut client).await);
    while seen.last().unwrap()["id"] == seen[seen.len() - 2]["id"] {
        seen.push(tick(&mut client).await);
    }
    unbroken(&seen);
}

#[tokio::test]
async fn hangup_does_not_end_a_replica_without_tls() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let mut client = replica.connect("format=full").await;
    replica.signal(Signal::HUP);
    unbroken(&entries(&mut client, 5).await);
}

#[tokio::test]
async fn plain_http_gets_an_error_about_tls() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let (status, body) = replica.get("/v1/prices/latest").await;
    assert!(status == 400 && body.contains("connect with https:// or wss://"), "{status} {body}");
    // A client that sends nothing or invalid bytes is disconnected soon.
    let started = Instant::now();
    let disconnected = async |first: &[u8]| {
        let mut socket = TcpStream::connect(&replica.address).await.unwrap();
        socket.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        soon("the end", socket.read_to_end(&mut answer)).await.ok();
    };
    join_all([&b""[..], b"\x16\x03\x01\x40\x00", b"\x80\x2e\x01"].map(disconnected)).await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test]
async fn flood_of_handshakes_delays_no_client() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    // One address may use all places, so only the limits of handshakes apply.
    let limits =
        [("BTCFEED_MAX_CONNECTIONS", "64"), ("BTCFEED_ADDRESS_CONNECTIONS", "64"), ("BTCFEED_ADDRESS_RATE", "100000")];
    let replica = secured(&exchange, &authority, &limits).await;
    let mut honest = authority.websocket(&replica.address, "format=full").await;
    let mut seen = vec![tick(&mut honest).await];
    // Far more clients than places start a handshake and do not continue it.
    let mut idle = Vec::new();
    for number in 0..300 {
        let mut socket = TcpStream::connect(&replica.address).await.unwrap();
        let begin = [&b""[..], b"\x16", b"\x16\x03\x01\x01\x00\x01"][number % 3];
        socket.write_all(begin).await.ok();
        idle.push(socket);
    }
    let started = Instant::now();
    until("a place during the flood", async || match authority.try_connect(&replica.address).await {
        Ok(mut stream) => {
            stream.write_all(b"GET /v1/prices/latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.ok();
            let mut answer = String::new();
            soon("an answer", stream.read_to_string(&mut answer)).await.ok();
            answer.starts_with("HTTP/1.1 200")
        }
        Err(_) => false,
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(4), "idle handshakes were not closed before their deadline of 5 s");
    // Finished handshakes cost the most processor time, also in the client. All clients run in this process, so the
    // measured times include the work of the clients.
    let flood = async {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            let connect = || timeout(TIMEOUT, authority.try_connect(&replica.address));
            let _ended = tokio::join!(connect(), connect(), connect(), connect());
        }
    };
    let mut longest = Duration::ZERO;
    tokio::select! {
        () = flood => {}
        () = async {
            loop {
                let started = Instant::now();
                seen.push(tick(&mut honest).await);
                longest = longest.max(started.elapsed());
            }
        } => {}
    }
    // The honest client has received every tick in time.
    unbroken(&seen);
    assert!(longest < INTERVAL * 10, "no tick for {longest:?}");
    assert!(seen.len() > 5, "{} ticks", seen.len());
}

#[tokio::test]
async fn config_rejects_unusable_certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (cert, key, foreign) = (authority.path("cert.pem"), authority.path("key.pem"), other.path("key.pem"));
    let run = async |settings: &[(&str, &str)]| {
        let config = program().arg("config").envs(settings.iter().copied()).output();
        let output = soon("the program", config).await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&[("BTCFEED_TLS_CERT", &cert), ("BTCFEED_TLS_KEY", &key)]).await, (Some(0), String::new()));
    for (settings, expected) in [
        (&[("BTCFEED_TLS_CERT", &*cert)][..], format!("BTCFEED_TLS_CERT {cert:?}: expected BTCFEED_TLS_KEY to be set")),
        (&[("BTCFEED_TLS_KEY", &key)], format!("BTCFEED_TLS_KEY {key:?}: expected BTCFEED_TLS_CERT to be set")),
        (
            &[("BTCFEED_TLS_CERT", "/nowhere"), ("BTCFEED_TLS_KEY", &key)],
            "BTCFEED_TLS_CERT \"/nowhere\": cannot read the file: No such file".to_owned(),
        ),
        (
            &[("BTCFEED_TLS_CERT", &key), ("BTCFEED_TLS_KEY", &key)],
            format!("BTCFEED_TLS_CERT {key:?}: the file has no certificate"),
        ),
        (
            &[("BTCFEED_TLS_CERT", &cert), ("BTCFEED_TLS_KEY", &foreign)],
            format!("BTCFEED_TLS_KEY {foreign:?}: it is not the key of the certificate"),
        ),
    ] {
        let (code, error) = run(settings).await;
        assert!(code == Some(2) && error.contains(&format!("invalid {expected}")), "{code:?} {error}");
    }
}

#[tokio::test]
async fn watch_and_load_trust_a_private_authority() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let (url, ca) = (format!("https://localhost:{}", replica.port()), authority.path("ca.pem"));
    let program = env!("CARGO_BIN_EXE_btcfeed");
    let lines = output(program, &["watch", &url, "--ca", &ca, "--count", "2", "--format", "full"]).await;
    assert!(lines.matches("\"type\":\"tick\"").count() == 2, "{lines}");
    let result =
        output(program, &["load", &url, "--ca", &ca, "--connections", "5", "--duration", "2s", "--json"]).await;
    assert!(result.contains("\"lost\":0"), "{result}");
    let error = output(program, &["watch", &url, "--ca", &authority.path("key.pem")]).await;
    assert!(error.contains("expected a PEM file with a certificate (-----BEGIN CERTIFICATE-----)"), "{error}");
}
