//! Creates topics on a running broker, asks for their end offsets, and deletes them.

use std::io;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

/// The longest time that the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running broker.
pub struct Broker {
    /// `HOST:PORT`, or several with commas.
    pub bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    asker: BaseConsumer,
    runtime: tokio::runtime::Runtime,
}

impl Broker {
    /// Connects to a broker.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn connect(bootstrap: &str) -> io::Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        let broker = Self {
            bootstrap: bootstrap.to_owned(),
            admin: config.create().map_err(io::Error::other)?,
            asker: config.create().map_err(io::Error::other)?,
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
        };
        broker.asker.fetch_metadata(None, PATIENCE).map_err(|error| {
            io::Error::other(format!(
                "no Kafka broker answers at {bootstrap}: {error}; start one, or name another"
            ))
        })?;
        Ok(broker)
    }

    /// Returns the settings of a client of this broker.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    /// Creates a topic with a single replica, and waits until it can be read.
    ///
    /// # Errors
    /// When the broker refuses, for example because the topic exists.
    pub fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> io::Result<()> {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let done = self.runtime.block_on(self.admin.create_topics([&new], &AdminOptions::new()));
        for result in done.map_err(io::Error::other)? {
            result.map_err(|(topic, error)| io::Error::other(format!("{topic}: {error}")))?;
        }
        self.ends(topic, partitions).map(drop)
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn delete(&self, topic: &str) -> io::Result<()> {
        let done = self.runtime.block_on(self.admin.delete_topics(&[topic], &AdminOptions::new()));
        for result in done.map_err(io::Error::other)? {
            result.map_err(|(topic, error)| io::Error::other(format!("{topic}: {error}")))?;
        }
        Ok(())
    }

    /// Returns the end offset of each partition. The control records of transactions count.
    ///
    /// # Errors
    /// When the broker does not answer within 30 seconds.
    pub fn ends(&self, topic: &str, partitions: i32) -> io::Result<Vec<i64>> {
        let start = Instant::now();
        let ends =
            || (0..partitions).map(|at| Ok(self.asker.fetch_watermarks(topic, at, PATIENCE)?.1)).collect();
        loop {
            match ends() {
                Ok(ends) => return Ok(ends),
                Err::<_, KafkaError>(error) if start.elapsed() > PATIENCE => {
                    return Err(io::Error::other(error));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
            // A broker announces a new topic before it knows all its partitions, and a client caches what it was told.
            self.asker.fetch_metadata(Some(topic), PATIENCE).map_err(io::Error::other)?;
        }
    }

    /// Returns the sum of the end offsets of all partitions.
    ///
    /// # Errors
    /// As [`Broker::ends`].
    pub fn end(&self, topic: &str, partitions: i32) -> io::Result<i64> {
        Ok(self.ends(topic, partitions)?.iter().sum())
    }
}
