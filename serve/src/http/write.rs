//! Events over HTTP where there is Kafka: written to the topic of requests.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::reply::{Body, error};
use super::tenants::{Sender, refused};
use crate::config::InputFormat;
use crate::kafka::EventWriter;
use crate::message::{Ask, WireId, decode};
use crate::{Kind, Reject};

/// Writes an event, and answers with its offset once it is delivered.
pub async fn write(app: &App, writer: &EventWriter, sender: Sender, body: Body) -> Response {
    let refuse = |reject| {
        sender.note_event(app);
        refused(app, &sender, reject)
    };
    let body = match body.0 {
        Ok(body) => body,
        Err(reject) => return refuse(reject),
    };
    sender.pay_body(app, body.len());
    let kafka = app.config.kafka.as_ref();
    if kafka.is_none_or(|kafka| kafka.state.is_none()) || app.config.input.format != InputFormat::Json {
        let text = "an event; expected none, as the config has no kafka.state, or its requests are CSV";
        return refuse(Reject::score("no-state", text));
    }
    let live = app.engine.models.live();
    let settings = &live.settings;
    let place = sender.tenant.as_ref().map(|own| settings.tenants.place(&own.name));
    let topics = &app.engine.topics;
    // The place is `Some(None)` where the tenant is gone since the request came.
    let written =
        (place != Some(None)).then(|| settings.routes.written(place.flatten(), topics.len())).flatten();
    let Some((topic, headers)) = written else {
        let text = "an event; expected none, as no topic of kafka.requests is of who sends it";
        return refuse(Reject::score("no-state", text));
    };
    let limits = settings.limits;
    let request = match decode(Some(&body), InputFormat::Json, Some(Kind::Event), &limits) {
        Ok(request) => request,
        Err(reject) => return refuse(reject),
    };
    let Ask::Event { user, item, value } = &request.ask else {
        return refuse(Reject::decode("not-a-request", "no event"));
    };
    let mut message = serde_json::json!({ "type": "event", "user": user, "item": item, "value": value });
    if let Some(id) = &request.id {
        message["id"] = serde_json::json!(id);
    }
    let key = match user {
        WireId::Int(id) => id.to_string(),
        WireId::Str(id) => id.to_string(),
    };
    match writer.write(&topics[topic], headers, &key, message.to_string().as_bytes()).await {
        Ok(source) => {
            let reply = serde_json::json!({ "type": "event", "user": user, "item": item, "source": source });
            (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], reply.to_string())
                .into_response()
        }
        Err(text) => {
            refuse(Reject::sink("not-written", &*text));
            error(StatusCode::SERVICE_UNAVAILABLE, "sink", "not-written", &text)
        }
    }
}
