//! Monitoring of the service: health, metrics, and the current state of the flow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::App;
use super::guard::told;
use super::tenants::{levels, shown};
use crate::config::{Guarantee, Mode};
use crate::metrics::{Elsewhere, resident_bytes};
use crate::settings::Run;

/// Answers whether the service can work: 503 with the reasons if not. A model directory that was not taken up is a
/// warning, as the old model serves.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    let reasons = reasons(&app);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": reasons.is_empty(), "reasons": reasons, "warnings": warnings(&app) });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Returns why the service cannot work: what its parts say, and which workers make no progress, as a worker that waits
/// for the brokers or for a model cannot say so itself.
fn reasons(app: &App) -> BTreeMap<String, String> {
    let mut reasons = app.health.reasons();
    for (worker, late) in app.metrics.progress.late(Instant::now()) {
        let text = format!(
            "no progress: events that were read are not committed, for {} s too long",
            late.as_secs()
        );
        reasons.insert(format!("worker {worker}: commit"), text);
    }
    let live = app.engine.models.live();
    if live.settings.run != Run::Running {
        let text =
            format!("{} since version {} of the config", live.settings.run.name(), live.settings.version);
        reasons.insert("flow".to_owned(), text);
    }
    reasons
}

/// Answers with all counters as OpenMetrics text.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let (users, replies) = (app.engine.state.n_users(), app.engine.models.replies());
    let answers = app.engine.models.live().settings.version;
    let (newest_config, config) =
        app.control.as_ref().map_or((answers, answers), |control| control.versions());
    let ready = reasons(&app).is_empty();
    let settings = Arc::clone(&app.engine.models.live().settings);
    let tenants = levels(&app.metrics, &settings, workers(&app));
    let now = Elsewhere { users, replies, config, newest_config, ready, tenants };
    let text = app.metrics.text(now, app.engine.steps.metrics());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}

/// Looks for new models at once.
pub async fn reload(State(app): State<Arc<App>>) -> Response {
    let shared = Arc::clone(&app);
    let taken = tokio::task::spawn_blocking(move || shared.engine.models.reload()).await.unwrap_or_default();
    let warnings = warnings(&app);
    let healthy = app.engine.models.troubles().is_empty();
    let status = if healthy { StatusCode::OK } else { StatusCode::CONFLICT };
    let body = json!({ "taken": taken, "warnings": warnings });
    let response = (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    told(response, format!("models: {}", taken.join(", ")))
}

/// Answers with the state of the flow.
pub async fn flow(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], state(&app).to_string()).into_response()
}

/// Returns the state of the flow. It holds no secret: neither settings of librdkafka nor the token.
pub(crate) fn state(app: &App) -> Value {
    let (engine, metrics) = (&app.engine, &app.metrics);
    let live = engine.models.live();
    let settings = &live.settings;
    let reasons = reasons(app);
    let ended: Vec<Value> = metrics
        .ends()
        .iter()
        .map(|(ended, count)| {
            json!({ "outcome": ended.outcome, "of": ended.of, "stage": ended.stage, "count": count })
        })
        .collect();
    let workers = workers(app);
    let queues = (0..workers).flat_map(|worker| {
        settings.routes.all().iter().enumerate().map(move |(at, route)| {
            let (fill, events) = metrics.queue(worker, at);
            json!({ "worker": worker, "route": route.label, "events": events, "fill": fill })
        })
    });
    let lags = metrics.lags();
    let lag =
        lags.iter().map(|(of, lag)| json!({ "topic": of.topic, "partition": of.partition, "lag": lag }));
    let models = live.models.values().map(|served| {
        json!({
            "name": served.name, "kind": served.recommender.kind(), "version": served.version, "hash": served.hash,
            "users": served.recommender.users.vocab().len(), "items": served.recommender.items.vocab().len(),
            "output": served.recommender.output.name(),
        })
    });
    let routes = settings.routes.all().iter().map(|route| {
        let models = route.shares().map(|(name, share)| json!({ "name": name, "share": share }));
        json!({ "label": route.label, "models": models.collect::<Vec<_>>(), "shadow": route.shadow })
    });
    let steps = engine.steps.names().map(|(name, place)| json!({ "name": name, "place": place }));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": app.since.elapsed().as_secs_f64(),
        "device": engine.models.device(),
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "warnings": warnings(app),
        "last_trouble": metrics.last_trouble(),
        "kafka": kafka(app),
        "events": metrics.events.get(),
        "ended": ended,
        "queues": queues.collect::<Vec<_>>(),
        "lag": lag.collect::<Vec<_>>(),
        "partitions": metrics.partitions(),
        "users": engine.state.n_users(),
        "memory_bytes": resident_bytes(),
        "models": models.collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(),
        "tenants": shown(metrics, settings, workers),
        "steps": steps.collect::<Vec<_>>(),
        "join": settings.join.as_ref().map(|join| json!({ "columns": join.columns(), "filters": join.filters })),
        "config": { "version": settings.version, "run": settings.run.name() },
        "http": { "listen": app.config.http.listen.to_string(), "requests": metrics.http_requests.get() },
    })
}

fn workers(app: &App) -> usize {
    app.config.kafka.as_ref().map_or(0, |kafka| kafka.workers)
}

fn kafka(app: &App) -> Option<Value> {
    let kafka = app.config.kafka.as_ref()?;
    let guarantee = match kafka.guarantee {
        Guarantee::AtLeastOnce => "at-least-once",
        Guarantee::ExactlyOnce => "exactly-once",
    };
    let mode = match kafka.mode {
        Mode::Stream => "stream",
        Mode::Message => "message",
    };
    Some(json!({
        "bootstrap": kafka.bootstrap, "group": kafka.group, "instance": kafka.instance,
        "guarantee": guarantee, "mode": mode, "requests": kafka.requests, "replies": kafka.replies,
        "rejects": kafka.rejects, "state": kafka.state, "receipts": kafka.receipts, "shadow": kafka.shadow,
        "workers": kafka.workers,
    }))
}

fn warnings(app: &App) -> Value {
    let named =
        app.engine.models.troubles().into_iter().map(|(name, text)| (format!("models.{name}"), text.into()));
    let losses = app.metrics.losses().into_iter();
    let lost = losses.map(|(of, text)| (format!("{}/{}", of.topic, of.partition), text.into()));
    let other = app.metrics.warnings().into_iter().map(|(of, text)| (of, text.into()));
    let of_control = app.control_access.iter().flat_map(|access| access.troubles());
    let of_control = of_control.map(|(of, text)| (format!("control.{of}"), text.into()));
    let access = app.access.troubles().into_iter().map(|(of, text)| (of.to_owned(), text.into()));
    Value::Object(named.chain(lost).chain(other).chain(access).chain(of_control).collect())
}
