//! A TCP proxy that a test cuts, freezes and mends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Open,
    /// Every connection is closed, and new ones are too.
    Cut,
}

pub struct Proxy {
    pub address: SocketAddr,
    line: Arc<watch::Sender<Line>>,
    /// Connections that were made before this number moved pass nothing on any more, and are not closed either: what a
    /// firewall does that forgets them.
    frozen: Arc<watch::Sender<u64>>,
    /// After so many bytes more from the server the connection that they go to is closed.
    torn: Arc<AtomicUsize>,
    to: Arc<AtomicU16>,
    /// One for the proxy, and one for each connection.
    open: Arc<()>,
}

impl Proxy {
    pub async fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, frozen) = (Arc::new(watch::Sender::new(Line::Open)), Arc::new(watch::Sender::new(0)));
        let torn = Arc::new(AtomicUsize::new(usize::MAX));
        let leads = Arc::new(AtomicU16::new(to));
        let proxy = Proxy {
            address,
            line: line.clone(),
            frozen: frozen.clone(),
            torn: torn.clone(),
            to: leads.clone(),
            open: Arc::default(),
        };
        let open = proxy.open.clone();
        tokio::spawn(async move {
            loop {
                let (from, _) = listener.accept().await.unwrap();
                if *line.borrow() == Line::Cut {
                    continue;
                }
                let to = leads.load(Ordering::Relaxed);
                let (mut line, frozen, torn) = (line.subscribe(), frozen.subscribe(), torn.clone());
                let counted = open.clone();
                tokio::spawn(async move {
                    let _counted = counted;
                    let Ok(to) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    let (from_read, from_write) = from.into_split();
                    let (to_read, to_write) = to.into_split();
                    let whole = AtomicUsize::new(usize::MAX);
                    tokio::select! {
                        () = pass(from_read, to_write, frozen.clone(), &whole) => {}
                        () = pass(to_read, from_write, frozen, &torn) => {}
                        _ = line.wait_for(|line| *line == Line::Cut) => {}
                    }
                });
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Closes every connection, and every new one, until [`mend`](Self::mend).
    pub fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    pub fn mend(&self) {
        self.line.send_replace(Line::Open);
    }

    /// Closes a connection when `bytes` more have come from the server, in the middle of a message most likely.
    pub fn tear_after(&self, bytes: usize) {
        self.torn.store(bytes, Ordering::Relaxed);
    }

    /// Leads new connections to another port.
    pub fn lead_to(&self, port: u16) {
        self.to.store(port, Ordering::Relaxed);
    }

    /// The connections that are open.
    pub fn open(&self) -> usize {
        // The proxy's own and its task's do not count.
        Arc::strong_count(&self.open) - 2
    }

    /// Lets the connections that are open now hang for ever. New ones work.
    pub fn freeze(&self) {
        self.frozen.send_modify(|generation| *generation += 1);
    }
}

/// Passes bytes on until the connection ends or is torn, or hangs when it is frozen.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut frozen: watch::Receiver<u64>,
    torn: &AtomicUsize,
) {
    let mut buffer = [0; 4096];
    loop {
        let len = tokio::select! {
            biased;
            _ = frozen.changed() => std::future::pending().await,
            read = from.read(&mut buffer) => read.unwrap_or(0),
        };
        let left = torn.load(Ordering::Relaxed);
        let tears = left <= len;
        torn.store(if tears || left == usize::MAX { usize::MAX } else { left - len }, Ordering::Relaxed);
        if len == 0 || to.write_all(&buffer[..len.min(left)]).await.is_err() || tears {
            return;
        }
    }
}
