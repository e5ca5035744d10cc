//! Responses that are tables. The module [`message`](crate::message) describes the responses in JSON.

#![allow(dead_code, reason = "the types are only described, never constructed")]

use utoipa::ToSchema;

/// A page of the history as a table (RFC 4180), with a row for each currency of a tick. In the format `full`, statuses
/// and gaps have rows, too. The first row names the columns, which depend on the format of updates.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(timedate,currency,price|timestamp,currency,price|type,id,prev,timedate,currency,price,sources,state,since,reason,method,confidence,spread)\r\n",
    examples(
        json!("timedate,currency,price\r\n2026-11-20T09:20:31.075Z,USD,97116.17\r\n"),
        json!("type,id,prev,timedate,currency,price,sources,state,since,reason,method,confidence,spread\r\ntick,1795166431075,1795166426071,2026-11-20T09:20:31.075Z,USD,97116.17,coinbase kraken,,,,1,1.25,5.00\r\n")
    )
)]
pub(crate) struct HistoryTable(String);

/// A page of candles as a table (RFC 4180), with a row for each currency of a candle. The first row names the columns.
#[derive(ToSchema)]
#[schema(
    pattern = r"^id,timedate,ticks,currency,open,high,low,close\r\n",
    examples(json!(
        "id,timedate,ticks,currency,open,high,low,close\r\n1795166400000,2026-11-20T09:20:00.000Z,12,USD,97100.5,97120,97090.25,97116.17\r\n"
    ))
)]
pub(crate) struct CandleTable(String);
