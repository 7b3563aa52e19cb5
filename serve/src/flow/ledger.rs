//! Which events of a partition are done, and so where the next reader must begin.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

/// The most bytes of metadata that Kafka keeps with an offset (`offset.metadata.max.bytes`).
const MOST_METADATA: usize = 4096;

/// Ranges of up to so many bytes are written as such.
const READABLE: usize = 256;

/// How many offsets from the position on may be open while more is read: their bits fit into the metadata, with what is
/// read until reading pauses.
const WIDE: i64 = 22_500;

/// The events of one partition that were read and not yet forgotten, in the order of their offsets.
///
/// The position is the offset of the first event that is not done. Events after it may be done already, as events are
/// not always answered in order; their offsets are committed as the metadata of the position, so that the next reader does
/// not answer them twice: as ranges (`8-9,12-12`), or, where these are many and it is shorter, as a bit for each offset from
/// the position on (`b:` and base64).
#[derive(Debug, Default)]
pub struct Ledger {
    /// The turn (running number) of the first event in the window.
    first: u64,
    /// Offsets, and whether they are done.
    window: VecDeque<(i64, bool)>,
    /// Where the next reader begins when the window is empty.
    next: Option<i64>,
    /// Offsets that an earlier reader has done, as ascending ranges that include both ends.
    before: Vec<(i64, i64)>,
    wide: bool,
}

impl Ledger {
    /// Begins at a committed offset with its metadata.
    pub fn new(next: Option<i64>, metadata: &str) -> Self {
        Self { next, before: done_ranges(next.unwrap_or(0), metadata), ..Self::default() }
    }

    /// Takes up an event that was read; returns its turn, or `None` if an earlier reader has done it or it was taken before:
    /// librdkafka, when it pauses while messages are handed out, hands them out once more.
    pub fn take(&mut self, offset: i64) -> Option<u64> {
        if !self.is_behind(offset + 1) {
            return None;
        }
        let turn = self.first + self.window.len() as u64;
        let at = self.before.partition_point(|&(_, last)| last < offset);
        let done = self.before.get(at).is_some_and(|&(first, _)| first <= offset);
        self.window.push_back((offset, done));
        if done {
            self.shrink();
            return None;
        }
        Some(turn)
    }

    /// Returns whether an event is done that was not taken since the partition was begun.
    pub fn is_done(&self, offset: i64) -> bool {
        let at = self.before.partition_point(|&(_, last)| last < offset);
        !self.is_behind(offset + 1) || self.before.get(at).is_some_and(|&(first, _)| first <= offset)
    }

