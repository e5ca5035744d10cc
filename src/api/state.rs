//! The state that all handlers share, and the rules by which every transport opens a stream.

use super::base_url::BaseUrl;
use super::candle_cache::CandleCache;
use super::cors::Cors;
use super::newest_audits::NewestAudits;
use super::problem::Problem;
use super::query::SupportedCurrencies;
use crate::access::Permission;
use crate::encode::{Framing, View};
use crate::feed::{Feed, Start};
use crate::hub::Hub;
use crate::monitor::Monitor;
use crate::net::client_memory::ClientMemory;
use crate::net::connection_limit::Permit;
use crate::net::reactor::Reactor;
use crate::session::{OpenError, Session, Sessions, Subscription};
use crate::shutdown::{Drain, Tasks};
use crate::telemetry::metrics::REFUSALS;
use crate::tick::TickId;
use axum::Extension;
use axum::extract::OptionalFromRequestParts;
use axum::http::request::Parts;
use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Time that the store may take to look up the start of a replay.
const LOOK_UP_DEADLINE: Duration = Duration::from_secs(5);

/// An entry with its audit counts as this number of entries.
const AUDIT_WEIGHT: usize = 20;

/// State that all handlers share.
pub(crate) struct ApiState {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) reactor: Arc<Reactor>,
    /// Memory of the answers that clients have not read.
    pub(crate) memory: Arc<ClientMemory>,
    pub(crate) cors: Cors,
    /// Address under which clients reach this server, if the operator has set it.
    pub(crate) public_url: Option<BaseUrl>,
    /// True if clients connect with TLS.
    pub(crate) has_tls: bool,
    pub(crate) candles: CandleCache,
    pub(crate) newest_audits: NewestAudits,
    pub(crate) currencies: SupportedCurrencies,
    /// Time between two comments on an event stream.
    pub(crate) heartbeat: Duration,
    pub(crate) tasks: Tasks,
    /// Is cancelled when load balancers should send no more new clients.
    pub(crate) unready: CancellationToken,
    /// Ends all streams, group by group, when this replica stops.
    pub(crate) drain: Drain,
}

impl ApiState {
    /// Returns the hub if it has read the history. Before that, clients would get an empty history.
    ///
    /// # Errors
    /// 503 if it has not.
    pub(crate) fn primed_hub(&self) -> Result<&Hub, Problem> {
        let unprimed =
            || Problem::unavailable("this replica has not read the history yet, try again or use another replica");
        self.hub().is_primed().then(|| self.hub()).ok_or_else(unprimed)
    }

    /// Returns the hub, primed or not.
    pub(crate) fn hub(&self) -> &Hub {
        &self.sessions.hub
    }

    /// Charges the entries after `begin` up to `end`, at most `limit`, to the volume of the client's address. Call it
    /// before the entries are read: their number is estimated from the feed's interval. Each counts `weight` times.
    ///
    /// # Errors
    /// 429 if the address has asked for too many entries.
    pub(crate) fn charge_volume(
        &self,
        permit: &Permit,
        begin: TickId,
        end: TickId,
        limit: usize,
        weight: usize,
    ) -> Result<(), Problem> {
        let hub = self.hub();
        let span = end.min(hub.head()).since(begin.max(hub.head().minus(hub.retention())));
        let intervals = span.as_millis() / self.sessions.hello.interval.as_millis().max(1);
        let entries = usize::try_from(intervals).unwrap_or(usize::MAX).saturating_add(1).min(limit);
        Ok(permit.charge_volume(entries.saturating_mul(weight))?)
    }

    /// Opens a session for the client that holds `permit`. `access` is the permission of the client's API key, or
    /// `None` if the server has no API keys.
    ///
    /// # Errors
    /// 503 if this replica accepts no clients now or cannot look up the start, and 503 or 429 if a limit is reached.
    pub(crate) async fn open(
        &self,
        subscription: &Subscription,
        framing: Framing,
        permit: &Permit,
        access: Option<Extension<Arc<Permission>>>,
    ) -> Result<Session, Problem> {
        let access = access.map(|Extension(permission)| permission);
        let stream =
            access.as_ref().map(|permission| permission.open_stream().ok_or_else(too_many_streams)).transpose()?;
        let mut subscription = Cow::Borrowed(subscription);
        if let (Some(client), Some(permission)) = (&subscription.client, &access) {
            let owned = client.owned_by(&permission.name());
            subscription.to_mut().client = Some(owned);
        }
        let hub = self.primed_hub()?;
        if self.drain.started().is_cancelled() {
            // The next attempt reaches another replica, so the client need not wait for long.
            let problem = Problem::unavailable("this replica is stopping, use another replica");
            return Err(problem.with_retry_after(Duration::from_secs(1)));
        }
        let (limit, weight) = (subscription.limit.unwrap_or(usize::MAX), weight(subscription.view(framing)));
        match subscription.start {
            Start::Latest => {}
            Start::Since(moment) => self.charge_volume(permit, moment.before(), hub.head(), limit, weight)?,
            Start::After(id) => self.charge_volume(permit, id, hub.head(), limit, weight)?,
        }
        let opening = self.sessions.open(&subscription, framing, || permit.check_client_id());
        let session = match timeout(LOOK_UP_DEADLINE, opening).await {
            Ok(Ok(session)) => session,
            Ok(Err(OpenError::Refused(refusal))) => return Err(refusal.into()),
            Ok(Err(OpenError::Store(_))) | Err(_) => {
                let detail = "the start cannot be looked up now: try again, or resume with after=<your last id>";
                return Err(Problem::unavailable(detail));
            }
        };
        if subscription.start == Start::Latest && subscription.client.is_some() {
            // The session may begin at a bookmark, which can be anywhere in the history.
            self.charge_volume(permit, session.cursor(), hub.head(), limit, weight)?;
        }
        Ok(match stream {
            Some(stream) => session.permitted_by(stream),
            None => session,
        })
    }
}

impl OptionalFromRequestParts<Arc<ApiState>> for BaseUrl {
    type Rejection = Infallible;

    /// Returns the address under which the client reaches this server: the one that the operator has set, or else the
    /// one that the request names, if that is valid.
    async fn from_request_parts(parts: &mut Parts, state: &Arc<ApiState>) -> Result<Option<BaseUrl>, Infallible> {
        if state.public_url.is_some() {
            return Ok(state.public_url.clone());
        }
        let is_proxied = parts.extensions.get::<Permit>().is_some_and(Permit::is_proxied);
        Ok(BaseUrl::named_by(&parts.uri, &parts.headers, state.has_tls, is_proxied))
    }
}

/// Returns the number of entries that one entry in this view is charged as. An audit is many times larger than its
/// entry, and it is read from the store.
pub(crate) fn weight(view: View) -> usize {
    if view.has_inputs() { AUDIT_WEIGHT } else { 1 }
}

fn too_many_streams() -> Problem {
    REFUSALS.counter("key_streams").increment(1);
    Problem::too_many("this API key has too many open streams: close one, or try again later")
}
