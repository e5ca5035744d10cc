//! The bounds of the method: what wrong sources can do at most. `docs/method.md` has them as a table, which
//! `UPDATE_DOCS=1 cargo test bounds` updates.

mod bounds;
mod old_rule;

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The time between two polls.
const INTERVAL: Duration = Duration::from_secs(5);
/// The names of the sources. In some tests, the last source of a market gives a false price.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn rules(min_sources: usize) -> Rules {
    let (outlier_share, clamp_share) = (Decimal::new(1, 2), Decimal::new(5, 3));
    let max_age = Duration::from_secs(60);
    Rules { interval: INTERVAL, max_age, outlier_share, clamp_share, min_sources, frozen_polls: 24 }
}

fn reading(source: &str, value: Decimal) -> SourceReading {
    let price = Price::new(value);
    SourceReading::without_price(Input { bid: price, ask: price, ..Input::new(source, Currency::Usd) })
}

/// A currency that is polled in a test.
struct Polled {
    rules: Rules,
    configured: usize,
    method: CurrencyMethod,
    now: TickId,
}

impl Polled {
    fn new(configured: usize, min_sources: usize) -> Polled {
        let now = TickId::from_ms(1_795_166_431_075);
        Polled { rules: rules(min_sources), configured, method: CurrencyMethod::default(), now }
    }

    /// Polls sources with these values, and checks that the price can be recomputed.
    fn poll(&mut self, values: &[Decimal]) -> CurrencyOutcome {
        self.now = self.now.plus(INTERVAL);
        let readings = NAMES.iter().zip(values).map(|(name, value)| reading(name, *value)).collect();
        let outcome = self.method.aggregate(&self.rules, self.configured, readings, self.now);
        let Rules { outlier_share, clamp_share, .. } = self.rules;
        let currencies = BTreeMap::from([(Currency::Usd, outcome.parameters.clone())]);
        let parameters = MethodParameters { outlier_share, clamp_share, currencies };
        assert_eq!(replay(&outcome.inputs, &parameters, Currency::Usd).unwrap().1, outcome.price);
        outcome
    }

    fn price(&mut self, values: &[Decimal]) -> Option<Decimal> {
        self.poll(values).price.ok().map(|price| price.price.value())
    }
}

/// Returns the distance of a price from the right one as a share, less what rounding to the cent may add.
fn error(price: Decimal, right: Decimal) -> Decimal {
    ((price - right).abs() - Decimal::new(5, 3)).max(Decimal::ZERO) / right
}

/// Returns prices of the same market that differ by at most `permille`.
fn honest(count: usize, permille: i64) -> impl Strategy<Value = Vec<Decimal>> {
    let range = 5_000_000_i64..15_000_000;
    range.prop_flat_map(move |cents| {
        let near = (cents..=cents + cents * permille / 1000).prop_map(|cents| Decimal::new(cents, 2));
        prop::collection::vec(near, count)
    })
}

/// Returns what a liar may say. Half of the lies are any number, the others are from 45,000 to 165,000, near the
/// honest prices.
fn lie() -> impl Strategy<Value = Decimal> {
    let any = (1_i64..1_000_000_000, 0_u32..=8).prop_map(|(digits, scale)| Decimal::new(digits, scale));
    let near = (4_500_000_i64..16_500_000).prop_map(|cents| Decimal::new(cents, 2));
    prop_oneof![any, near]
}

fn median(values: &[Decimal]) -> Decimal {
    super::combine::median(values).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn liar_of_three_moves_the_price_half_a_percent(right in honest(2, 10), lie in lie(), place in 0_usize..3) {
        let mut values = right.clone();
        values.insert(place, lie);
        let price = Polled::new(3, 2).price(&values).expect("the honest sources agree");
        prop_assert!(error(price, median(&right)) <= Decimal::new(5, 3), "{price}");
    }

    #[test]
    fn two_liars_of_five_keep_the_price_in_range(right in honest(3, 10), lies in (lie(), lie())) {
        let mut values = right.clone();
        values.extend([lies.0, lies.1]);
        let price = Polled::new(5, 2).price(&values).expect("the honest sources agree");
        let cent = Decimal::new(1, 2);
        let (lowest, highest) = (right.iter().min().unwrap() - cent, right.iter().max().unwrap() + cent);
        prop_assert!((lowest..=highest).contains(&price), "{price}");
    }

    #[test]
    fn liar_that_walks_moves_the_price_no_further(
        start in -150_i64..150,
        steps in prop::collection::vec(-4_i64..=4, 1..12),
        right in honest(2, 10),
    ) {
        // The steps are in per mille, so the lie moves by at most 0.4 % in each poll.
        let mut polled = Polled::new(3, 2);
        let mut lie = right[0] * Decimal::new(1000 + start, 3);
        for step in steps {
            lie *= Decimal::new(1000 + step, 3);
            let price = polled.price(&[right[0], right[1], lie.round_dp(8)]).expect("the honest sources agree");
            prop_assert!(error(price, median(&right)) <= Decimal::new(5, 3), "{price}");
        }
    }

    #[test]
    fn liar_of_two_stays_beside_the_other(right in honest(1, 0), lies in prop::collection::vec(lie(), 1..8)) {
        let mut polled = Polled::new(2, 2);
        for lie in lies.into_iter().chain([right[0] * Decimal::new(1009, 3)]) {
            if let Some(price) = polled.price(&[right[0], lie.round_dp(8)]) {
                prop_assert!(error(price, right[0]) <= Decimal::new(5, 3), "{price}");
            }
        }
    }

    #[test]
    fn lone_source_is_as_slow_as_several_were(
        moves in prop::collection::vec(-3_i64..=3, 2..8),
        lies in prop::collection::vec(lie(), 1..8),
    ) {
        let mut polled = Polled::new(3, 1);
        let (mut right, mut fastest) = (Decimal::from(100_000), Decimal::ZERO);
        polled.price(&[right, right]);
        for step in moves {
            let next = (right * Decimal::new(1000 + step, 3)).round_dp(2);
            fastest = fastest.max((next - right).abs() / right);
            right = next;
            prop_assert_eq!(polled.price(&[right, right]), Some(right));
        }
        let mut last = right;
        for lie in lies {
            let outcome = polled.poll(&[lie]);
            prop_assert!(outcome.parameters.bound.is_some());
            let price = outcome.price.unwrap().price.value();
            // The bound and the price are rounded to the cent.
            prop_assert!((price - last).abs() <= last * fastest + Decimal::new(1, 2), "{} to {}", last, price);
            last = price;
        }
    }
}

