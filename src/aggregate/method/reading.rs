//! What a source said about one currency.

use crate::tick::{Input, TickId};
use rust_decimal::Decimal;
use std::time::Duration;

/// What a source said about one currency.
#[derive(Clone, Debug)]
pub(in crate::aggregate) struct SourceReading {
    /// The prices and times. If the source gave no price, `input.excluded` has the reason.
    pub(in crate::aggregate) input: Input,
    /// The volume of 24 hours.
    pub(in crate::aggregate) volume: Option<Decimal>,
    /// The time of the last trade. It does not tell the age of the bid and the ask.
    pub(in crate::aggregate) trade_time: Option<TickId>,
    /// The minimum time between two requests to the source.
    pub(in crate::aggregate) least_interval: Duration,
    /// True if this is the answer of an earlier poll, repeated because the source may not be asked again yet.
    pub(in crate::aggregate) is_repeated: bool,
}

impl SourceReading {
    /// The reading of a source that gave no price. `input` has the reason.
    pub(in crate::aggregate) fn without_price(input: Input) -> SourceReading {
        SourceReading { input, volume: None, trade_time: None, least_interval: Duration::ZERO, is_repeated: false }
    }
}
