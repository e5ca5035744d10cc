//! The feed as a stream: connect, resume, back off.
//!
//! This is what a program that reads a feed uses; nothing in it is needed to serve one. A [`Client`] names a feed and what to
//! read of it, [`Client::subscribe`] gives a [`Stream`](futures_util::Stream) of [`Update`]s that outlives any connection:
//!
//! - A connection that ends, or hangs, or is refused for now is made anew, after pauses that grow and are never the same
//!   for two clients. Each begins right after the last id that was handed out, so that nothing is missing.
//! - What comes twice is dropped. What does not follow on the entry before it is told as a [`Gap`], if the server has not
//!   said so itself.
//! - Message types and fields that this version does not know are passed over.
//! - It ends only with an [`Error`]: where the server would refuse the next time too, a wrong parameter for instance.
//!
//! ```no_run
//! use btcfeed::client::{Client, Start, Update};
//! use btcfeed::tick::Currency;
//!
//! # async fn example() -> Result<(), btcfeed::client::Error> {
//! let client = Client::builder("http://localhost:8080")
//!     .currencies([Currency::Usd, Currency::Eur])
//!     .start(Start::Latest)
//!     .build()?;
//! let mut updates = client.subscribe();
//! while let Some(update) = updates.next().await {
//!     match update? {
//!         Update::Tick(tick) => println!("{} {:?}", tick.id.timedate(), tick.prices),
//!         Update::Gap(gap) => println!("nothing between {} and {}: {}", gap.after, gap.before, gap.reason),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! To go on in another process, keep [`Updates::last_id`] and start [after](Start::After) it.

mod address;
mod backoff;
mod cursor;
mod failure;
mod grpc;
mod http;
mod message;
mod sse;
mod update;
mod updates;
mod ws;

pub use failure::Error;
pub use update::{Connected, Gap, GapReason, Status, Tick, Update};
pub use updates::Updates;

use crate::tick::{Currencies, Currency, TickId};
use address::Address;
use failure::Failure;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::Version;
use message::Message;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// The longest message that is taken: real ones are below a kilobyte, and a stranger's must not fill the memory.
const MESSAGE_BYTES: usize = 64 * 1024;

/// How the updates come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A WebSocket.
    #[default]
    WebSocket,
    /// Server-sent events: plain HTTP, where a proxy does not know WebSocket.
    Sse,
    /// gRPC, which needs HTTP/2 all the way.
    Grpc,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the latest tick, then live.
    #[default]
    Latest,
    /// With the first tick at or after this moment.
    Since(TickId),
    /// With what comes after this id: the exact resume.
    After(TickId),
}

/// A feed, and what to read of it.
#[derive(Clone, Debug)]
pub struct Client {
    target: Arc<Target>,
}

/// Makes a [`Client`].
#[derive(Clone, Debug)]
#[must_use = "nothing is made before build"]
pub struct Builder {
    addresses: Vec<String>,
    options: Options,
}

#[derive(Clone, Debug)]
struct Options {
    transport: Transport,
    currencies: Currencies,
    start: Start,
    changes: bool,
    every: Option<Duration>,
    /// Zero: all.
    limit: u32,
    client_id: Option<String>,
    local_address: Option<IpAddr>,
    connect_within: Duration,
    silence: Duration,
    retry_from: Duration,
    retry_to: Duration,
}

/// What every connection of a client needs to know.
#[derive(Debug)]
struct Target {
    /// One at least.
    addresses: Vec<Address>,
    /// How many streams there were, from a number on that no two programs share: which address a new one begins with.
    streams: AtomicUsize,
    http: reqwest::Client,
    options: Options,
}

/// What a transport makes of a connection.
type Connection = BoxStream<'static, Result<Event, Failure>>;

/// What comes over a connection.
#[derive(Debug)]
enum Event {
    Message(Message),
    /// A sign of life.
    Alive,
    /// The server asks to be left alone for as long before the next try.
    Retry(Duration),
}

impl Client {
    /// A client that reads the latest price and then live ones, in the feed's own first currency.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new(address: &str) -> Result<Client, Error> {
        Client::builder(address).build()
    }

    /// Begins a client of the feed at `address`: `http://host:port`, also with `https`, `ws` or `wss`, or `host:port` alone.
    pub fn builder(address: &str) -> Builder {
        let options = Options {
            transport: Transport::default(),
            currencies: Currencies::NONE,
            start: Start::default(),
            changes: false,
            every: None,
            limit: 0,
            client_id: None,
            local_address: None,
            connect_within: Duration::from_secs(10),
            // Servers give a sign of life every 15 or 20 s: two may be lost.
            silence: Duration::from_secs(50),
            retry_from: Duration::from_millis(100),
            retry_to: Duration::from_secs(10),
        };
        Builder { addresses: vec![address.to_owned()], options }
    }

    /// The updates from the start on. Each call is a stream and a connection of its own, which is made when the stream is
    /// first polled, inside a tokio runtime.
    pub fn subscribe(&self) -> Updates {
        Updates::new(self.target.clone())
    }
}

impl Builder {
    /// Another address of the same feed, whose replicas are all alike. Streams are spread over all addresses, and each try
    /// to connect again goes to the next one.
    pub fn also_at(mut self, address: &str) -> Builder {
        self.addresses.push(address.to_owned());
        self
    }

    /// How the updates come; a WebSocket if not said.
    pub fn transport(mut self, transport: Transport) -> Builder {
        self.options.transport = transport;
        self
    }

