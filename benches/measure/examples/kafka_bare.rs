//! The yardstick of the service: a loop on the client library alone, which copies key and payload from one topic to
//! another and computes nothing.
//!
//! ```sh
//! cargo run --release --example kafka_bare -- --bootstrap HOST:PORT --input T --output T --group G [--exactly-once]
//! ```
//!
//! One thread a worker, beside those of the client library. Offsets are committed every 100 ms: at least once, those
//! of messages whose copies the broker has confirmed; exactly once, in the transaction of the copies. SIGTERM ends it
//! cleanly.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

/// The length of a reply of the service, to which payloads are padded with blanks or cut.
const REPLY_BYTES: usize = 200;
/// The time between two commits.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// The number of messages after which the producer is polled for delivery reports and the clock is read.
const POLL_EVERY: usize = 64;
/// The most epochs (times between two commits) that may wait for delivery reports; far fewer ever do.
const EPOCHS: usize = 1024;

/// Copies one topic to another.
#[derive(Clone, Parser)]
struct Args {
    /// The brokers.
    #[arg(long, env = "KAFKA_BOOTSTRAP")]
    bootstrap: String,
    /// The topic to read, from its start if the group has no offsets.
    #[arg(long)]
    input: String,
    /// The topic to write.
    #[arg(long)]
    output: String,
    /// The consumer group.
    #[arg(long)]
    group: String,
    /// Commit copies and offsets in one transaction.
    #[arg(long)]
    exactly_once: bool,
    /// Threads, each with its own consumer and producer.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// How long the producer waits for a batch to fill; 0 for low latency.
    #[arg(long, default_value_t = 5)]
    linger_ms: u32,
}

/// Counts the copies that the broker has confirmed, for each epoch: the time between two commits.
struct Confirmations {
    of_epoch: [AtomicU64; EPOCHS],
    failed: AtomicBool,
}

impl ClientContext for Confirmations {}

impl ProducerContext for Confirmations {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, epoch: usize) {
        if let Err((error, _)) = result {
            eprintln!("a copy was not delivered: {error}");
            self.failed.store(true, Ordering::Relaxed);
        }
        self.of_epoch[epoch % EPOCHS].fetch_add(1, Ordering::Relaxed);
    }
}

/// What has been copied since the last commit, and the epochs that wait for confirmation.
struct Progress {
    epoch: usize,
    sent: u64,
    /// The offset after the last message that was copied, by partition.
    next: Vec<Option<i64>>,
    waiting: VecDeque<Waiting>,
    since: Instant,
}

/// An epoch with copies that the broker has not confirmed yet.
struct Waiting {
    epoch: usize,
    sent: u64,
    offsets: TopicPartitionList,
}

/// The producer's side, which the consumer calls when partitions are revoked.
struct Copier {
    args: Args,
    producer: BaseProducer<Confirmations>,
    progress: Mutex<Progress>,
}

impl ClientContext for Copier {}

impl ConsumerContext for Copier {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Revoke(_))
            && let Err(error) = self.give_up(consumer)
        {
            // A rate that counts copies which were not committed would be wrong.
            eprintln!("partitions went, and their copies could not be committed: {error}");
            std::process::exit(1);
        }
    }
}

