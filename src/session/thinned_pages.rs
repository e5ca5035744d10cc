//! Pages of the store's history after the throttle has dropped ticks. Clients that ask for the same ticks share them.
//!
//! The result of a throttle depends only on its state and on the entries, so clients in the same state get the same
//! ticks. The first of these clients reads a page of hundreds of entries from the store. The others use its result,
//! which is a few ticks.

use super::throttle::{Throttle, ThrottlePosition};
use crate::tick::TickId;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of pages that are kept.
const MAX_PAGES: usize = 1024;
/// Maximum number of bytes in a page. Sending a longer page costs more than reading it, so sharing it saves little.
const MAX_PAGE_BYTES: usize = 16 * 1024;
/// Time for which a page is kept. It is short, because entries of the store's history may expire or be lost.
const KEEP: Duration = Duration::from_secs(5);

/// State of a session before a page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PageStart {
    pub(super) cursor: TickId,
    pub(super) cursor_is_id: bool,
    pub(super) throttle: ThrottlePosition,
}

/// Bytes that a session sends for a page, and its state after the page.
#[derive(Clone, Debug)]
pub(super) struct ThinnedPage {
    pub(super) bytes: Vec<Bytes>,
    pub(super) last: TickId,
    pub(super) throttle: Throttle,
}

/// The pages of the last seconds.
#[derive(Debug, Default)]
pub(super) struct ThinnedPages(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    pages: BTreeMap<Arc<PageStart>, ThinnedPage>,
    /// The starts of all pages with the times at which they were added, oldest first.
    added: VecDeque<(Instant, Arc<PageStart>)>,
}

impl ThinnedPages {
    /// Returns the page with this start, if a client has read it recently.
    pub(super) fn get(&self, start: &PageStart, now: Instant) -> Option<ThinnedPage> {
        let mut pages = self.lock();
        pages.drop_old(now);
        pages.pages.get(start).cloned()
    }

    /// Adds a page that a client has read.
    pub(super) fn add(&self, start: PageStart, page: ThinnedPage, now: Instant) {
        let mut pages = self.lock();
        pages.drop_old(now);
        let bytes: usize = page.bytes.iter().map(Bytes::len).sum();
        if bytes <= MAX_PAGE_BYTES && !pages.pages.contains_key(&start) {
            let start = Arc::new(start);
            pages.added.push_back((now, start.clone()));
            pages.pages.insert(start, page);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn drop_old(&mut self, now: Instant) {
        let is_old = |added: &Instant| now.saturating_duration_since(*added) > KEEP;
        while self.added.front().is_some_and(|(added, _)| is_old(added) || self.added.len() > MAX_PAGES) {
            if let Some((_, start)) = self.added.pop_front() {
                self.pages.remove(&start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Format, Framing, View};
    use crate::session::ThrottleOptions;
    use crate::tick::Currencies;

    #[test]
    fn few_pages_are_kept_for_a_short_time() {
        let view = View::new(Format::Full, Currencies::USD_EUR, Framing::Line);
        let throttle = Throttle::new(view, ThrottleOptions::default(), None);
        let start = |ms| PageStart { cursor: TickId::from_ms(ms), cursor_is_id: true, throttle: throttle.position() };
        let page = |len| ThinnedPage {
            bytes: vec![Bytes::from(vec![0; len])],
            last: TickId::ZERO,
            throttle: throttle.clone(),
        };
        let (pages, now) = (ThinnedPages::default(), Instant::now());
        pages.add(start(0), page(MAX_PAGE_BYTES + 1), now);
        assert!(pages.get(&start(0), now).is_none(), "it is too long");
        let count = MAX_PAGES as u64 + 10;
        (1..=count).for_each(|ms| pages.add(start(ms), page(1), now));
        let kept = |now| (1..=count).filter(|ms| pages.get(&start(*ms), now).is_some()).count();
        assert_eq!(kept(now + KEEP), MAX_PAGES);
        assert!(pages.get(&start(count), now).is_some(), "the newest are kept");
        assert_eq!(kept(now + KEEP * 2), 0);
    }
}
