//! The HTTP API of control, and the page over it. Every call brings a named token, a token of an OpenID Connect provider, or a client
//! certificate.
//!
//! | path | role | |
//! |---|---|---|
//! | `GET /v1/status` | observe | what runs here, and at the other instances |
//! | `GET /v1/config` | observe | the newest config, or that of `?version=N`, with its version as `ETag` |
//! | `PUT /v1/config` | operate | another config in its place, as TOML or JSON; `?note=`, `?check=true`, `If-Match: "N"` |
//! | `GET /v1/versions` | observe | the versions, each with its author, time and difference |
//! | `GET /v1/diff?from=N&to=M` | observe | what differs between two; by default the last two |
//! | `POST /v1/rollback?to=N` | operate | an earlier config as the next version; by default the one before |
//! | `POST /v1/pause`, `/v1/resume`, `/v1/drain` | operate | whether events are taken |
//! | `POST /v1/reload` | operate | looks for new models at once |
//! | `GET /v1/events?user=&source=&…`, `/v1/events/SOURCE` | operate | what happened to events, with their messages ([`Wanted`](crate::provenance::Wanted)) |
//! | `POST /v1/replay?source=`, `?from=&to=` | operate | answers a range again; `GET /v1/replays`, `/v1/replays/N` say what came of it |
//! | `GET /v1/audit?last=N` | admin | the last calls that changed something, or were refused |
//! | `GET /flow` | observe | the flow as it runs, and who asks |
//! | `GET /` | | the page, whose files need no token |
//!
//! What names files, models and the table, changes only with the role `admin`.

mod events;
#[cfg(feature = "kafka")]
mod replays;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Asked, Control, Outcome, Refusal, Version, missing, version};
use crate::Error;
use crate::config::{ControlConfig, Role};
use crate::http::access::Access;
use crate::http::bearer::Bearer;
use crate::http::guard::{self, Record, told};
use crate::http::reply::{self, error};
use crate::http::{App, page, watch};
use crate::settings::Run;

/// The largest config, in bytes.
const LARGEST: usize = 1 << 20;

/// How many searches for events go on at once: each has a thread.
const SEARCHES: usize = 2;

/// What the handlers share.
struct Api {
    control: Arc<Control>,
    access: Arc<Access>,
    /// What the service's own listener shows.
    app: Arc<App>,
    /// How long a client may keep a body waiting.
    read_timeout: Duration,
    /// A permit for each search for events that may go on.
    searches: Arc<Semaphore>,
}

/// Returns the paths, for who is let in by `access`.
pub fn router(control: Arc<Control>, access: Arc<Access>, app: Arc<App>, config: &ControlConfig) -> Router {
    let read_timeout = Duration::from_millis(config.http.read_timeout_ms);
    let searches = Arc::new(Semaphore::new(SEARCHES));
    let api = Arc::new(Api { control, access, app, read_timeout, searches });
    let run = |run: Run| move |api, who, asked| set_run(api, who, asked, run);
    let paths = Router::new().merge(events::routes());
    #[cfg(feature = "kafka")]
    let paths = paths.merge(replays::routes());
    paths
        .route("/v1/status", get(status))
        .route("/v1/config", get(config_of).put(put))
        .route("/v1/versions", get(versions))
        .route("/v1/diff", get(diff))
        .route("/v1/rollback", post(roll_back))
        .route("/v1/pause", post(run(Run::Paused)))
        .route("/v1/resume", post(run(Run::Running)))
        .route("/v1/drain", post(run(Run::Draining)))
        .route("/v1/reload", post(reload))
        .route("/v1/audit", get(audit))
        .route("/flow", get(flow))
        .fallback(reply::no_path)
        .method_not_allowed_fallback(reply::other_method)
        .layer(from_fn_with_state(Arc::clone(&api), guard))
        .layer(DefaultBodyLimit::max(LARGEST))
        .merge(page::routes())
        .with_state(api)
}

