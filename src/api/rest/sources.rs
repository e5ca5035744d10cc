//! `GET /v1/sources`: the sources and their states.
//!
//! Every replica answers from the inputs of the newest ticks, which the leader has stored. So the answer describes the
//! polls of the leader, whichever replica gives it. It contains the age of the newest tick, which grows while no
//! replica leads.

use crate::aggregate::{FROZEN, OUTLIER, PAUSED, was_compared};
use crate::api::caching::CacheableResponse;
use crate::api::newest_audits::TICKS;
use crate::api::problem::Problem;
use crate::api::query::read_sources;
use crate::api::state::ApiState;
use crate::feed::{Entry, Feed, FeedState};
use crate::message::{ExactPrice, PolledSource, SourceState, SourceValue, SourcesMessage};
use crate::net::connection_limit::Permit;
use crate::schema::{answers, parameters};
use crate::source;
use crate::text::format_duration;
use crate::tick::{Currencies, Input, TickId};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The sources
///
/// Each source that the leader polls: its state, its last value in each currency, how often it gave a price, and how
/// long its last answer took.
#[utoipa::path(
    get, path = "/v1/sources", tag = "prices",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl 'http://localhost:8080/v1/sources'\n",
        "curl 'http://localhost:8080/v1/sources?currency=EUR'"
    )}]))),
    params(parameters::SourcesParameters),
    responses(
        (status = 200, description = "The sources.", body = SourcesMessage<'static>),
        answers::BadRequest, answers::Unauthorized, answers::TooManyRequests, answers::Unavailable
    )
)]
pub(crate) async fn sources(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let chosen = read_sources(&query.unwrap_or_default(), state.currencies)?;
    let hub = state.primed_hub()?;
    permit.begin_read()?;
    permit.charge_volume(TICKS)?;
    let unreadable = |_| Problem::unavailable("the sources cannot be read now, try again");
    let entries = state.newest_audits.read(hub, state.currencies.currencies).await.map_err(unreadable)?;
    let message = report(&entries, chosen, state.monitor.now(), |age| outage(&state, age));
    let text = serde_json::to_string(&message).map_err(|_| Problem::unavailable("the sources cannot be written"))?;
    // The ages change all the time, so there is no entity tag.
    let answer = CacheableResponse::json(None);
    Ok(answer.with(&headers, hub.head(), || Body::from(text + "\n")))
}

/// Returns the reason why a tick of this age does not describe the sources any more.
fn outage(state: &ApiState, age: Duration) -> Option<String> {
    if age <= state.monitor.stale_after() {
        return None;
    }
    let text = format!("no tick for {}", format_duration(Duration::from_secs(age.as_secs())));
    let status = state.hub().status().and_then(|entry| entry.status().cloned());
    let reason = status.filter(|status| status.state != FeedState::Live).map(|status| status.reason);
    Some(reason.map_or(text.clone(), |reason| format!("{text}: {reason}")))
}

/// Describes the sources by the inputs of `entries` in the currencies `chosen`. If the newest tick is too old to say
/// anything about the sources now, `outage` returns the reason.
fn report<'a>(
    entries: &'a [Arc<Entry>],
    chosen: Currencies,
    now: TickId,
    outage: impl Fn(Duration) -> Option<String>,
) -> SourcesMessage<'a> {
    let inputs_of = |entry: &'a Arc<Entry>| -> Option<(TickId, Vec<&'a Input>)> {
        let inputs = &entry.tick()?.audit.as_ref()?.inputs;
        Some((entry.id, inputs.iter().filter(|input| chosen.contains(input.currency)).collect()))
    };
    let polls: Vec<_> = entries.iter().filter_map(inputs_of).collect();
    let names: BTreeSet<&str> = polls.iter().flat_map(|(_, inputs)| inputs).map(|input| &*input.source).collect();
    let newest = polls.last().map(|(id, _)| *id);
    let outage = newest.and_then(|newest| outage(now.since(newest)));
    SourcesMessage {
        id: newest,
        age_ms: newest.map(|id| age(id, now)),
        ticks: polls.len() as u64,
        sources: names.into_iter().map(|name| polled_source(name, &polls, now, outage.as_deref())).collect(),
    }
}

fn polled_source<'a>(
    name: &'a str,
    polls: &[(TickId, Vec<&'a Input>)],
    now: TickId,
    outage: Option<&str>,
) -> PolledSource<'a> {
    let own = |inputs: &[&'a Input]| inputs.iter().filter(|input| input.source == name).copied().collect::<Vec<_>>();
    let polls = polls.iter().map(|(id, inputs)| (*id, own(inputs))).filter(|(_, own)| !own.is_empty());
    let polls: Vec<_> = polls.collect();
    let newest = polls.last().map(|(_, own)| &own[..]).unwrap_or_default();
    let (state, reason) = match outage {
        Some(reason) => (SourceState::Unknown, Some(Cow::Owned(reason.to_owned()))),
        None => state(newest),
    };
    let with_value = polls.iter().filter(|(_, own)| own.iter().any(|input| input.value.is_some())).count();
    let mut values: Vec<SourceValue> = Vec::new();
    for (id, input) in polls.iter().rev().flat_map(|(id, own)| own.iter().map(move |input| (*id, input))) {
        let currency = input.currency.into();
        if let Some(value) = input.value.filter(|_| values.iter().all(|known| known.currency != currency)) {
            let used = newest.iter().any(|newest| newest.currency == input.currency && newest.used.is_some());
            let age_ms = age(input.fetched.unwrap_or(id), now);
            values.push(SourceValue { currency, value: ExactPrice(value), age_ms, used });
        }
    }
    let definition = source::find(name);
    PolledSource {
        name: Cow::Borrowed(name),
        title: Cow::Borrowed(definition.map_or(name, |found| found.title)),
        attribution: definition.and_then(|found| found.attribution).map(Cow::Borrowed),
        terms: definition.and_then(|found| found.terms).map(Cow::Borrowed),
        state: state.into(),
        reason,
        success_rate: share(with_value, polls.len()),
        latency_ms: newest.iter().find_map(|input| input.latency_ms),
        values,
    }
}

/// Returns the state of a source by its inputs in one poll, and the reason if it is not `ok`.
fn state<'a>(inputs: &[&'a Input]) -> (SourceState, Option<Cow<'a, str>>) {
    let excluded = |word: &str| {
        let mut reasons = inputs.iter().filter_map(|input| input.excluded.as_deref());
        reasons.find(|reason| reason.starts_with(word)).map(Cow::Borrowed)
    };
    let states = [(OUTLIER, SourceState::Outlier), (FROZEN, SourceState::Frozen), (PAUSED, SourceState::Resting)];
    for (word, state) in states {
        if let Some(reason) = excluded(word) {
            return (state, Some(reason));
        }
    }
    // A source whose value was compared is not to blame if there were too few others, or none that agreed.
    match excluded("") {
        Some(reason) if !inputs.iter().any(|input| was_compared(input)) => (SourceState::Failing, Some(reason)),
        _ => (SourceState::Ok, None),
    }
}

fn age(moment: TickId, now: TickId) -> u64 {
    u64::try_from(now.since(moment).as_millis()).unwrap_or(u64::MAX)
}

/// Returns a share, rounded to four decimals.
#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn share(part: usize, whole: usize) -> f64 {
    (part as f64 / whole.max(1) as f64 * 1e4).round() / 1e4
}
