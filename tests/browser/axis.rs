//! The time axis below the chart.

use super::driver::Browser;
use crate::support::{TestCluster, until};
use btcfeed::tick::TickId;
use serde_json::{Value, json};

const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 1440;
/// UTC offset of India: five and a half hours, without summer time.
const OFFSET_MINUTES: u64 = 330;

/// The axis at one moment.
#[derive(Debug, Default)]
struct Axis {
    now_ms: u64,
    labels: Vec<Label>,
}

#[derive(Debug)]
struct Label {
    /// The minute of the day in its text.
    minute: u64,
    /// The distance from the right edge, as a share of the range.
    from_end: f64,
}

/// Writes a history of more than a day: a tick each minute, and one every five seconds in the last 4000 s.
async fn fill_a_day(cluster: &TestCluster) {
    let (now, mut prev, mut add) = (TickId::now().ms(), 0, ::redis::cmd("ZADD"));
    add.arg("{btcfeed}:ticks");
    let ages_s = (4000..25 * 3600).rev().step_by(60).chain((5..4000).rev().step_by(5));
    for id in ages_s.map(|age_s| now - age_s * 1000) {
        let prices = json!({"USD": "97000.10"});
        let tick = json!({"id": id, "prev": prev, "type": "tick", "prices": prices, "sources": {"USD": ["kraken"]}});
        add.arg(id).arg(tick.to_string());
        prev = id;
    }
    let _: u64 = add.query_async(&mut cluster.redis.connection().await).await.unwrap();
}

/// Parses a time such as `3:05 PM` into a minute of the day.
fn minute_of_day(text: &str) -> u64 {
    let read = || {
        let (time, half) = text.split_once(char::is_whitespace)?;
        let (hour, minute) = time.split_once(':').filter(|(_, minute)| minute.len() == 2)?;
        let (hour, minute) = (hour.parse::<u64>().ok()?, minute.parse::<u64>().ok()?);
        let afternoon = ["AM", "PM"].iter().position(|name| *name == half)? as u64;
        ((1..=12).contains(&hour) && minute < 60).then_some(hour % 12 * 60 + afternoon * 720 + minute)
    };
    read().unwrap_or_else(|| panic!("invalid time {text:?}"))
}

async fn read(browser: &Browser) -> Axis {
    let script = "
        const right = document.querySelector('.drawing .grid:not(.faint)')?.getBBox().width
        const labels = [...document.querySelectorAll('.drawing .label[text-anchor=middle]')]
        return [Date.now(), labels.map((label) => [label.textContent, 1 - label.x.baseVal[0].value / right])]";
    let read = browser.run(script).await;
    let label = |label: &Value| Label {
        minute: minute_of_day(label[0].as_str().unwrap()),
        from_end: label[1].as_f64().unwrap_or(f64::NAN),
    };
    Axis { now_ms: read[0].as_u64().unwrap(), labels: read[1].as_array().unwrap().iter().map(label).collect() }
}

#[tokio::test]
async fn axis_has_round_local_times_at_their_places() {
    let cluster = TestCluster::new().await;
    fill_a_day(&cluster).await;
    let replica = cluster.replica("r1", &[("BTCFEED_RETENTION", "26h")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.set_time_zone("Asia/Kolkata").await;
    browser.reload().await;
    browser.until_live().await;
    for (range, minutes) in [("15m", 15), ("1h", 60), ("6h", 360), ("24h", 1440)] {
        browser.click(&format!("label:has([value='{range}'])")).await;
        let (mut axis, mut step) = (Axis::default(), 0);
        // The time between two labels depends on the range, so that the labels have room.
        until(&format!("an axis of {range}"), async || {
            axis = read(&browser).await;
            step = axis
                .labels
                .windows(2)
                .next()
                .map_or(0, |pair| (pair[1].minute + DAY_MINUTES - pair[0].minute) % DAY_MINUTES);
            (minutes / 15..=minutes / 4).contains(&step)
        })
        .await;
        let count = axis.labels.len() as u64;
        assert!(count >= 4 && (minutes / step - 1..=minutes / step + 1).contains(&count), "{range}: {axis:?}");
        for pair in axis.labels.windows(2) {
            assert_eq!((pair[0].minute + step) % DAY_MINUTES, pair[1].minute, "{range}: {axis:?}");
        }
        for label in &axis.labels {
            assert_eq!(label.minute % step, 0, "{range} has a label that is not a round time: {axis:?}");
            assert!((0.0..1.0).contains(&label.from_end), "{range}: {axis:?}");
            // The label is at the place of its minute. The result is rounded, because the axis was drawn a moment ago.
            let moment_ms = axis.now_ms as f64 - label.from_end * (minutes * MINUTE_MS) as f64;
            let minute = (moment_ms / MINUTE_MS as f64).round() as u64 + OFFSET_MINUTES;
            assert_eq!(label.minute, minute % DAY_MINUTES, "{range}: {label:?} in {axis:?}");
        }
    }
}
