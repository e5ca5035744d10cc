//! The schemas of the values in messages.

use super::by_currency::ByCurrency;
use super::candles::ExactOhlc;
use super::mempool::{ExactPricesAt, ExchangeRates, WholePrices};
use super::price::{ExactAmount, ExactPrice};
use super::timedate::Timedate;
use crate::candle::Interval;
use crate::feed::{FeedState, GapReason};
use crate::tick::{Currency, TickId};
use serde_json::json;
use std::borrow::Cow;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

type Schemas = Vec<(String, RefOr<Schema>)>;

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Implements the name and the schema of a type.
macro_rules! schema {
    ($type:ty, $name:literal, $schema:expr) => {
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }
    };
}

schema!(TickId, "Id", {
    let id =
        ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    id.minimum(Some(0_u32)).examples([json!(1_795_166_431_075_u64)]).description(Some(
        "The id of a tick or a status: its moment in Unix milliseconds. Ids strictly increase over the whole feed. To resume, \
         send the last id as `after`.",
    ))
});

schema!(Timedate<'_>, "Timedate", {
    let date = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    date.pattern(Some(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"))
        .examples([json!("2026-11-20T09:20:31.075Z")])
        .description(Some("A moment in UTC with milliseconds (RFC 3339)."))
});

schema!(ExactPrice, "Price", {
    let number = ObjectBuilder::new().schema_type(Type::Number).exclusive_minimum(Some(0));
    number.examples([json!(97116.17)]).description(Some(
        "A price of one bitcoin: an exact decimal. Prices of ticks are rounded to the cent. The server never converts a price to a float. \
         If the last digit matters to you, read the price as a decimal.",
    ))
});

schema!(ExactAmount, "Amount", {
    let number = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0));
    number
        .examples([json!(5.12)])
        .description(Some("A difference between prices: an exact decimal, rounded to the cent."))
});

schema!(Currency, "CurrencyCode", {
    text().enum_values(Some(Currency::ALL.map(Currency::code))).description(Some("The code of a currency (ISO 4217)."))
});

schema!(FeedState, "Health", {
    text().enum_values(Some(FeedState::ALL.map(FeedState::as_str))).description(Some(
        "`live`: every currency has a recent price. `degraded`: every currency has a recent price. However, for at least 15 s (by default), \
         some price has come from fewer than half of the sources configured for it, or from only one of several. `stale`: at least one currency has had no price for 15 s (by default). \
         `down`: no currency has had a price for 60 s (by default).",
    ))
});

schema!(GapReason, "GapReason", {
    let reasons = [
        GapReason::SourceOutage,
        GapReason::HistoryExpired,
        GapReason::HistoryLost,
        GapReason::ReplayLimit,
        GapReason::HeldTooLong,
        GapReason::UnknownClientId,
    ];
    text().enum_values(Some(reasons.map(GapReason::as_str))).description(Some(
        "`source_outage`: the exchanges gave no valid price, or no replica was leading. `history_expired`: the entries \
         are older than those that the feed keeps, or are missing from the middle of the history. `history_lost`: the \
         store no longer has the entry that you have, although it has older ones, or this feed never had that id. \
         `replay_limit`: you limited the replay with `limit`. `held_too_long`: the store could not be written for so \
         long that ticks were dropped. `unknown_client_id`: the server remembers no id of your `client_id`, because it \
         is new, or was not used for as long as ticks are kept, or the store has lost it. The stream begins with the \
         latest tick.",
    ))
});

schema!(Interval, "Interval", {
    text().enum_values(Some(Interval::ALL.map(Interval::name))).description(Some("The length of a candle."))
});

/// A value that an object has for each currency.
trait ValueByCurrency {
    const NAME: &'static str;
    const DESCRIPTION: &'static str;

    fn schema() -> RefOr<Schema>;
    fn schemas(schemas: &mut Schemas);
}

fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

fn with_children<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

impl ValueByCurrency for ExactPrice {
    const NAME: &'static str = "Prices";
    const DESCRIPTION: &'static str = "A price for each chosen currency that has one at this moment.";

