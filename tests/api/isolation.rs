//! The threads of clients are separate from those of the other tasks.

use btcfeed::config::{Config, Lookup};
use btcfeed::hub::Hub;
use btcfeed::monitor::Monitor;
use btcfeed::server::Server;
use btcfeed::session::Bookmarks;
use btcfeed::shutdown::{Drain, Tasks};
use btcfeed::store::Memory;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The test's runtime has one thread, and this test blocks it. Therefore only the clients' own threads can accept the
/// connections.
#[tokio::test]
async fn clients_are_accepted_on_their_own_threads() {
    let ports = ["BTCFEED_LISTEN", "BTCFEED_OPS_LISTEN"].map(|name| (name.to_owned(), "127.0.0.1:0".to_owned()));
    let config = Config::read(&Lookup::new([], ports)).unwrap();
    let store = Arc::new(Memory::new(config.store));
    let hub = Arc::new(Hub::new(store.clone(), config.hub));
    let monitor = Arc::new(Monitor::new(hub.clone(), store.clone(), config.monitor.clone()));
    let bookmarks = Arc::new(Bookmarks::new(store));
    let (clients, services, stop) = (Tasks::isolated("clients").unwrap(), Tasks::default(), CancellationToken::new());
    let server =
        Server::bind(&config.server, hub, monitor, bookmarks, clients, stop.clone(), Drain::default()).unwrap();
    let address = server.address().unwrap();
    server.spawn(&services, &stop, &stop);
    for path in ["/openapi.json", "/v1/nothing"] {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 "), "{response}");
    }
    stop.cancel();
}
