//! End of all streams when a replica stops. It is spread over some time, so that the clients do not all reconnect at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Number of groups into which streams are divided.
pub const GROUPS: usize = 64;
/// A drain takes at most this time multiplied by the number of clients. So the drain of a few clients is short.
const MAX_TIME_PER_CLIENT: Duration = Duration::from_millis(20);

/// Times of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOptions {
    /// Minimum time between a signal that stops the replica and the end of the first stream. During this time, the
    /// replica is unready, but still serves clients. If a failure stops the replica, there is no such delay.
    pub delay: Duration,
    /// Maximum time from the end of the first stream to the end of the last one.
    pub spread: Duration,
}

/// Progress of a drain. Each stream belongs to a group, and the groups end one after the other.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Progress>);

#[derive(Debug)]
struct Progress {
    started: CancellationToken,
    groups: Vec<CancellationToken>,
    done: CancellationToken,
    next: AtomicUsize,
}

impl Default for Progress {
    fn default() -> Progress {
        let (started, done, next) = (CancellationToken::new(), CancellationToken::new(), AtomicUsize::new(0));
        // `done` cancels every group, too.
        let groups = (0..GROUPS).map(|_| done.child_token()).collect();
        Progress { started, groups, done, next }
    }
}

impl Drain {
    /// Returns the token that is cancelled when new clients are no longer accepted.
    pub fn started(&self) -> &CancellationToken {
        &self.0.started
    }

    /// Returns the tokens of all groups. A token is cancelled when the streams of its group end.
    pub fn groups(&self) -> &[CancellationToken] {
        &self.0.groups
    }

    /// Returns the token of the group of a new stream.
    pub fn next_group(&self) -> CancellationToken {
        self.0.groups[self.0.next.fetch_add(1, Ordering::Relaxed) % GROUPS].clone()
    }

    /// Returns the token that is cancelled when all connections have to end.
    pub fn done(&self) -> &CancellationToken {
        &self.0.done
    }

    /// Ends the streams of `clients` clients within `spread`, or within less time if there are only a few clients.
    pub async fn run(&self, spread: Duration, clients: usize) {
        self.0.started.cancel();
        let max = MAX_TIME_PER_CLIENT.saturating_mul(u32::try_from(clients).unwrap_or(u32::MAX));
        let pause = spread.min(max) / u32::try_from(GROUPS).unwrap_or(u32::MAX);
        for group in self.groups() {
            group.cancel();
            sleep(pause).await;
        }
        self.0.done.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn groups_end_one_after_the_other() {
        for (clients, seconds) in [(3000, 8.0), (128, 2.56)] {
            let (drain, started) = (Drain::default(), Instant::now());
            let streams: Vec<_> = (0..clients).map(|_| drain.next_group()).collect();
            let running = drain.clone();
            let half = async {
                drain.groups()[GROUPS / 2].cancelled().await;
                let ended = streams.iter().filter(|stream| stream.is_cancelled()).count();
                assert!(ended.abs_diff(clients / 2) <= 2 * clients / GROUPS + 2, "{ended} of {clients}");
                assert!(running.started().is_cancelled() && !running.done().is_cancelled());
            };
            tokio::join!(running.run(Duration::from_secs(8), clients), half);
            assert!(streams.iter().all(CancellationToken::is_cancelled) && drain.done().is_cancelled());
            let took = started.elapsed().as_secs_f64();
            assert!((took - seconds).abs() < 0.2, "{took} s");
        }
    }
}
