//! The scoring run of the demo, through a broker in this process. The broker is librdkafka's mock, which has no
//! transactions: the exactly-once guarantee is tested on a real Kafka.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use burnrec::serve::health::Health;
use burnrec::serve::kafka::{TopicLimits, Workers};
use burnrec::serve::message::WireId;
use burnrec::serve::metrics::Metrics;
use burnrec::serve::{Engine, ServeConfig};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// The mock keeps at most 5 MB of a partition; with so many partitions all messages of a run fit.
const PARTITIONS: i32 = 12;

/// The longest time that the run may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The result of a scoring run.
pub struct ScoringRun {
    /// The number of requests answered.
    pub events: u64,
    /// The seconds from the first request read to the last reply sent.
    pub seconds: f64,
    /// A reply as it stands in the topic: the last of its partition.
    pub reply: String,
}

/// Scores `n` pairs of known users and items, drawn in turn, with the model of a run directory.
pub fn scoring_run(run: &Path, n: u64) -> Result<ScoringRun> {
    let cluster = MockCluster::new(1).context("cannot start the embedded broker")?;
    let bootstrap = cluster.bootstrap_servers();
    for topic in ["requests", "replies", "rejects"] {
        cluster.create_topic(topic, PARTITIONS, 1).with_context(|| format!("cannot create topic {topic}"))?;
    }
    let config = ServeConfig::from_table(table(run, &bootstrap)?)?;
    let engine = Arc::new(Engine::open(&config)?);
    send_requests(&engine, &bootstrap, n)?;
    let (metrics, health) = (Arc::new(Metrics::default()), Arc::new(Health::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let workers = Workers::start(&config, &TopicLimits::default(), &engine, &metrics, &health, &stop)?;
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
        bail!(
            "the embedded broker: found {events} replies after {LIMIT:?}, expected {n}; the service said {:?}",
            health.reasons()
        );
    }
    Ok(ScoringRun { events, seconds, reply: last_reply(&bootstrap)? })
}

/// Returns the service's config: one model, one worker, at least once.
fn table(run: &Path, bootstrap: &str) -> Result<toml::Table> {
    Ok(toml::Table::try_from(serde_json::json!({
        "models": { "best": { "run": run.to_string_lossy() } },
        "kafka": {
            "bootstrap": bootstrap,
            "requests": ["requests"],
            "replies": "replies",
            "rejects": "rejects",
            "workers": 1,
        },
    }))?)
}

fn send_requests(engine: &Engine, bootstrap: &str, n: u64) -> Result<()> {
    let set = engine.models.set();
    let served = set.values().next().context("the service has no model")?;
    let (users, items) = (served.recommender.users.vocab(), served.recommender.items.vocab());
    let producer: ThreadedProducer<DefaultProducerContext> =
        client(bootstrap).create().context("cannot make a producer")?;
    for k in 0..n {
        // Steps by a prime reach every user and every item before one comes again.
        let user = users.id((k * 7919 % users.len() as u64) as u32);
        let item = items.id((k * 104_729 % items.len() as u64) as u32);
        let request = serde_json::json!({
            "type": "score", "user": WireId::from(user), "items": [WireId::from(item)], "id": k,
        });
        let (key, text) = (user.to_string(), request.to_string());
        let mut record = BaseRecord::to("requests").key(&key).payload(&text);
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error).context("cannot write requests");
            }
            record = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    producer.flush(LIMIT).context("cannot write requests")
}

/// Returns the last reply of the first partition that has any.
fn last_reply(bootstrap: &str) -> Result<String> {
    let mut client = client(bootstrap);
    client.set("group.id", "reader");
    let reader: BaseConsumer = client.create().context("cannot make a consumer")?;
    for partition in 0..PARTITIONS {
        let (_, end) = reader.fetch_watermarks("replies", partition, LIMIT).context("cannot read replies")?;
        if end > 0 {
            let mut last = TopicPartitionList::new();
            last.add_partition_offset("replies", partition, Offset::Offset(end - 1))
                .and_then(|()| reader.assign(&last))
                .context("cannot read replies")?;
            let message = reader.poll(LIMIT).context("the embedded broker gives no reply")??;
            return Ok(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
        }
    }
    bail!("the embedded broker: found no replies, expected some")
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", bootstrap).set("queue.buffering.max.messages", "500000");
    client
}
