//! What every request can see.

use super::candle_cache::CandleCache;
use super::cors::Cors;
use super::problem::Problem;
use super::query::SupportedCurrencies;
use crate::encode::Framing;
use crate::hub::Hub;
use crate::net::reactor::Reactor;
use crate::session::{Session, Sessions, Subscription};
use crate::shutdown::Tasks;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Time that the store may take to say where a client's replay begins.
const LOOK_UP_DEADLINE: Duration = Duration::from_secs(5);

/// State that every handler can see.
pub(crate) struct ApiState {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) reactor: Arc<Reactor>,
    pub(crate) cors: Cors,
    pub(crate) candles: CandleCache,
    pub(crate) currencies: SupportedCurrencies,
    /// Time between two comments on an event stream.
    pub(crate) heartbeat: Duration,
    pub(crate) tasks: Tasks,
    /// Cancelled when no new clients are accepted.
    pub(crate) unready: CancellationToken,
    /// Cancelled when all streams are closed.
    pub(crate) drain: CancellationToken,
}

impl ApiState {
    /// Returns the hub. It is no use before it has read the history: clients would be told that there is none.
    ///
    /// # Errors
    /// 503 until then.
    pub(crate) fn primed_hub(&self) -> Result<&Hub, Problem> {
        let unprimed = || Problem::unavailable("this replica has not read the history yet, try another or again");
        self.hub().is_primed().then(|| self.hub()).ok_or_else(unprimed)
    }

    /// Returns the hub, primed or not.
    pub(crate) fn hub(&self) -> &Hub {
        &self.sessions.hub
    }

    /// Opens a session.
    ///
    /// # Errors
    /// 503 if this replica accepts no clients now.
    pub(crate) async fn open(&self, subscription: &Subscription, framing: Framing) -> Result<Session, Problem> {
        self.primed_hub()?;
        if self.drain.is_cancelled() {
            return Err(Problem::unavailable("this replica is stopping, try another"));
        }
        let opened = timeout(LOOK_UP_DEADLINE, self.sessions.open(subscription, framing)).await;
        let away = || Problem::unavailable("where to begin cannot be looked up now, try again or say after which id");
        opened.ok().and_then(Result::ok).ok_or_else(away)
    }
}
