//! Replicas with TLS behind nginx as a TCP proxy, which names the clients with the PROXY protocol.

use crate::support::client::Client;
use crate::support::nginx::TcpNginx;
use crate::support::tls::Authority;
use crate::support::{SERVE, TestCluster, entries, soon, unbroken, until};
use reqwest::Version;
use rustix::process::Signal;
use std::net::IpAddr;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;

const ATTACKER: &str = "127.0.0.2";

/// Opens a WebSocket over TLS through nginx, from an address of this machine.
async fn connect_from(
    from: &str,
    nginx: &TcpNginx,
    authority: &Authority,
    query: &str,
) -> Result<Client<TlsStream<TcpStream>>, Error> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let stream = soon("a connection", socket.connect(nginx.address.parse().unwrap())).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = soon("TLS", authority.connector(&["http/1.1"]).connect(name, stream)).await.unwrap();
    let url = format!("wss://localhost/v1/ws?{query}");
    soon("a handshake", client_async(url, stream)).await.map(|(socket, _)| Client::over(socket))
}

#[tokio::test]
async fn clients_keep_their_address_and_resume() {
    let (cluster, authority) = (TestCluster::new().await, Authority::new());
    let files = authority.settings();
    let mut settings: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).collect();
    settings.extend([
        ("BTCFEED_PROXY_PROTOCOL", "true"),
        ("BTCFEED_TRUSTED_PROXIES", "127.0.0.1"),
        ("BTCFEED_ADDRESS_CONNECTIONS", "2"),
        ("BTCFEED_LOG_FORMAT", "json"),
    ]);
    let mut replicas = vec![cluster.replica("r1", &settings).await, cluster.replica("r2", &settings).await];
    let plain = cluster.replica("r3", &[SERVE]).await;
    let nginx = TcpNginx::start(&[&replicas[0].address, &replicas[1].address]).await;

    // The limit applies to the client's address, not to that of nginx. The replicas share their counts once a second,
    // so together they may accept up to 4 clients.
    let mut held = Vec::new();
    let refused = loop {
        match connect_from(ATTACKER, &nginx, &authority, "").await {
            Ok(client) => held.push(client),
            Err(Error::Http(answer)) => break answer,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(refused.status(), 429);
    assert!((2..=4).contains(&held.len()), "{} clients", held.len());
    let mut examples = Vec::new();
    until("a log line", async || {
        let lines = replicas.iter().flat_map(|replica| replica.logged("refused clients over a limit"));
        examples = lines.map(|line| line["example"].clone()).collect();
        !examples.is_empty()
    })
    .await;
    assert!(examples.iter().all(|example| example == ATTACKER), "{examples:?}");

    // HTTP/2 comes through as well.
    let http = authority.http().local_address(IpAddr::from([127, 0, 0, 4])).build().unwrap();
    let url = format!("https://{}/v1/prices/latest", nginx.address);
    until("a price over HTTP/2", async || {
        let latest = soon("an answer", http.get(&url).send()).await.unwrap();
        (latest.version(), latest.status().as_u16()) == (Version::HTTP_2, 200)
    })
    .await;

    // A replica is killed. Its client resumes on the other one.
    let query = |after: &str| format!("format=full&hello=true{after}");
    let mut client = connect_from("127.0.0.3", &nginx, &authority, &query("&since=0")).await.unwrap();
    let name = client.json().await["replica"].clone();
    let mut seen = entries(&mut client, 2).await;
    let serving = usize::from(name == "r2");
    replicas.remove(serving).signal(Signal::KILL);
    while client.next().await.is_some() {}
    let after = format!("&after={}", seen.last().unwrap()["id"]);
    let mut client = connect_from("127.0.0.3", &nginx, &authority, &query(&after)).await.unwrap();
    assert_ne!(client.json().await["replica"], name);
    seen.extend(entries(&mut client, 3).await);
    unbroken(&seen);
    assert_eq!(plain.history_with(seen.last().unwrap()).await[..seen.len()], seen);
}
