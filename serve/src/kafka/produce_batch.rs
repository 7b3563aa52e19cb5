//! Messages that are handed to librdkafka together (`rd_kafka_produce_batch`): for all of them it looks at the topic and at
//! the clock once.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::marker::PhantomData;
use std::ptr::{null, null_mut};
use std::rc::Rc;

use rdkafka::bindings as native;
use rdkafka::error::{IsError, KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;

use super::native::Owned;
use crate::outbox::To;

/// librdkafka's `RD_KAFKA_PARTITION_UA`: the key chooses the partition.
const UNASSIGNED: i32 = -1;

/// A topic of a producer.
pub type ProducerTopic = Rc<Owned<native::rd_kafka_topic_t>>;

/// Where a message goes: what its topic is for, and its partition, unless its key chooses that.
pub type Target = (To, Option<i32>);

/// The topics of a producer, by name. They are dropped before it.
pub type ProducerTopics = HashMap<String, ProducerTopic>;

/// Returns a topic of a producer.
///
/// # Errors
/// When its name is refused.
pub fn topic<C: ProducerContext>(
    topics: &mut ProducerTopics,
    producer: &BaseProducer<C>,
    name: &str,
) -> KafkaResult<ProducerTopic> {
    if !topics.contains_key(name) {
        let text = CString::new(name)?;
        // SAFETY: the producer and the name live for the whole call, and the topic is destroyed by its owner alone.
        let made = unsafe {
            let made = native::rd_kafka_topic_new(producer.client().native_ptr(), text.as_ptr(), null_mut());
            Owned::new(made, native::rd_kafka_topic_destroy)
        };
        let made = made.ok_or(KafkaError::MessageProduction(Code::InvalidTopic))?;
        topics.insert(name.to_owned(), Rc::new(made));
    }
    Ok(Rc::clone(&topics[name]))
}

/// Messages that wait to be handed over, by where they go. They borrow their keys and values.
#[derive(Default)]
pub struct Waiting<'a> {
    targets: BTreeMap<Target, Vec<native::rd_kafka_message_t>>,
    of: PhantomData<&'a [u8]>,
}

impl<'a> Waiting<'a> {
    /// Adds a message; `opaque` comes back in its delivery report.
    pub fn add(&mut self, target: Target, key: Option<&'a [u8]>, value: Option<&'a [u8]>, opaque: usize) {
        let place = |bytes: Option<&[u8]>| bytes.map_or(null(), <[u8]>::as_ptr).cast_mut().cast();
        self.targets.entry(target).or_default().push(native::rd_kafka_message_t {
            err: RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: null_mut(),
            partition: UNASSIGNED,
            payload: place(value),
            len: value.map_or(0, <[u8]>::len),
            key: place(key),
            key_len: key.map_or(0, <[u8]>::len),
            offset: 0,
            _private: opaque as *mut _,
        });
    }

    /// Takes the messages for the next target.
    pub fn next(&mut self) -> Option<Messages<'a>> {
        let ((to, partition), messages) = self.targets.pop_first()?;
        Some(Messages { to, partition, messages, done: 0, of: PhantomData })
    }
}

/// Messages for one target, in their order.
pub struct Messages<'a> {
    /// What their topic is for.
    pub to: To,
    partition: Option<i32>,
    messages: Vec<native::rd_kafka_message_t>,
    done: usize,
    of: PhantomData<&'a [u8]>,
}

impl Messages<'_> {
    /// Hands over those that are not yet, which librdkafka copies.
    ///
    /// # Errors
    /// The first that is not taken, by its opaque, and why. With [`Code::QueueFull`] none after it is taken, and the call is
    /// to be repeated.
    pub fn hand_over(&mut self, topic: &ProducerTopic) -> Result<(), (usize, Code)> {
        let rest = &mut self.messages[self.done..];
        let partition = self.partition.unwrap_or(UNASSIGNED);
        // SAFETY: the topic lives, and so do the keys and values, which `self` borrows; `rest` is as long as is said.
        unsafe {
            let (copy, n) = (native::RD_KAFKA_MSG_F_COPY, rest.len() as i32);
            native::rd_kafka_produce_batch(topic.get(), partition, copy, rest.as_mut_ptr(), n);
        }
        match rest.iter().position(|message| message.err.is_error()) {
            None => Ok(()),
            Some(at) => {
                self.done += at;
                Err((rest[at]._private as usize, rest[at].err.into()))
            }
        }
    }
}