/// Lets in who may, and writes down what is to change something or is refused.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let is_get = request.method() == axum::http::Method::GET;
    let path = request.uri().path();
    let is_of_events = ["/v1/events", "/v1/replays"].iter().any(|of| path.starts_with(of));
    let asked = match (is_get, path) {
        (_, "/v1/audit") => Role::Admin,
        _ if is_of_events => Role::Operate,
        (true, _) => Role::Observe,
        (false, _) => Role::Operate,
    };
    let audit = Arc::clone(&api.control.audit);
    let query = Some(events::masked as fn(&str) -> String);
    let is_watching = path == "/flow";
    let record = Record { audit, changes: !is_get, is_quiet: asked == Role::Observe, query };
    let (by, response) = guard::pass(&api.access, asked, Some(record), request, next).await;
    if let Some(by) = by.filter(|_| !is_watching) {
        api.control.metrics.callers.called(by.kind.name(), &by.name);
    }
    response
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, reason, text) = match self {
            Self::Wrong(
                error @ (Error::Config { .. } | Error::Model { .. } | Error::Topics { .. } | Error::Data(_)),
            ) => (StatusCode::UNPROCESSABLE_ENTITY, "wrong", error.to_string()),
            Self::Wrong(error) => (StatusCode::SERVICE_UNAVAILABLE, "failed", error.to_string()),
            Self::Conflict(text) => (StatusCode::CONFLICT, "conflict", text),
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, "no-role", text),
            Self::Missing(text) => (StatusCode::NOT_FOUND, "no-version", text),
            Self::Unconfirmed(text) => (StatusCode::GATEWAY_TIMEOUT, "unconfirmed", text),
        };
        told(error(status, "control", reason, &text), text)
    }
}

/// The query of a call.
struct Asks<T>(T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Asks<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Response> {
        match Query::from_request_parts(parts, api).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => {
                Err(error(StatusCode::BAD_REQUEST, "control", "bad-request", &rejection.body_text()))
            }
        }
    }
}

/// What a change may say in its query.
#[derive(Default, Deserialize)]
struct Wish {
    #[serde(default)]
    note: String,
    #[serde(default)]
    check: bool,
    to: Option<u64>,
}

type Who = Extension<Arc<Bearer>>;

/// Makes a change on a thread that may wait.
async fn change(
    api: Arc<Api>,
    who: Arc<Bearer>,
    wish: Wish,
    base: Option<u64>,
    make: impl FnOnce(&Control, &Asked<'_>) -> Result<Outcome, Refusal> + Send + 'static,
) -> Response {
    let done = spawn_blocking(move || {
        let asked = Asked { by: &who, note: wish.note, base, check: wish.check };
        let found = make(&api.control, &asked)?;
        Ok::<_, Refusal>((found, asked.check))
    });
    match done.await {
        Ok(Ok((Outcome { version, changes }, check))) => {
            let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
            let what = if check { "checked" } else { "version" };
            let text = format!("{what} {version}: {}", fields.join(", "));
            let body = json!({ "version": version, "changes": changes });
            told(answer(StatusCode::OK, &body), text)
        }
        Ok(Err(refusal)) => refusal.into_response(),
        Err(panic) => error(StatusCode::INTERNAL_SERVER_ERROR, "control", "failed", &panic.to_string()),
    }
}

fn text_of<'a>(request: &'a Request, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

async fn put(
    State(api): State<Arc<Api>>,
    Extension(who): Who,
    Asks(wish): Asks<Wish>,
    request: Request,
) -> Response {
    let is_json =
        text_of(&request, &header::CONTENT_TYPE).is_some_and(|of| of.starts_with("application/json"));
    let base = text_of(&request, &header::IF_MATCH).map(|of| of.trim_matches('"').parse()).transpose();
    let Ok(base) = base else {
        let text = "If-Match: found another text, expected the number of a version";
        return error(StatusCode::BAD_REQUEST, "control", "bad-request", text);
    };
    let body = match timeout(api.read_timeout, Bytes::from_request(request, &api)).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => {
            return error(rejection.status(), "control", "bad-request", &rejection.body_text());
        }
        Err(_) => {
            let text = format!("a body that is not whole; expected all of it within {:?}", api.read_timeout);
            return error(StatusCode::REQUEST_TIMEOUT, "control", "too-slow", &text);
        }
    };
    let Ok(text) = String::from_utf8(body.to_vec()) else {
        return error(StatusCode::BAD_REQUEST, "control", "bad-request", "a body that is not UTF-8");
    };
    change(api, who, wish, base, move |control, asked| control.put(&text, is_json, asked)).await
}

async fn roll_back(State(api): State<Arc<Api>>, Extension(who): Who, Asks(wish): Asks<Wish>) -> Response {
    let to = wish.to;
    change(api, who, wish, None, move |control, asked| control.roll_back(to, asked)).await
}

