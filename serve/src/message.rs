//! Requests on the wire, the same from Kafka and HTTP: one JSON object a message, or a CSV record `user,item`.
//!
//! ```json
//! {"type":"score","id":"a1","user":7,"items":[12,"x"]}
//! {"type":"recommend","user":7,"k":10,"only":[1,2,3],"without":[2],"include_seen":false}
//! {"type":"similar","item":12,"k":5}
//! {"type":"event","user":7,"item":12,"value":4.5}
//! ```
//!
//! Ids are integers or strings. `id` (any of the two) comes back in the reply. `v` is the schema's version, 1.

mod csv;
mod object;

use std::borrow::Cow;
use std::fmt;

use burnrec_data::Id;
use serde::de::{Deserializer, IgnoredAny, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::Reject;
use crate::config::{InputFormat, Limits};

/// The version of the schemas.
pub const VERSION: u32 = 1;

/// An outside id in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireId<'a> {
    /// An integer.
    Int(i64),
    /// Any string.
    Str(Cow<'a, str>),
}

impl WireId<'_> {
    /// Returns the id as vocabularies take it.
    pub fn id(&self) -> Id<'_> {
        match self {
            Self::Int(id) => Id::Int(*id),
            Self::Str(id) => Id::Str(id),
        }
    }
}

impl<'a> From<Id<'a>> for WireId<'a> {
    fn from(id: Id<'a>) -> Self {
        match id {
            Id::Int(id) => Self::Int(id),
            Id::Str(id) => Self::Str(Cow::Borrowed(id)),
        }
    }
}

impl<'a, 'de: 'a> Deserialize<'de> for WireId<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ids;
        impl<'de> Visitor<'de> for Ids {
            type Value = WireId<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id: an integer or a string")
            }

            fn visit_i64<E>(self, id: i64) -> Result<Self::Value, E> {
                Ok(WireId::Int(id))
            }

            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<Self::Value, E> {
                i64::try_from(id).map(WireId::Int).map_err(|_| E::custom("an id over 9223372036854775807"))
            }

            fn visit_borrowed_str<E>(self, id: &'de str) -> Result<Self::Value, E> {
                Ok(WireId::Str(Cow::Borrowed(id)))
            }

            fn visit_str<E>(self, id: &str) -> Result<Self::Value, E> {
                Ok(WireId::Str(Cow::Owned(id.to_owned())))
            }
        }
        deserializer.deserialize_any(Ids)
    }
}

impl Serialize for WireId<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.id().serialize(serializer)
    }
}

/// The type of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Scores of some items.
    Score,
    /// The best items.
    Recommend,
    /// The items most similar to one.
    Similar,
    /// A user interacted with an item.
    Event,
}

impl Kind {
    /// Returns the word that stands in `type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Recommend => "recommend",
            Self::Similar => "similar",
            Self::Event => "event",
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// Comes back in the reply.
    pub id: Option<WireId<'a>>,
    /// What is asked.
    pub ask: Ask<'a>,
}

/// What is asked, with the fields of its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask<'a> {
    /// Score these items for the user.
    Score {
        /// The user.
        user: WireId<'a>,
        /// The items.
        items: Vec<WireId<'a>>,
    },
    /// The best items for the user.
    Recommend {
        /// The user.
        user: WireId<'a>,
        /// How many.
        k: usize,
        /// Only of these, if given.
        only: Option<Vec<WireId<'a>>>,
        /// None of these.
        without: Vec<WireId<'a>>,
        /// Whether items of the user's history may come back.
        include_seen: bool,
    },
    /// The items most similar to one.
    Similar {
        /// The item.
        item: WireId<'a>,
        /// How many.
        k: usize,
    },
    /// The user interacted with the item, which is added to the user's history.
    Event {
        /// The user.
        user: WireId<'a>,
        /// The item.
        item: WireId<'a>,
        /// The rating or weight; 1 if not given.
        value: f32,
    },
}

impl<'a> Request<'a> {
    /// Returns the request's type.
    pub fn kind(&self) -> Kind {
        match self.ask {
            Ask::Score { .. } => Kind::Score,
            Ask::Recommend { .. } => Kind::Recommend,
            Ask::Similar { .. } => Kind::Similar,
            Ask::Event { .. } => Kind::Event,
        }
    }

