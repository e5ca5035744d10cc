//! End of all streams when a replica stops, spread over some time, so that their clients do not all reconnect at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Number of groups into which streams are divided.
pub const GROUPS: usize = 64;
/// Most time for each client. A few clients are not kept waiting as long as thousands.
const MAX_TIME_PER_CLIENT: Duration = Duration::from_millis(20);

/// How a replica ends its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOptions {
    /// Time between the moment at which the replica is not ready any more, and the first end of a stream.
    pub delay: Duration,
    /// Time between the ends of the first and of the last stream.
    pub spread: Duration,
}

/// Progress of a drain. Each stream belongs to a group, and the groups end one after the other.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Progress>);

#[derive(Debug)]
struct Progress {
    begun: CancellationToken,
    groups: Vec<CancellationToken>,
    done: CancellationToken,
    next: AtomicUsize,
}

impl Default for Progress {
    fn default() -> Progress {
        let (begun, done, next) = (CancellationToken::new(), CancellationToken::new(), AtomicUsize::new(0));
        // Whatever happens before, the last phase ends every group.
        let groups = (0..GROUPS).map(|_| done.child_token()).collect();
        Progress { begun, groups, done, next }
    }
}

impl Drain {
    /// Returns the token that is cancelled when no new clients are accepted.
    pub fn begun(&self) -> &CancellationToken {
        &self.0.begun
    }

    /// Returns the tokens of all groups. A token is cancelled when the streams of its group end.
    pub fn groups(&self) -> &[CancellationToken] {
        &self.0.groups
    }

    /// Returns the token of the group of a new stream.
    pub fn next_group(&self) -> CancellationToken {
        self.0.groups[self.0.next.fetch_add(1, Ordering::Relaxed) % GROUPS].clone()
    }

    /// Returns the token that is cancelled when everything ends.
    pub fn done(&self) -> &CancellationToken {
        &self.0.done
    }

    /// Ends the streams of `clients`, spread over `spread` or, if the clients are few, over less.
    pub async fn run(&self, spread: Duration, clients: usize) {
        self.0.begun.cancel();
        let enough = MAX_TIME_PER_CLIENT.saturating_mul(u32::try_from(clients).unwrap_or(u32::MAX));
        let pause = spread.min(enough) / u32::try_from(GROUPS).unwrap_or(u32::MAX);
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
            let (drain, begun) = (Drain::default(), Instant::now());
            let streams: Vec<_> = (0..clients).map(|_| drain.next_group()).collect();
            let running = drain.clone();
            let half = async {
                drain.groups()[GROUPS / 2].cancelled().await;
                let ended = streams.iter().filter(|stream| stream.is_cancelled()).count();
                assert!(ended.abs_diff(clients / 2) <= 2 * clients / GROUPS + 2, "{ended} of {clients}");
                assert!(running.begun().is_cancelled() && !running.done().is_cancelled());
            };
            tokio::join!(running.run(Duration::from_secs(8), clients), half);
            assert!(streams.iter().all(CancellationToken::is_cancelled) && drain.done().is_cancelled());
            let took = begun.elapsed().as_secs_f64();
            assert!((took - seconds).abs() < 0.2, "{took} s");
        }
    }
}
