//! Finds events, the newest first.

use burnrec_data::Id;
use burnrec_data::calendar::{date_time, days_of};
use serde::{Deserialize, Serialize};

use super::block::{Block, Head};
use super::ids::{IdHash, IdHasher};
use super::record::Facts;
use super::store::Reading;
use crate::Result;

/// The most blocks that one search reads; it says where the next is to go on.
const BLOCKS: usize = 64;

/// The most events of a page.
const MOST: usize = 1000;

/// The events of a page, where nothing is said.
const PAGE: usize = 50;

/// A block that ends so long before the time that is asked for has only such before it.
const ORDERED_MS: i64 = 3_600_000;

/// What is asked for, as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The id of a user.
    pub user: Option<String>,
    /// The id of an item.
    pub item: Option<String>,
    /// The `id` of a request.
    pub id: Option<String>,
    /// `topic`, `topic/partition`, `topic/partition/offset` or `topic/partition/first-last`.
    pub source: Option<String>,
    /// From when on, in Unix milliseconds or as `2027-02-26T12:00:00Z`.
    pub from: Option<String>,
    /// Before when, likewise.
    pub to: Option<String>,
    /// A request's type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Why it was not answered.
    pub reason: Option<String>,
    /// The name, the version or a hash of a model.
    pub model: Option<String>,
    /// The number of a replay.
    pub replay: Option<u64>,
    /// The most events of a page.
    pub limit: Option<usize>,
    /// Where a page before ended.
    pub cursor: Option<String>,
    /// Whether the messages are to be shown.
    pub input: Option<bool>,
}

/// Where events were read.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The topic, or `http`.
    pub topic: String,
    /// The partition; any without one.
    pub partition: Option<i32>,
    /// The first offset.
    pub first: i64,
    /// The last.
    pub last: i64,
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let bad = || {
            format!("source: found {text:?}, expected topic/partition/offset or topic/partition/first-last")
        };
        let mut parts = text.split('/');
        let topic = parts.next().filter(|topic| !topic.is_empty()).ok_or_else(bad)?.to_owned();
        let partition = parts.next().map(str::parse).transpose().map_err(|_| bad())?;
        let (first, last) = match parts.next() {
            None => (i64::MIN, i64::MAX),
            Some(offsets) => {
                let (first, last) = offsets.split_once('-').unwrap_or((offsets, offsets));
                (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?)
            }
        };
        match parts.next().is_none() && first <= last {
            true => Ok(Self { topic, partition, first, last }),
            false => Err(bad()),
        }
    }
}

/// What is asked for, as the index has it.
#[derive(Clone, Debug, Default)]
pub struct Query {
    user: Option<IdHash>,
    item: Option<IdHash>,
    id: Option<IdHash>,
    source: Option<Source>,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    kind: Option<String>,
    outcome: Option<String>,
    reason: Option<String>,
    model: Option<String>,
    replay: Option<u64>,
    limit: usize,
    /// The block to begin in, and the place in it before which.
    cursor: Option<(u64, usize)>,
}

impl Query {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// When it is nothing that can be looked for; the text says what was found and what was expected.
    pub fn read(wanted: Wanted, ids: &IdHasher) -> std::result::Result<Self, String> {
        let of = |text: &Option<String>, hash: &dyn Fn(Id<'_>) -> IdHash| {
            text.as_ref().map(|id| hash(Id::Str(id)))
        };
        let limit = wanted.limit.unwrap_or(PAGE);
        if !(1..=MOST).contains(&limit) {
            return Err(format!("limit: found {limit}, expected 1 to {MOST}"));
        }
        let cursor = wanted.cursor.map(|text| {
            let place =
                text.split_once('.').and_then(|(block, at)| Some((block.parse().ok()?, at.parse().ok()?)));
            place.ok_or_else(|| format!("cursor: found {text:?}, expected that of a page before"))
        });
        let time = |name: &str, text: Option<String>| text.map(|text| moment(name, &text)).transpose();
        Ok(Self {
            user: of(&wanted.user, &|id| ids.user(id)),
            item: of(&wanted.item, &|id| ids.item(id)),
            id: of(&wanted.id, &|id| ids.request(id)),
            source: wanted.source.as_deref().map(str::parse).transpose()?,
            from_ms: time("from", wanted.from)?,
            to_ms: time("to", wanted.to)?,
            kind: wanted.kind,
            outcome: wanted.outcome,
            reason: wanted.reason,
            model: wanted.model,
            replay: wanted.replay,
            limit,
            cursor: cursor.transpose()?,
        })
    }

    /// Returns a query for all events of a user.
    pub fn of_user(user: IdHash) -> Self {
        Self { user: Some(user), limit: MOST, ..Self::default() }
    }

    /// Returns the query that goes on where a page ended.
    pub fn after(self, page: &Page) -> Option<Self> {
        page.cursor.map(|cursor| Self { cursor: Some(cursor), ..self })
    }

    fn hashes(&self) -> Vec<IdHash> {
        [self.user, self.item, self.id].into_iter().flatten().collect()
    }

