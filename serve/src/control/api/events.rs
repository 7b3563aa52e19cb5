//! What happened to events: searched, and looked at one by one.
//!
//! Ids of users are personal, so that who looks needs the role `operate`, and each look is in the audit log, without the ids.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{Api, Asks, answer};
use crate::http::reply::error;
use crate::provenance::{Found, Index, Page, Query, Source, Wanted};

/// Of so many events of a page messages are shown.
const INPUTS: usize = 50;

/// The most bytes of a message that are shown.
const SHOWN: usize = 1 << 16;

/// Returns the paths.
pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/v1/events", get(events)).route("/v1/events/{*source}", get(event))
}

/// Returns a query without what is asked for of a person, as the audit log has it.
pub fn masked(query: &str) -> String {
    const SHOWN: [&str; 16] = [
        "source", "from", "to", "type", "outcome", "reason", "model", "replay", "limit", "cursor", "input",
        "topic", "note", "check", "version", "last",
    ];
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if SHOWN.contains(&key) => pair.to_owned(),
        Some((key, _)) => format!("{key}=…"),
        None => "…".to_owned(),
    });
    pairs.collect::<Vec<String>>().join("&")
}

pub(super) fn bad(text: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "control", "bad-request", text)
}

impl Api {
    /// Returns the index.
    #[expect(clippy::result_large_err, reason = "handlers answer it as it is")]
    pub(super) fn index(&self) -> Result<Arc<Index>, Response> {
        let tracer = self.control.engine.tracer.as_ref();
        let text = "no index of events; expected a table [provenance] in the config";
        tracer
            .map(|tracer| Arc::clone(&tracer.index))
            .ok_or_else(|| error(StatusCode::NOT_FOUND, "control", "no-index", text))
    }

    /// Searches on a thread that may wait; returns the page with its events as JSON.
    async fn search(self: &Arc<Self>, wanted: Wanted) -> Result<(Page, Vec<Value>), Response> {
        let (index, api) = (self.index()?, Arc::clone(self));
        let busy = |_| {
            let text = "other searches go on; expected at most two at once";
            error(StatusCode::SERVICE_UNAVAILABLE, "control", "busy", text)
        };
        let permit = Arc::clone(&self.searches).try_acquire_owned().map_err(busy)?;
        let with_input = wanted.input.unwrap_or(true);
        let query = Query::read(wanted, index.ids()).map_err(|text| bad(&text))?;
        let searched = spawn_blocking(move || {
            let _permit = permit;
            let page = index.search(&query)?;
            let values = api.values(&page.events, with_input);
            Ok::<_, crate::Error>((page, values))
        });
        let failed = |text: String| error(StatusCode::INTERNAL_SERVER_ERROR, "control", "failed", &text);
        searched.await.map_err(|panic| failed(panic.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    /// Returns events as JSON, with their messages.
    fn values(&self, events: &[Found], with_input: bool) -> Vec<Value> {
        let mut values: Vec<Value> = events
            .iter()
            .map(|found| {
                let mut value = json!(found);
                if found.facts.replay.is_some() {
                    value["replay_of"] = json!(found.source);
                }
                value
            })
            .collect();
        if with_input {
            let kept = events.iter().zip(&mut values).take(INPUTS);
            kept.for_each(|(found, value)| {
                value["input"] =
                    found.input.as_ref().map_or(Value::Null, |input| json!({ "value": shown(input) }));
            });
            #[cfg(feature = "kafka")]
            self.fetch(events, &mut values);
        }
        values
    }

    /// Adds the messages that are in topics.
    #[cfg(feature = "kafka")]
    fn fetch(&self, events: &[Found], values: &mut [Value]) {
        let Some(kafka) = &self.control.running.kafka else { return };
        let place = |found: &Found| {
            let source: Source = found.source.parse().ok()?;
            let is_read = kafka.requests.contains(&source.topic);
            is_read.then_some((source.topic, source.partition?, source.first))
        };
        let mut places: Vec<_> = events.iter().take(INPUTS).filter_map(place).collect();
        places.sort();
        places.dedup();
        let found = crate::kafka::inputs(kafka, &places);
        for (event, value) in events.iter().zip(values).take(INPUTS) {
            let Some(at) = place(event).and_then(|place| places.binary_search(&place).ok()) else { continue };
            match &found[at] {
                Ok(input) => {
                    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| shown(bytes));
                    let headers: serde_json::Map<String, Value> = input
                        .headers
                        .iter()
                        .map(|(name, value)| (name.clone(), json!(text(value))))
                        .collect();
                    value["input"] = json!({
                        "key": text(&input.key), "value": text(&input.value), "headers": headers,
                        "time_ms": input.timestamp_ms,
                    });
                }
                Err(why) => value["input_missing"] = json!(why),
            }
        }
    }
}

/// Returns bytes as JSON, or as a text where they are none.
fn shown(bytes: &[u8]) -> Value {
    let whole = (bytes.len() <= SHOWN).then(|| serde_json::from_slice(bytes).ok()).flatten();
    whole.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
        Value::String(if bytes.len() > SHOWN { format!("{text}…") } else { text.into_owned() })
    })
}

async fn events(State(api): State<Arc<Api>>, Asks(wanted): Asks<Wanted>) -> Result<Response, Response> {
    let (page, events) = api.search(wanted).await?;
    Ok(answer(StatusCode::OK, &json!({ "events": events, "cursor": page.cursor() })))
}

async fn event(
    State(api): State<Arc<Api>>,
    Path(source): Path<String>,
    Asks(wanted): Asks<Wanted>,
) -> Result<Response, Response> {
    let is_one = source.parse::<Source>().is_ok_and(|source| source.first == source.last);
    if !is_one {
        return Err(bad(&format!("source: found {source:?}, expected topic/partition/offset")));
    }
    let (_, events) = api.search(Wanted { source: Some(source.clone()), ..wanted }).await?;
    match events.is_empty() {
        true => {
            let text = format!(
                "no event {source} in this instance's index: it did not end here, is too old, or was erased"
            );
            Err(error(StatusCode::NOT_FOUND, "control", "no-event", &text))
        }
        false => Ok(answer(StatusCode::OK, &json!({ "source": source, "events": events }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_log_names_no_person() {
        assert_eq!(masked("user=7&outcome=rejected&id=x"), "user=…&outcome=rejected&id=…");
        assert_eq!(masked("us%65r=7&item=3&from=1&alice@x"), "us%65r=…&item=…&from=1&…");
    }
}
