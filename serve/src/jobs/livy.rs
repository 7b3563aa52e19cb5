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
use serde_json::{Map, Value, json};

use super::config::{INSIDE, JobsConfig, check_command, leaves_root};
use super::store::{Job, JobDir, State, Store, now_ms};
use crate::http::access::Access;
use crate::http::tokens::Role;

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
    store: Store,
    /// Held while a job is added.
    adding: Mutex<()>,
}

impl Api {
    /// Shares the jobs of a directory.
    ///
    /// # Errors
    /// When the tokens cannot be read.
    pub fn new(config: JobsConfig, store: Store) -> crate::Result<Self> {
        let access = Access::open(&config.http)?;
        Ok(Self { config, access, store, adding: Mutex::default() })
    }
}

/// What stands in the place of an answer.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        answer(self.0, &json!({ "msg": self.1 }))
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

/// Refuses a request that is not let in.
async fn guard(Shared(api): Shared<Arc<Api>>, request: Request, next: Next) -> Response {
    match api.access.admit(request.headers(), Role::Operate) {
        Ok(_) => next.run(request).await,
        Err(not) => not.refusal,
    }
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
    let sessions = all[range.clone()].iter().map(shown).collect::<Result<Vec<Value>, _>>()?;
    Ok(answer(StatusCode::OK, &json!({ "from": range.start, "total": all.len(), "sessions": sessions })))
}

async fn show(Shared(api): Shared<Arc<Api>>, Path(id): Path<String>) -> Answer {
    Ok(answer(StatusCode::OK, &shown(&find(&api, &id)?)?))
}

async fn state(Shared(api): Shared<Arc<Api>>, Path(id): Path<String>) -> Answer {
    let dir = find(&api, &id)?;
    Ok(answer(StatusCode::OK, &json!({ "id": dir.job()?.id, "state": dir.standing()?.state.name() })))
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
    if !dir.standing()?.state.is_end() {
        dir.kill()?;
    }
    dir.delete()?;
    Ok(answer(StatusCode::OK, &json!({ "msg": "deleted" })))
}

