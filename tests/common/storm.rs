//! Writes a stream of random requests of every kind, and reads what topics hold.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use super::kafka::until;

/// The number of users of the requests; their ids count from 1.
pub const USERS: u64 = 300;
/// The number of items, whose ids count from 1 too.
pub const ITEMS: u64 = 600;
/// Items with ids up to this one never reach their threshold, so that they are filtered out.
pub const FILTERED: u64 = 20;

/// A reply with so many items is larger than [`LARGEST_REPLY`], so that its request is rejected; of a user who has seen most
/// items the list is shorter, and may be replied.
pub const TOO_MANY: u64 = 500;
/// The `max.message.bytes` of the topic of replies.
pub const LARGEST_REPLY: usize = 10_000;
/// The header by which requests are answered first.
pub const RANK: &str = "rank";

/// A random generator: SplitMix64 (Steele, Lea and Flood 2014).
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Writes requests at a steady pace until it is ended.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

pub fn producer(client: &ClientConfig) -> ThreadedProducer<DefaultProducerContext> {
    let mut client = client.clone();
    client.set("enable.idempotence", "true").set("message.timeout.ms", "300000").set("linger.ms", "5");
    if client.get("partitioner").is_none() {
        client.set("partitioner", "murmur2_random");
    }
    client.create().expect("a producer")
}

impl Feed {
    /// Starts to write `per_second` requests a second, drawn from the seed; their ids tell the seed too.
    pub fn start(client: &ClientConfig, seed: u64, per_second: usize) -> Self {
        let (producer, stop) = (producer(client), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut draw, begin, mut n) = (Draw(seed), Instant::now(), 0_usize);
            while !until.load(Ordering::Relaxed) {
                while n < (begin.elapsed().as_secs_f64() * per_second as f64) as usize {
                    let Request { user, text, is_old, is_urgent } = request(&mut draw, seed, n);
                    let key = user.to_string();
                    let mut record = BaseRecord::to("requests").key(&key).payload(&text);
                    if is_old {
                        record = record.timestamp(now_ms() - 7_200_000);
                    }
                    if is_urgent {
                        let rank = Header { key: RANK, value: Some("5") };
                        record = record.headers(OwnedHeaders::new().insert(rank));
                    }
                    producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
                    n += 1;
                }
                // Polling waits for the whole 10 ms, so that this loop does not spin.
                producer.poll(Duration::from_millis(10));
            }
            producer.flush(Duration::from_secs(120)).expect("all is delivered");
        });
        Self { stop, thread }
    }

    /// Stops it, and waits until all that it wrote is delivered.
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the feed ends well");
    }
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    since.as_millis() as i64
}

struct Request {
    user: u64,
    text: String,
    /// Whether its timestamp is too old for it to be answered.
    is_old: bool,
    is_urgent: bool,
}

fn request(draw: &mut Draw, seed: u64, n: usize) -> Request {
    let user = 1 + draw.below(USERS);
    let item = FILTERED + 1 + draw.below(ITEMS - FILTERED);
    let other = FILTERED + 1 + draw.below(ITEMS - FILTERED);
    let id = format!("\"{seed}-{n}\"");
    let score = |items: &str| format!(r#"{{"type":"score","id":{id},"user":{user},"items":[{items}]}}"#);
    let kind = draw.below(100);
    let text = match kind {
        0..70 => score(&format!("{item},{other}")),
        70..75 => score(&(1 + draw.below(FILTERED)).to_string()),
        75..83 => {
            let value = 1 + draw.below(5);
            format!(r#"{{"type":"event","id":{id},"user":{user},"item":{item},"value":{value}}}"#)
        }
        83..88 => format!(r#"{{"type":"recommend","id":{id},"user":{user},"k":3,"without":[{item}]}}"#),
        88..91 => format!("nonsense {id}"),
        91 => format!(r#"{{"type":"recommend","id":{id},"user":{user},"k":{TOO_MANY}}}"#),
        92..95 => score(&format!("{item},987654321")),
        95..97 => format!(r#"{{"type":"similar","id":{id},"item":{item},"k":2}}"#),
        _ => score(&item.to_string()),
    };
    Request { user, text, is_old: kind >= 97, is_urgent: kind < 5 }
}

/// A record that was read from a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    pub topic: String,
    pub place: (i32, i64),
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub headers: BTreeMap<String, String>,
    pub old: bool,
}

impl Read {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.value).expect("JSON")
    }

    /// Returns the partition and offset of the event that led to this record.
    pub fn source(&self) -> (i32, i64) {
        let source = match self.headers.get("burnrec-source") {
            Some(source) => source.clone(),
            None => self.json()["source"].as_str().expect("a source").to_owned(),
        };
        let mut parts = source.split('/').skip(1).map(|part| part.parse::<i64>().expect("a number"));
        (parts.next().expect("a partition") as i32, parts.next().expect("an offset"))
    }

    pub fn of(message: &impl Message) -> Self {
        let mut headers = BTreeMap::new();
        if let Some(all) = message.headers() {
            for header in all.iter() {
                let value = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
                headers.insert(header.key.to_owned(), value);
            }
        }
        Self {
            topic: message.topic().to_owned(),
            place: (message.partition(), message.offset()),
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().unwrap_or_default().to_vec(),
            headers,
            old: message.timestamp().to_millis().is_some_and(|at| now_ms() - at > 3_600_000),
        }
    }
}

pub fn reader(client: &ClientConfig, isolation: &str) -> BaseConsumer {
    let mut client = client.clone();
    client.set("group.id", "reader").set("enable.auto.commit", "false").set("isolation.level", isolation);
    client.set("auto.offset.reset", "earliest");
    client.create().expect("a consumer")
}

/// Returns the beginnings of all partitions of some topics.
pub fn beginnings(reader: &BaseConsumer, topics: &[&str]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for topic in topics {
        let metadata = reader.fetch_metadata(Some(topic), Duration::from_secs(30)).expect("metadata");
        for partition in metadata.topics()[0].partitions() {
            list.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("an offset");
        }
    }
    list
}

/// Reads all records that are committed in some topics now. Where more come all the time librdkafka tells of no end of a partition, so
/// that each is read to the end that it has when its turn comes.
pub fn read_all(client: &ClientConfig, topics: &[&str]) -> Vec<Read> {
    let mut client = client.clone();
    let reader = reader(client.set("enable.partition.eof", "true"), "read_committed");
    let mut all = Vec::new();
    for part in beginnings(&reader, topics).elements() {
        let mut end = None;
        until("a broker tells the end", Duration::from_secs(60), || {
            // Just after a broker was killed, one that does not lead the partition yet may be asked.
            let ends = reader.fetch_watermarks(part.topic(), part.partition(), Duration::from_secs(30));
            end = ends.ok().map(|(_, end)| end);
            end.is_some()
        });
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(part.topic(), part.partition(), part.offset()).expect("an offset");
        reader.assign(&list).expect("assigned");
        loop {
            match reader.poll(Duration::from_secs(60)).expect("an event or an end") {
                Ok(message) if end.is_some_and(|end| message.offset() >= end) => break,
                Ok(message) => all.push(Read::of(&message)),
                // The last records before the end may be markers of transactions, which nobody sees.
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => break,
                Err(error) => eprintln!("reading: {error}"),
            }
        }
    }
    all
}