    /// Returns all ids of the request that are texts.
    fn ids(&self) -> impl Iterator<Item = &str> {
        let (one, lists): (_, [&[WireId<'a>]; 2]) = match &self.ask {
            Ask::Score { items, .. } => (None, [items, &[]]),
            Ask::Recommend { only, without, .. } => (None, [only.as_deref().unwrap_or_default(), without]),
            Ask::Similar { item, .. } | Ask::Event { item, .. } => (Some(item), [&[], &[]]),
        };
        let all = self.id.iter().chain(self.user()).chain(one).chain(lists.into_iter().flatten());
        all.filter_map(|id| match id {
            WireId::Int(_) => None,
            WireId::Str(text) => Some(&**text),
        })
    }

    /// Returns the user, unless only items are asked about.
    pub fn user(&self) -> Option<&WireId<'a>> {
        match &self.ask {
            Ask::Score { user, .. } | Ask::Recommend { user, .. } | Ask::Event { user, .. } => Some(user),
            Ask::Similar { .. } => None,
        }
    }
}

/// The JSON object of a request, before its fields are checked against its type. One flat struct: a tagged enum would
/// copy every message into a tree of values first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(rename = "type")]
    kind: Option<Kind>,
    v: Option<u32>,
    #[serde(borrow, default)]
    id: Option<WireId<'a>>,
    #[serde(borrow, default)]
    user: Option<WireId<'a>>,
    #[serde(borrow, default)]
    item: Option<WireId<'a>>,
    #[serde(borrow, default)]
    items: Option<Vec<WireId<'a>>>,
    #[serde(borrow, default)]
    only: Option<Vec<WireId<'a>>>,
    #[serde(borrow, default)]
    without: Option<Vec<WireId<'a>>>,
    k: Option<u64>,
    include_seen: Option<bool>,
    value: Option<f32>,
}

/// Reads a message. `kind` is its type where the message itself names none, as over HTTP.
///
/// # Errors
/// When it is no request, or over the limits.
pub fn decode<'a>(
    bytes: Option<&'a [u8]>,
    format: InputFormat,
    kind: Option<Kind>,
    limits: &Limits,
) -> Result<Request<'a>, Reject> {
    let bytes = bytes.ok_or_else(|| Reject::decode("empty", "a null value; expected a request"))?;
    if bytes.is_empty() {
        return Err(Reject::decode("empty", "no bytes; expected a request"));
    }
    if bytes.len() > limits.message_bytes {
        let text = format!("{} bytes; expected at most {}", bytes.len(), limits.message_bytes);
        return Err(Reject::decode("too-large", text));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Reject::decode("not-utf8", format!("{error}; expected UTF-8")))?;
    let request = match format {
        InputFormat::Json => from_json(text, kind)?,
        InputFormat::Csv => from_csv(text)?,
    };
    within(&request, limits)?;
    Ok(request)
}

fn from_json<'a>(text: &'a str, kind: Option<Kind>) -> Result<Request<'a>, Reject> {
    let fields: Fields<'a> = serde_json::from_str(text).map_err(|error| {
        // For some fields of a wrong type the parser reports bad syntax, so that valid JSON is recognised here.
        let is_json = error.is_data() || serde_json::from_str::<IgnoredAny>(text).is_ok();
        Reject::decode(if is_json { "not-a-request" } else { "not-json" }, error.to_string())
    })?;
    if text.trim_start().starts_with('[') {
        // The parser takes a list for the fields in their order.
        return Err(Reject::decode("not-a-request", "a list; expected an object"));
    }
    request(fields, kind).map_err(|text| Reject::decode("not-a-request", text))
}

