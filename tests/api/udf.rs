//! TradingView's UDF, a protocol for the data of charts. The requests are those of TradingView's own adapter. It is in
//! `datafeeds/udf/src` of TradingView's charting library, and many public repositories have a copy of it. The comments
//! name its files.

use super::server::{TestServer, both, history, ids};
use serde_json::{Value, json};

/// The parameters of `udf-compatible-datafeed-base.ts`, `searchSymbols`: in this order, and empty if nothing is chosen.
fn search(query: &str, kind: &str, exchange: &str) -> String {
    format!("/udf/search?limit=30&query={query}&type={kind}&exchange={exchange}")
}

/// The parameters of `history-provider.ts`, `getBars`, for a symbol with a `currency_code`.
fn bars(symbol: &str, resolution: &str, from: i64, to: u64, countback: u32) -> String {
    let currency = &symbol[symbol.len() - 3..];
    format!(
        "/udf/history?symbol={symbol}&resolution={resolution}&from={from}&to={to}&countback={countback}\
         &currencyCode={currency}"
    )
}

/// Returns the rows of a table as `history-provider.ts` reads them, with times in milliseconds.
fn rows(answer: &Value) -> Vec<Value> {
    assert_eq!(answer["s"], "ok", "{answer}");
    let column = |name: &str| answer[name].as_array().unwrap().clone();
    let [t, o, h, l, c] = ["t", "o", "h", "l", "c"].map(column);
    assert!([&o, &h, &l, &c].iter().all(|column| column.len() == t.len()), "{answer}");
    let row = |i: usize| {
        let time = t[i].as_u64().unwrap() * 1000;
        json!({"id": time, "open": o[i], "high": h[i], "low": l[i], "close": c[i]})
    };
    (0..t.len()).map(row).collect()
}

/// Returns a server with 900 ticks, one a second, and the end of the newest minute in Unix seconds.
async fn filled() -> (TestServer, u64) {
    let tick =
        |place: usize| both(&format!("97{:03}.10", place * 7919 % 1000), &format!("89{:03}.5", place * 7 % 1000));
    let entries = history((0..900).map(tick));
    let end = ids(&entries)[899] / 60_000 * 60 + 60;
    (TestServer::with(&[], &entries).await, end)
}

#[tokio::test]
async fn chart_draws_the_candles_of_the_feed() {
    let (server, end) = filled().await;
    let config = server.json("/udf/config").await;
    assert_eq!((&config["supports_search"], &config["supports_group_request"]), (&json!(true), &json!(false)));
    let resolutions = config["supported_resolutions"].as_array().unwrap();
    assert_eq!(resolutions.len(), 6);
    for (resolution, interval) in resolutions.iter().zip(["1m", "5m", "15m", "1h", "4h", "1d"]) {
        for currency in ["USD", "EUR"] {
            let path = bars(&format!("BTC{currency}"), resolution.as_str().unwrap(), -86_400, end, 329);
            let rows = rows(&server.json(&path).await);
            let expected = server.json(&format!("/v1/candles?interval={interval}&currency={currency}")).await;
            let expected = expected["candles"].as_array().unwrap().iter().map(|candle| {
                let mut row = candle["prices"][currency].clone();
                row["id"] = candle["id"].clone();
                row
            });
            assert_eq!(rows, expected.collect::<Vec<_>>(), "{path}");
        }
    }
    let days = |resolution| server.json(bars("BTCUSD", resolution, 0, end, 2).leak());
    assert_eq!(days("D").await, days("1D").await);
}

#[tokio::test]
async fn chart_pages_back_until_there_is_no_data() {
    let (server, end) = filled().await;
    let (mut to, mut minutes) = (end, Vec::new());
    loop {
        // The chart asks for the bars before its oldest one.
        let answer = server.json(&bars("BTCUSD", "1", 0, to, 4)).await;
        if answer["s"] == "no_data" {
            assert_eq!(answer, json!({"s": "no_data"}), "there is nothing before");
            break;
        }
        let page = rows(&answer);
        assert!(page.len() <= 4);
        to = page[0]["id"].as_u64().unwrap() / 1000;
        minutes.splice(0..0, page);
    }
    assert!(minutes.len() >= 15 && minutes.is_sorted_by_key(|row| row["id"].as_u64()), "{minutes:?}");
    // `data-pulse-provider.ts` asks for two bars every ten seconds.
    let pulse = rows(&server.json(&bars("BTCUSD", "1", 0, end, 2)).await);
    assert_eq!(pulse, minutes[minutes.len() - 2..]);
}

