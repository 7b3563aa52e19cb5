//! Whose a request is: it goes the route of the tenant of who sends it, if the tenant's quota lets it pass.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::App;
use super::bearer::Bearer;
use super::reply::{error, refusal};
use crate::Reject;
use crate::event::{HTTP, TopicPartition};
use crate::metrics::{Metrics, TenantLevel};
use crate::outbox::{ENDS, EventOutcome};
use crate::settings::Settings;
use crate::tenants::{Tenant, Way};

/// Who sends a request.
pub(super) struct Sender {
    /// The caller, where callers have names.
    pub by: Option<Arc<Bearer>>,
    /// The caller's tenant; none where no tenants are set, or where who is of none has a route as well.
    pub tenant: Option<Arc<Tenant>>,
}

/// Finds the tenant of who is named in the extensions of a request, and lets the request pass if the quota does. Nothing of its
/// body is read before.
impl FromRequestParts<Arc<App>> for Sender {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let by = parts.extensions.get::<Arc<Bearer>>().cloned();
        if !app.engine.models.at_hand.has_tenants() {
            return Ok(Self { by, tenant: None });
        }
        let live = app.engine.models.live();
        let (tenants, routes) = (&live.settings.tenants, &live.settings.routes);
        let identity = by.as_ref().map(|by| by.identity());
        let Some(tenant) = identity.as_deref().and_then(|name| tenants.of(name)) else {
            if routes.has_room_for_others() {
                return Ok(Self { by, tenant: None });
            }
            let who =
                identity.map_or("a request without a name".to_owned(), |name| format!("{name} of no tenant"));
            let text = format!("{who}; expected one of the identities of [tenants]");
            return Err(error(StatusCode::FORBIDDEN, "http", "no-tenant", &text));
        };
        let sender = Self { tenant: Some(Arc::clone(tenant)), by };
        tenant.pass(Way::Http, app.engine.clock.now()).map_err(|wait| {
            sender.note_event(app);
            let (name, quota) = (&tenant.name, tenant.quota());
            over_quota(app, &sender, format!("the tenant {name} is over its quota; expected {quota}"), wait)
        })?;
        Ok(sender)
    }
}

impl Sender {
    /// Returns the partition that the request's event is given.
    pub fn part(&self) -> TopicPartition {
        self.tenant.as_ref().map_or(HTTP, |tenant| tenant.part)
    }

    /// Counts a request. One that becomes an event in a topic is counted where it is read.
    pub fn note_event(&self, app: &App) {
        if let Some(tenant) = &self.tenant {
            tenant.counts(&app.metrics).events.inc();
        }
    }

    /// Counts a request whose body was read, and pays for it.
    pub fn note_body(&self, app: &App, bytes: usize) {
        self.note_event(app);
        if let Some(tenant) = &self.tenant {
            tenant.counts(&app.metrics).bytes.inc_by(bytes as u64);
        }
        self.pay_body(app, bytes);
    }

    /// Pays for a body.
    pub fn pay_body(&self, app: &App, bytes: usize) {
        if let Some(tenant) = &self.tenant {
            tenant.pay_bytes(Way::Http, bytes, app.engine.clock.now());
        }
    }

    /// Counts how the request ended.
    pub fn note_end(&self, app: &App, outcome: &EventOutcome) {
        app.metrics.ended(outcome);
        if let Some(tenant) = &self.tenant {
            tenant.counts(&app.metrics).ended(outcome);
        }
    }
}

/// Returns the response to a request that is rejected, and counts it.
pub(super) fn refused(app: &App, sender: &Sender, reject: Reject) -> Response {
    let response = refusal(&reject);
    sender.note_end(app, &EventOutcome::Failed(reject));
    response
}

/// Refuses a request that is over a quota, which lets more pass after `wait`.
fn over_quota(app: &App, sender: &Sender, text: String, wait: Duration) -> Response {
    if let Some(tenant) = &sender.tenant {
        tenant.counts(&app.metrics).throttled.inc();
    }
    let mut response = refused(app, sender, Reject::queue("quota", text));
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

/// Waits for a request's turn to be scored: first among those of its tenant, so that they do not stand before those of others.
///
/// # Errors
/// When that takes too long: `None` where all are busy, and what is answered where the tenant's own are.
pub(super) async fn turn(
    app: &App,
    sender: &Sender,
) -> Result<(Option<OwnedSemaphorePermit>, OwnedSemaphorePermit), Option<Response>> {
    let wait = Duration::from_millis(app.config.http.scoring_wait_ms);
    let end = Instant::now() + wait;
    let own = match &sender.tenant {
        Some(tenant) => match timeout_at(end, Arc::clone(&tenant.scoring).acquire_owned()).await {
            Ok(Ok(permit)) => Some(permit),
            _ => {
                let text = format!(
                    "{} requests of the tenant {} are being scored, and none ended within {} ms; expected at most \
                     tenants.{}.scoring_requests at once",
                    tenant.scoring_requests,
                    tenant.name,
                    wait.as_millis(),
                    tenant.name
                );
                return Err(Some(over_quota(app, sender, text, Duration::ZERO)));
            }
        },
        None => None,
    };
    // The semaphores are never closed, so that an error is that the wait was too long.
    match timeout_at(end, Arc::clone(&app.scoring).acquire_owned()).await {
        Ok(Ok(permit)) => Ok((own, permit)),
        _ => Err(None),
    }
}

/// Returns what waits of each tenant of some settings, in the queues of so many workers.
pub(super) fn levels(metrics: &Metrics, settings: &Settings, workers: usize) -> Vec<TenantLevel> {
    let names = settings.tenants.all().iter().map(|tenant| tenant.name.as_str());
    metrics.tenant_levels(names, settings.routes.all().iter().map(|route| route.tenant), workers)
}

/// Returns what is counted of the tenants of some settings, as JSON.
pub(crate) fn shown(metrics: &Metrics, settings: &Settings, workers: usize) -> Vec<Value> {
    let levels = levels(metrics, settings, workers);
    let all = settings.tenants.all().iter().zip(levels);
    let one = |(tenant, level): (&Arc<Tenant>, TenantLevel)| {
        let counts = tenant.counts(metrics);
        let ended: serde_json::Map<String, Value> = ENDS
            .into_iter()
            .zip(&counts.ended)
            .filter(|(_, n)| n.get() > 0)
            .map(|(end, n)| (end.to_owned(), n.get().into()))
            .collect();
        json!({
            "tenant": tenant.name, "events": counts.events.get(), "bytes": counts.bytes.get(), "ended": ended,
            "throttled": counts.throttled.get(), "waiting": level.events, "waiting_bytes": level.bytes,
        })
    };
    all.map(one).collect()
}
