//! A block of the index: many events by columns, as they are collected in memory, and as they are on disk.
//!
//! On disk a block has a head, by which a search leaves it out without its filter; a filter, by which it leaves it out without its
//! body; and its body: small numbers that are close to each other, compressed, and the hashes as they are.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::ids::{BYTES, IdHash};
use super::record::{Batch, Facts};

/// The most events of a block.
pub const FULL: usize = 1 << 15;

/// The most facts and partitions of a block.
const MOST_FACTS: usize = 4096;

/// The level of zstd: numbers that are alike shrink enough at the fastest.
const LEVEL: i32 = 1;

/// The offsets of a partition in a block.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct PartSpan {
    /// The topic, or `http`.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The lowest offset.
    pub first: i64,
    /// The highest.
    pub last: i64,
}

/// What a search looks at first.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Head {
    /// How many events it has.
    pub events: usize,
    /// When the first of them ended, in Unix milliseconds.
    pub from_ms: i64,
    /// When the last of them ended.
    pub to_ms: i64,
    /// Its partitions.
    pub parts: Vec<PartSpan>,
    /// What its events have in common.
    pub facts: Vec<Facts>,
    /// How many hashes of items there are.
    items: usize,
    /// The bytes of its small numbers.
    numbers: usize,
    /// The bytes of these, compressed.
    packed: usize,
}

impl Head {
    /// Returns the bytes of its body.
    pub fn body_bytes(&self) -> usize {
        self.packed + BYTES * (2 * self.events + self.items)
    }
}

/// A block as it is on disk.
pub struct Encoded {
    /// The head, as JSON.
    pub head: Vec<u8>,
    /// The filter.
    pub filter: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// When the last event ended, in Unix milliseconds.
    pub to_ms: i64,
}

impl Encoded {
    /// Returns how many bytes it takes.
    pub fn bytes(&self) -> u64 {
        (self.head.len() + self.filter.len() + self.body.len()) as u64
    }
}

/// An event in a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// When it ended, in Unix milliseconds.
    pub at_ms: i64,
    /// Its place in the block's partitions.
    pub part: u16,
    /// Its place in the block's facts.
    pub facts: u16,
    /// Its offset.
    pub offset: i64,
    /// From reading it to its end, in microseconds.
    pub latency_us: u32,
    /// The user.
    pub user: IdHash,
    /// The `id` of the request.
    pub id: IdHash,
    /// Where its items end in the block's.
    items_end: u32,
}

/// A block in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// The topics and partitions.
    pub parts: Vec<(String, i32)>,
    /// What events have in common.
    pub facts: Vec<Facts>,
    /// The events.
    pub events: Vec<Event>,
    items: Vec<IdHash>,
    /// The messages that are in no topic, by the places of their events.
    pub inputs: Vec<(u32, Vec<u8>)>,
    known_facts: HashMap<Facts, u16>,
}

impl Block {
    /// Returns whether no more fits in.
    pub fn is_full(&self) -> bool {
        self.events.len() >= FULL || self.facts.len() >= MOST_FACTS || self.parts.len() >= MOST_FACTS
    }

    /// Returns the items of an event.
    pub fn items(&self, at: usize) -> &[IdHash] {
        let start = at.checked_sub(1).map_or(0, |before| self.events[before].items_end);
        &self.items[start as usize..self.events[at].items_end as usize]
    }

    /// Adds a batch. A batch has far less facts than a block has room for.
    pub fn add(&mut self, batch: Batch) {
        let facts: Vec<u16> = batch.facts.into_iter().map(|facts| self.facts_at(facts)).collect();
        let (first, mut part, mut items) = (self.events.len() as u32, None, 0);
        for row in batch.rows {
            let at = match part {
                Some((of, at)) if of == row.part => at,
                _ => {
                    let topic = batch.topics.get(usize::from(row.part.topic)).map_or("http", String::as_str);
                    self.part_at(topic, row.part.partition)
                }
            };
            part = Some((row.part, at));
            self.items.extend_from_slice(&batch.items[items..][..usize::from(row.items)]);
            items += usize::from(row.items);
            self.events.push(Event {
                at_ms: batch.at_ms,
                part: at,
                facts: facts[usize::from(row.facts)],
                offset: row.offset,
                latency_us: row.latency_us,
                user: row.user,
                id: row.id,
                items_end: self.items.len() as u32,
            });
        }
        self.inputs.extend(batch.inputs.into_iter().map(|(at, input)| (first + at, input)));
    }

    fn facts_at(&mut self, facts: Facts) -> u16 {
        let n = self.facts.len() as u16;
        let all = &mut self.facts;
        *self.known_facts.entry(facts).or_insert_with_key(|facts| {
            all.push(facts.clone());
            n
        })
    }

    fn part_at(&mut self, topic: &str, partition: i32) -> u16 {
        let found = self.parts.iter().position(|(of, part)| *part == partition && of == topic);
        found.unwrap_or_else(|| {
            self.parts.push((topic.to_owned(), partition));
            self.parts.len() - 1
        }) as u16
    }

    /// Takes events out; returns how many there were.
    pub fn remove(&mut self, is_gone: impl Fn(&Event) -> bool) -> usize {
        let (before, old) = (self.events.len(), std::mem::take(&mut self.items));
        let (mut start, mut at, mut places) = (0, 0, HashMap::new());
        let items = &mut self.items;
        self.events.retain_mut(|event| {
            let range = start..event.items_end as usize;
            (start, at) = (range.end, at + 1);
            if is_gone(event) {
                return false;
            }
            items.extend_from_slice(&old[range]);
            event.items_end = items.len() as u32;
            places.insert(at - 1, places.len() as u32);
            true
        });
        let inputs = std::mem::take(&mut self.inputs).into_iter();
        self.inputs = inputs.filter_map(|(at, input)| Some((*places.get(&at)?, input))).collect();
        before - self.events.len()
    }