#[test]
fn recorded_gemini_case_does_not_move_the_price() {
    // Gemini's own book, and a `close` that is 4 % off it, as its API v2 gave for days.
    let price = |text: &str| Some(text.parse::<Price>().unwrap());
    let book = |source: &str, bid, ask, last| {
        let input = Input { bid: price(bid), ask: price(ask), last: price(last), ..Input::new(source, Currency::Usd) };
        SourceReading::without_price(input)
    };
    let coinbase = book("coinbase", "73360.34", "73369.19", "73360.33");
    let bitstamp = book("bitstamp", "73353", "73367", "73353");
    let of = |readings: &[&SourceReading]| {
        let Polled { rules, mut method, now, .. } = Polled::new(3, 2);
        let readings = readings.iter().map(|reading| (*reading).clone()).collect();
        method.aggregate(&rules, 3, readings, now).price.map(|price| price.price.to_string())
    };
    let right = of(&[&coinbase, &bitstamp]);
    assert_eq!(right.as_deref(), Ok("73362.38"));
    let mut gemini = book("gemini", "73367.96", "73385.27", "70333.60");
    (gemini.input.bid, gemini.input.ask) = (None, None);
    assert_eq!(of(&[&coinbase, &bitstamp, &gemini]), right, "the close alone is an outlier");
    let of_book = book("gemini", "73367.96", "73385.27", "70333.60");
    assert_eq!(of(&[&coinbase, &bitstamp, &of_book]).as_deref(), Ok("73364.76"), "the close beside a book is not used");
}

#[test]
fn frozen_source_is_left_out_until_it_moves() {
    let mut polled = Polled::new(3, 2);
    let cents = |cents: i64| Decimal::new(10_000_000 + cents, 2);
    let mut used = |poll: i64, frozen: i64| {
        let outcome = polled.poll(&[cents(poll), cents(2 * poll), cents(frozen)]);
        (outcome.price.unwrap().sources, outcome.inputs[2].excluded.clone())
    };
    let first = (1..100).find(|poll| used(*poll, 0).0 == 2);
    assert_eq!(first, Some(25));
    assert_eq!(used(200, 0).1.as_deref(), Some("frozen: the same answer in 24 polls"));
    assert_eq!(used(201, 1), (3, None));
}

#[test]
fn outlier_counts_again_within_half_of_the_share() {
    let mut polled = Polled::new(3, 2);
    let mut sources = |third: i64| {
        let outcome = polled.poll(&[Decimal::from(100_000), Decimal::from(100_000), Decimal::from(third)]);
        (outcome.price.unwrap().sources, outcome.parameters.outliers)
    };
    assert_eq!(sources(101_000), (3, vec![]));
    assert_eq!(sources(101_001), (2, vec![]));
    assert_eq!(sources(100_501), (2, vec!["c".to_owned()]));
    assert_eq!(sources(100_500), (3, vec!["c".to_owned()]));
    assert_eq!(sources(100_501), (3, vec![]));
}

#[test]
fn minimum_is_at_most_what_is_configured() {
    let value = [Decimal::from(100)];
    assert_eq!(Polled::new(1, 2).price(&value), Some(value[0]), "a single source is configured");
    assert_eq!(Polled::new(2, 2).price(&value), None);
    assert_eq!(Polled::new(2, 1).price(&value), Some(value[0]));
    assert_eq!(Polled::new(3, 2).poll(&[]).price, Err("no source gave a price that can be used".to_owned()));
}
