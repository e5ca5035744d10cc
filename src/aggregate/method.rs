//! The method by which the answers of the sources become a price, version 1.
//!
//! `docs/method.md` describes it for readers of the feed, so both must change together. Each step has its own file, in
//! this order:
//!
//! | file | step |
//! |---|---|
//! | `value` | the value of a source: the middle of its book, or its last trade |
//! | `frozen` | sources that repeat themselves while the others move |
//! | `agreement` | outliers, and whether a majority agrees |
//! | `combine` | clamp, median, rounding, confidence, spread |
//! | `speed` | the bound of a price that comes from a single source |
//!
//! The method does no I/O and reads no clock. [`replay`] repeats `agreement` and `combine` on the audit of a tick, and
//! checks the values of the sources.

mod agreement;
mod combine;
mod frozen;
mod reading;
mod speed;
#[cfg(test)]
mod tests;
mod value;

pub use combine::Combined;
pub(super) use reading::SourceReading;
pub(super) use speed::WINDOW;

use crate::tick::{Currency, Input, MethodParameters, MoveBound, Price, PriceParameters, TickId};
use agreement::{Agreement, agreement};
use combine::combine;
use frozen::FrozenDetector;
use rust_decimal::Decimal;
use speed::{MAX_MOVE, SpeedLimit};
use std::collections::BTreeSet;
use std::time::Duration;

/// The version of the method, as in each tick.
pub const VERSION: u32 = 1;

/// If a value is excluded after it was compared with the others, the text of the reason begins with `OUTLIER`,
/// `NO_AGREEMENT` or `TOO_FEW`. A value that is excluded for another reason was not compared.
pub(crate) const OUTLIER: &str = "outlier: ";
const NO_AGREEMENT: &str = "no agreement: ";
const TOO_FEW: &str = "too few sources: ";
/// The beginning of the reason why an input that repeats itself is excluded.
pub(crate) const FROZEN: &str = "frozen: ";

/// The settings of the method.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The time between two polls.
    pub interval: Duration,
    /// The greatest age of an answer. It is measured from the time in the answer, from its arrival, and from the time
    /// of the last trade if that trade is the value. None of these times may be more than this duration in the future.
    /// The limit may be higher for a source that may be asked only rarely.
    pub max_age: Duration,
    /// The greatest distance of a value from the median of the others, as a share of this median.
    pub outlier_share: Decimal,
    /// The greatest distance of a used value from the median of the values that agree, as a share of this median.
    pub clamp_share: Decimal,
    /// The least number of sources for a price. If a currency has fewer configured sources, it needs all of them.
    pub min_sources: usize,
    /// A source is frozen if it has repeated itself in this number of polls while the others moved.
    pub frozen_polls: u32,
}

/// The result of a poll in one currency.
#[derive(Debug)]
pub(super) struct CurrencyOutcome {
    /// The price, or the reason why there is none.
    pub(super) price: Result<Combined, String>,
    /// The inputs, each used or excluded.
    pub(super) inputs: Vec<Input>,
    /// What a computation of the price needs besides the inputs.
    pub(super) parameters: PriceParameters,
}

/// What the method remembers about one currency.
#[derive(Debug, Default)]
pub(super) struct CurrencyMethod {
    frozen: FrozenDetector,
    /// The sources whose value was an outlier when it was last compared. Only polls that gave a price count.
    outliers: BTreeSet<String>,
    speed: SpeedLimit,
}

