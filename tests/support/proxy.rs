//! A TCP proxy that breaks connections when a test says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// State of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    /// Every connection is closed, and so is every new one.
    Down,
}

/// A running proxy to a port on this machine.
pub struct Proxy {
    /// Address of the proxy.
    pub address: SocketAddr,
    link: Arc<watch::Sender<Link>>,
    /// When this number changes, the open connections hang: they forward nothing and stay open, like connections
    /// through a firewall that has lost its state.
    frozen: Arc<watch::Sender<u64>>,
    /// Number of further bytes from the server after which one connection is closed. The bytes of all connections
    /// count. `usize::MAX` means that no connection is closed.
    break_after: Arc<AtomicUsize>,
    target: Arc<AtomicU16>,
    /// Delay of each byte in milliseconds, in each direction.
    delay: Arc<AtomicU64>,
    /// Each connection has a clone, so that the connections can be counted.
    open: Arc<()>,
}

impl Proxy {
    /// Breaks connections at random moments until `end`.
    pub async fn break_until(&self, end: Instant) {
        let up_to = |ms| Duration::from_millis(fastrand::u64(0..ms));
        while Instant::now() < end {
            sleep(up_to(700)).await;
            match fastrand::u32(0..10) {
                0..4 => {
                    self.cut();
                    sleep(up_to(300)).await;
                    self.restore();
                }
                4..9 => self.break_after(fastrand::usize(1..2000)),
                _ => self.freeze(),
            }
        }
        self.break_after(usize::MAX);
    }

    /// Starts a proxy to the port `to`.
    pub async fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (link, frozen) = (Arc::new(watch::Sender::new(Link::Up)), Arc::new(watch::Sender::new(0)));
        let break_after = Arc::new(AtomicUsize::new(usize::MAX));
        let target = Arc::new(AtomicU16::new(to));
        let proxy = Proxy {
            address,
            link: link.clone(),
            frozen: frozen.clone(),
            break_after: break_after.clone(),
            target: target.clone(),
            delay: Arc::default(),
            open: Arc::default(),
        };
        let (open, delay) = (proxy.open.clone(), proxy.delay.clone());
        tokio::spawn(async move {
            loop {
                let (from, _) = listener.accept().await.unwrap();
                if *link.borrow() == Link::Down {
                    continue;
                }
                let to = target.load(Ordering::Relaxed);
                let (mut link, frozen, break_after) = (link.subscribe(), frozen.subscribe(), break_after.clone());
                let (counted, delay) = (open.clone(), delay.clone());
                tokio::spawn(async move {
                    let _counted = counted;
                    let Ok(to) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    let (from_read, from_write) = from.into_split();
                    let (to_read, to_write) = to.into_split();
                    let whole = AtomicUsize::new(usize::MAX);
                    tokio::select! {
                        () = forward(from_read, to_write, frozen.clone(), &whole, &delay) => {}
                        () = forward(to_read, from_write, frozen, &break_after, &delay) => {}
                        _ = link.wait_for(|link| *link == Link::Down) => {}
                    }
                });
            }
        });
        proxy
    }

    /// Starts a proxy to the port `to` that delays everything by this time in each direction.
    pub async fn start_with_delay(to: u16, delay: Duration) -> Proxy {
        let proxy = Proxy::start(to).await;
        proxy.delay(delay);
        proxy
    }

    /// Returns its address as a URL for Redis.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Closes every connection, and every new one, until [`restore`](Self::restore).
    pub fn cut(&self) {
        self.link.send_replace(Link::Down);
    }

    /// Accepts connections again.
    pub fn restore(&self) {
        self.link.send_replace(Link::Up);
    }

    /// Closes a connection after `bytes` further bytes from the server. That is probably in the middle of a message.
    pub fn break_after(&self, bytes: usize) {
        self.break_after.store(bytes, Ordering::Relaxed);
    }

    /// Forwards new connections to another port.
    pub fn redirect(&self, port: u16) {
        self.target.store(port, Ordering::Relaxed);
    }

    /// Delays everything by this time in each direction, like a link to another continent.
    pub fn delay(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Returns the number of open connections.
    pub fn open(&self) -> usize {
        // The clones of the proxy and of its task do not count.
        Arc::strong_count(&self.open) - 2
    }

    /// Makes the open connections hang. New ones work.
    pub fn freeze(&self) {
        self.frozen.send_modify(|generation| *generation += 1);
    }
}

/// Forwards bytes until the connection ends or has to break. Hangs after a change of `frozen`.
async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut frozen: watch::Receiver<u64>,
    break_after: &AtomicUsize,
    delay: &AtomicU64,
) {
    let mut buffer = [0; 4096];
    let (sender, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let arrive = async {
        while let Some((at, bytes)) = under_way.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let depart = async move {
        loop {
            let len = tokio::select! {
                biased;
                _ = frozen.changed() => std::future::pending().await,
                read = from.read(&mut buffer) => read.unwrap_or(0),
            };
            let left = break_after.load(Ordering::Relaxed);
            let breaks = left <= len;
            break_after.store(if breaks || left == usize::MAX { usize::MAX } else { left - len }, Ordering::Relaxed);
            let at = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
            if len == 0 || sender.send((at, buffer[..len.min(left)].to_vec())).is_err() || breaks {
                return;
            }
        }
    };
    // Bytes that are being delayed are still forwarded when the connection ends.
    tokio::join!(arrive, depart);
}