    /// The currencies to read; the feed's own first if not said.
    pub fn currencies(mut self, currencies: impl IntoIterator<Item = Currency>) -> Builder {
        self.options.currencies = currencies.into_iter().collect();
        self
    }

    /// Where to begin; with the latest tick if not said.
    pub fn start(mut self, start: Start) -> Builder {
        self.options.start = start;
        self
    }

    /// Only ticks that bring another price. Ticks then do not follow on one another, and only the server tells gaps.
    pub fn changes(mut self, changes: bool) -> Builder {
        self.options.changes = changes;
        self
    }

    /// One tick in so much time at most. Ticks then do not follow on one another, and only the server tells gaps.
    pub fn every(mut self, every: Duration) -> Builder {
        self.options.every = Some(every);
        self
    }

    /// Of what was missed only so many ticks, the newest (1 to 10000); all of it if not said, or zero. It holds for every
    /// connection. What is left out is told by a [`Gap`] with [`GapReason::ReplayLimit`].
    pub fn limit(mut self, ticks: u32) -> Builder {
        self.options.limit = ticks;
        self
    }

    /// The name under which the server remembers what it has sent, for a client that cannot keep its
    /// [last id](Updates::last_id): one that starts with the latest tick then goes on where the last one of that name ended. 1 to 64
    /// letters, digits, dots, dashes and underscores, for one stream at a time.
    pub fn client_id(mut self, name: impl Into<String>) -> Builder {
        self.options.client_id = Some(name.into());
        self
    }

    /// The address of this machine to connect from; the system's choice if not said.
    pub fn local_address(mut self, address: IpAddr) -> Builder {
        self.options.local_address = Some(address);
        self
    }

    /// How long a try to connect may take; 10 s if not said.
    pub fn connect_within(mut self, deadline: Duration) -> Builder {
        self.options.connect_within = deadline;
        self
    }

    /// How long a connection may be silent, without even a sign of life, before it counts as dead; 50 s if not said. A server
    /// gives one every 20 s.
    pub fn silence(mut self, longest: Duration) -> Builder {
        self.options.silence = longest;
        self
    }

    /// The bounds of the pause before another try: it is drawn from nothing up to `first`, which doubles with every try up to
    /// `longest`. 100 ms and 10 s if not said.
    pub fn retry(mut self, first: Duration, longest: Duration) -> Builder {
        (self.options.retry_from, self.options.retry_to) = (first, longest);
        self
    }

    /// Makes the client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Address`] if an address cannot be read, [`Error::Setup`] if no connection could be made to anywhere.
    pub fn build(self) -> Result<Client, Error> {
        let addresses: Vec<_> =
            self.addresses.iter().map(|address| Address::read(address)).collect::<Result<_, _>>()?;
        let Options { transport, silence, local_address, .. } = self.options;
        let version = if transport == Transport::Grpc { Version::Http2 { silence } } else { Version::Http1 };
        let http = http::client(addresses.iter().any(Address::encrypts), version, local_address)?;
        let streams = AtomicUsize::new(fastrand::usize(..addresses.len()));
        let target = Target { addresses, streams, http, options: self.options };
        Ok(Client { target: Arc::new(target) })
    }
}

impl Target {
    /// The turn that a new stream begins with: the next address for each.
    fn turn(&self) -> usize {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    /// Connects to the address whose turn it is, so as to begin at `start`.
    fn connect(self: Arc<Target>, turn: usize, start: Start) -> BoxFuture<'static, Result<Connection, Failure>> {
        Box::pin(async move {
            let Options { transport, connect_within, .. } = self.options;
            let connect = async {
                let query = self.query(start);
                let address = |query| self.addresses[turn % self.addresses.len()].stream(transport, query);
                match transport {
                    Transport::WebSocket => ws::connect(self.http.get(address(Some(&query)))).await,
                    Transport::Sse => sse::connect(self.http.get(address(Some(&query)))).await,
                    Transport::Grpc => grpc::connect(self.http.post(address(None)), &self.options, start).await,
                }
            };
            let late = || Failure::passing(format!("no answer within {connect_within:?}"));
            timeout(connect_within, connect).await.unwrap_or_else(|_| Err(late()))
        })
    }

    fn query(&self, start: Start) -> String {
        let Options { currencies, changes, every, limit, ref client_id, .. } = self.options;
        let mut query = form_urlencoded::Serializer::new("format=full&hello=true".to_owned());
        if !currencies.is_empty() {
            let codes: Vec<_> = currencies.iter().map(Currency::code).collect();
            query.append_pair("currency", &codes.join(","));
        }
        match start {
            Start::Latest => {}
            Start::Since(moment) => drop(query.append_pair("since", &moment.timedate())),
            Start::After(id) => drop(query.append_pair("after", &id.to_string())),
        }
        if changes {
            query.append_pair("changes", "true");
        }
        if let Some(every) = every {
            query.append_pair("every", &format!("{}ms", every.as_millis()));
        }
        if limit > 0 {
            query.append_pair("limit", &limit.to_string());
        }
        if let Some(client_id) = client_id {
            query.append_pair("client_id", client_id);
        }
        query.finish()
    }

    /// How long a connection may be silent, where its transport does not see to that itself.
    fn silence(&self) -> Option<Duration> {
        Some(self.options.silence).filter(|_| self.options.transport != Transport::Grpc)
    }

    /// Whether every entry of the feed is asked for.
    fn is_chained(&self) -> bool {
        !self.options.changes && self.options.every.is_none()
    }
}
