//! The JSON lines that a process reads and writes, one for each event.
//!
//! ```json
//! {"line":8,"type":"recommend","id":"a1","user":7,"k":3,"without":[],"include_seen":false,"source":"requests/0/55"}
//! {"line":9,"type":"recommend","user":7,"k":3,"items":[{"item":12,"brand":"x","score":0.93}],"score_is":"score",
//!  "model":"main","version":"als","hash":"3f2a91c0d1e2"}
//! ```
//!
//! The first is written before score, the second after it. The process answers with the same object, changed, or with
//! `{"line":8,"filter":true}` or `{"line":8,"error":"..."}`.

use serde_json::{Map, Value};

use super::{StepAnswer, StepEvent, StepItem};
use crate::Reject;
use crate::message::{Ask, Request, WireId};

/// Keys of a request that a process may change before score.
const ASKED: [&str; 7] = ["items", "item", "only", "without", "k", "include_seen", "value"];

/// Why a line is no answer: the reason and the text of the reject.
type Bad = (&'static str, String);

fn not_a_line(text: impl Into<String>) -> Bad {
    ("not-a-line", text.into())
}

/// Returns the line of an event.
pub fn write(event: &StepEvent<'_>, line: u64) -> Vec<u8> {
    let mut object = Map::from_iter([("line".to_owned(), line.into())]);
    object.extend(facts(event));
    if event.answer.is_none() {
        object.extend(event.request.object());
    }
    object.extend(event.answer.iter().map(|answer| {
        let items = answer.items.iter().map(|item| Value::Object(item_object(item)));
        ("items".to_owned(), Value::Array(items.collect()))
    }));
    object.extend(event.fields.clone());
    let mut bytes = serde_json::to_vec(&object).expect("an object is JSON");
    bytes.push(b'\n');
    bytes
}

/// Returns what a process may not change.
fn facts(event: &StepEvent<'_>) -> Map<String, Value> {
    let mut facts = Map::new();
    let request = &event.request;
    facts.insert("type".into(), request.kind().name().into());
    facts.extend(request.id.iter().map(|id| ("id".to_owned(), id.value())));
    facts.extend(request.user().map(|user| ("user".to_owned(), user.value())));
    if let Some(answer) = &event.answer {
        match &request.ask {
            Ask::Recommend { k, .. } => drop(facts.insert("k".into(), (*k).into())),
            Ask::Similar { item, k } => {
                facts.insert("item".into(), item.value());
                facts.insert("k".into(), (*k).into());
            }
            Ask::Score { .. } | Ask::Event { .. } => {}
        }
        facts.insert("score_is".into(), answer.score_is.into());
        facts.extend(answer.by.map(|by| ("by".to_owned(), by.into())));
        for (key, value) in [("model", answer.model), ("version", answer.version), ("hash", answer.hash)] {
            facts.insert(key.into(), value.into());
        }
    }
    facts.extend(event.source.iter().map(|source| ("source".to_owned(), source.as_str().into())));
    facts
}

fn item_object(item: &StepItem<'_>) -> Map<String, Value> {
    let mut object = Map::from_iter([("item".to_owned(), item.item.value())]);
    object.extend(item.columns.clone());
    object.insert("score".into(), item.score.map_or(Value::Null, Value::from));
    object
}

/// Reads a line of a process; returns the number of the line that it answers, and the rest of it.
///
/// # Errors
/// When it is no JSON object with a number `line`.
pub fn read(bytes: &[u8]) -> Result<(u64, Map<String, Value>), Bad> {
    let found = || String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
    let expected = "expected a JSON object with the number of its line";
    let mut object: Map<String, Value> = serde_json::from_slice(bytes)
        .map_err(|error| not_a_line(format!("{error} in {:?}; {expected}", found())))?;
    let line = object.shift_remove("line").and_then(|line| line.as_u64());
    line.map(|line| (line, object)).ok_or_else(|| not_a_line(format!("{:?}; {expected}", found())))
}

/// Lets an event be as an answer says.
pub fn take(event: &mut StepEvent<'_>, object: Map<String, Value>) {
    if let Err((reason, text)) = try_take(event, object) {
        event.fail_for(reason, text);
    }
}

fn try_take(event: &mut StepEvent<'_>, mut object: Map<String, Value>) -> Result<(), Bad> {
    match (object.shift_remove("error"), object.shift_remove("filter")) {
        (Some(Value::String(text)), _) => {
            event.fail(text);
            return Ok(());
        }
        (Some(other), _) => return Err(not_a_line(format!("error: found {other}, expected a text"))),
        (None, Some(Value::Bool(true))) => {
            event.filter();
            return Ok(());
        }
        (None, Some(other)) => return Err(not_a_line(format!("filter: found {other}, expected true"))),
        (None, None) => {}
    }
    let mut asked = Map::new();
    for (key, sent) in facts(event) {
        match object.shift_remove(&key) {
            Some(found) if found != sent => {
                return Err(("changed", format!("{key}: found {found}, expected {sent} as it was")));
            }
            _ => drop(asked.insert(key, sent)),
        }
    }
    match &mut event.answer {
        Some(answer) => read_items(answer, object.shift_remove("items"))?,
        None => {
            asked.shift_remove("source");
            for key in ASKED {
                asked.extend(object.shift_remove(key).map(|value| (key.to_owned(), value)));
            }
            event.request = Request::from_object(asked).map_err(|Reject { text, .. }| not_a_line(text))?;
        }
    }
    event.fields = object;
    Ok(())
}

fn read_items(answer: &mut StepAnswer<'_>, items: Option<Value>) -> Result<(), Bad> {
    let Some(Value::Array(items)) = items else {
        let found = items.map_or("none".into(), |items| items.to_string());
        return Err(not_a_line(format!("items: found {found:.80}, expected a list of objects")));
    };
    answer.items = items.into_iter().map(read_item).collect::<Result<_, _>>()?;
    Ok(())
}

fn read_item(item: Value) -> Result<StepItem<'static>, Bad> {
    let bad = |found: &Value| {
        not_a_line(format!("items: found {found}, expected an object with an item and a score"))
    };
    let Value::Object(mut columns) = item else { return Err(bad(&item)) };
    let (item, score) = (columns.shift_remove("item"), columns.shift_remove("score"));
    let id = item.as_ref().and_then(WireId::from_value);
    let score = match score {
        None | Some(Value::Null) => Ok(None),
        // What is beyond an f32 is not finite then.
        Some(score) => score.as_f64().map(|score| Some(score as f32)).ok_or(score),
    };
    match (id, score) {
        (Some(item), Ok(score)) => Ok(StepItem { item, score, columns }),
        (None, _) => Err(bad(item.as_ref().unwrap_or(&Value::Null))),
        (_, Err(score)) => Err(bad(&score)),
    }
}
