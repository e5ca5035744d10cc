//! Coinbase, Kraken and Bitstamp in one local HTTP server. It answers as the real exchanges do, with the current time
//! and with prices that change, or fails as a test specifies.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{StreamExt, stream};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// The way in which an exchange answers.
#[derive(Clone, Debug)]
pub enum Mode {
    /// With a price that moves.
    Good,
    /// With this price.
    Price(&'static str),
    /// With a price whose time is an hour ago. Kraken's answer has no time, so it is a good one.
    Old,
    /// With this status, and a `Retry-After` header.
    Status(u16, Option<&'static str>),
    /// With status 200 and this body.
    Body(&'static str),
    /// With half of an answer, then a closed connection.
    Truncated,
    /// With a body that never ends.
    Endless,
    /// With headers only. The body is never sent.
    Silent,
    /// With a redirect.
    Redirect,
}

/// A request that was received.
struct Request {
    /// Name of the replica that sent it.
    replica: String,
    exchange: &'static str,
    /// Pair of the request, as the exchange names it.
    pair: String,
    at: Instant,
}

/// An answer in [`Mode::Good`] that was sent.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Name of the replica that asked.
    pub replica: String,
    /// The price, which no other answer has.
    pub price: String,
    /// The moment in Unix milliseconds.
    pub at: u64,
}

#[derive(Default)]
struct Market {
    /// Modes by exchange, or by exchange and pair.
    modes: Mutex<BTreeMap<String, Mode>>,
    requests: Mutex<Vec<Request>>,
    answers: Mutex<Vec<Answer>>,
}

/// The running server.
pub struct Exchange {
    market: Arc<Market>,
    address: SocketAddr,
}

const NAMES: [&str; 3] = ["coinbase", "kraken", "bitstamp"];

impl Exchange {
    /// Starts the server.
    pub async fn start() -> Exchange {
        let market: Arc<Market> = Arc::default();
        let routes = Router::new()
            .route("/{replica}/coinbase/products/{pair}/ticker", get(coinbase))
            .route("/{replica}/kraken/0/public/Ticker", get(kraken))
            .route("/{replica}/bitstamp/api/v2/ticker/{pair}/", get(bitstamp))
            .with_state(market.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Exchange { market, address }
    }

    /// Returns the address of each exchange for the replica with this name.
    pub fn urls(&self, replica: &str) -> [(&'static str, String); 3] {
        NAMES.map(|name| (name, format!("http://{}/{replica}/{name}", self.address)))
    }

    /// Returns the settings with which the named replica polls only this server, as often as its interval says.
    pub fn settings(&self, replica: &str) -> Vec<(String, String)> {
        let setting = |(name, url): (&str, String)| (format!("BTCFEED_SOURCE_{}_URL", name.to_uppercase()), url);
        let mut settings = Vec::from(self.urls(replica).map(setting));
        settings.push(("BTCFEED_SOURCES".to_owned(), NAMES.join(",")));
        settings.push(("BTCFEED_SOURCE_MIN_INTERVAL".to_owned(), "0s".to_owned()));
        settings
    }

    /// Sets the mode of `name`, which is an exchange, or an exchange and a pair (`coinbase BTC-EUR`).
    pub fn set(&self, name: &str, mode: Mode) {
        self.market.modes.lock().unwrap().insert(name.to_owned(), mode);
    }

    /// Sets the mode of every exchange.
    pub fn set_all(&self, mode: &Mode) {
        NAMES.into_iter().for_each(|name| self.set(name, mode.clone()));
    }

    /// Returns the moments at which `exchange` was asked for a pair whose name contains `pair`.
    pub fn requests(&self, exchange: &str, pair: &str) -> Vec<Instant> {
        let requests = self.market.requests.lock().unwrap();
        let matches = |request: &&Request| request.exchange == exchange && request.pair.contains(pair);
        requests.iter().filter(matches).map(|request| request.at).collect()
    }

    /// Returns the answers in [`Mode::Good`] that were sent.
    pub fn answers(&self) -> Vec<Answer> {
        self.market.answers.lock().unwrap().clone()
    }

    /// Returns the number of requests that the replica `name` has sent to all exchanges.
    pub fn requests_of(&self, name: &str) -> usize {
        self.market.requests.lock().unwrap().iter().filter(|request| request.replica == name).count()
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

impl Market {
    /// Records a request, and answers it in the mode of its exchange. `good` creates a valid answer from a price and a
    /// time.
    fn answer(
        &self,
        replica: String,
        exchange: &'static str,
        pair: &str,
        good: impl Fn(&str, Duration) -> String,
    ) -> Response<Body> {
        // The mode is read before the request is recorded. A test that sees the request may change the mode for the
        // next one.
        let modes = self.modes.lock().unwrap();
        let mode = modes.get(&format!("{exchange} {pair}")).or(modes.get(exchange)).cloned().unwrap_or(Mode::Good);
        drop(modes);
        let mut requests = self.requests.lock().unwrap();
        requests.push(Request { replica: replica.clone(), exchange, pair: pair.to_owned(), at: Instant::now() });
        // Each request gets another price.
        let base = if pair.to_ascii_uppercase().contains("USD") { 9_700_000 } else { 8_900_000 };
        let cents = base + requests.len();
        let price = format!("{}.{:02}", cents / 100, cents % 100);
        drop(requests);
        match mode {
            Mode::Good => {
                let at = u64::try_from(now().as_millis()).unwrap();
                self.answers.lock().unwrap().push(Answer { replica, price: price.clone(), at });
                good(&price, now()).into_response()
            }
            Mode::Price(price) => good(price, now()).into_response(),
            Mode::Old => good(&price, now() - Duration::from_secs(3600)).into_response(),
            Mode::Body(body) => body.into_response(),
            Mode::Status(status, retry_after) => {
                let mut response = StatusCode::from_u16(status).unwrap().into_response();
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert("retry-after", seconds.parse().unwrap());
                }
                response
            }
            Mode::Truncated => {
                let whole = good(&price, now());
                let half = whole[..whole.len() / 2].to_owned();
                let cut = async {
                    // After this time, the first half has been sent.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Err(std::io::Error::other("cut"))
                };
                let chunks = stream::iter([Ok(half)]).chain(stream::once(cut));
                ([("content-length", whole.len().to_string())], Body::from_stream(chunks)).into_response()
            }
            Mode::Endless => Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>("{\"price\":".repeat(100))))
                .into_response(),
            Mode::Silent => Body::from_stream(stream::pending::<Result<&str, Infallible>>()).into_response(),
            Mode::Redirect => {
                (StatusCode::FOUND, [("location", "/r1/kraken/0/public/Ticker?pair=XBTUSD")]).into_response()
            }
        }
    }
}

/// Returns a bid and an ask whose middle is the price. If `price` is not a number, or less than 1, returns it as the
/// bid and as the ask.
fn book(price: &str) -> (String, String) {
    let tenth = Decimal::new(1, 1);
    match price.parse::<Decimal>() {
        Ok(middle) if middle >= Decimal::ONE => ((middle - tenth).to_string(), (middle + tenth).to_string()),
        _ => (price.to_owned(), price.to_owned()),
    }
}

type Shared = State<Arc<Market>>;

async fn coinbase(State(market): Shared, Path((replica, pair)): Path<(String, String)>) -> Response<Body> {
    market.answer(replica, "coinbase", &pair, |price, time| {
        let (bid, ask) = book(price);
        let time = btcfeed::tick::TickId::from_ms(u64::try_from(time.as_millis()).unwrap()).timedate();
        format!(
            r#"{{"ask":"{ask}","bid":"{bid}","volume":"1207.50668151","trade_id":18502105,"price":"{price}","size":"0.00730812","time":"{time}","rfq_volume":"7.669923"}}"#
        )
    })
}

async fn kraken(State(market): Shared, Path(replica): Path<String>) -> Response<Body> {
    market.answer(replica, "kraken", "XBTUSD", |price, _| {
        let eur = price.strip_prefix("97").map_or_else(|| price.to_owned(), |rest| format!("89{rest}"));
        let ticker = |last: &str| {
            let (bid, ask) = book(last);
            format!(
                r#"{{"a":["{ask}","1","1.000"],"b":["{bid}","1","1.000"],"c":["{last}000","0.00067643"],"v":["4083.67001100","4412.73601799"],"p":["30706.77771","30689.13205"],"t":[34619,38907],"l":["29868.30000","29868.30000"],"h":["31631.00000","31631.00000"],"o":"30502.80000"}}"#
            )
        };
        let (usd, eur) = (ticker(price), ticker(&eur));
        format!(r#"{{"error":[],"result":{{"XXBTZUSD":{usd},"XXBTZEUR":{eur}}}}}"#)
    })
}

async fn bitstamp(State(market): Shared, Path((replica, pair)): Path<(String, String)>) -> Response<Body> {
    market.answer(replica, "bitstamp", &pair, |price, time| {
        let (time, (bid, ask)) = (time.as_secs(), book(price));
        format!(
            r#"{{"timestamp":"{time}","open":"71448","high":"73656","low":"68626","last":"{price}","volume":"135.29692054","vwap":"70853","bid":"{bid}","ask":"{ask}","side":"0","open_24":"72144","percent_change_24":"1.58"}}"#
        )
    })
}
