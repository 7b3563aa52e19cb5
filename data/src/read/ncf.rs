//! The candidates of the "Neural Collaborative Filtering" paper's files (He et al. 2017): per test row one line
//! `(user,item)<tab>candidate<tab>candidate…` in `PREFIX.test.negative`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::file::TextFile;
use super::record::{BadField, line_at};
use super::report::{Drops, FileRead, OnBadRow, Reason};
use crate::error::cite;
use crate::id_builder::IdBuilder;
use crate::split::Lists;
use crate::{Error, Interactions, ItemIx, Result, UserIx};

/// The lines of a file of candidates.
#[derive(Debug, Default)]
pub struct CandidateLines {
    /// Their ids, to be joined with those of the rating rows.
    pub ids: CandidateIds,
    /// Their positions in the file.
    pub places: Places,
}

/// The outside ids of the lines.
#[derive(Debug, Default)]
pub struct CandidateIds {
    /// The user of each line.
    pub users: IdBuilder,
    /// The test item of each line.
    pub items: IdBuilder,
    /// The candidates of all lines, one line after the other.
    pub candidates: IdBuilder,
}

/// The ids of the lines as indices into the vocabularies.
#[derive(Debug, Default)]
pub struct CandidateRows {
    /// The user of each line.
    pub users: Vec<UserIx>,
    /// The test item of each line.
    pub items: Vec<ItemIx>,
    /// The candidates of all lines, one line after the other.
    pub candidates: Vec<ItemIx>,
}

/// The line numbers and lengths of the lines of a file of candidates.
#[derive(Debug, Default)]
pub struct Places {
    path: PathBuf,
    /// The number of each line, counted from 1.
    numbers: Vec<u64>,
    /// How many candidates each line has.
    lengths: Vec<usize>,
}

impl CandidateLines {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, and with `OnBadRow::Fail` at the first line of another form.
    pub fn read(path: &Path, on_bad_row: OnBadRow, drops: &mut Drops) -> Result<(FileRead, Self)> {
        let file = TextFile::open(path)?;
        let mut lines = Self::default();
        lines.places.path = path.to_owned();
        let (mut at, mut number) = (0, 0);
        while at < file.bytes().len() {
            let line = line_at(file.bytes(), at);
            (at, number) = (at + line.len() + 1, number + 1);
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let text = std::str::from_utf8(line).ok();
            let bad = match text.and_then(|text| BadField::too_long(text.split('\t'))) {
                Some(field) => Some((field.reason(), field.found(line), field.expected())),
                None if text.and_then(|text| lines.push(text, number)).is_none() => {
                    let expected = "(user,item), a tab, and candidates with tabs between them";
                    Some((Reason::Fields, cite(line), expected.to_owned()))
                }
                None => None,
            };
            if let Some((reason, found, expected)) = bad {
                let error = lines.places.bad(number, found, &expected);
                if on_bad_row == OnBadRow::Fail {
                    return Err(error);
                }
                drops.add(1, error, reason);
            }
        }
        Ok((file.summary(), lines))
    }

    fn push(&mut self, line: &str, number: u64) -> Option<()> {
        let mut fields = line.split('\t').map(str::trim);
        let (user, item) = fields.next()?.strip_prefix('(')?.strip_suffix(')')?.rsplit_once(',')?;
        let (user, item) = (user.trim(), item.trim());
        let candidates: Vec<&str> = fields.collect();
        if user.is_empty() || item.is_empty() || candidates.iter().any(|id| id.is_empty()) {
            return None;
        }
        self.ids.users.push(user);
        self.ids.items.push(item);
        candidates.iter().for_each(|id| self.ids.candidates.push(id));
        self.places.lengths.push(candidates.len());
        self.places.numbers.push(number);
        Some(())
    }
}

impl Places {
    fn bad(&self, line: u64, found: String, expected: &str) -> Error {
        Error::Malformed { path: self.path.clone(), line: Some(line), found, expected: expected.to_owned() }
    }

    /// Returns one list of candidates per row of `test`, without the test item itself, which is counted among the
    /// drops.
    ///
    /// # Errors
    /// When two lines have the same user and item; with `OnBadRow::Fail` also when a line has no test row or a test row
    /// has no line, which are dropped otherwise.
    pub fn align(
        &self,
        test: Interactions,
        lines: &CandidateRows,
        on_bad_row: OnBadRow,
        drops: &mut Drops,
    ) -> Result<(Interactions, Lists)> {
        let mut line_of: HashMap<(UserIx, ItemIx), usize> = HashMap::with_capacity(lines.users.len());
        for (line, pair) in lines.users.iter().copied().zip(lines.items.iter().copied()).enumerate() {
            if line_of.insert(pair, line).is_some() {
                let number = self.numbers[line];
                return Err(self.bad(
                    number,
                    "a second line of its user and item".to_owned(),
                    "one line per test row",
                ));
            }
        }
        let mut starts = vec![0];
        for (line, length) in self.lengths.iter().enumerate() {
            starts.push(starts[line] + length);
        }
        let (mut lists, mut kept) = (Lists::new(), Vec::with_capacity(test.len()));
        for row in 0..test.len() {
            let (user, item) = (test.users[row], test.items[row]);
            let Some(line) = line_of.remove(&(user, item)) else {
                let found = format!("no line for row {} of the test file", row + 1);
                let error = Error::malformed(&self.path, found, "one line per test row");
                if on_bad_row == OnBadRow::Fail {
                    return Err(error);
                }
                drops.add(1, error, Reason::NoCandidates);
                continue;
            };
            let list = &lines.candidates[starts[line]..starts[line + 1]];
            let others: Vec<ItemIx> = list.iter().copied().filter(|&other| other != item).collect();
            if others.len() < list.len() {
                let found = "the test item among its candidates".to_owned();
                let error = self.bad(self.numbers[line], found, "other items");
                drops.add((list.len() - others.len()) as u64, error, Reason::CandidateIsTest);
            }
            lists.push(&others);
            kept.push(row as u32);
        }
        if let Some(&line) = line_of.values().min() {
            let error = self.bad(
                self.numbers[line],
                "a line of no test row".to_owned(),
                "a user and item of the test file",
            );
            if on_bad_row == OnBadRow::Fail {
                return Err(error);
            }
            drops.add(line_of.len() as u64, error, Reason::NoCandidates);
        }
        Ok((test.select(&kept), lists))
    }
}