    /// Marks the event of this turn as done.
    pub fn done(&mut self, turn: u64) {
        if let Some(entry) = turn.checked_sub(self.first).and_then(|at| self.window.get_mut(at as usize)) {
            entry.1 = true;
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        while let Some((offset, _)) = self.window.front().copied().filter(|(_, done)| *done) {
            self.window.pop_front();
            self.first += 1;
            self.next = Some(offset + 1);
        }
        if self.window.is_empty() {
            let next = self.next.unwrap_or(0);
            self.before.retain(|&(_, last)| last >= next);
        }
    }

    /// Returns how far what is done is from the partition's end, of which `is_read` says whether all before it was taken.
    pub fn lag(&self, end: i64, is_read: bool) -> i64 {
        let next = match self.window.front() {
            Some((offset, _)) => *offset,
            None if is_read => return 0,
            None => self.next.unwrap_or(0),
        };
        (end - next).max(0)
    }

    /// Returns whether the partition's end, or any place in it, is beyond what was read.
    pub fn is_behind(&self, end: i64) -> bool {
        let read = self.window.back().map(|(offset, _)| offset + 1).or(self.next);
        read.unwrap_or(0) < end
    }

    /// Returns whether reading is to pause, as there would be more to note than the metadata holds: from the moment that
    /// too many offsets are open until there are less than half as many.
    pub fn is_wide(&mut self) -> bool {
        let span = match (self.window.front(), self.window.back()) {
            (Some((first, _)), Some((last, _))) => last - first,
            _ => 0,
        };
        self.wide = span >= if self.wide { WIDE / 2 } else { WIDE };
        self.wide
    }

    /// Returns where the next reader must begin, and which offsets after that are done; `None` before any event was
    /// read.
    pub fn position(&self) -> Option<(i64, String)> {
        let next = self.window.front().map(|(offset, _)| *offset).or(self.next)?;
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        self.window
            .iter()
            .filter(|(_, done)| *done)
            .for_each(|&(offset, _)| add(&mut ranges, (offset, offset)));
        let seen = self.window.back().map_or(next, |(offset, _)| offset + 1);
        for &(first, last) in self.before.iter().filter(|(_, last)| *last >= seen) {
            add(&mut ranges, (first.max(seen), last));
        }
        Some((next, metadata(next, &ranges)))
    }

    /// Returns whether the position with its metadata can be committed.
    pub fn fits(&self) -> bool {
        self.position().is_none_or(|(_, metadata)| metadata.len() <= MOST_METADATA)
    }

    /// Returns how many events were read and are not done.
    pub fn open(&self) -> usize {
        self.window.iter().filter(|(_, done)| !done).count()
    }
}

/// Writes ranges of offsets from `next` on as the metadata of that position.
fn metadata(next: i64, ranges: &[(i64, i64)]) -> String {
    let Some(&(_, last)) = ranges.last() else { return String::new() };
    let as_bits = 2 + (last - next + 1).unsigned_abs().div_ceil(24) as usize * 4;
    let text: Vec<String> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    let text = text.join(",");
    if text.len() <= as_bits.max(READABLE) {
        return text;
    }
    let mut bits = vec![0_u8; (last - next) as usize / 8 + 1];
    for at in ranges.iter().flat_map(|&(first, last)| first - next..=last - next) {
        bits[at as usize / 8] |= 1 << (at % 8);
    }
    format!("b:{}", BASE64.encode(bits))
}

/// Reads the metadata of the position `next`.
fn done_ranges(next: i64, metadata: &str) -> Vec<(i64, i64)> {
    let Some(bits) = metadata.strip_prefix("b:") else {
        let range = |text: &str| {
            let (first, last) = text.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        return metadata.split(',').filter_map(range).collect();
    };
    let bits = BASE64.decode(bits).unwrap_or_default();
    let offsets = (0..8 * bits.len()).filter(|at| bits[at / 8] >> (at % 8) & 1 == 1);
    let mut ranges = Vec::new();
    offsets.map(|at| next + at as i64).for_each(|offset| add(&mut ranges, (offset, offset)));
    ranges
}

/// Adds a range of higher offsets to ranges.
fn add(ranges: &mut Vec<(i64, i64)>, (first, last): (i64, i64)) {
    match ranges.last_mut() {
        Some((_, end)) if *end + 1 == first => *end = last,
        _ => ranges.push((first, last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(ledger: &Ledger) -> (i64, String) {
        ledger.position().unwrap()
    }

    #[test]
    fn the_position_is_the_first_that_is_not_done() {
        let mut ledger = Ledger::new(Some(5), "");
        assert_eq!(position(&ledger), (5, String::new()));
        // Offset 7 is a transaction's marker: readers never see it.
        let turns: Vec<u64> = [5, 6, 8, 9].into_iter().map(|offset| ledger.take(offset).unwrap()).collect();
        ledger.done(turns[0]);
        assert_eq!(position(&ledger), (6, String::new()));
        ledger.done(turns[3]);
        ledger.done(turns[2]);
        assert_eq!((position(&ledger), ledger.open()), ((6, "8-9".into()), 1));
        ledger.done(turns[1]);
        assert_eq!((position(&ledger), ledger.open()), ((10, String::new()), 0));
    }

    #[test]
    fn who_reads_on_skips_what_was_done() {
        let mut ledger = Ledger::new(Some(6), "8-9,12-12");
        let taken: Vec<Option<u64>> = (6..=9).map(|offset| ledger.take(offset)).collect();
        assert_eq!(taken, [Some(0), Some(1), None, None]);
        assert_eq!(position(&ledger), (6, "8-9,12-12".into()), "what is not read again yet is still known");
        assert_eq!([5, 6, 7, 9].map(|offset| ledger.take(offset)), [None; 4], "they were taken before");
        assert_eq!((position(&ledger), ledger.open()), ((6, "8-9,12-12".into()), 2));
        ledger.done(0);
        ledger.done(1);
        assert_eq!(position(&ledger), (10, "12-12".into()));
        for offset in [10, 11, 12] {
            if let Some(turn) = ledger.take(offset) {
                ledger.done(turn);
            }
        }
        assert_eq!(position(&ledger), (13, String::new()));
    }

    #[test]
    fn the_lag_is_nothing_once_all_is_done() {
        let mut ledger = Ledger::new(Some(5), "");
        assert_eq!((ledger.lag(9, false), ledger.lag(9, true)), (4, 0));
        let turns: Vec<u64> = [5, 6, 7].into_iter().map(|offset| ledger.take(offset).unwrap()).collect();
        assert_eq!(ledger.lag(9, true), 4);
        ledger.done(turns[0]);
        assert_eq!(ledger.lag(9, true), 3);
        ledger.done(turns[2]);
        ledger.done(turns[1]);
        // Offset 8 is a transaction's marker, which is never taken.
        assert_eq!((ledger.lag(9, false), ledger.lag(9, true), ledger.lag(3, false)), (1, 0, 0));
    }

    #[test]
    fn before_the_first_event_there_is_no_position() {
        assert_eq!(Ledger::new(None, "").position(), None);
    }

    #[test]
    fn any_order_of_what_may_be_open_fits() {
        let mut ledger = Ledger::new(Some(100), "");
        // Every third offset is a transaction's marker.
        let offsets: Vec<i64> = (100..100 + WIDE + 2000).filter(|offset| offset % 3 != 0).collect();
        let turns: Vec<u64> = offsets.iter().map(|&offset| ledger.take(offset).unwrap()).collect();
        assert!(
            ledger.is_wide() && ledger.is_behind(101 + WIDE + 2000) && !ledger.is_behind(99 + WIDE + 2000)
        );
        let done = |at: &usize| at % 7 == 3 || at % 5 == 1;
        (0..turns.len()).filter(done).for_each(|at| ledger.done(turns[at]));
        assert!(ledger.fits());
        let (next, metadata) = position(&ledger);
        assert!(next == 100 && metadata.starts_with("b:") && metadata.len() > 3000);
        let mut reader = Ledger::new(Some(next), &metadata);
        let skipped = |at: &usize| reader.take(offsets[*at]).is_none();
        let skipped: Vec<usize> = (0..offsets.len()).filter(skipped).collect();
        assert_eq!(skipped, (0..offsets.len()).filter(done).collect::<Vec<_>>());
        assert_eq!(position(&reader), (next, metadata), "and who reads on after that knows it as well");
        turns[..turns.len() / 2].iter().for_each(|&turn| ledger.done(turn));
        assert!(ledger.is_wide(), "until less than half is open");
        turns[..turns.len() * 2 / 3].iter().for_each(|&turn| ledger.done(turn));
        assert!(!ledger.is_wide());
    }

    #[test]
    fn metadata_that_grows_too_long_is_noticed() {
        let mut ledger = Ledger::new(Some(0), "");
        let turns: Vec<u64> = (0..30_000).map(|offset| ledger.take(offset).unwrap()).collect();
        assert!(ledger.fits());
        turns.iter().skip(1).step_by(2).for_each(|&turn| ledger.done(turn));
        assert!(!ledger.fits());
    }
}