async fn set_run(
    State(api): State<Arc<Api>>,
    Extension(who): Who,
    Asks(wish): Asks<Wish>,
    run: Run,
) -> Response {
    change(api, who, wish, None, move |control, asked| control.set_run(run, asked)).await
}

async fn reload(State(api): State<Arc<Api>>) -> Response {
    let control = Arc::clone(&api.control);
    let taken = spawn_blocking(move || control.engine.models.reload()).await.unwrap_or_default();
    let troubles = api.control.engine.models.troubles();
    let status = if troubles.is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    let text = format!("models: {}", taken.join(", "));
    told(answer(status, &json!({ "taken": taken, "warnings": troubles })), text)
}

/// A version in a query.
#[derive(Deserialize)]
struct Which {
    version: Option<u64>,
    from: Option<u64>,
    to: Option<u64>,
    last: Option<usize>,
}

impl Api {
    /// Returns a version by its number, or the newest.
    fn version(&self, number: Option<u64>) -> Result<Version, Refusal> {
        let known = self.control.known();
        let Some(number) = number else { return Ok(known.newest().clone()) };
        let found = known.versions.iter().find(|version| version.version == number);
        found.cloned().ok_or_else(|| missing(&known.versions, number))
    }
}

async fn config_of(State(api): State<Arc<Api>>, Asks(which): Asks<Which>) -> Result<Response, Refusal> {
    let version = api.version(which.version)?;
    let mut response = answer(StatusCode::OK, &version::value(&version.config));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", version.version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

async fn versions(State(api): State<Arc<Api>>) -> Response {
    let known = api.control.known();
    let all = known.versions.iter().map(|of| {
        json!({
            "version": of.version, "at": of.at, "by": of.by, "note": of.note, "act": of.act, "run": of.run,
            "changes": of.changes, "answers": of.version == known.applied,
        })
    });
    answer(StatusCode::OK, &all.collect())
}

async fn diff(State(api): State<Arc<Api>>, Asks(which): Asks<Which>) -> Result<Response, Refusal> {
    let to = api.version(which.to)?;
    let from = api.version(Some(which.from.unwrap_or(to.version.saturating_sub(1))))?;
    let changes = from.changes_to(&to.config, to.run, to.table_hash.as_ref());
    Ok(answer(StatusCode::OK, &json!({ "from": from.version, "to": to.version, "changes": changes })))
}

async fn flow(State(api): State<Arc<Api>>, Extension(who): Who) -> Response {
    let mut body = watch::state(&api.app);
    body["you"] = json!({ "name": who.name, "roles": who.roles().split(", ").collect::<Vec<_>>() });
    answer(StatusCode::OK, &body)
}

async fn status(State(api): State<Arc<Api>>) -> Response {
    let control = &api.control;
    let live = control.engine.models.live();
    let (known, settings) = (control.known(), &live.settings);
    let workers = control.running.kafka.as_ref().map_or(0, |kafka| kafka.workers);
    let is_drained = settings.run == Run::Draining && control.metrics.progress.n_drained() >= workers;
    let routes = settings.routes.all().iter().map(|route| {
        let shares: serde_json::Map<String, Value> =
            route.shares().map(|(name, share)| (name.to_owned(), json!(share))).collect();
        json!({ "route": route.label, "models": shares, "shadow": route.shadow })
    });
    let models = live.models.values().map(|served| {
        let replies = served.replies.load(std::sync::atomic::Ordering::Relaxed);
        json!({ "model": served.name, "version": served.version, "hash": served.hash, "replies": replies })
    });
    let body = json!({
        "instance": control.instance,
        "version": known.applied,
        "newest": known.newest().version,
        "trouble": known.troubles(),
        "access": api.access.troubles(),
        "run": settings.run.name(),
        "drained": is_drained,
        "models": models.collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(),
        "provenance": control.engine.tracer.as_ref().map(|tracer| tracer.index.status()),
        "tenants": crate::http::tenants::shown(&control.metrics, settings, workers),
        "instances": known.instances,
    });
    answer(StatusCode::OK, &body)
}

async fn audit(State(api): State<Arc<Api>>, Asks(which): Asks<Which>) -> Result<Response, Refusal> {
    let (n, control) = (which.last.unwrap_or(100), Arc::clone(&api.control));
    let read = spawn_blocking(move || control.audit.last(n)).await;
    let lines = read.map_err(|panic| Refusal::Unconfirmed(panic.to_string()))??;
    Ok(answer(StatusCode::OK, &json!(lines)))
}