impl Copier {
    fn new(args: Args, worker: usize) -> KafkaResult<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &args.bootstrap)
            .set("linger.ms", args.linger_ms.to_string())
            .set("enable.idempotence", "true");
        if args.exactly_once {
            config.set("transactional.id", format!("{}-{worker}", args.group));
        }
        let context =
            Confirmations { of_epoch: [const { AtomicU64::new(0) }; EPOCHS], failed: AtomicBool::new(false) };
        let producer = BaseProducer::from_config_and_context(&config, context)?;
        if args.exactly_once {
            producer.init_transactions(Timeout::Never)?;
            producer.begin_transaction()?;
        }
        let progress =
            Progress { epoch: 0, sent: 0, next: Vec::new(), waiting: VecDeque::new(), since: Instant::now() };
        Ok(Self { args, producer, progress: Mutex::new(progress) })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // One thread takes it, so no other can have left it half changed.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copy(&self, message: &BorrowedMessage<'_>, payload: &mut Vec<u8>) -> KafkaResult<()> {
        let progress = &mut *self.progress();
        payload.clear();
        payload.extend_from_slice(message.payload().unwrap_or_default());
        payload.resize(REPLY_BYTES, b' ');
        let key = message.key().unwrap_or_default();
        let mut record =
            BaseRecord::with_opaque_to(&self.args.output, progress.epoch).key(key).payload(&*payload);
        while let Err((error, back)) = self.producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error);
            }
            self.producer.poll(Duration::from_millis(1));
            record = back;
        }
        progress.sent += 1;
        let partition = message.partition() as usize;
        if progress.next.len() <= partition {
            progress.next.resize(partition + 1, None);
        }
        progress.next[partition] = Some(message.offset() + 1);
        Ok(())
    }

    /// Polls the producer for delivery reports, and commits what is confirmed.
    fn tend(&self, consumer: &BaseConsumer<Self>) -> KafkaResult<()> {
        self.producer.poll(Duration::ZERO);
        let mut progress = self.progress();
        let due = progress.since.elapsed() >= COMMIT_INTERVAL;
        if self.args.exactly_once {
            return if due && progress.sent > 0 {
                self.commit_transaction(&mut progress, consumer)
            } else {
                Ok(())
            };
        }
        if due {
            self.close_epoch(&mut progress)?;
        }
        self.commit_confirmed(&mut progress, consumer, CommitMode::Async)
    }

    fn offsets(&self, progress: &Progress) -> KafkaResult<TopicPartitionList> {
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in progress.next.iter().enumerate() {
            if let Some(next) = next {
                offsets.add_partition_offset(&self.args.input, partition as i32, Offset::Offset(*next))?;
            }
        }
        Ok(offsets)
    }

    fn close_epoch(&self, progress: &mut Progress) -> KafkaResult<()> {
        progress.since = Instant::now();
        // Where the ring of counters is full, the epoch goes on instead.
        if progress.sent == 0 || progress.waiting.len() == EPOCHS - 1 {
            return Ok(());
        }
        let offsets = self.offsets(progress)?;
        progress.waiting.push_back(Waiting { epoch: progress.epoch, sent: progress.sent, offsets });
        progress.epoch += 1;
        progress.sent = 0;
        Ok(())
    }

    fn commit_confirmed(
        &self,
        progress: &mut Progress,
        consumer: &BaseConsumer<Self>,
        mode: CommitMode,
    ) -> KafkaResult<()> {
        let confirmations = self.producer.context();
        if confirmations.failed.load(Ordering::Relaxed) {
            return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
        }
        let mut last = None;
        while let Some(first) = progress.waiting.front() {
            let confirmed = &confirmations.of_epoch[first.epoch % EPOCHS];
            if confirmed.load(Ordering::Relaxed) < first.sent {
                break;
            }
            confirmed.store(0, Ordering::Relaxed);
            last = progress.waiting.pop_front();
        }
        last.map_or(Ok(()), |last| consumer.commit(&last.offsets, mode))
    }

    fn commit_transaction(&self, progress: &mut Progress, consumer: &BaseConsumer<Self>) -> KafkaResult<()> {
        let offsets = self.offsets(progress)?;
        if let Some(group) = consumer.group_metadata() {
            self.producer.send_offsets_to_transaction(&offsets, &group, Timeout::Never)?;
        }
        self.producer.commit_transaction(Timeout::Never)?;
        self.producer.begin_transaction()?;
        progress.sent = 0;
        progress.since = Instant::now();
        Ok(())
    }

    /// Commits all that was copied, as partitions are revoked and another worker continues from there.
    fn give_up(&self, consumer: &BaseConsumer<Self>) -> KafkaResult<()> {
        let progress = &mut *self.progress();
        if self.args.exactly_once && progress.sent == 0 {
            // The open transaction is empty.
        } else if self.args.exactly_once && consumer.assignment_lost() {
            self.producer.abort_transaction(Timeout::Never)?;
            self.producer.begin_transaction()?;
        } else if self.args.exactly_once {
            self.commit_transaction(progress, consumer)?;
        } else {
            self.close_epoch(progress)?;
            self.producer.flush(Timeout::Never)?;
            self.commit_confirmed(progress, consumer, CommitMode::Sync)?;
        }
        progress.sent = 0;
        progress.next.clear();
        Ok(())
    }
}

fn work(args: Args, worker: usize, stop: &AtomicBool) -> KafkaResult<()> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.bootstrap)
        .set("group.id", &args.group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        // The default of a second stalls a loop that is slower than the broker for a moment.
        .set("fetch.queue.backoff.ms", "10");
    let copier = Copier::new(args.clone(), worker)?;
    let consumer = BaseConsumer::from_config_and_context(&config, copier)?;
    consumer.subscribe(&[&args.input])?;
    let copier = Arc::clone(consumer.context());
    let mut payload = Vec::with_capacity(2 * REPLY_BYTES);
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let message = consumer.poll(Duration::from_millis(10)).transpose()?;
        if let Some(message) = &message {
            copier.copy(message, &mut payload)?;
            n += 1;
        }
        if message.is_none() || n % POLL_EVERY == 0 {
            copier.tend(&consumer)?;
        }
    }
    copier.give_up(&consumer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed))?;
    let workers: Vec<_> = (0..args.workers)
        .map(|worker| {
            let (args, stop) = (args.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let done = work(args, worker, &stop);
                stop.store(true, Ordering::Relaxed);
                done
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")??;
    }
    Ok(())
}
