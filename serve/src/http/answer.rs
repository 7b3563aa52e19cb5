//! Requests over HTTP.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::task::spawn_blocking;

use super::App;
use super::reply::{Body, refusal};
use super::tenants::{Sender, refused, turn};
use crate::engine::Reading;
use crate::event::Incoming;
use crate::outbox::{EventOutcome, Outbox, To};
use crate::{Kind, Reject};

/// Answers a request of a type. What is quick is scored where it was read; all else on a blocking thread, so that the async
/// ones go on answering.
pub async fn answer(State(app): State<Arc<App>>, sender: Sender, kind: Kind, body: Body) -> Response {
    let body = match body.0 {
        Ok(body) => body,
        Err(reject) => {
            sender.note_event(&app);
            return refused(&app, &sender, reject);
        }
    };
    sender.note_body(&app, body.len());
    if app.engine.models.at_hand.is_stopped() {
        return paused(&app, &sender);
    }
    let event = Incoming::new(Instant::now(), sender.part(), 0, None, Some(&body));
    let mut outbox = Outbox::default();
    match catch_unwind(AssertUnwindSafe(|| app.engine.answer_if_quick(&event, kind, &mut outbox))) {
        Ok(true) => return reply(&app, &sender, &event, outbox),
        Ok(false) => {}
        Err(_) => return panicked(&app, &sender),
    }
    let permits = match turn(&app, &sender).await {
        Ok(permits) => permits,
        Err(refusal) => return refusal.unwrap_or_else(|| busy(&app, &sender)),
    };
    let shared = Arc::clone(&app);
    let scored = spawn_blocking(move || {
        // A client that hangs up does not end the work, so the work holds the permits, and not the connection.
        let _permits = permits;
        let mut outbox = Outbox::default();
        let reading = Reading { http: Some(kind) };
        shared.engine.answer(slice::from_ref(&event), reading, &mut Vec::new(), &mut outbox);
        (event, outbox)
    });
    match scored.await {
        Ok((event, outbox)) => reply(&app, &sender, &event, outbox),
        Err(_) => panicked(&app, &sender),
    }
}

/// Returns the response to a request that was answered.
fn reply(app: &App, sender: &Sender, event: &Incoming, mut outbox: Outbox) -> Response {
    outbox.count_replies(&[]);
    if let Some(tracer) = &app.engine.tracer {
        let clock = &app.engine.clock;
        let by = sender.by.as_ref().map(|by| by.name.as_str());
        tracer.http(event, &outbox, by, (clock.now(), clock.unix_ms()));
    }
    let outcome = outbox.outcomes.pop();
    if let Some(outcome) = &outcome {
        sender.note_end(app, outcome);
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

fn panicked(app: &App, sender: &Sender) -> Response {
    refused(app, sender, Reject::score("model-failed", "a panic; its message stands in the log"))
}

/// Takes an event. With Kafka it is written to the topic of requests, which gives it an order and a worker, and the
/// answer says its offset; without Kafka it is added to the user's history in memory.
pub async fn event(State(app): State<Arc<App>>, sender: Sender, body: Body) -> Response {
    #[cfg(feature = "kafka")]
    if let Some(writer) = &app.writer {
        return super::write::write(&app, writer, sender, body).await;
    }
    answer(State(app), sender, Kind::Event, body).await
}

/// Refuses a request that waited too long for its turn to be scored.
fn busy(app: &App, sender: &Sender) -> Response {
    let http = &app.config.http;
    let text = format!(
        "{} requests are being scored, and none ended within {} ms; expected at most http.scoring_requests at once",
        http.scoring_requests, http.scoring_wait_ms
    );
    later(app, sender, Reject::queue("busy", text))
}

/// Refuses a request while the service takes nothing new.
fn paused(app: &App, sender: &Sender) -> Response {
    let text = format!("the service is {}; expected running", app.engine.models.live().settings.run.name());
    later(app, sender, Reject::queue("paused", text))
}

fn later(app: &App, sender: &Sender, reject: Reject) -> Response {
    let mut response = refused(app, sender, reject);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
