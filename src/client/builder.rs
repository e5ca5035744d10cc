//! A client and its builder.

use super::address::Address;
use super::error::Error;
use super::options::ClientOptions;
use super::price_at::PriceAt;
use super::target::Target;
use super::transport::Transport;
use super::updates::Updates;
use crate::feed::Start;
use crate::tick::{Currency, TickId};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The addresses of a feed and the options of its subscriptions.
#[derive(Clone, Debug)]
pub struct Client {
    target: Arc<Target>,
}

/// A builder of a [`Client`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before build"]
pub struct Builder {
    /// The addresses. Each is parsed at once, which rejects an address with a password. So the builder never holds a
    /// password.
    addresses: Vec<Result<Address, Error>>,
    options: ClientOptions,
}

impl Client {
    /// Creates a client that reads the latest price and then live prices, in the first currency of the feed.
    ///
    /// # Errors
    /// Like [`Builder::build`].
    pub fn new(address: &str) -> Result<Client, Error> {
        Client::builder(address).build()
    }

    /// Returns a builder for a client of the feed at `address`: `http://host:port` (or `https`, `ws`, `wss`) or
    /// `host:port`.
    pub fn builder(address: &str) -> Builder {
        Builder { addresses: vec![Address::parse(address)], options: ClientOptions::default() }
    }

    /// Returns a stream of the updates. Each stream has connections of its own, which are opened when the stream is
    /// first polled. The stream must be polled inside a tokio runtime.
    pub fn subscribe(&self) -> Updates {
        Updates::new(self.target.clone())
    }

    /// Returns the price in force at a moment, for each chosen currency. Without a `time`, the moment is now. The
    /// prices come from the first address that answers. With a `window` (1 s to 1 h), each currency also has the
    /// average over the window, which ends at the moment.
    ///
    /// # Errors
    /// [`Error::Refused`] with the status 404 if the feed had no price then, and with another one if an argument or the
    /// key is invalid. [`Error::NoFeed`] if a server that is asked is not a feed. [`Error::Unavailable`] if no address
    /// answers, or all are overloaded.
    pub async fn prices_at(&self, time: Option<TickId>, window: Option<Duration>) -> Result<Vec<PriceAt>, Error> {
        self.target.prices_at(time, window).await
    }
}

