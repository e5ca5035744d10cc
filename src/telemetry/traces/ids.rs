//! Ids of traces and spans.

use opentelemetry::{SpanId, TraceId};
use sha1::{Digest, Sha1};

/// The ids that every replica computes for a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) trace: TraceId,
    /// The root: from the poll to the answer of the store.
    pub(super) tick: SpanId,
    /// The append to the store. The span of each replica's hub is its child.
    pub(super) append: SpanId,
}

impl Ids {
    /// Computes the ids of a tick. They look random, as samplers expect (W3C Trace Context §3.2.2.3).
    pub(super) fn new(feed: &str, tick: u64) -> Ids {
        let span = |name| SpanId::from_bytes(hash(feed, tick, name));
        Ids { trace: TraceId::from_bytes(hash(feed, tick, "trace")), tick: span("tick"), append: span("append") }
    }
}

/// Returns an id for a span that no other replica has to know.
pub(super) fn random() -> SpanId {
    SpanId::from(fastrand::u64(1..))
}

fn hash<const N: usize>(feed: &str, tick: u64, name: &str) -> [u8; N] {
    let digest = Sha1::digest(format!("{feed}\n{tick}\n{name}"));
    std::array::from_fn(|place| digest[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_only_on_the_feed_and_the_tick() {
        let ids = Ids::new("btcfeed", 1_795_166_431_075);
        assert_eq!(ids, Ids::new("btcfeed", 1_795_166_431_075));
        // Replicas of other versions compute the same ids.
        assert_eq!(ids.trace.to_string(), "75822f676bb35e8b7bfb99aaae143529");
        assert_eq!([ids.tick, ids.append].map(|id| id.to_string()), ["78a3ad0043fe4ed2", "a01a83ab3ba8c512"]);
        for other in [Ids::new("btcfeed", 1_795_166_431_076), Ids::new("other", 1_795_166_431_075)] {
            assert!(other.trace != ids.trace && other.tick != ids.tick && other.append != ids.append);
        }
    }
}
