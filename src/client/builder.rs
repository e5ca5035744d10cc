//! A client, and how it is built.

use super::error::Error;
use super::options::{ApiKey, ClientOptions};
use super::target::Target;
use super::transport::Transport;
use super::updates::Updates;
use crate::feed::Start;
use crate::tick::Currency;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A feed, and what to read of it.
#[derive(Clone, Debug)]
pub struct Client {
    target: Arc<Target>,
}

/// A builder of a [`Client`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before build"]
pub struct Builder {
    addresses: Vec<String>,
    options: ClientOptions,
}

impl Client {
    /// Creates a client that reads the latest price and then live ones, in the first currency of the feed.
    ///
    /// # Errors
    /// Like [`Builder::build`].
    pub fn new(address: &str) -> Result<Client, Error> {
        Client::builder(address).build()
    }

    /// Returns a builder for a client of the feed at `address`: `http://host:port` (or `https`, `ws`, `wss`) or `host:port`.
    pub fn builder(address: &str) -> Builder {
        Builder { addresses: vec![address.to_owned()], options: ClientOptions::default() }
    }

    /// Returns the updates from the start on. Each call returns a stream with a connection of its own, which is made when the
    /// stream is first polled. The stream must be polled inside a tokio runtime.
    pub fn subscribe(&self) -> Updates {
        Updates::new(self.target.clone())
    }
}

impl Builder {
    /// Adds an address of the same feed. Streams are spread over all addresses, and each attempt to connect again uses the next
    /// address.
    pub fn also_at(mut self, address: &str) -> Builder {
        self.addresses.push(address.to_owned());
        self
    }

    /// Sets the transport. The default is a WebSocket.
    pub fn transport(mut self, transport: Transport) -> Builder {
        self.options.transport = transport;
        self
    }

    /// Sets the currencies. The default is the first currency of the feed.
    pub fn currencies(mut self, currencies: impl IntoIterator<Item = Currency>) -> Builder {
        self.options.currencies = currencies.into_iter().collect();
        self
    }

    /// Sets the start. The default is the latest tick.
    pub fn start(mut self, start: Start) -> Builder {
        self.options.start = start;
        self
    }

    /// Asks only for ticks in which a chosen price changed. Such ticks do not continue each other, so only the server reports
    /// gaps.
    pub fn changes(mut self, changes: bool) -> Builder {
        self.options.changes = changes;
        self
    }

    /// Asks for at most one tick in this period (100 ms to 24 h). Such ticks do not continue each other, so only the server
    /// reports gaps.
    pub fn every(mut self, every: Duration) -> Builder {
        self.options.every = Some(every);
        self
    }

    /// Limits each replay to this many ticks, the newest (1 to 10000). Zero, the default, means no limit. A gap with
    /// [`GapCause::ReplayLimit`](super::GapCause::ReplayLimit) reports older ticks.
    pub fn limit(mut self, ticks: u32) -> Builder {
        self.options.limit = ticks;
        self
    }

    /// Sets a name under which the server remembers what it has sent, for a client that cannot keep its
    /// [last id](Updates::last_id): if such a client starts with the latest tick, it continues where the last one of this name
    /// ended. A name has 22 to 64 letters, digits, dots, dashes and underscores. Make it random, such as a UUID, and keep it
    /// secret, because anyone who knows it can move the position. Use it for one stream at a time.
    pub fn client_id(mut self, name: impl Into<String>) -> Builder {
        self.options.client_id = Some(name.into());
        self
    }

    /// Sets the address of this machine to connect from. The default is the choice of the system.
    pub fn local_address(mut self, address: IpAddr) -> Builder {
        self.options.local_address = Some(address);
        self
    }

    /// Sends an API key with each request, for a feed that only serves clients with a key. Use it over `https` only: whoever reads
    /// the connection can read the key.
    pub fn key(mut self, key: impl Into<String>) -> Builder {
        self.options.key = Some(ApiKey(key.into()));
        self
    }

    /// Trusts the certificate authorities in this PEM text instead of those of the system, for a feed with a certificate of a
    /// private authority.
    pub fn authority(mut self, pem: impl Into<Vec<u8>>) -> Builder {
        self.options.authorities = Some(pem.into());
        self
    }

    /// Sets the time that an attempt to connect may take. The default is 10 s.
    pub fn connect_within(mut self, timeout: Duration) -> Builder {
        self.options.connect_timeout = timeout;
        self
    }

    /// Sets the time without any sign of life after which a connection counts as dead. The default is 50 s; a server sends a
    /// sign of life every 20 s.
    pub fn silence(mut self, timeout: Duration) -> Builder {
        self.options.silence_timeout = timeout;
        self
    }

    /// Sets the limits of the random pause before another attempt: up to `first` before the first one, twice as much before
    /// each later one, up to `longest`. The defaults are 100 ms and 10 s.
    pub fn retry(mut self, first: Duration, longest: Duration) -> Builder {
        (self.options.retry_from, self.options.retry_to) = (first, longest);
        self
    }

    /// Creates the client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Address`] if an address is invalid, [`Error::Setup`] if this machine cannot make any connection, or the
    /// [authorities](Builder::authority) are invalid.
    pub fn build(self) -> Result<Client, Error> {
        Target::new(&self.addresses, self.options).map(|target| Client { target: Arc::new(target) })
    }
}
