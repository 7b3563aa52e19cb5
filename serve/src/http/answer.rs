//! Requests over HTTP.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::App;
use super::reply::{Body, refusal};
use crate::engine::{HTTP, Reading};
use crate::event::Incoming;
use crate::outbox::{EventOutcome, Outbox, To};
use crate::reject::Stage;
use crate::{Kind, Reject};

/// Answers a request of a type. What is quick is scored where it was read; all else on a blocking thread, so that the async
/// ones go on answering.
pub async fn answer(State(app): State<Arc<App>>, kind: Kind, body: Body) -> Response {
    let body = match body.0 {
        Ok(body) => body,
        Err(reject) => return refusal(&reject),
    };
    if app.engine.models.at_hand.is_stopped() {
        return paused(&app);
    }
    let event = Incoming::new(Instant::now(), HTTP, 0, None, Some(&body));
    let mut outbox = Outbox::default();
    match catch_unwind(AssertUnwindSafe(|| app.engine.answer_if_quick(&event, kind, &mut outbox))) {
        Ok(true) => return reply(&app, outbox),
        Ok(false) => {}
        Err(_) => return panicked(&app),
    }
    let wait = Duration::from_millis(app.config.http.scoring_wait_ms);
    let permit = match timeout(wait, Arc::clone(&app.scoring).acquire_owned()).await {
        Ok(Ok(permit)) => permit,
        // The semaphore is never closed, so that an error is that the wait was too long.
        Ok(Err(_)) | Err(_) => return busy(&app),
    };
    let shared = Arc::clone(&app);
    let scored = spawn_blocking(move || {
        // A client that hangs up does not end the work, so the work holds the permit, and not the connection.
        let _permit = permit;
        let mut outbox = Outbox::default();
        let reading = Reading { http: Some(kind) };
        shared.engine.answer(slice::from_ref(&event), reading, &mut Vec::new(), &mut outbox);
        outbox
    });
    match scored.await {
        Ok(outbox) => reply(&app, outbox),
        Err(_) => panicked(&app),
    }
}

/// Returns the response to a request that was answered.
fn reply(app: &App, mut outbox: Outbox) -> Response {
    outbox.count_replies(&[]);
    let outcome = outbox.outcomes.pop();
    if let Some(outcome) = &outcome {
        app.metrics.ended(outcome);
    }
    match outcome {
        Some(EventOutcome::Failed(reject) | EventOutcome::Expired(reject)) => refusal(&reject),
        Some(EventOutcome::FilteredBy(step)) => json(format!("{{\"filtered\":\"{step}\"}}").into_bytes()),
        _ => {
            let reply = outbox.messages.iter().find(|message| message.to == To::Replies);
            let bytes = reply.and_then(|message| outbox.value(message)).unwrap_or_default().to_vec();
            json(bytes)
        }
    }
}

fn json(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

fn panicked(app: &App) -> Response {
    let reject = Reject::score("model-failed", "a panic; its message stands in the log");
    app.metrics.ended(&EventOutcome::Failed(reject.clone()));
    refusal(&reject)
}

/// Takes an event. With Kafka it is written to the topic of requests, which gives it an order and a worker, and the
/// answer says its offset; without Kafka it is added to the user's history in memory.
pub async fn event(State(app): State<Arc<App>>, body: Body) -> Response {
    #[cfg(feature = "kafka")]
    if let Some(writer) = &app.writer {
        return super::write::write(&app, writer, body).await;
    }
    answer(State(app), Kind::Event, body).await
}

/// Refuses a request that waited too long for its turn to be scored.
fn busy(app: &App) -> Response {
    let http = &app.config.http;
    let text = format!(
        "{} requests are being scored, and none ended within {} ms; expected at most http.scoring_requests at once",
        http.scoring_requests, http.scoring_wait_ms
    );
    later(app, Reject { stage: Stage::Queue, reason: "busy", text })
}

/// Refuses a request while the service takes nothing new.
fn paused(app: &App) -> Response {
    let text = format!("the service is {}; expected running", app.engine.models.live().settings.run.name());
    later(app, Reject { stage: Stage::Queue, reason: "paused", text })
}

fn later(app: &App, reject: Reject) -> Response {
    let mut response = refusal(&reject);
    app.metrics.ended(&EventOutcome::Failed(reject));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
