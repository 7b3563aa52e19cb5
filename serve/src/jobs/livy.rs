//! The REST API of Apache Livy's batches, as its clients need it (Livy, `SessionServlet.scala` and `BatchSessionServlet.scala`; Airflow's
//! `LivyHook`).
//!
//! | | |
//! |---|---|
//! | `POST /batches` | submits `{"file": "train", "args": [...], "name": ...}`; 201 and the job |
//! | `GET /batches?from&size` | the jobs |
//! | `GET /batches/ID`, `/batches/ID/state` | a job, by number or name |
//! | `GET /batches/ID/log?from&size` | lines of its log; without `from` the last ones |
//! | `DELETE /batches/ID` | ends it, and forgets it |

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, body::Bytes};
use serde::Deserialize;
use serde_json::{Value, json};

use super::config::JobsConfig;
use super::request;
use super::store::{JobDir, State, Store};
use crate::config::Role;
use crate::control::audit::Audit;
use crate::http::access::Access;
use crate::http::guard::{self, Record, told};

/// The largest body, in bytes.
const LARGEST: usize = 1 << 20;

/// How many jobs or lines an answer has, where the request does not say.
const SIZE: i64 = 100;

/// How many lines of its log are shown with a job.
const SHOWN: usize = 10;

/// What the handlers share.
pub struct Api {
    config: JobsConfig,
    access: Access,
    /// Where calls are written down, where callers have names.
    audit: Option<Arc<Audit>>,
    store: Store,
    /// Held while a job is added.
    adding: Mutex<()>,
}

impl Api {
    /// Shares the jobs of a directory.
    ///
    /// # Errors
    /// When the tokens cannot be read, or the audit log cannot be written.
    pub fn new(config: JobsConfig, store: Store) -> crate::Result<Self> {
        let access = Access::open(&config.http)?;
        let audit = config.http.names_callers().then(|| Audit::open(&config.dir)).transpose()?.map(Arc::new);
        Ok(Self { config, access, audit, store, adding: Mutex::default() })
    }
}

/// What stands in the place of an answer.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // What was found may be a secret: the log has the key.
        let key = self.1.split(": found").next().unwrap_or_default().to_owned();
        told(answer(self.0, &json!({ "msg": self.1 })), key)
    }
}

