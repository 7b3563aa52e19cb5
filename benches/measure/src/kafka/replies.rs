//! Checks the replies in a topic against the requests: each answered, none twice, with the right score.

use std::io;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::contenders::Guarantee;
use super::requests::Requests;
use super::topics::Broker;

/// The tolerance of a score: replies have few decimals, and a sum in f32 depends on its order.
const TOLERANCE: f32 = 1e-4;
/// The longest time that the broker may send nothing before the end of a partition.
const PATIENCE: Duration = Duration::from_secs(60);

/// The counts and rates of a program's replies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplyVerdict {
    /// All replies, duplicates included.
    pub n: u64,
    /// Requests without a reply.
    pub missing: u64,
    /// Replies beyond the first to a request.
    pub duplicates: u64,
    /// Replies that answer no request, have another key than their request, or a wrong score.
    pub wrong: u64,
    /// The first wrong reply.
    pub first_wrong: Option<String>,
    /// Mean bytes of a reply, key and payload.
    pub bytes: f64,
    /// Replies a second from the first to the last, by the broker's append times.
    pub rate: f64,
    /// Replies a second from the middle one to the last.
    pub second_half_rate: f64,
}

impl ReplyVerdict {
    /// Returns what violates the guarantee, if anything does.
    pub fn fault(&self, guarantee: Guarantee) -> Option<String> {
        match self {
            Self { first_wrong: Some(first), wrong, .. } => {
                Some(format!("{wrong} wrong replies, first: {first}"))
            }
            Self { missing: 1.., .. } => Some(format!("{} requests without a reply", self.missing)),
            Self { duplicates: 1.., .. } if guarantee == Guarantee::ExactlyOnce => {
                Some(format!("{} duplicates under exactly once", self.duplicates))
            }
            _ => None,
        }
    }
}

/// Checks replies one by one.
pub struct ReplyCheck<'a> {
    requests: &'a Requests,
    scores: Option<&'a [f32]>,
    answered: Vec<bool>,
    appended_ms: Vec<i64>,
    bytes: u64,
    verdict: ReplyVerdict,
}

impl<'a> ReplyCheck<'a> {
    /// Starts a check; `scores` are those that the replies must have, by request, or none where they are not checked.
    pub fn new(requests: &'a Requests, scores: Option<&'a [f32]>) -> Self {
        let n = requests.len();
        Self {
            requests,
            scores,
            answered: vec![false; n],
            appended_ms: Vec::with_capacity(n),
            bytes: 0,
            verdict: ReplyVerdict::default(),
        }
    }

    /// Checks a reply.
    pub fn see(&mut self, key: &[u8], payload: &[u8], appended_ms: i64) {
        self.bytes += (key.len() + payload.len()) as u64;
        self.appended_ms.push(appended_ms);
        match self.request_of(key, payload) {
            Ok(k) if self.answered[k] => self.verdict.duplicates += 1,
            Ok(k) => self.answered[k] = true,
            Err(why) => {
                self.verdict.wrong += 1;
                let reply = String::from_utf8_lossy(payload);
                self.verdict.first_wrong.get_or_insert_with(|| format!("{why}: {}", reply.trim_end()));
            }
        }
    }

    fn request_of(&self, key: &[u8], payload: &[u8]) -> Result<usize, String> {
        let k = id_of(payload).ok_or("no id")?;
        if k >= self.requests.len() {
            return Err(format!("no request has id {k}"));
        }
        if key != self.requests.users[k].to_string().as_bytes() {
            let found = String::from_utf8_lossy(key);
            return Err(format!("key {found:?}, that of the request is {}", self.requests.users[k]));
        }
        if let Some(expected) = self.scores.map(|scores| scores[k]) {
            let found = number_at(payload, b"\"score\":")
                .or_else(|| number_at(payload, b"\"scores\":"))
                .ok_or("no score")?;
            if (found as f32 - expected).abs() > TOLERANCE {
                return Err(format!("score {found}, expected {expected}"));
            }
        }
        Ok(k)
    }

    /// Returns the counts and rates of all replies seen.
    pub fn verdict(mut self) -> ReplyVerdict {
        let times = &mut self.appended_ms;
        times.sort_unstable();
        let n = times.len();
        // Times are whole milliseconds.
        let rate = |from: usize| {
            let span_ms = times.last().zip(times.get(from)).map_or(0, |(last, first)| last - first);
            1e3 * (n - from) as f64 / span_ms.max(1) as f64
        };
        ReplyVerdict {
            n: n as u64,
            missing: self.answered.iter().filter(|&&answered| !answered).count() as u64,
            bytes: self.bytes as f64 / n.max(1) as f64,
            rate: rate(0),
            second_half_rate: rate(n / 2),
            ..self.verdict
        }
    }
}

/// Returns the id of a reply, which is the number of its request.
pub fn id_of(payload: &[u8]) -> Option<usize> {
    let id = number_at(payload, b"\"id\":")?;
    (id >= 0.0 && id.fract() == 0.0).then_some(id as usize)
}