impl CurrencyMethod {
    /// Makes a price of what the sources said in a poll that ended at `now`. `configured` is the number of sources that
    /// have this currency.
    pub(super) fn aggregate(
        &mut self,
        rules: &Rules,
        configured: usize,
        mut readings: Vec<SourceReading>,
        now: TickId,
    ) -> CurrencyOutcome {
        let frozen = self.frozen.update(&readings, rules.frozen_polls);
        for reading in readings.iter_mut().filter(|reading| reading.input.excluded.is_none()) {
            match value::value(reading, rules.max_age, now) {
                Ok(value) => reading.input.value = Some(value),
                Err(reason) => exclude(&mut reading.input, &reason),
            }
            if frozen.contains(&reading.input.source) && reading.input.excluded.is_none() {
                exclude(&mut reading.input, &format!("{FROZEN}the same answer in {} polls", rules.frozen_polls));
            }
        }
        let min_sources = u32::try_from(rules.min_sources.min(configured).max(1)).unwrap_or(u32::MAX);
        let outliers = self.outliers.iter().cloned().collect();
        let (bound, repeats) = (self.speed.bound(now), self.frozen.repeats());
        let parameters = PriceParameters { min_sources, outliers, bound, repeats };
        let mut inputs: Vec<_> = readings.into_iter().map(|reading| reading.input).collect();
        let price = judge(&mut inputs, rules.outlier_share, rules.clamp_share, &parameters);
        let parameters = PriceParameters {
            // The bound applies to a single source only.
            bound: parameters.bound.filter(|_| price.as_ref().is_ok_and(|price| price.sources == 1)),
            ..parameters
        };
        if let Ok(price) = &price {
            self.note_outliers(&inputs);
            self.speed.learn(now, price.price, price.sources, rules.interval);
        }
        CurrencyOutcome { price, inputs, parameters }
    }

    /// Notes which inputs of a price were outliers.
    fn note_outliers<'a>(&mut self, inputs: impl IntoIterator<Item = &'a Input>) {
        for input in inputs {
            if input.used.is_some() {
                self.outliers.remove(&input.source);
            } else if input.excluded.as_ref().is_some_and(|reason| reason.starts_with(OUTLIER)) {
                self.outliers.insert(input.source.clone());
            }
        }
    }

    /// Learns from a price in the feed. Another replica made it, or this replica did in an earlier term.
    pub(super) fn learn(&mut self, at: TickId, price: Price, sources: usize, interval: Duration) {
        self.speed.learn(at, price, sources, interval);
    }

    /// Learns from the audit of a tick which sources were outliers or frozen.
    pub(super) fn resume<'a>(&mut self, inputs: impl Iterator<Item = &'a Input> + Clone, parameters: &PriceParameters) {
        self.outliers = parameters.outliers.iter().cloned().collect();
        if inputs.clone().any(|input| input.used.is_some()) {
            self.note_outliers(inputs.clone());
        }
        for input in inputs.filter(|input| input.bid.or(input.ask).or(input.last).is_some()) {
            let repeats = parameters.repeats.get(&input.source).copied().unwrap_or_default();
            self.frozen.resume(input, repeats);
        }
    }

    /// Forgets which sources were outliers or frozen. The new leader of a feed learns this from the newest audits.
    pub(super) fn forget_sources(&mut self) {
        (self.frozen, self.outliers) = (FrozenDetector::default(), BTreeSet::new());
    }

    /// Forgets the prices of the feed. The new leader of a feed learns them from the feed itself.
    pub(super) fn forget_prices(&mut self) {
        self.speed = SpeedLimit::default();
    }
}

/// Repeats the method on the inputs of a tick in one currency. Returns the inputs as they should be, and the price, or
/// the reason why there is none.
///
/// # Errors
/// If the parameters are missing or out of range, or if a value is not that of its source's answer.
pub fn replay(
    inputs: &[Input],
    parameters: &MethodParameters,
    currency: Currency,
) -> Result<(Vec<Input>, Result<Combined, String>), String> {
    let mut inputs: Vec<_> = inputs.iter().filter(|input| input.currency == currency).cloned().collect();
    for input in &inputs {
        let expected = value::value_of(input);
        if input.value.is_some() && input.value != expected {
            return Err(format!("the value of {} is not that of its answer", input.source));
        }
    }
    for input in inputs.iter_mut().filter(|input| was_compared(input)) {
        (input.used, input.excluded) = (None, None);
    }
    let of_currency = parameters_of(parameters, currency)?;
    let price = judge(&mut inputs, parameters.outlier_share, parameters.clamp_share, of_currency);
    Ok((inputs, price))
}