impl Builder {
    /// Adds an address of the same feed. Streams are spread over all addresses. Each attempt to connect again uses the
    /// next address that no other connection of the same stream uses. If there is none, it uses the same address again.
    pub fn also_at(mut self, address: &str) -> Builder {
        self.addresses.push(Address::parse(address));
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

    /// Sets the start of the stream. The default is the latest tick.
    pub fn start(mut self, start: Start) -> Builder {
        self.options.start = start;
        self
    }

    /// Asks for what each source said about the prices of each tick ([`TickUpdate::audit`](super::TickUpdate::audit)).
    /// The server reads it from its store, so ticks arrive a little later.
    pub fn audit(mut self, audit: bool) -> Builder {
        self.options.audit = audit;
        self
    }

    /// Asks only for ticks in which a chosen price changed. Because ticks are left out on purpose, the client cannot
    /// detect gaps, and only the server reports them.
    pub fn changes(mut self, changes: bool) -> Builder {
        self.options.changes = changes;
        self
    }

    /// Asks for at most one tick in this period (100 ms to 24 h). Because ticks are left out on purpose, the client
    /// cannot detect gaps, and only the server reports them.
    pub fn every(mut self, every: Duration) -> Builder {
        self.options.every = Some(every);
        self
    }

    /// Limits each replay to the newest ticks, at most this number (1 to 10000). Zero, the default, means no limit. A
    /// gap with [`GapCause::ReplayLimit`](super::GapCause::ReplayLimit) reports that older ticks were left out.
    pub fn limit(mut self, ticks: u32) -> Builder {
        self.options.limit = ticks;
        self
    }

    /// Sets a name under which the server remembers the last id that it has sent. It is for a client that cannot keep
    /// its [last id](Updates::last_id). With the default start ([`Start::Latest`]), the stream continues after the
    /// remembered id, if there is one. A name has 22 to 64 letters, digits, dots, dashes and underscores, of which at
    /// least 8 are different. Make it random, such as a UUID, and keep it secret, because everybody who knows it can
    /// change the remembered id. Use it for one stream at a time.
    pub fn client_id(mut self, name: impl Into<String>) -> Builder {
        self.options.client_id = Some(name.into().into());
        self
    }

    /// Sets the address of this machine from which to connect. By default the system chooses.
    pub fn local_address(mut self, address: IpAddr) -> Builder {
        self.options.local_address = Some(address);
        self
    }

    /// Keeps this number of connections at the same time (1 to 4), each to a different address if there are enough. The
    /// first copy of each entry is returned, and an entry that all connections lack is read from the history. So
    /// nothing is late or missing if a replica is slow or fails. It cannot be combined with `changes`, `every`, `limit`
    /// and `client_id`.
    pub fn redundancy(mut self, connections: usize) -> Builder {
        self.options.redundancy = connections;
        self
    }

    /// Sends an API key with each request, for a feed that serves only clients with a key. Use it only over `https`,
    /// because everybody who can read the connection can read the key.
    pub fn key(mut self, key: impl Into<String>) -> Builder {
        self.options.key = Some(key.into().into());
        self
    }

    /// Trusts the certificate authorities in this PEM text instead of those of the system, for a feed with a
    /// certificate of a private authority.
    pub fn authority(mut self, pem: impl Into<Vec<u8>>) -> Builder {
        self.options.authorities = Some(pem.into());
        self
    }

    /// Sets the time that an attempt to connect may take. The default is 10 s.
    pub fn connect_within(mut self, timeout: Duration) -> Builder {
        self.options.connect_timeout = timeout;
        self
    }

    /// Sets the time without any data after which a connection counts as dead. The default is 50 s. By default, a
    /// server sends data, such as a ping, at least every 20 s.
    pub fn silence(mut self, timeout: Duration) -> Builder {
        self.options.silence_timeout = timeout;
        self
    }

    /// Sets the maximum of the random pause before another attempt. It is `first` for the first attempt, and doubles
    /// with each further one, up to `longest`. The defaults are 100 ms and 10 s.
    pub fn retry(mut self, first: Duration, longest: Duration) -> Builder {
        (self.options.retry_from, self.options.retry_to) = (first, longest);
        self
    }

    /// Creates the client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Address`] if an address is invalid. [`Error::Setup`] if the HTTP client cannot be created, or if the
    /// [authorities](Builder::authority) are invalid. [`Error::Options`] if the [key](Builder::key) or the
    /// [redundancy](Builder::redundancy) is invalid, or if another option contradicts the redundancy.
    pub fn build(self) -> Result<Client, Error> {
        if let Some(problem) = self.options.problem() {
            return Err(Error::Options(problem));
        }
        let addresses = self.addresses.into_iter().collect::<Result<_, _>>()?;
        Target::new(addresses, self.options).map(|target| Client { target: Arc::new(target) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_options_are_rejected() {
        let build = |builder: Builder| builder.build().map(drop).map_err(|error| error.to_string());
        let builder = || Client::builder("http://localhost");
        assert_eq!(build(builder().redundancy(2).also_at("http://localhost:81")), Ok(()));
        assert_eq!(build(builder().redundancy(5)).unwrap_err(), "invalid redundancy 5: expected 1 to 4");
        let error = build(builder().key("secret\n")).unwrap_err();
        assert_eq!(error, "invalid key: expected printable ASCII characters without spaces");
        for sampled in [builder().changes(true), builder().every(Duration::from_secs(1)), builder().limit(5)] {
            assert!(build(sampled.clone()).is_ok());
            assert!(build(sampled.redundancy(2)).unwrap_err().contains("expected neither changes, every, limit"));
        }
    }

    #[test]
    fn debug_output_contains_no_secret() {
        let builder = Client::builder("http://localhost").key("hidden-key").client_id("hidden-id");
        let with_password = builder.clone().also_at("http://me:hidden-password@localhost");
        let error = with_password.clone().build().unwrap_err();
        let printed = format!("{builder:?} {:?} {with_password:?} {error:?} {error}", builder.clone().build().unwrap());
        assert!(printed.contains("http://…@localhost") && !printed.contains("hidden"), "{printed}");
    }
}