    fn is_of(&self, facts: &Facts) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let is_model = |wanted: &String| {
            facts
                .model
                .as_ref()
                .is_some_and(|of| [&of.name, &of.version, &of.hash, &of.data].contains(&wanted))
        };
        is(&self.kind, &facts.kind)
            && is(&self.outcome, &facts.outcome)
            && is(&self.reason, &facts.reason)
            && self.model.as_ref().is_none_or(is_model)
            && self.replay.is_none_or(|replay| facts.replay == Some(replay))
    }

    fn is_at(&self, topic: &str, partition: i32) -> bool {
        self.source.as_ref().is_none_or(|source| {
            source.topic == topic && source.partition.is_none_or(|wanted| wanted == partition)
        })
    }

    /// Returns whether a block may have what is looked for, by its head.
    fn may_be_in(&self, head: &Head, from_ms: i64) -> bool {
        let is_in = |first: i64, last: i64| {
            self.source.as_ref().is_none_or(|source| first <= source.last && last >= source.first)
        };
        head.to_ms >= from_ms
            && self.to_ms.is_none_or(|to_ms| head.from_ms < to_ms)
            && head.facts.iter().any(|facts| self.is_of(facts))
            && head
                .parts
                .iter()
                .any(|part| self.is_at(&part.topic, part.partition) && is_in(part.first, part.last))
    }
}

/// Reads a moment, in Unix milliseconds.
///
/// # Errors
/// When it is none.
pub fn moment(name: &str, text: &str) -> std::result::Result<i64, String> {
    let bad = || {
        format!("{name}: found {text:?}, expected Unix milliseconds or a moment such as 2027-02-26T12:00:00Z")
    };
    match text.parse() {
        Ok(ms) => Ok(ms),
        Err(_) => date_time_ms(text).ok_or_else(bad),
    }
}

/// Reads `2027-02-26`, `2027-02-26T12:00:00Z` or `2027-02-26T12:00:00.123Z`.
fn date_time_ms(text: &str) -> Option<i64> {
    let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let (time, ms) = match time.strip_suffix('Z')?.split_once('.') {
        Some((time, ms)) if ms.len() == 3 => (time, ms.parse::<u32>().ok()?),
        Some(_) => return None,
        None => (time.trim_end_matches('Z'), 0),
    };
    let mut parts = time.split(':').map(|part| part.parse::<u32>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let is_time = hour < 24 && minute < 60 && second < 60 && parts.next().is_none();
    let seconds = days_of(day)? * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    is_time.then_some(1000 * seconds + i64::from(ms))
}

/// An event that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// `topic/partition/offset`; of a request over HTTP `http/-1/number`.
    pub source: String,
    /// When it ended.
    pub at: String,
    /// The same in Unix milliseconds.
    pub at_ms: i64,
    /// From reading it to its end, in microseconds.
    pub latency_us: u32,
    /// What it has in common with others.
    #[serde(flatten)]
    pub facts: Facts,
    /// The message, where the index has it.
    #[serde(skip)]
    pub input: Option<Vec<u8>>,
}

/// Some events.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The events, the newest first.
    pub events: Vec<Found>,
    /// Where to go on, if that may bring more.
    pub cursor: Option<(u64, usize)>,
}

impl Page {
    /// Returns the text of the cursor.
    pub fn cursor(&self) -> Option<String> {
        self.cursor.map(|(block, at)| format!("{block}.{at}"))
    }
}

/// Searches from a moment on, in Unix milliseconds.
///
/// # Errors
/// When the file cannot be read.
pub fn search(reading: &Reading, query: &Query, since_ms: i64) -> Result<Page> {
    let from_ms = query.from_ms.unwrap_or(i64::MIN).max(since_ms);
    let (hashes, mut page, mut looked) = (query.hashes(), Page::default(), 0);
    let last = query.cursor.map_or(u64::MAX, |(block, _)| block);
    reading.heads(..=last, |number, head| {
        if head.events > 0 && head.to_ms < from_ms.saturating_sub(ORDERED_MS) {
            return Ok(false);
        }
        if !query.may_be_in(&head, from_ms) || !reading.may_have(number, &hashes)? {
            return Ok(true);
        }
        let Some(block) = reading.block(number)? else { return Ok(true) };
        let before = query.cursor.filter(|(block, _)| *block == number).map_or(usize::MAX, |(_, at)| at);
        for at in (0..block.events.len().min(before)).rev() {
            if page.events.len() == query.limit {
                page.cursor = Some((number, at + 1));
                return Ok(false);
            }
            if query.is_like(&block, at, from_ms) {
                page.events.push(found(&block, at));
            }
        }
        looked += 1;
        if looked == BLOCKS {
            page.cursor = Some((number, 0));
        }
        Ok(looked < BLOCKS)
    })?;
    Ok(page)
}

impl Query {
    fn is_like(&self, block: &Block, at: usize, from_ms: i64) -> bool {
        let event = &block.events[at];
        let (topic, partition) = &block.parts[usize::from(event.part)];
        self.user.is_none_or(|user| user == event.user)
            && self.id.is_none_or(|id| id == event.id)
            && event.at_ms >= from_ms
            && self.to_ms.is_none_or(|to_ms| event.at_ms < to_ms)
            && self.source.as_ref().is_none_or(|source| (source.first..=source.last).contains(&event.offset))
            && self.is_at(topic, *partition)
            && self.is_of(&block.facts[usize::from(event.facts)])
            && self.item.is_none_or(|item| block.items(at).contains(&item))
    }
}

fn found(block: &Block, at: usize) -> Found {
    let event = &block.events[at];
    let (topic, partition) = &block.parts[usize::from(event.part)];
    let second = date_time(event.at_ms.div_euclid(1000));
    let input = block.inputs.binary_search_by_key(&(at as u32), |(of, _)| *of);
    Found {
        source: format!("{topic}/{partition}/{}", event.offset),
        at: format!("{}.{:03}Z", second.trim_end_matches('Z'), event.at_ms.rem_euclid(1000)),
        at_ms: event.at_ms,
        latency_us: event.latency_us,
        facts: block.facts[usize::from(event.facts)].clone(),
        input: input.ok().map(|place| block.inputs[place].1.clone()),
    }
}
