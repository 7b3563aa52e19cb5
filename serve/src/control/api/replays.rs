//! Events that were found, answered again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::json;

use super::events::bad;
use super::{Api, Asks, Refusal, Who, answer, told};
use crate::config::Start;
use crate::http::reply::error;
use crate::kafka::{Only, Range};
use crate::provenance::{Source, moment};

/// Returns the paths.
pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/v1/replay", post(replay))
        .route("/v1/replays", get(replays))
        .route("/v1/replays/{number}", get(one))
}

/// What is to be answered again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Again {
    /// `topic/partition/offset` or `topic/partition/first-last`.
    source: Option<String>,
    /// A topic; all without it.
    topic: Option<String>,
    /// From when on by the events' own times, in Unix milliseconds or as `2027-02-26T12:00:00Z`.
    from: Option<String>,
    /// Before when, likewise; now without it.
    to: Option<String>,
    /// Why.
    #[serde(default)]
    note: String,
}

impl Again {
    /// Returns the range, and what it is called; an error is what was found and what was expected.
    fn range(&self, topics: &[String]) -> Result<(Range, String), String> {
        let known = |topic: &String| match topics.contains(topic) {
            true => Ok(topic.clone()),
            false => Err(format!("found the topic {topic:?}, expected one of {}", topics.join(", "))),
        };
        let expected = "expected `source`, or `from` with `to` and `topic` where these are wanted";
        match (&self.source, &self.from) {
            (Some(text), None) if self.topic.is_none() && self.to.is_none() => {
                let source: Source = text.parse()?;
                let only = Only { topic: known(&source.topic)?, partition: source.partition };
                let Some(partition) =
                    source.partition.filter(|_| source.last < i64::MAX && source.first >= 0)
                else {
                    return Err(format!(
                        "source: found {text:?}, expected topic/partition/offset or a range of offsets"
                    ));
                };
                let at = |offset: i64| Start::Offsets(BTreeMap::from([(partition, offset)]));
                let (from, to) = (at(source.first), at(source.last + 1));
                Ok((Range { rejects: false, from, to, only: Some(only) }, text.clone()))
            }
            (None, Some(from)) => {
                let from_ms = moment("from", from)?;
                let to_ms = self.to.as_ref().map(|to| moment("to", to)).transpose()?;
                let topic = self.topic.as_ref().map(known).transpose()?;
                let to = to_ms.map_or(Start::Latest, Start::Time);
                let of = topic.clone().unwrap_or_else(|| topics.join(", "));
                let until = self.to.as_deref().unwrap_or("now");
                let only = topic.map(|topic| Only { topic, partition: None });
                let range = Range { rejects: false, from: Start::Time(from_ms), to, only };
                Ok((range, format!("{of} from {from} to {until}")))
            }
            _ => Err(expected.to_owned()),
        }
    }
}

async fn replay(
    State(api): State<Arc<Api>>,
    Extension(who): Who,
    Asks(again): Asks<Again>,
) -> Result<Response, Response> {
    let Some(kafka) = &api.control.running.kafka else {
        let text = "no topics; expected a table [kafka] in the config: requests over HTTP are sent again by who has them";
        return Err(bad(text));
    };
    let (range, of) = again.range(&kafka.requests).map_err(|text| bad(&text))?;
    let begun = api.control.replay(range, of, &who.name);
    let begun = begun.map_err(|refusal: Refusal| axum::response::IntoResponse::into_response(refusal))?;
    let text = format!("replay {} of {} {}", begun.replay, begun.of, again.note);
    Ok(told(answer(StatusCode::ACCEPTED, &json!(begun)), text.trim_end().to_owned()))
}

async fn replays(State(api): State<Arc<Api>>) -> Response {
    answer(StatusCode::OK, &json!(api.control.replays.all()))
}

async fn one(State(api): State<Arc<Api>>, Path(number): Path<u64>) -> Result<Response, Response> {
    let found = api.control.replays.all().into_iter().find(|of| of.replay == number);
    let text = format!("no replay {number} since this instance started");
    let found = found.ok_or_else(|| error(StatusCode::NOT_FOUND, "control", "no-replay", &text))?;
    Ok(answer(StatusCode::OK, &json!(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(query: &[(&str, &str)]) -> Result<(Range, String), String> {
        let of =
            |name: &str| query.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let (source, topic, from, to) = (of("source"), of("topic"), of("from"), of("to"));
        Again { source, topic, from, to, note: String::new() }.range(&["first".into(), "second".into()])
    }

    #[test]
    fn a_range_is_of_offsets_or_of_times() {
        let (range, of) = again(&[("source", "second/3/7-9")]).unwrap();
        assert_eq!(of, "second/3/7-9");
        assert_eq!(range.only, Some(Only { topic: "second".into(), partition: Some(3) }));
        assert_eq!([range.from, range.to].map(String::from), ["offsets=3:7", "offsets=3:10"]);
        let (range, of) = again(&[("from", "2027-02-26T12:00:00Z"), ("topic", "first")]).unwrap();
        assert_eq!(of, "first from 2027-02-26T12:00:00Z to now");
        assert_eq!([range.from, range.to].map(String::from), ["ts=1803643200000", "latest"]);
        for query in [
            &[][..],
            &[("source", "first/0/1"), ("from", "1")],
            &[("source", "first")],
            &[("source", "first/0")],
            &[("source", "third/0/1")],
            &[("source", "http/-1/1")],
            &[("from", "x")],
            &[("from", "1"), ("topic", "third")],
            &[("to", "1")],
        ] {
            let error = again(query).unwrap_err();
            assert!(error.contains("expected"), "{query:?}: {error}");
        }
    }
}