/// Returns the parameters of a currency. Checks their ranges, because they may come from anybody.
fn parameters_of(parameters: &MethodParameters, currency: Currency) -> Result<&PriceParameters, String> {
    let unknown = || format!("the parameters of {currency} are missing");
    let of_currency = parameters.currencies.get(&currency).ok_or_else(unknown)?;
    let is_share = |share: Decimal| (Decimal::ZERO..=Decimal::ONE).contains(&share);
    let is_move = |bound: MoveBound| (Decimal::ZERO..=MAX_MOVE).contains(&bound.max_move);
    if !is_share(parameters.outlier_share) || !is_share(parameters.clamp_share) {
        return Err("a share is not between 0 and 1".to_owned());
    }
    if !of_currency.bound.is_none_or(is_move) {
        return Err(format!("the bound of {currency} is not between 0 and {MAX_MOVE}"));
    }
    Ok(of_currency)
}

/// Returns true if the value of an input was compared with the others, whether it was used or not.
pub(crate) fn was_compared(input: &Input) -> bool {
    let is_about_others = |reason: &str| [OUTLIER, NO_AGREEMENT, TOO_FEW].iter().any(|word| reason.starts_with(word));
    input.value.is_some() && input.excluded.as_deref().is_none_or(is_about_others)
}

/// Compares the values of the inputs that are not excluded, and makes a price of those that are left. Marks each input
/// as used or excluded.
fn judge(
    inputs: &mut [Input],
    outlier_share: Decimal,
    clamp_share: Decimal,
    parameters: &PriceParameters,
) -> Result<Combined, String> {
    let is_compared = |input: &Input| input.excluded.is_none() && input.value.is_some();
    let compared: Vec<_> = (0..inputs.len()).filter(|place| is_compared(&inputs[*place])).collect();
    let values: Vec<_> = compared.iter().filter_map(|place| Some(inputs[*place].value?.value())).collect();
    let marked: Vec<_> = compared.iter().map(|place| parameters.outliers.contains(&inputs[*place].source)).collect();
    if values.is_empty() {
        return Err("no source gave a price that can be used".to_owned());
    }
    let exclude_all = |inputs: &mut [Input], reason: &str| {
        for place in &compared {
            exclude(&mut inputs[*place], reason);
        }
    };
    let Agreement { kept, median } = match agreement(&values, &marked, outlier_share) {
        Some(agreement) => agreement,
        None if values.len() == 1 => {
            let reason = "the only source was an outlier, and no other confirms it";
            exclude_all(inputs, &format!("{NO_AGREEMENT}{reason}"));
            return Err(reason.to_owned());
        }
        None => {
            let listed: Vec<_> = compared
                .iter()
                .zip(&values)
                .map(|(place, value)| format!("{} {}", inputs[*place].source, value.normalize()))
                .collect();
            let reason = format!("the sources contradict each other ({})", listed.join(", "));
            exclude_all(inputs, &format!("{NO_AGREEMENT}{reason}"));
            return Err(reason);
        }
    };
    let is_kept = |index: usize| kept.contains(&index);
    for (index, place) in compared.iter().enumerate().filter(|(index, _)| !is_kept(*index)) {
        let far = percent((values[index] - median).abs() / median);
        exclude(
            &mut inputs[*place],
            &format!("{OUTLIER}{far} % away from the median {} of the others", median.normalize()),
        );
    }
    let used: Vec<_> = kept.iter().map(|index| compared[*index]).collect();
    let min_sources = parameters.min_sources as usize;
    if used.len() < min_sources {
        let reason = format!("{} of at least {min_sources}", used.len());
        for place in used {
            exclude(&mut inputs[place], &format!("{TOO_FEW}{reason}"));
        }
        return Err(format!("{TOO_FEW}{reason}"));
    }
    let kept_values: Vec<_> = kept.iter().map(|index| values[*index]).collect();
    let (combined, clamped) = combine(&kept_values, clamp_share, parameters.bound);
    for (place, used) in used.into_iter().zip(clamped) {
        inputs[place].used = Price::new(used.normalize());
    }
    combined.ok_or_else(|| "the median is no price".to_owned())
}

fn exclude(input: &mut Input, reason: &str) {
    input.excluded = Input::excluded(&input.source, input.currency, reason).excluded;
}

/// Returns a share in percent with at most two decimals, for texts.
fn percent(share: Decimal) -> Decimal {
    (share * Decimal::ONE_HUNDRED).round_dp(2).normalize()
}
