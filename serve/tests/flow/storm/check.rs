//! What must hold when a storm is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burnrec_serve::Engine;
use burnrec_serve::Reject;
use burnrec_serve::clock::Clock;
use burnrec_serve::config::{Guarantee, Order, ServeConfig};
use burnrec_serve::engine::Reading;
use burnrec_serve::event::{Home, TopicPartition};
use burnrec_serve::message::WireId;
use burnrec_serve::outbox::{EventOutcome, Outbox, To};
use burnrec_serve::state::{HistoryEvent, Key, State};

use super::Storm;
use super::indexed::Indexed;
use crate::common::USERS;
use crate::twin::{Cluster, Record, Rules};

/// What a storm left.
pub struct Ran {
    pub cluster: Arc<Cluster>,
    pub config: ServeConfig,
    pub rules: Rules,
    /// The most bytes of a record of the state topic.
    pub record_bytes: usize,
    /// The index of all flows.
    pub indexed: Indexed,
}

/// How a request must end: the word of its receipt, and where its messages go.
type End = (&'static str, Vec<Message>);

/// The topic that a message went to, its key and its value.
type Message = (To, Option<String>, Option<String>);

impl Ran {
    /// Returns how each request must end, found by an engine that answers them in order and without failures, and that
    /// engine with its histories.
    fn expected(&self, storm: &Storm) -> (BTreeMap<(TopicPartition, i64), End>, Engine) {
        let clock = Arc::clone(&self.cluster.clock);
        let received = clock.now();
        let engine = Engine::open(&self.config).expect("an engine").with_clock(clock);
        let engine = engine.with_record_bytes(self.record_bytes);
        let mut all = BTreeMap::new();
        for (part, stored) in self.cluster.requests() {
            if self.rules.begin.get(&part).is_some_and(|begin| stored.offset < *begin) {
                continue;
            }
            let mut event = stored.event(received, part);
            let (mut outbox, mut undo) = (Outbox::default(), Vec::new());
            engine.answer(std::slice::from_ref(&event), Reading::default(), &mut undo, &mut outbox);
            let source = (part, stored.offset);
            let large = self.rules.too_large.contains(&source);
            if large && matches!(outbox.outcomes[0], EventOutcome::Replied(_)) {
                // It is rejected, and leaves no trace in the user's history.
                engine.state.undo(undo);
                outbox.clear();
                event.refused = Some(Box::new(Reject::sink("not-taken", "too large")));
                engine.answer(std::slice::from_ref(&event), Reading::default(), &mut Vec::new(), &mut outbox);
            }
            let word = match &outbox.outcomes[0] {
                EventOutcome::Replied(_) => "replied",
                EventOutcome::Filtered
                | EventOutcome::FilteredBy(_)
                | EventOutcome::Resubmitted
                | EventOutcome::GivenUp(_) => "filtered",
                EventOutcome::Expired(_) => "expired",
                EventOutcome::Failed(reject) if reject.stage.name() == "decode" && storm.then == "drop" => {
                    "dropped"
                }
                EventOutcome::Failed(_) => "rejected",
                EventOutcome::Dropped(_) => "dropped",
            };
            let messages = outbox.messages.iter();
            let mut messages: Vec<_> = messages
                .map(|message| {
                    let key = message.key.clone().map(|range| &outbox.bytes[range]);
                    let value = outbox.value(message).filter(|_| message.to != To::State);
                    (message.to, text(key.or(stored.key.as_deref())), text(value))
                })
                .collect();
            if word == "rejected" || word == "expired" {
                messages = vec![(To::Rejects, text(stored.key.as_deref()), text(stored.payload.as_deref()))];
            }
            all.insert(source, (word, messages));
        }
        (all, engine)
    }

    /// Returns what was written for each request: the words of its receipts, and its messages.
    fn found(&self) -> BTreeMap<(TopicPartition, i64), (Vec<String>, Vec<Record>)> {
        let mut all: BTreeMap<_, (Vec<String>, Vec<Record>)> = BTreeMap::new();
        for record in self.cluster.visible() {
            let entry = all.entry((record.part, record.offset)).or_default();
            if record.to == To::Receipts {
                let receipt = record.json();
                let topic = ["first", "second"][usize::from(record.part.topic)];
                let source = format!("{topic}/{}/{}", record.part.partition, record.offset);
                assert_eq!(receipt["source"], source.as_str());
                entry.0.push(receipt["outcome"].as_str().expect("a word").to_owned());
            } else {
                entry.1.push(record);
            }
        }
        all
    }

    /// Returns the histories that the state topic keeps.
    fn restored(&self, part: TopicPartition) -> State {
        let state = State::default();
        let topic = ["first", "second"][usize::from(part.topic)];
        let visible = self.cluster.visible();
        let kept =
            visible.iter().filter(|kept| kept.to == To::State && kept.part.partition == part.partition);
        for record in kept {
            let key = record.key.as_deref().expect("a key");
            state.restore(home(part), topic, (key, record.value.as_deref()), 0).expect("a record");
        }
        state
    }
}

fn home(part: TopicPartition) -> Home {
    Home { worker: 0, part }
}

fn history(state: &State, part: TopicPartition, user: i64) -> Vec<HistoryEvent> {
    state.get(Some(home(part)), &WireId::Int(user), 0).map(|(history, _)| history.events).unwrap_or_default()
}

/// Returns how many replies and rejects a receipt's word stands for.
fn wanted(word: &str) -> (usize, usize) {
    match word {
        "replied" => (1, 0),
        "rejected" | "expired" => (0, 1),
        "filtered" | "dropped" => (0, 0),
        other => panic!("{other}"),
    }
}

fn count(records: &[Message], of: To) -> usize {
    records.iter().filter(|(to, ..)| *to == of).count()
}

fn exact(word: &str, records: &[Message]) -> bool {
    wanted(word) == (count(records, To::Replies), count(records, To::Rejects))
}

/// Returns whether a request may end with the word `found`: answered in another order or a second time, it is scored
/// from another history, so that its score may be on the other side of a threshold.
fn may_be(found: &str, expected: &str) -> bool {
    let by_score = |word: &str| ["filtered", "replied", "rejected"].contains(&word);
    found == expected || by_score(found) && by_score(expected)
}

/// Runs a storm and checks all that must hold; returns the number of failures in it.
pub fn check(storm: &Storm) -> u32 {
    let ran = storm.run();
    let exactly_once = storm.guarantee == Guarantee::ExactlyOnce;
    let (expected, engine) = ran.expected(storm);
    let found = ran.found();
    let first_in = storm.order == Order::FirstIn;
    for (source, (word, messages)) in &expected {
        let Some((words, records)) = found.get(source) else { panic!("{source:?} is missing: {storm:?}") };
        // A history is written as it is after its batch, which may hold later events: its value is not compared.
        let parts = |record: &Record| {
            let value = record.value.as_deref().filter(|_| record.to != To::State);
            (record.to, text(record.key.as_deref()), text(value))
        };
        let records: Vec<Message> = records.iter().map(parts).collect();
        let context = || format!("{source:?}: {words:?}, {records:?}, not {word} {messages:?}: {storm:?}");
        if exactly_once && first_in {
            assert!(words[..] == [*word] && records == *messages, "{}", context());
        } else if exactly_once {
            // In another order requests are answered from other histories.
            let once = words.len() == 1 && exact(&words[0], &records);
            assert!(once && may_be(&words[0], word), "{}", context());
            assert_eq!(count(&records, To::State), count(messages, To::State), "{}", context());
        } else {
            let written = |found: &&String| {
                let n = wanted(found);
                n.0 <= count(&records, To::Replies) && n.1 <= count(&records, To::Rejects)
            };
            assert!(words.iter().filter(written).any(|found| may_be(found, word)), "{}", context());
        }
    }
    assert_eq!(expected.len(), found.len(), "nothing comes from nowhere: {storm:?}");
    ran.indexed.check(&found, exactly_once, &format!("{storm:?}"));
    if exactly_once && storm.keeps_order() {
        let mut last = BTreeMap::new();
        let ordered = |record: &&Record| [To::Replies, To::Receipts].contains(&record.to);
        for record in ran.cluster.visible().iter().filter(ordered) {
            let before = last.insert((record.to, record.part), record.offset).unwrap_or(-1);
            assert!(before < record.offset, "{record:?} after {before}: {storm:?}");
        }
    }
    for record in ran.cluster.visible().iter().filter(|record| record.to == To::State) {
        let bytes = record.value.as_ref().map_or(0, Vec::len);
        assert!(bytes <= ran.record_bytes, "{record:?} of {bytes} bytes: {storm:?}");
    }
    // With at-least-once, a late record of a former owner may still get into the topic.
    let late = storm.rules.slow || storm.rules.faults.lost > 0.0;
    for &part in storm.parts.iter().filter(|_| exactly_once || !late) {
        let state = ran.restored(part);
        for user in 1..USERS as i64 + 10 {
            let (kept, right) = (history(&state, part, user), history(&engine.state, part, user));
            if first_in {
                assert_eq!(kept, right, "the history of {user} in {part:?}: {storm:?}");
            } else if right.len() < 3 {
                let items = |events: &[HistoryEvent]| events.iter().map(|event| event.item.clone()).collect();
                let (kept, right): (BTreeSet<Key>, BTreeSet<Key>) = (items(&kept), items(&right));
                assert_eq!(kept, right, "the items of {user} in {part:?}: {storm:?}");
            }
        }
    }
    ran.cluster.faults()
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