    fn schema() -> RefOr<Schema> {
        reference::<ExactPrice>()
    }

    fn schemas(schemas: &mut Schemas) {
        with_children::<ExactPrice>(schemas);
    }
}

impl ValueByCurrency for ExactAmount {
    const NAME: &'static str = "Amounts";
    const DESCRIPTION: &'static str =
        "For each chosen currency that has a price at this moment, a difference between prices.";

    fn schema() -> RefOr<Schema> {
        reference::<ExactAmount>()
    }

    fn schemas(schemas: &mut Schemas) {
        with_children::<ExactAmount>(schemas);
    }
}

impl ValueByCurrency for u64 {
    const NAME: &'static str = "Milliseconds";
    const DESCRIPTION: &'static str = "A number of milliseconds for each currency.";

    fn schema() -> RefOr<Schema> {
        <u64 as PartialSchema>::schema()
    }

    fn schemas(_: &mut Schemas) {}
}

impl ValueByCurrency for ExactOhlc {
    const NAME: &'static str = "CandlePrices";
    const DESCRIPTION: &'static str = "The prices of the interval in each chosen currency that had a price.";

    fn schema() -> RefOr<Schema> {
        reference::<ExactOhlc>()
    }

    fn schemas(schemas: &mut Schemas) {
        with_children::<ExactOhlc>(schemas);
    }
}

impl ValueByCurrency for Cow<'_, [String]> {
    const NAME: &'static str = "Sources";
    const DESCRIPTION: &'static str = "For each price, the names of the sources from which it was made. Prices of `simulated` are not \
                                       from a market.";

    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new().items(text()).into()
    }

    fn schemas(_: &mut Schemas) {}
}

impl<T: ValueByCurrency> ToSchema for ByCurrency<T> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(T::NAME)
    }

    fn schemas(schemas: &mut Schemas) {
        T::schemas(schemas);
    }
}

impl<T: ValueByCurrency> PartialSchema for ByCurrency<T> {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().description(Some(T::DESCRIPTION));
        Currency::ALL.into_iter().fold(object, |object, currency| object.property(currency.code(), T::schema())).into()
    }
}

/// Returns the schema of an object with a time and a number for each currency.
fn timed_prices(kind: &Type, description: &str) -> RefOr<Schema> {
    let time = ObjectBuilder::new().schema_type(Type::Integer).description(Some("The moment in Unix seconds."));
    let object = ObjectBuilder::new().property("time", time).required("time").description(Some(description));
    let object = Currency::ALL.into_iter().fold(object, |object, currency| {
        object.property(currency.code(), ObjectBuilder::new().schema_type(kind.clone()))
    });
    object.examples([json!({"time": 1_795_166_431, "USD": 97116, "EUR": 89348})]).into()
}

impl ToSchema for WholePrices {
    fn name() -> Cow<'static, str> {
        "MempoolPrices".into()
    }
}

impl PartialSchema for WholePrices {
    fn schema() -> RefOr<Schema> {
        timed_prices(&Type::Integer, "The newest prices, rounded to whole units of their currencies.")
    }
}

impl ToSchema for ExactPricesAt {
    fn name() -> Cow<'static, str> {
        "MempoolPricesAt".into()
    }
}

impl PartialSchema for ExactPricesAt {
    fn schema() -> RefOr<Schema> {
        timed_prices(&Type::Number, "The prices at a moment.")
    }
}

impl ToSchema for ExchangeRates {}

impl PartialSchema for ExchangeRates {
    fn schema() -> RefOr<Schema> {
        let others = Currency::ALL.into_iter().filter(|currency| *currency != Currency::Usd);
        let rates = others.fold(ObjectBuilder::new(), |rates, currency| {
            rates.property(format!("USD{}", currency.code()), ObjectBuilder::new().schema_type(Type::Number))
        });
        rates.description(Some("Rates between the US dollar and other currencies.")).into()
    }
}
