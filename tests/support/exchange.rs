//! Coinbase, Kraken and Bitstamp in one local HTTP server, which gives the answers that the real ones gave, with prices
//! that move and times that are current; or misbehaves as it is told.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{StreamExt, stream};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// How an exchange answers.
#[derive(Clone, Debug)]
pub enum Mode {
    Good,
    /// Its price, whatever the market says.
    Price(&'static str),
    /// A price that it says is an hour old.
    Old,
    Status(u16, Option<&'static str>),
    /// Status 200 with this body.
    Body(&'static str),
    /// Half an answer, and the connection cut.
    Truncated,
    Endless,
    /// Nothing, for ever.
    Silent,
    Redirect,
}

#[derive(Default)]
struct Market {
    /// By exchange, or by exchange and path.
    modes: Mutex<BTreeMap<String, Mode>>,
    /// When each exchange was asked, for each of its paths.
    asked: Mutex<Vec<(&'static str, String, Instant)>>,
}

pub struct Exchange {
    market: Arc<Market>,
    address: SocketAddr,
}

pub const NAMES: [&str; 3] = ["coinbase", "kraken", "bitstamp"];

impl Exchange {
    pub async fn start() -> Exchange {
        let market: Arc<Market> = Arc::default();
        let routes = Router::new()
            .route("/coinbase/products/{pair}/ticker", get(coinbase))
            .route("/kraken/0/public/Ticker", get(kraken))
            .route("/bitstamp/api/v2/ticker/{pair}/", get(bitstamp))
            .with_state(market.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Exchange { market, address }
    }

    /// What a replica must be told to ask here.
    pub fn settings(&self) -> Vec<(String, String)> {
        let setting = |name: &&str| {
            (format!("BTCFEED_SOURCE_{}_URL", name.to_uppercase()), format!("http://{}/{name}", self.address))
        };
        NAMES.iter().map(setting).collect()
    }

    /// Sets how `name` answers: an exchange, or an exchange and a path (`coinbase BTC-EUR`).
    pub fn set(&self, name: &str, mode: Mode) {
        self.market.modes.lock().unwrap().insert(name.to_owned(), mode);
    }

    pub fn set_all(&self, mode: &Mode) {
        NAMES.into_iter().for_each(|name| self.set(name, mode.clone()));
    }

    /// When `name` was asked for `path` (a part of it will do).
    pub fn asked(&self, name: &str, path: &str) -> Vec<Instant> {
        let asked = self.market.asked.lock().unwrap();
        asked.iter().filter(|(asked, on, _)| *asked == name && on.contains(path)).map(|(.., at)| *at).collect()
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

impl Market {
    /// Notes that `name` was asked, and answers in its mode, with `good` for a price in cents and a time.
    fn answer(&self, name: &'static str, path: &str, good: impl Fn(&str, Duration) -> String) -> Response<Body> {
        let mut asked = self.asked.lock().unwrap();
        asked.push((name, path.to_owned(), Instant::now()));
        let base = if path.to_ascii_uppercase().contains("USD") { 9_700_000 } else { 8_900_000 };
        // Each poll finds another price.
        let cents = base + asked.len() % 1000;
        let price = format!("{}.{:02}", cents / 100, cents % 100);
        drop(asked);
        let modes = self.modes.lock().unwrap();
        let mode = modes.get(&format!("{name} {path}")).or(modes.get(name)).cloned().unwrap_or(Mode::Good);
        drop(modes);
        match mode {
            Mode::Good => good(&price, now()).into_response(),
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
                    // The half is on its way by then.
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
                (StatusCode::FOUND, [("location", "/kraken/0/public/Ticker?pair=XBTUSD")]).into_response()
            }
        }
    }
}

async fn coinbase(State(market): State<Arc<Market>>, Path(pair): Path<String>) -> Response<Body> {
    market.answer("coinbase", &pair, |price, time| {
        let time = btcfeed::tick::TickId::from_ms(u64::try_from(time.as_millis()).unwrap()).timedate();
        format!(
            r#"{{"ask":"73369.19","bid":"73360.34","volume":"1207.50668151","trade_id":18502105,"price":"{price}","size":"0.00730812","time":"{time}","rfq_volume":"7.669923"}}"#
        )
    })
}

async fn kraken(State(market): State<Arc<Market>>) -> Response<Body> {
    market.answer("kraken", "XBTUSD", |price, _| {
        let eur = format!("8{}", &price[1..]);
        let ticker = |last: &str| {
            format!(
                r#"{{"a":["30300.10000","1","1.000"],"b":["30300.00000","1","1.000"],"c":["{last}000","0.00067643"],"v":["4083.67001100","4412.73601799"],"p":["30706.77771","30689.13205"],"t":[34619,38907],"l":["29868.30000","29868.30000"],"h":["31631.00000","31631.00000"],"o":"30502.80000"}}"#
            )
        };
        let (usd, eur) = (ticker(price), ticker(&eur));
        format!(r#"{{"error":[],"result":{{"XXBTZUSD":{usd},"XXBTZEUR":{eur}}}}}"#)
    })
}

async fn bitstamp(State(market): State<Arc<Market>>, Path(pair): Path<String>) -> Response<Body> {
    market.answer("bitstamp", &pair, |price, time| {
        let time = time.as_secs();
        format!(
            r#"{{"timestamp":"{time}","open":"71448","high":"73656","low":"68626","last":"{price}","volume":"135.29692054","vwap":"70853","bid":"73353","ask":"73367","side":"0","open_24":"72144","percent_change_24":"1.58"}}"#
        )
    })
}
