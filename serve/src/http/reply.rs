//! What requests over HTTP have in common: how a body is received, and how a refusal is answered.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::App;
use crate::Reject;
use crate::outbox::EventOutcome;
use crate::reject::Stage;

/// The body of a request, or why it could not be received.
pub(super) type Body = Result<Bytes, BytesRejection>;

/// Refuses a body that did not come whole, or is too large.
pub(super) fn not_read(app: &App, rejection: &BytesRejection) -> Response {
    let (reason, text) = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let most = app.config.limits.message_bytes;
            ("too-large", format!("a body over the limit; expected at most {most} bytes"))
        }
        _ => ("not-read", rejection.body_text()),
    };
    let reject = Reject::decode(reason, text);
    app.metrics.ended(&EventOutcome::Failed(reject.clone()));
    refusal(&reject)
}

/// Returns the answer to a request that is rejected.
pub(super) fn refusal(reject: &Reject) -> Response {
    let status = match reject.reason {
        "too-large" => StatusCode::PAYLOAD_TOO_LARGE,
        "unknown-user" | "unknown-item" => StatusCode::NOT_FOUND,
        "no-vectors" | "no-state" => StatusCode::CONFLICT,
        "busy" => StatusCode::SERVICE_UNAVAILABLE,
        "model-failed" | "not-folded-in" => StatusCode::INTERNAL_SERVER_ERROR,
        "not-finite" if reject.stage == Stage::Score => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    error(status, reject.stage.name(), reject.reason, &reject.text)
}

/// Returns an error as JSON.
pub(super) fn error(status: StatusCode, stage: &str, reason: &str, text: &str) -> Response {
    let body = serde_json::json!({ "error": { "stage": stage, "reason": reason, "message": text } });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
