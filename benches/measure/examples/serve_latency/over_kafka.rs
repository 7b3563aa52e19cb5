//! Writes requests into a topic on a schedule, and reads their replies from another.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use burnrec_measure::kafka::process::Process;
use burnrec_measure::kafka::replies::id_of;
use burnrec_measure::kafka::requests::Requests;
use burnrec_measure::kafka::topics::Broker;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::schedule::Schedule;

/// The longest time to wait for the first reply, and for further ones after all requests are sent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The topics of one contender.
pub struct Topics<'a> {
    pub broker: &'a Broker,
    pub input: String,
    pub output: String,
    pub partitions: i32,
}

/// For each request the microseconds from when it was due until its reply, and until it was sent; none where that is
/// unknown.
pub type Waits = (Vec<Option<u32>>, Vec<Option<u32>>);

/// Sends all requests to a running program, and reads their replies.
///
/// # Errors
/// When the program ends, or the broker fails.
pub fn ask(
    topics: &Topics<'_>,
    process: &mut Process,
    requests: &Requests,
    rate: f64,
    warm: usize,
) -> io::Result<(Schedule, Waits)> {
    let mut config = topics.broker.client();
    // An idempotent producer has at most five requests on their way, and so sends several messages in one when it is
    // busy; without idempotence each message would be a request of its own.
    config.set("linger.ms", "0").set("enable.idempotence", "true");
    let producer: BaseProducer = config.create().map_err(io::Error::other)?;
    let consumer = reader(topics)?;
    // The schedule starts once the program has answered a first request, and so is up.
    send(&producer, topics, requests, 0)?;
    let start = Instant::now();
    while reply(&consumer)?.is_none() {
        if let Some(ended) = process.ended()? {
            return Err(io::Error::other(format!("ended early, {}: {}", ended.status, process.last_words())));
        }
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("no reply in {PATIENCE:?}: {}", process.last_words())));
        }
    }
    let schedule = Schedule::from_now(rate, warm);
    let sent_all = AtomicBool::new(false);
    let waits = thread::scope(|scope| {
        let replies = scope.spawn(|| take_in(&consumer, schedule, requests.len(), &sent_all));
        let sent = send_all(&producer, topics, requests, schedule);
        sent_all.store(true, Ordering::Relaxed);
        let replies = replies.join().map_err(|_| io::Error::other("the reader panicked"))?;
        Ok::<_, io::Error>((replies?, sent?))
    })?;
    Ok((schedule, waits))
}

fn reader(topics: &Topics<'_>) -> io::Result<BaseConsumer> {
    let mut config = topics.broker.client();
    config
        .set("group.id", "burnrec-bench-latency")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "10");
    let consumer: BaseConsumer = config.create().map_err(io::Error::other)?;
    let mut all = TopicPartitionList::new();
    for partition in 0..topics.partitions {
        all.add_partition_offset(&topics.output, partition, Offset::Beginning).map_err(io::Error::other)?;
    }
    consumer.assign(&all).map_err(io::Error::other)?;
    Ok(consumer)
}

/// Returns the number of the request that the next reply answers, or none if no reply comes within 100 ms.
fn reply(consumer: &BaseConsumer) -> io::Result<Option<usize>> {
    let Some(message) = consumer.poll(Duration::from_millis(100)) else { return Ok(None) };
    let message = message.map_err(io::Error::other)?;
    let payload = message.payload().unwrap_or_default();
    let no_id = || io::Error::other(format!("a reply without an id: {}", String::from_utf8_lossy(payload)));
    id_of(payload).map(Some).ok_or_else(no_id)
}

fn take_in(
    consumer: &BaseConsumer,
    schedule: Schedule,
    n: usize,
    sent_all: &AtomicBool,
) -> io::Result<Vec<Option<u32>>> {
    let mut waits = vec![None; n];
    let (mut answered, mut last) = (0, Instant::now());
    while answered < n && !(sent_all.load(Ordering::Relaxed) && last.elapsed() > PATIENCE) {
        let Some(k) = reply(consumer)? else { continue };
        let wait = waits.get_mut(k).ok_or_else(|| io::Error::other(format!("no request has id {k}")))?;
        if wait.is_none() {
            *wait = Some(schedule.late_us(k));
            answered += 1;
        }
        last = Instant::now();
    }
    Ok(waits)
}

fn send_all(
    producer: &BaseProducer,
    topics: &Topics<'_>,
    requests: &Requests,
    schedule: Schedule,
) -> io::Result<Vec<Option<u32>>> {
    let mut late = Vec::with_capacity(requests.len());
    while late.len() < requests.len() {
        for k in late.len()..schedule.due_by_now().min(requests.len()) {
            late.push(Some(schedule.late_us(k)));
            send(producer, topics, requests, k)?;
        }
        producer.poll(Duration::ZERO);
        schedule.wait_for(late.len());
    }
    producer.flush(PATIENCE).map_err(io::Error::other)?;
    Ok(late)
}

fn send(producer: &BaseProducer, topics: &Topics<'_>, requests: &Requests, k: usize) -> io::Result<()> {
    let (mut key, mut payload) = (Vec::new(), Vec::new());
    requests.write(k, &mut key, &mut payload);
    let mut record = BaseRecord::to(&topics.input).key(&key).payload(&payload);
    while let Err((error, back)) = producer.send(record) {
        if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
            return Err(io::Error::other(error));
        }
        producer.poll(Duration::from_millis(1));
        record = back;
    }
    Ok(())
}
