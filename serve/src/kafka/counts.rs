//! How many partitions the topics of requests have, and had when the histories came where they are: with another number a
//! user's events come elsewhere.
//!
//! Each partition of the state topic keeps that number in a record with the key `["topic"]`.

use rdkafka::producer::BaseRecord;
use serde::{Deserialize, Serialize};

use super::upkeep::Upkeep;
use crate::config::KafkaConfig;
use crate::message::VERSION;
use crate::{Error, Result};

/// The number of partitions of a topic of requests, as a partition of the state topic keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The topic of requests.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
}

#[derive(Serialize, Deserialize)]
struct Value {
    v: u32,
    partitions: i32,
}

impl Count {
    /// Reads a record of the state topic; none if it is of a user.
    pub fn read(key: &[u8], value: Option<&[u8]>) -> Option<Self> {
        // The key of a user has two parts.
        if key.contains(&b',') {
            return None;
        }
        let (topic,): (String,) = serde_json::from_slice(key).ok()?;
        let Value { partitions, .. } = serde_json::from_slice(value?).ok()?;
        Some(Self { topic, partitions })
    }

    /// Writes it into partitions of the state topic.
    ///
    /// # Errors
    /// When the brokers do not take it.
    pub fn write(&self, config: &KafkaConfig, partitions: &[i32]) -> Result<()> {
        let Some(state) = &config.state else { return Ok(()) };
        let key = serde_json::to_string(&(&self.topic,)).expect("a text is JSON");
        let value = serde_json::to_string(&Value { v: VERSION, partitions: self.partitions });
        let value = value.expect("numbers are JSON");
        let upkeep = Upkeep::new(config, false)?;
        for &partition in partitions {
            upkeep.send(
                BaseRecord::to(state).partition(partition).key(key.as_bytes()).payload(value.as_bytes()),
            )?;
        }
        upkeep.finish()
    }
}

/// Returns the error of a topic that has more partitions, or fewer, than its users' histories are kept by.
pub fn moved(topic: &str, now: i32, kept: i32, state: &str, of_state: Option<i32>) -> Error {
    let grow = of_state.filter(|n| *n < now).map(|n| format!(", give {state} as many, which has {n}"));
    Error::Topics {
        found: format!("{now} partitions of {topic}, by {kept} of which the histories in {state} are kept"),
        expected: format!(
            "the histories where their users' events come: stop all instances{}, and run `burnrec repartition`",
            grow.unwrap_or_default()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_told_from_a_user() {
        let value = br#"{"v":1,"partitions":4}"#;
        let count = |key: &str| Count::read(key.as_bytes(), Some(value));
        assert_eq!(count(r#"["requests"]"#), Some(Count { topic: "requests".into(), partitions: 4 }));
        assert_eq!([count(r#"["requests",7]"#), count("7"), count("")], [None, None, None]);
        assert_eq!(Count::read(br#"["requests"]"#, None), None);
    }

    #[test]
    fn what_to_do_is_said() {
        let text = moved("requests", 6, 4, "state", Some(4)).to_string();
        for part in
            ["6 partitions of requests", "by 4", "give state as many, which has 4", "burnrec repartition"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(!moved("requests", 6, 4, "state", Some(6)).to_string().contains("as many"));
    }
}
