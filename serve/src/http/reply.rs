//! What requests over HTTP have in common: how a body is received, and how a refusal is answered.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::App;
use crate::Reject;
use crate::reject::Stage;

/// The body of a request, or why it could not be received: it did not come whole or in time, or is too large.
pub(super) struct Body(pub Result<Bytes, Reject>);

impl FromRequest<Arc<App>> for Body {
    type Rejection = Infallible;

    async fn from_request(mut request: Request, app: &Arc<App>) -> Result<Self, Infallible> {
        let most = app.engine.models.at_hand.message_bytes();
        DefaultBodyLimit::max(most).apply(&mut request);
        let most_ms = app.config.http.read_timeout_ms;
        let read = timeout(Duration::from_millis(most_ms), Bytes::from_request(request, app)).await;
        let (reason, text) = match read {
            Ok(Ok(bytes)) => return Ok(Self(Ok(bytes))),
            Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                ("too-large", format!("a body over the limit; expected at most {most} bytes"))
            }
            Ok(Err(rejection)) => ("not-read", rejection.body_text()),
            Err(_) => {
                ("too-slow", format!("a body that is not whole; expected all of it within {most_ms} ms"))
            }
        };
        Ok(Self(Err(Reject::decode(reason, text))))
    }
}

/// Answers a request for a path that is not there.
pub(crate) async fn no_path(uri: Uri) -> Response {
    let text = format!("{}; expected one of the paths in docs/serve.md", uri.path());
    error(StatusCode::NOT_FOUND, "http", "no-path", &text)
}

/// Answers a request with a method that its path does not have; `Allow` names those that it has.
pub(crate) async fn other_method(method: Method, uri: Uri) -> Response {
    let text = format!("{method} {}; expected a method that Allow names", uri.path());
    error(StatusCode::METHOD_NOT_ALLOWED, "http", "other-method", &text)
}

/// Returns the answer to a request that is rejected.
pub(super) fn refusal(reject: &Reject) -> Response {
    let is_own = matches!(reject.stage, Stage::Step(_));
    let status = match reject.reason {
        "too-large" => StatusCode::PAYLOAD_TOO_LARGE,
        "too-slow" => StatusCode::REQUEST_TIMEOUT,
        "unknown-user" | "unknown-item" if !is_own => StatusCode::NOT_FOUND,
        "no-vectors" | "no-state" | "other-scale" => StatusCode::CONFLICT,
        "no-tenant" => StatusCode::FORBIDDEN,
        "quota" => StatusCode::TOO_MANY_REQUESTS,
        "busy" | "paused" | "no-room" => StatusCode::SERVICE_UNAVAILABLE,
        "model-failed" | "not-folded-in" => StatusCode::INTERNAL_SERVER_ERROR,
        "not-finite" if reject.stage == Stage::Score => StatusCode::INTERNAL_SERVER_ERROR,
        "refused" if is_own => StatusCode::UNPROCESSABLE_ENTITY,
        "timeout" | "died" | "no-process" if is_own => StatusCode::SERVICE_UNAVAILABLE,
        _ if is_own => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    error(status, reject.stage.name(), reject.reason, &reject.text)
}

/// Returns an error as JSON.
pub(crate) fn error(status: StatusCode, stage: &str, reason: &str, text: &str) -> Response {
    let body = serde_json::json!({ "error": { "stage": stage, "reason": reason, "message": text } });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