    /// Writes the block.
    pub fn encode(&self) -> Encoded {
        let mut filter = Filter::new(2 * self.events.len() + self.items.len());
        let mut parts: Vec<PartSpan> = self
            .parts
            .iter()
            .map(|(topic, partition)| PartSpan {
                topic: topic.clone(),
                partition: *partition,
                first: i64::MAX,
                last: i64::MIN,
            })
            .collect();
        let (mut from_ms, mut to_ms) = (i64::MAX, i64::MIN);
        for event in &self.events {
            [event.user, event.id].into_iter().filter(|hash| *hash > 0).for_each(|hash| filter.add(hash));
            let part = &mut parts[usize::from(event.part)];
            (part.first, part.last) = (part.first.min(event.offset), part.last.max(event.offset));
            (from_ms, to_ms) = (from_ms.min(event.at_ms), to_ms.max(event.at_ms));
        }
        self.items.iter().for_each(|item| filter.add(*item));
        let numbers = self.numbers();
        let packed = zstd::bulk::compress(&numbers, LEVEL).expect("what is in memory can be compressed");
        let hashes =
            self.events.iter().map(|event| event.user).chain(self.events.iter().map(|event| event.id));
        let mut body = packed;
        let (packed, n) = (body.len(), 2 * self.events.len() + self.items.len());
        body.reserve_exact(n * BYTES);
        hashes.chain(self.items.iter().copied()).for_each(|hash| {
            body.extend_from_slice(&hash.to_le_bytes()[..BYTES]);
        });
        let (events, facts, items) = (self.events.len(), self.facts.clone(), self.items.len());
        let head = Head { events, from_ms, to_ms, parts, facts, items, numbers: numbers.len(), packed };
        let head = serde_json::to_vec(&head).expect("a head is JSON");
        Encoded { head, filter: filter.to_bytes(), body, to_ms }
    }

    /// Writes the small numbers, column by column, each as what it is more than the one before.
    fn numbers(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 * self.events.len());
        let mut column = |of: &dyn Fn(&Event) -> i64| {
            let mut before = 0;
            for event in &self.events {
                let value = of(event);
                write(zigzag(value.wrapping_sub(before)), &mut out);
                before = value;
            }
        };
        column(&|event| event.at_ms);
        column(&|event| event.part.into());
        column(&|event| event.facts.into());
        column(&|event| event.latency_us.into());
        column(&|event| event.items_end.into());
        let mut before = vec![0; self.parts.len()];
        for event in &self.events {
            let before = &mut before[usize::from(event.part)];
            write(zigzag(event.offset.wrapping_sub(*before)), &mut out);
            *before = event.offset;
        }
        write(self.inputs.len() as u64, &mut out);
        for (at, input) in &self.inputs {
            write(u64::from(*at), &mut out);
            write(input.len() as u64, &mut out);
            out.extend_from_slice(input);
        }
        out
    }

    /// Reads a block; `None` where it is none.
    pub fn decode(head: &Head, body: &[u8]) -> Option<Self> {
        let numbers = zstd::bulk::decompress(body.get(..head.packed)?, head.numbers).ok()?;
        let hash = |bytes: &[u8]| bytes.iter().rev().fold(0, |hash, byte| hash << 8 | u64::from(*byte));
        let mut hashes = body[head.packed..].chunks_exact(BYTES).map(hash);
        let n = head.events;
        let mut left = &numbers[..];
        let mut column = || {
            let mut before = 0_i64;
            let value = |_| {
                before = before.wrapping_add(unzigzag(read(&mut left)?));
                Some(before)
            };
            (0..n).map(value).collect::<Option<Vec<i64>>>()
        };
        let (at_ms, part, facts, latency, items_end) =
            (column()?, column()?, column()?, column()?, column()?);
        let users: Vec<u64> = hashes.by_ref().take(n).collect();
        let ids: Vec<u64> = hashes.by_ref().take(n).collect();
        let items: Vec<u64> = hashes.take(head.items).collect();
        let mut before = vec![0_i64; head.parts.len()];
        let mut events = Vec::with_capacity(n);
        for at in 0..n {
            let of = u16::try_from(part[at]).ok()?;
            let before = before.get_mut(usize::from(of))?;
            *before = before.wrapping_add(unzigzag(read(&mut left)?));
            let items_end = u32::try_from(items_end[at]).ok().filter(|end| *end as usize <= items.len())?;
            events.push(Event {
                at_ms: at_ms[at],
                part: of,
                facts: u16::try_from(facts[at]).ok().filter(|at| usize::from(*at) < head.facts.len())?,
                offset: *before,
                latency_us: u32::try_from(latency[at]).ok()?,
                user: *users.get(at)?,
                id: *ids.get(at)?,
                items_end,
            });
        }
        if events.windows(2).any(|pair| pair[0].items_end > pair[1].items_end) {
            return None;
        }
        let mut inputs = Vec::new();
        for _ in 0..read(&mut left)? {
            let (at, len) = (u32::try_from(read(&mut left)?).ok()?, usize::try_from(read(&mut left)?).ok()?);
            let (input, rest) = left.split_at_checked(len)?;
            inputs.push((at, input.to_vec()));
            left = rest;
        }
        let parts = head.parts.iter().map(|part| (part.topic.clone(), part.partition)).collect();
        let known_facts = head.facts.iter().cloned().zip(0..).collect();
        Some(Self { parts, facts: head.facts.clone(), events, items, inputs, known_facts })
    }
}

/// Returns a number that is small where `value` is near 0.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Writes a number, seven bits a byte.
fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a number.
fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
