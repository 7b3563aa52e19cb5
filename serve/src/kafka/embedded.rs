//! A scoring run through a broker that lives in this process: what `demo` ends with. The broker is librdkafka's mock,
//! which keeps no transactions; guarantees are tested on a real Kafka.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext};

use super::Workers;
use crate::config::ServeConfig;
use crate::engine::Engine;
use crate::health::Health;
use crate::message::WireId;
use crate::metrics::Metrics;
use crate::{Error, Result};

/// The mock keeps no more than 5 MB of a partition.
const PARTITIONS: i32 = 12;

/// How long the run may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What a run gave.
#[derive(Clone, Debug)]
pub struct ScoringRun {
    /// Requests answered.
    pub events: u64,
    /// From the first request read to the last reply sent.
    pub seconds: f64,
    /// The last reply as it stands in the topic.
    pub reply: String,
}

/// Scores `n` pairs of known users and items, drawn in turn, with the model of a run directory.
///
/// # Errors
/// When the model cannot be opened, or the run does not end.
pub fn scoring_run(run: &Path, n: u64) -> Result<ScoringRun> {
    let cluster = MockCluster::new(1).map_err(Error::kafka("start the embedded broker"))?;
    for topic in ["requests", "replies", "rejects"] {
        cluster.create_topic(topic, PARTITIONS, 1).map_err(Error::kafka("make a topic"))?;
    }
    let config = ServeConfig::from_table(table(run, &cluster.bootstrap_servers()))?;
    let engine = Arc::new(Engine::open(&config)?);
    write(&engine, &cluster.bootstrap_servers(), n)?;
    let (metrics, health) = (Arc::new(Metrics::default()), Arc::new(Health::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let workers = Workers::start(&config, &engine, &metrics, &health, &stop)?;
    let answered = || metrics.ends().values().sum::<u64>();
    let (begin, mut first) = (Instant::now(), None);
    while answered() < n && !stop.load(Ordering::Relaxed) && begin.elapsed() < LIMIT {
        if first.is_none() && metrics.events.get() > 0 {
            first = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let (events, seconds) = (answered(), first.unwrap_or(begin).elapsed().as_secs_f64());
    stop.store(true, Ordering::Relaxed);
    workers.join()?;
    if events < n {
        let found = format!("{events} of {n} replies after {LIMIT:?}: {:?}", health.reasons());
        return Err(Error::Topics { found, expected: "all of them".into() });
    }
    Ok(ScoringRun { events, seconds, reply: last_reply(&cluster.bootstrap_servers())? })
}

fn table(run: &Path, bootstrap: &str) -> toml::Table {
    let text = |text: &str| toml::Value::String(text.to_owned());
    let mut kafka = toml::Table::new();
    kafka.insert("bootstrap".into(), text(bootstrap));
    kafka.insert("requests".into(), toml::Value::Array(vec![text("requests")]));
    kafka.insert("replies".into(), text("replies"));
    kafka.insert("rejects".into(), text("rejects"));
    kafka.insert("workers".into(), toml::Value::Integer(1));
    let model = toml::Table::from_iter([("run".to_owned(), text(&run.to_string_lossy()))]);
    let models = toml::Table::from_iter([("best".to_owned(), toml::Value::Table(model))]);
    toml::Table::from_iter([
        ("models".to_owned(), toml::Value::Table(models)),
        ("kafka".to_owned(), toml::Value::Table(kafka)),
    ])
}

fn write(engine: &Engine, bootstrap: &str, n: u64) -> Result<()> {
    let set = engine.models.set();
    let Some(served) = set.values().next() else { return Ok(()) };
    let (users, items) = (served.users.vocab(), served.items.vocab());
    let producer: ThreadedProducer<Quiet> =
        client(bootstrap).create_with_context(Quiet).map_err(Error::kafka("make a producer"))?;
    for k in 0..n {
        // Primes: the steps go through all users and all items.
        let user = users.id((k * 7919 % users.len() as u64) as u32);
        let item = items.id((k * 104_729 % items.len() as u64) as u32);
        let request = serde_json::json!({ "type": "score", "user": WireId::from(user), "items": [WireId::from(item)], "id": k });
        let (key, text) = (user.to_string(), request.to_string());
        let mut record = BaseRecord::to("requests").key(&key).payload(&text);
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(Error::kafka("write requests")(error));
            }
            record = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    producer.flush(LIMIT).map_err(Error::kafka("write requests"))
}

fn last_reply(bootstrap: &str) -> Result<String> {
    let mut client = client(bootstrap);
    client.set("group.id", "reader");
    let reader: BaseConsumer = client.create().map_err(Error::kafka("make a consumer"))?;
    let (_, end) = reader.fetch_watermarks("replies", 0, LIMIT).map_err(Error::kafka("read replies"))?;
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset("replies", 0, rdkafka::Offset::Offset((end - 1).max(0)))
        .and_then(|()| reader.assign(&list))
        .map_err(Error::kafka("read replies"))?;
    match reader.poll(Duration::from_secs(10)) {
        Some(Ok(message)) => Ok(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned()),
        Some(Err(error)) => Err(Error::kafka("read replies")(error)),
        None => Ok(String::new()),
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", bootstrap).set("queue.buffering.max.messages", "500000");
    client
}

/// Deliveries are waited for as a whole.
#[derive(Clone)]
struct Quiet;

impl ClientContext for Quiet {}

impl rdkafka::producer::ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}