/// Returns the number after the first occurrence of `key`, skipping blanks and brackets.
fn number_at(payload: &[u8], key: &[u8]) -> Option<f64> {
    let at = payload.windows(key.len()).position(|window| window == key)? + key.len();
    let rest = &payload[at..];
    let start = rest.iter().position(|byte| !matches!(byte, b' ' | b'['))?;
    let rest = &rest[start..];
    let end = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    std::str::from_utf8(&rest[..end.unwrap_or(rest.len())]).ok()?.parse().ok()
}

/// Reads a topic to its end and checks its replies; under exactly once it reads committed messages only.
///
/// # Errors
/// When it cannot be read.
pub fn check_topic(
    broker: &Broker,
    topic: &str,
    partitions: i32,
    guarantee: Guarantee,
    mut check: ReplyCheck<'_>,
) -> io::Result<ReplyVerdict> {
    let isolation = match guarantee {
        Guarantee::AtLeastOnce => "read_uncommitted",
        Guarantee::ExactlyOnce => "read_committed",
    };
    let mut config = broker.client();
    config
        .set("group.id", "burnrec-bench-check")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "10")
        .set("isolation.level", isolation);
    let consumer: BaseConsumer = config.create().map_err(io::Error::other)?;
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).map_err(io::Error::other)?;
    }
    consumer.assign(&all).map_err(io::Error::other)?;
    let mut ended = vec![false; partitions as usize];
    let mut last = Instant::now();
    while !ended.iter().all(|&ended| ended) {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                let appended = message.timestamp().to_millis().unwrap_or_default();
                check.see(message.key().unwrap_or_default(), message.payload().unwrap_or_default(), appended);
                last = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => ended[partition as usize] = true,
            Some(Err(error)) => return Err(io::Error::other(error)),
            None if last.elapsed() > PATIENCE => {
                return Err(io::Error::other(format!(
                    "{topic} cannot be read to its end: a transaction is open, or the broker is gone"
                )));
            }
            None => {}
        }
    }
    Ok(check.verdict())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::requests::Kind;

    fn requests() -> Requests {
        Requests { kind: Kind::Score, users: vec![7, 8, 9, 7], items: vec![1, 2, 3, 4] }
    }

    fn verdict(scores: Option<&[f32]>, replies: &[(&str, &str, i64)]) -> ReplyVerdict {
        let requests = requests();
        let mut check = ReplyCheck::new(&requests, scores);
        for (key, payload, at) in replies {
            check.see(key.as_bytes(), payload.as_bytes(), *at);
        }
        check.verdict()
    }

    #[test]
    fn missing_and_repeated_replies_are_counted() {
        let replies = [("7", r#"{"id":0}"#, 5), ("7", r#"{"id": 3 }"#, 1005), ("7", r#"{"id":0}"#, 2005)];
        let verdict = verdict(None, &replies);
        assert_eq!((verdict.n, verdict.missing, verdict.duplicates, verdict.wrong), (3, 2, 1, 0));
        assert!(verdict.fault(Guarantee::AtLeastOnce).expect("a fault").contains("2 requests without"));
        assert_eq!((verdict.rate, verdict.second_half_rate), (1.5, 2.0));
    }

    #[test]
    fn duplicates_are_a_fault_under_exactly_once_alone() {
        let replies = [
            ("7", r#"{"id":0}"#, 1),
            ("8", r#"{"id":1}"#, 1),
            ("9", r#"{"id":2}"#, 1),
            ("7", r#"{"id":3}"#, 1),
        ];
        assert_eq!(verdict(None, &replies).fault(Guarantee::ExactlyOnce), None);
        let twice = verdict(None, &[&replies[..], &replies[..1]].concat());
        assert_eq!(twice.fault(Guarantee::AtLeastOnce), None);
        assert_eq!(twice.fault(Guarantee::ExactlyOnce).expect("a fault"), "1 duplicates under exactly once");
    }

    #[test]
    fn wrong_replies_are_told() {
        let scores = [0.25, 0.5, 0.75, 1e-5];
        let good = ("8", r#"{"scores":[{"item":2,"score":0.50004}],"id":1}"#, 1);
        assert_eq!(verdict(Some(&scores), &[good]).wrong, 0);
        assert_eq!(verdict(Some(&scores), &[("7", r#"{"id":3,"scores":[1.0e-5]}"#, 1)]).wrong, 0);
        let cases = [
            ("7", r#"{"score":0.25}"#, "no id"),
            ("7", r#"{"id":4,"score":0.25}"#, "no request has id 4"),
            ("7", r#"{"id":-1,"score":0.25}"#, "no id"),
            ("8", r#"{"id":0,"score":0.25}"#, "key \"8\", that of the request is 7"),
            ("7", r#"{"id":0,"score":0.2502}"#, "score 0.2502, expected 0.25"),
            ("7", r#"{"id":0,"score":NaN}"#, "no score"),
            ("7", r#"{"id":0,"reason":"unknown user"}"#, "no score"),
        ];
        for (key, payload, why) in cases {
            let verdict = verdict(Some(&scores), &[good, (key, payload, 1)]);
            let told = verdict.first_wrong.clone().expect(payload);
            assert!(verdict.wrong == 1 && told.starts_with(why), "{told}");
            assert!(verdict.fault(Guarantee::AtLeastOnce).is_some());
        }
    }
}