async fn submit(Shared(api): Shared<Arc<Api>>, request: Request) -> Answer {
    let rejected = |why: String| Refusal(StatusCode::BAD_REQUEST, format!("Rejected, {why}"));
    let body = Bytes::from_request(request, &api).await.map_err(|error| rejected(error.body_text()))?;
    let asked: Map<String, Value> = serde_json::from_slice(&body)
        .map_err(|error| rejected(format!("found {error}, expected a JSON object")))?;
    let job = job(&asked, &api.config).map_err(rejected)?;
    let _alone = api.adding.lock().unwrap_or_else(PoisonError::into_inner);
    let mut waiting = 0;
    for dir in api.store.all()? {
        let standing = dir.standing()?.state;
        waiting += usize::from(standing == State::NotStarted);
        let is_named =
            job.name.is_some() && !standing.is_end() && !dir.is_deleted() && dir.job()?.name == job.name;
        if is_named {
            return Err(rejected(format!("Duplicate session name: {:?}", job.name.unwrap_or_default())));
        }
    }
    if waiting >= api.config.queue {
        return Err(rejected(format!("too many sessions are being created: {waiting} wait, as many as may")));
    }
    let job = api.store.add(job)?;
    let dir = api.store.find(job.id).ok_or_else(|| rejected("the job is gone".into()))?;
    let mut response = answer(StatusCode::CREATED, &shown(&dir)?);
    if let Ok(place) = format!("/batches/{}", job.id).parse() {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// The keys of Livy that a job here has no use for; a client may send them empty.
const UNUSED: [&str; 13] = [
    "proxyUser",
    "className",
    "jars",
    "pyFiles",
    "files",
    "driverCores",
    "executorMemory",
    "executorCores",
    "numExecutors",
    "archives",
    "queue",
    "heartbeatTimeoutInSecond",
    "ttl",
];

/// Returns the job that a request submits.
fn job(asked: &Map<String, Value>, config: &JobsConfig) -> Result<Job, String> {
    let text = |key: &str| match asked.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("{key}: found {other}, expected a text")),
    };
    for (key, value) in asked {
        let is_empty = value.is_null() || [json!(""), json!([]), json!({})].contains(value);
        if UNUSED.contains(&key.as_str()) && !is_empty {
            return Err(format!(
                "{key}: found {value}, expected none: a job is a command of burnrec in a process of its own"
            ));
        }
        if !["file", "args", "name", "conf", "driverMemory"].contains(&key.as_str())
            && !UNUSED.contains(&key.as_str())
        {
            return Err(format!(
                "{key}: found a key that is not known, expected file, args, name, conf or driverMemory"
            ));
        }
    }
    let file = text("file")?.ok_or("file: found none, expected a command")?;
    check_command(&file).map_err(|expected| format!("file: found {file:?}, expected {expected}"))?;
    let args = match asked.get("args") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(args)) => args
            .iter()
            .map(|arg| match arg {
                Value::String(text) => Ok(text.clone()),
                Value::Number(number) => Ok(number.to_string()),
                other => Err(format!("args: found {other}, expected texts")),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(format!("args: found {other}, expected a list of texts")),
    };
    if let Some(arg) = args.iter().find(|arg| leaves_root(arg)) {
        return Err(format!("args: found {arg:?}, expected {INSIDE}"));
    }
    let memory_mb = match text("driverMemory")? {
        None => config.memory_mb,
        Some(size) => {
            let found = megabytes(&size).filter(|size| (1..=config.memory_mb).contains(size));
            found.ok_or_else(|| {
                format!(
                    "driverMemory: found {size:?}, expected a size such as 512m or 4g, at most {} MiB",
                    config.memory_mb
                )
            })?
        }
    };
    let seconds = match asked
        .get("conf")
        .and_then(Value::as_object)
        .map(|conf| conf.iter().collect::<Vec<_>>())
        .as_deref()
    {
        None | Some([]) => config.seconds,
        Some([(key, value)]) if key.as_str() == "burnrec.seconds" => {
            let found = value.as_str().map_or_else(|| value.as_u64(), |text| text.parse().ok());
            let found = found.filter(|seconds| (1..=config.seconds).contains(seconds));
            found.ok_or_else(|| {
                format!("conf: found burnrec.seconds {value}, expected 1 to {}", config.seconds)
            })?
        }
        Some(_) => return Err("conf: found another key, expected burnrec.seconds alone".to_owned()),
    };
    Ok(Job {
        id: 0,
        name: text("name")?,
        file,
        args,
        root: config.root.clone(),
        seconds,
        memory_mb,
        log_mb: config.log_mb,
        submitted_ms: now_ms(),
        due: None,
    })
}

/// Returns a size such as `512m` or `4gb` in MiB, rounded up.
fn megabytes(size: &str) -> Option<u64> {
    let size = size.to_ascii_lowercase();
    let size = size.strip_suffix('b').unwrap_or(&size);
    let (number, shift) = [('k', 10), ('m', 20), ('g', 30), ('t', 40)]
        .iter()
        .find_map(|(unit, shift)| Some((size.strip_suffix(*unit)?, *shift)))?;
    let bytes = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    Some(bytes.div_ceil(1 << 20))
}

/// Finds a job by its number, or the newest of a name.
fn find(api: &Api, id: &str) -> Result<JobDir, Refusal> {
    let missing = || Refusal(StatusCode::NOT_FOUND, format!("Session '{id}' not found."));
    let found = match id.parse() {
        Ok(number) => api.store.find(number),
        Err(_) => {
            let mut found = None;
            for dir in api.store.all()? {
                if dir.job()?.name.as_deref() == Some(id) {
                    found = Some(dir);
                }
            }
            found
        }
    };
    found.filter(|dir| !dir.is_deleted()).ok_or_else(missing)
}

/// Returns a job as its clients see it.
fn shown(dir: &JobDir) -> Result<Value, burnrec_data::Error> {
    let (job, standing, log) = (dir.job()?, dir.standing()?, dir.log()?);
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