fn request(fields: Fields<'_>, kind: Option<Kind>) -> Result<Request<'_>, String> {
    if let Some(v) = fields.v.filter(|&v| v != VERSION) {
        return Err(format!("v {v}; expected {VERSION}"));
    }
    let kind = match (fields.kind, kind) {
        (Some(found), Some(expected)) if found != expected => {
            return Err(format!("type {:?}; expected {:?} here", found.name(), expected.name()));
        }
        (found, expected) => {
            found.or(expected).ok_or("no type; expected score, recommend, similar or event")?
        }
    };
    let given = [
        ("user", fields.user.is_some()),
        ("item", fields.item.is_some()),
        ("items", fields.items.is_some()),
        ("only", fields.only.is_some()),
        ("without", fields.without.is_some()),
        ("k", fields.k.is_some()),
        ("include_seen", fields.include_seen.is_some()),
        ("value", fields.value.is_some()),
    ];
    let (needed, allowed): (&[&str], &[&str]) = match kind {
        Kind::Score => (&["user", "items"], &[]),
        Kind::Recommend => (&["user", "k"], &["only", "without", "include_seen"]),
        Kind::Similar => (&["item", "k"], &[]),
        Kind::Event => (&["user", "item"], &["value"]),
    };
    for (name, given) in given {
        if given && !needed.contains(&name) && !allowed.contains(&name) {
            return Err(format!(
                "{name} in a request of type {}; expected {}",
                kind.name(),
                needed.join(", ")
            ));
        }
        if !given && needed.contains(&name) {
            return Err(format!("no {name}; expected one in a request of type {}", kind.name()));
        }
    }
    let k = usize::try_from(fields.k.unwrap_or(0)).unwrap_or(usize::MAX);
    let ask = match (kind, fields.user, fields.item) {
        (Kind::Score, Some(user), _) => Ask::Score { user, items: fields.items.unwrap_or_default() },
        (Kind::Recommend, Some(user), _) => Ask::Recommend {
            user,
            k,
            only: fields.only,
            without: fields.without.unwrap_or_default(),
            include_seen: fields.include_seen.unwrap_or(false),
        },
        (Kind::Similar, _, Some(item)) => Ask::Similar { item, k },
        (Kind::Event, Some(user), Some(item)) => {
            Ask::Event { user, item, value: fields.value.unwrap_or(1.0) }
        }
        _ => return Err("missing fields".into()),
    };
    Ok(Request { id: fields.id, ask })
}

/// Reads one record of CSV (RFC 4180), `user,item`.
fn from_csv(text: &str) -> Result<Request<'_>, Reject> {
    let bad = |found: String| Reject::decode("not-csv", format!("{found}; expected user,item"));
    let mut fields = csv::fields(text).map_err(bad)?.into_iter();
    let n = fields.len();
    match (fields.next(), fields.next(), n) {
        (Some(user), Some(item), 2) if !user.is_empty() && !item.is_empty() => {
            let (user, items) = (WireId::Str(user), vec![WireId::Str(item)]);
            Ok(Request { id: None, ask: Ask::Score { user, items } })
        }
        (_, _, 2) => Err(bad("an empty field".into())),
        _ => Err(bad(format!("{n} fields"))),
    }
}

fn within(request: &Request<'_>, limits: &Limits) -> Result<(), Reject> {
    let (items, k) = match &request.ask {
        Ask::Score { items, .. } if items.is_empty() => {
            return Err(Reject::decode("no-items", "an empty list of items; expected at least one"));
        }
        Ask::Score { items, .. } => (items.len(), 1),
        Ask::Recommend { only, without, k, .. } => (only.as_ref().map_or(0, Vec::len).max(without.len()), *k),
        Ask::Similar { k, .. } => (0, *k),
        Ask::Event { value, .. } if !value.is_finite() => {
            return Err(Reject::decode("not-finite", format!("value {value}; expected a finite number")));
        }
        Ask::Event { .. } => (0, 1),
    };
    if let Some(id) = request.ids().find(|id| id.len() > limits.id_bytes) {
        let text = format!("an id of {} bytes; expected at most {}", id.len(), limits.id_bytes);
        return Err(Reject::decode("id-too-long", text));
    }
    if items > limits.items {
        return Err(Reject::decode(
            "too-many-items",
            format!("{items} items; expected at most {}", limits.items),
        ));
    }
    if k == 0 || k > limits.k {
        return Err(Reject::decode("bad-k", format!("k {k}; expected 1 to {}", limits.k)));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
