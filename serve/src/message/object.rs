//! Requests as JSON objects in memory, as steps of one's own see them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Ask, Fields, Request, WireId, request, within};
use crate::Reject;
use crate::config::Limits;

impl WireId<'_> {
    /// Returns the id with a text of its own.
    pub fn into_owned(self) -> WireId<'static> {
        match self {
            Self::Int(id) => WireId::Int(id),
            Self::Str(id) => WireId::Str(Cow::Owned(id.into_owned())),
        }
    }

    /// Returns the id as JSON.
    pub fn value(&self) -> Value {
        match self {
            Self::Int(id) => (*id).into(),
            Self::Str(id) => id.as_ref().into(),
        }
    }

    /// Reads an id from JSON.
    pub fn from_value(value: &Value) -> Option<WireId<'static>> {
        match value {
            Value::String(text) => Some(WireId::Str(Cow::Owned(text.clone()))),
            other => other.as_i64().map(WireId::Int),
        }
    }
}

impl Request<'_> {
    /// Returns the request as a JSON object, with `type` and without `v`.
    pub fn object(&self) -> Map<String, Value> {
        let mut object = Map::new();
        let ids = |ids: &[WireId<'_>]| Value::Array(ids.iter().map(WireId::value).collect());
        object.insert("type".into(), self.kind().name().into());
        object.extend(self.id.iter().map(|id| ("id".to_owned(), id.value())));
        object.extend(self.user().map(|user| ("user".to_owned(), user.value())));
        match &self.ask {
            Ask::Score { items, .. } => drop(object.insert("items".into(), ids(items))),
            Ask::Recommend { k, only, without, include_seen, .. } => {
                object.insert("k".into(), (*k).into());
                object.extend(only.iter().map(|only| ("only".to_owned(), ids(only))));
                object.insert("without".into(), ids(without));
                object.insert("include_seen".into(), (*include_seen).into());
            }
            Ask::Similar { item, k } => {
                object.insert("item".into(), item.value());
                object.insert("k".into(), (*k).into());
            }
            Ask::Event { item, value, .. } => {
                object.insert("item".into(), item.value());
                object.insert("value".into(), (*value).into());
            }
        }
        object
    }

    /// Reads a request from a JSON object.
    ///
    /// # Errors
    /// When it is no request.
    pub fn from_object(object: Map<String, Value>) -> Result<Request<'static>, Reject> {
        let bad = |text: String| Reject::decode("not-a-request", text);
        let fields = Fields::deserialize(Value::Object(object)).map_err(|error| bad(error.to_string()))?;
        request(fields, None).map_err(bad)
    }

    /// Checks that the request is within the limits.
    ///
    /// # Errors
    /// When it is not.
    pub fn within(&self, limits: &Limits) -> Result<(), Reject> {
        within(self, limits)
    }
}
