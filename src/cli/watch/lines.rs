//! The feed for programs: each update a line on standard output, exactly as the server writes it in that format, and nothing
//! else there. What happens to the connection, and what the short formats do not show, is told on standard error.

use super::news::News;
use super::output::Text;
use crate::client::{Gap, Status, Tick, Update};
use crate::encode::{Format, Framing, View};
use crate::feed::{Entry, Event, Status as FeedStatus};
use crate::tick::{Currencies, Currency, Tick as Prices, TickId};
use bytes::Bytes;
use serde::Serialize;

/// Makes lines.
pub(super) struct Lines {
    format: Format,
    /// Empty if the server chooses.
    chosen: Currencies,
    news: News,
    /// What has not been written yet.
    text: Text,
}

/// A gap as a server writes it, also where the reason is not one of a server's.
#[derive(Serialize)]
struct GapLine<'a> {
    r#type: &'static str,
    after: TickId,
    before: TickId,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    currencies: Option<Vec<Currency>>,
}

impl Lines {
    pub(super) fn new(format: Format, chosen: Currencies) -> Lines {
        Lines { format, chosen, news: News::default(), text: Text::default() }
    }

    /// Takes an update in. Whether it was a tick that has a line.
    pub(super) fn update(&mut self, update: Update) -> bool {
        let full = self.format == Format::Full;
        let shown = full && matches!(update, Update::Status(_) | Update::Gap(_));
        if let Some((_, news)) = self.news.of(&update).filter(|_| !shown) {
            self.text.tell(&news);
        }
        let is_tick = matches!(update, Update::Tick(_));
        let line = match update {
            Update::Tick(Tick { id, prev, prices, sources, .. }) => {
                let tick = Prices { prices, sources };
                let chosen = if self.chosen.is_empty() { tick.currencies() } else { self.chosen };
                self.view(chosen).entry(&Entry { id, prev, event: Event::Tick { tick, outages: Vec::new() } })
            }
            Update::Status(Status { id, prev, state, since, reason, .. }) => {
                let event = Event::Status(FeedStatus { state, since, reason });
                self.view(self.chosen).entry(&Entry { id, prev, event })
            }
            Update::Synced { id } => self.view(self.chosen).synced(id).unwrap_or_default(),
            Update::Gap(Gap { after, before, reason, currencies, .. }) if full => {
                let currencies = currencies.map(|currencies| currencies.iter().collect());
                let gap = GapLine { r#type: "gap", after, before, reason: reason.as_str(), currencies };
                // Text and numbers can always be written.
                serde_json::to_string(&gap).map(|line| Bytes::from(line + "\n")).unwrap_or_default()
            }
            _ => return false,
        };
        self.text.shown.extend_from_slice(&line);
        // In the short formats a tick without a chosen price has none.
        is_tick && !line.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.text.is_full()
    }

    /// What is to be written.
    pub(super) fn take(&mut self) -> Text {
        std::mem::take(&mut self.text)
    }

    fn view(&self, currencies: Currencies) -> View {
        View { format: self.format, currencies, framing: Framing::Line }
    }
}
