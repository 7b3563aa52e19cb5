//! The requests of a measurement: drawn, written to a topic, and kept to check the replies.

use std::io;
use std::io::Write;
use std::time::Duration;

use burnrec_data::rng::stream;
use rand::RngExt;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::topics::Broker;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The score of one item for the user.
    Score,
    /// The best ten items for the user, without those of the history.
    Recommend,
}

/// Requests drawn from a seed. Request `k` has id `k` and its user's id as its key; ids of users and items count from 1.
pub struct Requests {
    /// What a request asks for.
    pub kind: Kind,
    /// The user of each request.
    pub users: Vec<u32>,
    /// The item of each request.
    pub items: Vec<u32>,
}

impl Requests {
    /// Draws `n` requests.
    pub fn draw(kind: Kind, n: usize, n_users: u32, n_items: u32, seed: u64) -> Self {
        let mut rng = stream(seed, "serve.requests", 0);
        let mut draw = |of: u32| (0..n).map(|_| rng.random_range(1..=of)).collect();
        Self { kind, users: draw(n_users), items: draw(n_items) }
    }

    /// Returns the number of requests.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Writes the key and the payload of request `k` into the buffers, replacing their content.
    pub fn write(&self, k: usize, key: &mut Vec<u8>, payload: &mut Vec<u8>) {
        let (user, item) = (self.users[k], self.items[k]);
        key.clear();
        payload.clear();
        let written = write!(key, "{user}").and_then(|()| match self.kind {
            Kind::Score => write!(payload, r#"{{"type":"score","user":{user},"items":[{item}],"id":{k}}}"#),
            Kind::Recommend => write!(payload, r#"{{"type":"recommend","user":{user},"k":10,"id":{k}}}"#),
        });
        written.expect("a Vec takes all that is written");
    }

    /// Sends all requests to a topic, and waits until the broker has them.
    ///
    /// # Errors
    /// When the broker does not take them all.
    pub fn send(&self, broker: &Broker, topic: &str, partitions: i32) -> io::Result<()> {
        let mut config = broker.client();
        config.set("linger.ms", "20").set("enable.idempotence", "true");
        let producer: BaseProducer = config.create().map_err(io::Error::other)?;
        let (mut key, mut payload) = (Vec::new(), Vec::new());
        for k in 0..self.len() {
            self.write(k, &mut key, &mut payload);
            let mut record = BaseRecord::to(topic).key(&key).payload(&payload);
            while let Err((error, back)) = producer.send(record) {
                if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                    return Err(io::Error::other(error));
                }
                producer.poll(Duration::from_millis(1));
                record = back;
            }
            if k % 256 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(Duration::from_secs(60)).map_err(io::Error::other)?;
        let found = broker.end(topic, partitions)?;
        if found != self.len() as i64 {
            return Err(io::Error::other(format!(
                "{topic} holds {found} requests, sent were {}",
                self.len()
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_drawn_from_the_seed_and_cover_the_ids() {
        let requests = Requests::draw(Kind::Score, 1000, 5, 7, 1);
        assert_eq!(requests.users, Requests::draw(Kind::Score, 1000, 5, 7, 1).users);
        assert_ne!(requests.users, Requests::draw(Kind::Score, 1000, 5, 7, 2).users);
        assert!(
            (1..=5).all(|user| requests.users.contains(&user))
                && requests.users.iter().all(|&user| user <= 5)
        );
        assert!(
            (1..=7).all(|item| requests.items.contains(&item))
                && requests.items.iter().all(|&item| item <= 7)
        );
    }

    #[test]
    fn a_request_reads_as_the_service_has_it() {
        let (mut key, mut payload) = (b"old".to_vec(), b"old".to_vec());
        let mut requests = Requests { kind: Kind::Score, users: vec![7], items: vec![12] };
        requests.write(0, &mut key, &mut payload);
        assert_eq!(key, b"7");
        assert_eq!(payload, br#"{"type":"score","user":7,"items":[12],"id":0}"#);
        requests.kind = Kind::Recommend;
        requests.write(0, &mut key, &mut payload);
        assert_eq!(payload, br#"{"type":"recommend","user":7,"k":10,"id":0}"#);
    }
}
