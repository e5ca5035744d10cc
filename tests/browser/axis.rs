//! The axis of time below the curve.

use super::driver::Browser;
use crate::support::{TestCluster, until};
use btcfeed::tick::TickId;
use serde_json::{Value, json};

const MINUTE: u64 = 60_000;
/// In minutes: a day, and how far ahead the clocks of India are, half an hour beside the hours of most and all the year.
const DAY: u64 = 1440;
const AHEAD: u64 = 330;

/// All of one drawing.
#[derive(Debug, Default)]
struct Axis {
    now_ms: u64,
    labels: Vec<Label>,
}

#[derive(Debug)]
struct Label {
    /// The minute of the day that it says.
    minute: u64,
    /// How much of the range lies behind it, as a share.
    behind: f64,
}

/// Writes a history of more than a day: a tick a minute, and one every five seconds for more than the last hour.
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

/// A moment of a day, in minutes, as it is written where one counts hours from 1 to 12: `3:05 PM`.
fn minute_of_day(text: &str) -> u64 {
    let read = || {
        let (time, half) = text.split_once(char::is_whitespace)?;
        let (hour, minute) = time.split_once(':').filter(|(_, minute)| minute.len() == 2)?;
        let (hour, minute) = (hour.parse::<u64>().ok()?, minute.parse::<u64>().ok()?);
        let afternoon = ["AM", "PM"].iter().position(|name| *name == half)? as u64;
        ((1..=12).contains(&hour) && minute < 60).then_some(hour % 12 * 60 + afternoon * 720 + minute)
    };
    read().unwrap_or_else(|| panic!("{text:?} is no time"))
}

async fn read(browser: &Browser) -> Axis {
    let script = "
        const right = document.querySelector('.drawing .grid:not(.faint)')?.getBBox().width
        const labels = [...document.querySelectorAll('.drawing .label[text-anchor=middle]')]
        return [Date.now(), labels.map((label) => [label.textContent, 1 - label.x.baseVal[0].value / right])]";
    let read = browser.run(script).await;
    let label = |label: &Value| Label {
        minute: minute_of_day(label[0].as_str().unwrap()),
        behind: label[1].as_f64().unwrap_or(f64::NAN),
    };
    Axis { now_ms: read[0].as_u64().unwrap(), labels: read[1].as_array().unwrap().iter().map(label).collect() }
}

#[tokio::test]
async fn the_axis_says_what_time_it_was_all_along_the_range_on_the_clock_of_who_looks() {
    let cluster = TestCluster::new().await;
    fill_a_day(&cluster).await;
    let replica = cluster.replica("r1", &[("BTCFEED_RETENTION", "26h")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.live_in("Asia/Kolkata").await;
    browser.reload().await;
    browser.until_live().await;
    for (range, minutes) in [("15m", 15), ("1h", 60), ("6h", 360), ("24h", 1440)] {
        browser.click(&format!("label:has([value='{range}'])")).await;
        let (mut axis, mut step) = (Axis::default(), 0);
        // Each range has a step of its own, with room for what each label says.
        until(&format!("an axis of {range}"), async || {
            axis = read(&browser).await;
            step = axis.labels.windows(2).next().map_or(0, |pair| (pair[1].minute + DAY - pair[0].minute) % DAY);
            (minutes / 15..=minutes / 4).contains(&step)
        })
        .await;
        let count = axis.labels.len() as u64;
        assert!(count >= 4 && (minutes / step - 1..=minutes / step + 1).contains(&count), "{range}: {axis:?}");
        for pair in axis.labels.windows(2) {
            assert_eq!((pair[0].minute + step) % DAY, pair[1].minute, "{range}: {axis:?}");
        }
        for label in &axis.labels {
            assert_eq!(label.minute % step, 0, "round on the clock of {range}: {axis:?}");
            assert!((0.0..1.0).contains(&label.behind), "{range}: {axis:?}");
            // It stands where its moment is, which is a whole minute; what was drawn a while ago is a little older.
            let moment = axis.now_ms as f64 - label.behind * (minutes * MINUTE) as f64;
            let there = (moment / MINUTE as f64).round() as u64 + AHEAD;
            assert_eq!(label.minute, there % DAY, "{range}: {label:?} in {axis:?}");
        }
    }
}