#[tokio::test]
async fn empty_range_names_the_bar_before_it() {
    let (server, end) = filled().await;
    let range = |from: u64, to: u64| format!("/udf/history?symbol=BTCUSD&resolution=1&from={from}&to={to}");
    let within = rows(&server.json(&range(end - 300, end - 60)).await);
    let times: Vec<_> = within.iter().map(|row| row["id"].as_u64().unwrap() / 1000).collect();
    assert_eq!(times, [end - 300, end - 240, end - 180, end - 120], "the end is not included");
    let after = server.json(&range(end + 600, end + 1200)).await;
    assert_eq!(after, json!({"s": "no_data", "nextTime": end - 60}));
    assert_eq!(server.json(&range(1000, 2000)).await, json!({"s": "no_data"}));
}

#[tokio::test]
async fn chart_finds_and_resolves_symbols() {
    let server = TestServer::new().await;
    let found = async |path: String| -> Vec<String> {
        let found = server.json(&path).await;
        found.as_array().unwrap().iter().map(|symbol| symbol["symbol"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found(search("", "", "")).await, ["BTCUSD", "BTCEUR"]);
    assert_eq!(found(search("EU", "crypto", "BTCFEED")).await, ["BTCEUR"]);
    assert_eq!(found(search("BITCOIN", "", "")).await, ["BTCUSD", "BTCEUR"]);
    assert_eq!(found(search("BTC", "stock", "")).await, [""; 0]);
    // `resolveSymbol` sends the ticker. For a chart that was saved earlier, it may send the exchange and the name.
    for name in ["BTCEUR", "BTCFEED%3ABTCEUR"] {
        let symbol = server.json(&format!("/udf/symbols?symbol={name}")).await;
        let fields = ["name", "ticker", "type", "session", "timezone", "exchange", "listed_exchange", "currency_code"];
        let expected = ["BTCEUR", "BTCEUR", "crypto", "24x7", "Etc/UTC", "BTCFEED", "BTCFEED", "EUR"];
        assert_eq!(fields.map(|field| symbol[field].as_str().unwrap().to_owned()), expected);
        assert_eq!((&symbol["minmov"], &symbol["pricescale"]), (&json!(1), &json!(100)));
    }
    let time: u64 = server.get("/udf/time").await.text().parse().unwrap();
    assert!(time.abs_diff(btcfeed::tick::TickId::now().seconds()) <= 2, "{time}");
}

#[tokio::test]
async fn chart_gets_errors_in_its_shape() {
    let server = TestServer::new().await;
    for (path, expected) in [
        ("/udf/symbols?symbol=ETHUSD", "invalid symbol \"ETHUSD\": expected BTCUSD or BTCEUR"),
        (
            "/udf/history?symbol=BTCUSD&resolution=1W&from=0&to=1",
            "invalid resolution \"1W\": expected 1, 5, 15, 60, 240 or 1D",
        ),
        ("/udf/search?limit=x&query=&type=&exchange=", "invalid limit \"x\": expected a number from 1 on"),
    ] {
        let answer = server.get_with(path, &[("origin", "https://chart.example"), ("x-request-id", "r7")]).await;
        assert_eq!((answer.status, answer.json()), (400, json!({"s": "error", "errmsg": expected})), "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!((answer.header("access-control-allow-origin"), answer.header("x-request-id")), ("*", "r7"));
    }
    let server = TestServer::unprimed(&[], &[]).await;
    let answer = server.get(&bars("BTCUSD", "60", 0, 1_795_166_400, 300)).await;
    assert_eq!((answer.status, &answer.json()["s"], answer.header("retry-after")), (503, &json!("error"), "5"));
}
