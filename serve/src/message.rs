//! Requests and replies on the wire: one JSON object a message, the same from Kafka and HTTP.

use serde::{Deserialize, Serialize};

/// An outside id in a message: an integer or a string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WireId {
    /// An integer.
    Int(i64),
    /// Any string.
    Str(String),
}

/// What is asked, by `type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Score these items for the user.
    Score {
        /// Echoed in the reply.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<WireId>,
        /// The user.
        user: WireId,
        /// The items.
        items: Vec<WireId>,
    },
    /// The best items for the user.
    Recommend {
        /// Echoed in the reply.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<WireId>,
        /// The user.
        user: WireId,
        /// How many.
        k: u32,
        /// Only these, if given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Vec<WireId>>,
        /// None of these.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<WireId>,
        /// Whether items of the user's history may come back.
        #[serde(default)]
        include_seen: bool,
    },
    /// The items most like one.
    Similar {
        /// Echoed in the reply.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<WireId>,
        /// The item.
        item: WireId,
        /// How many.
        k: u32,
    },
    /// The user took an item; the history grows by it.
    Event {
        /// Echoed in the reply.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<WireId>,
        /// The user.
        user: WireId,
        /// The item.
        item: WireId,
        /// The rating or weight; 1 if not given.
        #[serde(default = "one")]
        value: f32,
    },
}

fn one() -> f32 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_and_write_as_documented() {
        let cases = [
            r#"{"type":"score","id":"a","user":7,"items":[1,"x"]}"#,
            r#"{"type":"recommend","user":"u","k":10,"without":[3],"include_seen":true}"#,
            r#"{"type":"similar","item":5,"k":3}"#,
            r#"{"type":"event","user":1,"item":2,"value":4.5}"#,
        ];
        for text in cases {
            let request: Request = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&request).expect("JSON"), text);
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let cases = [
            r#"{"type":"score","user":7}"#,
            r#"{"type":"score","user":7,"items":[1.5]}"#,
            r#"{"type":"recommend","user":7,"k":-1}"#,
            r#"{"type":"similar","item":5,"k":3,"colour":"red"}"#,
            r#"{"type":"sing","user":7}"#,
            "7",
        ];
        for text in cases {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
