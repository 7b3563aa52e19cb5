//! Lets requests in, and writes down those that are to change something or are refused.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tokio::task::spawn_blocking;

use super::access::Access;
use super::bearer::Bearer;
use super::reply::error;
use crate::config::Role;
use crate::control::audit::{Audit, Call};

/// How many characters of a call are written.
const LONGEST: usize = 500;

/// What an answer says of itself for the audit log.
#[derive(Clone)]
struct Told(String);

/// Adds what the audit log says of an answer.
pub(crate) fn told(mut response: Response, text: String) -> Response {
    response.extensions_mut().insert(Told(text));
    response
}

/// How calls are written into an audit log: who is refused always, others as it says.
pub(crate) struct Record {
    /// The log.
    pub audit: Arc<Audit>,
    /// Whether the call is to change something, and is written before it does.
    pub changes: bool,
    /// Whether it is not written if all goes well.
    pub is_quiet: bool,
    /// How its query is written, where not as it stands.
    pub query: Option<fn(&str) -> String>,
}

/// Answers a request if it is let in; returns who sent it, too. Who has a name is in the extensions of the request as an
/// `Arc<Bearer>`. Where calls are written down, a client that hangs up ends neither the call nor what is written of it.
pub(crate) async fn pass(
    access: &Access,
    asked: Role,
    record: Option<Record>,
    mut request: Request,
    next: Next,
) -> (Option<Arc<Bearer>>, Response) {
    let what = record.as_ref().map(|record| what(&request, record)).unwrap_or_default();
    let bearer = match access.admit(request.headers(), request.extensions(), asked).await {
        Ok(bearer) => bearer,
        Err(not) => {
            let status = not.refusal.status();
            if let Some(record) = record {
                note(&record.audit, not.by.clone(), what, Some(status), reason(status)).await;
            }
            return (not.by, not.refusal);
        }
    };
    let Some(by) = bearer else { return (None, next.run(request).await) };
    request.extensions_mut().insert(Arc::clone(&by));
    let Some(record) = record else { return (Some(by), next.run(request).await) };
    let caller = Some(Arc::clone(&by));
    let answered = tokio::spawn(async move {
        if record.changes {
            note(&record.audit, caller.clone(), what.clone(), None, "asked".to_owned()).await;
        }
        let response = next.run(request).await;
        let status = response.status();
        if !(record.is_quiet && status.is_success()) {
            let told = response.extensions().get::<Told>().map(|told| told.0.clone());
            note(&record.audit, caller, what, Some(status), told.unwrap_or_else(|| reason(status))).await;
        }
        response
    });
    let response = answered.await.unwrap_or_else(|panic| {
        error(StatusCode::INTERNAL_SERVER_ERROR, "http", "failed", &panic.to_string())
    });
    (Some(by), response)
}

fn what(request: &Request, record: &Record) -> String {
    let (uri, shown) = (request.uri(), record.query.unwrap_or(str::to_owned));
    let query = uri.query().map(|query| format!("?{}", shown(query))).unwrap_or_default();
    format!("{} {}{query}", request.method(), uri.path()).chars().take(LONGEST).collect()
}

fn reason(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().to_owned()
}

/// Writes a call into an audit log, on a thread that may wait.
async fn note(
    audit: &Arc<Audit>,
    by: Option<Arc<Bearer>>,
    what: String,
    status: Option<StatusCode>,
    text: String,
) {
    let audit = Arc::clone(audit);
    let written = spawn_blocking(move || {
        audit.write(&Call { by: by.as_deref(), what, status: status.map(|status| status.as_u16()), text })
    });
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the audit log is not written"),
        Err(panic) => tracing::error!(%panic, "the audit log is not written"),
    }
}