impl From<burnrec_data::Error> for Refusal {
    fn from(error: burnrec_data::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

type Answer = Result<Response, Refusal>;

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Returns the paths.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/batches", get(list).post(submit))
        .route("/batches/{id}", get(show).delete(delete))
        .route("/batches/{id}/state", get(state))
        .route("/batches/{id}/log", get(log))
        .fallback(|| async { Refusal(StatusCode::NOT_FOUND, "found no such path, expected /batches".into()) })
        .layer(from_fn_with_state(Arc::clone(&api), guard))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(api)
}

/// Refuses a request that is not let in, and writes down what is to change something or is refused.
async fn guard(Shared(api): Shared<Arc<Api>>, request: Request, next: Next) -> Response {
    let is_get = request.method() == axum::http::Method::GET;
    let audit = api.audit.as_ref().map(Arc::clone);
    let record = audit.map(|audit| Record { audit, changes: !is_get, is_quiet: is_get, query: None });
    guard::pass(&api.access, Role::Operate, record, request, next).await.1
}

/// Where an answer begins, and how long it is.
#[derive(Deserialize)]
struct Page {
    from: Option<i64>,
    size: Option<i64>,
}

impl Page {
    /// Returns the places of `n` that the page has; a `from` below 0, or `from` without a value where `last` is set, is the last page.
    fn of(&self, n: usize, last: bool) -> std::ops::Range<usize> {
        let size = self.size.unwrap_or(SIZE).max(0) as usize;
        let from = match self.from {
            Some(from @ 0..) => (from as usize).min(n),
            Some(_) => n.saturating_sub(size),
            None if last => n.saturating_sub(size),
            None => 0,
        };
        from..n.min(from.saturating_add(size))
    }
}

async fn list(Shared(api): Shared<Arc<Api>>, Query(page): Query<Page>) -> Answer {
    let all: Vec<JobDir> = api.store.all()?.into_iter().filter(|dir| !dir.is_deleted()).collect();
    let range = page.of(all.len(), false);
    let sessions =
        all[range.clone()].iter().map(|dir| shown(&api, dir)).collect::<Result<Vec<Value>, _>>()?;
    Ok(answer(StatusCode::OK, &json!({ "from": range.start, "total": all.len(), "sessions": sessions })))
}

async fn show(Shared(api): Shared<Arc<Api>>, Path(id): Path<String>) -> Answer {
    Ok(answer(StatusCode::OK, &shown(&api, &find(&api, &id)?)?))
}

async fn state(Shared(api): Shared<Arc<Api>>, Path(id): Path<String>) -> Answer {
    let dir = find(&api, &id)?;
    Ok(answer(
        StatusCode::OK,
        &json!({ "id": dir.job()?.id, "state": api.store.standing(&dir)?.state.name() }),
    ))
}

async fn log(Shared(api): Shared<Arc<Api>>, Path(id): Path<String>, Query(page): Query<Page>) -> Answer {
    let dir = find(&api, &id)?;
    let lines = dir.log()?;
    let range = page.of(lines.len(), true);
    let body = json!({ "id": dir.job()?.id, "from": range.start, "total": lines.len(), "log": lines[range] });
    Ok(answer(StatusCode::OK, &body))
}

async fn delete(Shared(api): Shared<Arc<Api>>, Path(id): Path<String>) -> Answer {
    let dir = find(&api, &id)?;
    if !api.store.standing(&dir)?.state.is_end() {
        dir.kill()?;
    }
    dir.delete()?;
    let deleted = format!("job {} is ended and forgotten", dir.job()?.id);
    Ok(told(answer(StatusCode::OK, &json!({ "msg": "deleted" })), deleted))
}

async fn submit(Shared(api): Shared<Arc<Api>>, request: Request) -> Answer {
    let rejected = |why: String| Refusal(StatusCode::BAD_REQUEST, format!("Rejected, {why}"));
    let body = Bytes::from_request(request, &api).await.map_err(|error| rejected(error.body_text()))?;
    let job = request::read(&body, &api.config).map_err(rejected)?;
    let _alone = api.adding.lock().unwrap_or_else(PoisonError::into_inner);
    let mut waiting = 0;
    for dir in api.store.all()? {
        let state = api.store.standing(&dir)?.state;
        waiting += usize::from(state == State::NotStarted);
        let is_named =
            job.name.is_some() && !state.is_end() && !dir.is_deleted() && dir.job()?.name == job.name;
        if is_named {
            return Err(rejected(format!("Duplicate session name: {:?}", job.name.unwrap_or_default())));
        }
    }
    if waiting >= api.config.queue {
        return Err(rejected(format!("too many sessions are being created: {waiting} wait, as many as may")));
    }
    let job = api.store.add(job)?;
    let dir = api.store.find(job.id).ok_or_else(|| rejected("the job is gone".into()))?;
    // Its arguments are in its directory, and may hold what is not for a log.
    let submitted = format!("job {}: {}", job.id, job.file);
    let mut response = told(answer(StatusCode::CREATED, &shown(&api, &dir)?), submitted);
    if let Ok(place) = format!("/batches/{}", job.id).parse() {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Finds a job by its number, or the newest of a name.
fn find(api: &Api, id: &str) -> Result<JobDir, Refusal> {
    let missing = || Refusal(StatusCode::NOT_FOUND, format!("Session '{id}' not found."));
    let found = match id.parse() {
        Ok(number) => api.store.find(number),
        Err(_) => {
            let mut found = None;
            for dir in api.store.all()?.into_iter().rev() {
                if dir.job()?.name.as_deref() == Some(id) {
                    found = Some(dir);
                    break;
                }
            }
            found
        }
    };
    found.filter(|dir| !dir.is_deleted()).ok_or_else(missing)
}

/// Returns a job as its clients see it.
fn shown(api: &Api, dir: &JobDir) -> Result<Value, burnrec_data::Error> {
    let (job, standing, log) = (dir.job()?, api.store.standing(dir)?, dir.log()?);
    Ok(json!({
        "id": job.id,
        "name": job.name,
        "owner": null,
        "proxyUser": null,
        "state": standing.state.name(),
        "appId": null,
        "appInfo": { "driverLogUrl": null, "sparkUiUrl": null },
        "log": log[log.len().saturating_sub(SHOWN)..],
        "file": job.file,
        "args": job.args,
        "code": standing.code,
        "why": standing.why,
    }))
}
