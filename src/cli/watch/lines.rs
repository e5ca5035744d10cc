//! The feed for programs: standard output gets each update exactly as the server writes it in the chosen format.
//! Notices about the connection, and about updates that the short formats do not show, go to standard error.

use super::notices::Notices;
use super::output::OutputText;
use crate::client::{GapUpdate, StatusUpdate, TickUpdate, Update};
use crate::encode::{Format, Framing, View};
use crate::feed::{Entry, Event, Status};
use crate::message::{GapMessage, GapType, Word};
use crate::tick::{Currencies, Tick};
use bytes::Bytes;
use std::sync::Arc;

/// Formats updates as lines.
pub(super) struct Lines {
    format: Format,
    /// The currencies. Empty if the server chooses.
    chosen: Currencies,
    notices: Notices,
    /// The lines that are not written yet.
    text: OutputText,
}

impl Lines {
    pub(super) fn new(format: Format, chosen: Currencies) -> Lines {
        Lines { format, chosen, notices: Notices::default(), text: OutputText::default() }
    }

    /// Adds the line of an update. Returns true if the update is a tick that has a line.
    pub(super) fn update(&mut self, update: Update) -> bool {
        let full = self.format.is_full();
        let has_line = full && matches!(update, Update::Status(_) | Update::Gap(_));
        if let Some((_, notice)) = self.notices.of(&update).filter(|_| !has_line) {
            self.text.add_notice(&notice);
        }
        let is_tick = matches!(update, Update::Tick(_));
        let line = match update {
            Update::Tick(TickUpdate { id, prev, prices, sources, method, confidence, spread, audit, .. }) => {
                let tick = Tick { prices, sources, method, confidence, spread, audit: audit.map(Arc::new) };
                let chosen = if self.chosen.is_empty() { tick.currencies() } else { self.chosen };
                self.view(chosen).entry(&Entry { id, prev, event: Event::Tick { tick, outages: Vec::new() } })
            }
            Update::Status(StatusUpdate { id, prev, state, since, reason, .. }) => {
                let event = Event::Status(Status { state, since, reason });
                self.view(self.chosen).entry(&Entry { id, prev, event })
            }
            Update::Synced { id } => self.view(self.chosen).synced(id).unwrap_or_default(),
            Update::Gap(GapUpdate { after, before, reason, currencies, .. }) if full => {
                let reason = Word::Other(reason.as_str().to_owned());
                let currencies = currencies.map(|currencies| currencies.iter().map(Word::from).collect());
                let gap = GapMessage { r#type: GapType::Gap, after, before, reason, currencies };
                // Text and numbers can always be serialised.
                serde_json::to_string(&gap).map(|line| Bytes::from(line + "\n")).unwrap_or_default()
            }
            _ => return false,
        };
        self.text.feed.extend_from_slice(&line);
        // In the short formats a tick without a price in the chosen currencies has no line.
        is_tick && !line.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.text.is_full()
    }

    /// Takes the lines that are to be written.
    pub(super) fn take(&mut self) -> OutputText {
        std::mem::take(&mut self.text)
    }

    fn view(&self, currencies: Currencies) -> View {
        View::new(self.format, currencies, Framing::Line)
    }
}
