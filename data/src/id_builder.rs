//! Builds a column of outside ids row by row, and joins such columns under one vocabulary.
//!
//! A column starts as integers and turns into strings at the first id that is not a canonical integer; the
//! integers before it can be written back as they stood. String ids are kept once each, with a code per row, so
//! that no second copy of a string column exists.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rayon::prelude::*;

use crate::{Id, Vocab};

/// The ids of some rows, to which more can be appended.
#[derive(Debug)]
pub enum IdBuilder {
    /// Integer ids, one per row.
    Int(Vec<i64>),
    /// String ids.
    Str(DictionaryBuilder),
}

/// String ids, each stored once: row `k` has the id whose code is `codes[k]`; codes count from 0 in order of first use.
#[derive(Debug, Default)]
pub struct DictionaryBuilder {
    codes: Vec<u32>,
    code_of: HashMap<Box<str>, u32, BuildHasherDefault<FastHash>>,
}

impl Default for IdBuilder {
    fn default() -> Self {
        IdBuilder::Int(Vec::new())
    }
}

impl IdBuilder {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        match self {
            IdBuilder::Int(ids) => ids.len(),
            IdBuilder::Str(column) => column.codes.len(),
        }
    }

    /// Appends the id of one row.
    pub fn push(&mut self, id: &str) {
        match self {
            IdBuilder::Int(ids) => match Id::Str(id).canonical() {
                Id::Int(id) => ids.push(id),
                Id::Str(id) => self.strings().push(id),
            },
            IdBuilder::Str(column) => column.push(id),
        }
    }

    /// Appends the integer id of one row.
    pub fn push_int(&mut self, id: i64) {
        match self {
            IdBuilder::Int(ids) => ids.push(id),
            IdBuilder::Str(column) => column.push(&id.to_string()),
        }
    }

    /// Turns the column into strings, and returns them.
    pub fn strings(&mut self) -> &mut DictionaryBuilder {
        if let IdBuilder::Int(ids) = self {
            let mut column = DictionaryBuilder::default();
            let mut code_of: HashMap<i64, u32, BuildHasherDefault<FastHash>> = HashMap::default();
            for &id in ids.iter() {
                let code = *code_of.entry(id).or_insert_with(|| column.code(&id.to_string()));
                column.codes.push(code);
            }
            *self = IdBuilder::Str(column);
        }
        match self {
            IdBuilder::Str(column) => column,
            IdBuilder::Int(_) => unreachable!("turned into strings above"),
        }
    }

    /// Gives back the memory beyond the last row.
    pub fn shrink(&mut self) {
        match self {
            IdBuilder::Int(ids) => ids.shrink_to_fit(),
            IdBuilder::Str(column) => column.codes.shrink_to_fit(),
        }
    }

    /// Returns the ids as text, row by row.
    pub fn texts(&self) -> Vec<String> {
        match self {
            IdBuilder::Int(ids) => ids.iter().map(i64::to_string).collect(),
            IdBuilder::Str(column) => {
                let ids = column.ids();
                column.codes.iter().map(|&code| ids[code as usize].to_owned()).collect()
            }
        }
    }
}

impl DictionaryBuilder {
    /// Appends the id of one row.
    pub fn push(&mut self, id: &str) {
        let code = self.code(id);
        self.codes.push(code);
    }

    fn code(&mut self, id: &str) -> u32 {
        if let Some(&code) = self.code_of.get(id) {
            return code;
        }
        let code = self.code_of.len() as u32;
        self.code_of.insert(id.into(), code);
        code
    }

    /// Returns the ids by code.
    fn ids(&self) -> Vec<&str> {
        let mut ids = vec![""; self.code_of.len()];
        self.code_of.iter().for_each(|(id, &code)| ids[code as usize] = id);
        ids
    }
}

/// Returns one vocabulary of the ids of all columns and, for each entry, one column after the other, the index of its
/// id there, wrapped by `row`. The vocabulary holds integers if every column holds integers alone, else strings.
pub fn join<T: Send + Copy>(mut columns: Vec<IdBuilder>, row: fn(u32) -> T) -> (Vocab, Vec<T>) {
    if columns.iter().all(|column| matches!(column, IdBuilder::Int(_))) {
        let columns: Vec<&[i64]> = columns
            .iter()
            .map(|column| match column {
                IdBuilder::Int(ids) => ids.as_slice(),
                IdBuilder::Str(_) => unreachable!("all columns hold integers"),
            })
            .collect();
        return join_ints(&columns, row);
    }
    let columns: Vec<&DictionaryBuilder> = columns.iter_mut().map(|column| &*column.strings()).collect();
    // Chunks of a file share most of their ids: merging them before the sort leaves few to sort.
    let mut row_of: HashMap<&str, u32, BuildHasherDefault<FastHash>> = HashMap::default();
    columns.iter().for_each(|column| row_of.extend(column.ids().into_iter().map(|id| (id, 0))));
    let vocab = Vocab::from_strs(row_of.keys().copied());
    for (id, row) in &mut row_of {
        *row = vocab.row(Id::Str(id)).expect("the vocabulary has the ids of all columns");
    }
    let rows_of =
        |column: &DictionaryBuilder| -> Vec<u32> { column.ids().into_iter().map(|id| row_of[id]).collect() };
    let rows = columns
        .par_iter()
        .flat_map_iter(|column| {
            let rows = rows_of(column);
            column.codes.iter().map(move |&code| row(rows[code as usize]))
        })
        .collect();
    (vocab, rows)
}

fn join_ints<T: Send + Copy>(columns: &[&[i64]], row: fn(u32) -> T) -> (Vocab, Vec<T>) {
    let n: usize = columns.iter().map(|ids| ids.len()).sum();
    let low = columns.iter().flat_map(|ids| ids.iter()).min().copied().unwrap_or(0);
    let high = columns.iter().flat_map(|ids| ids.iter()).max().copied().unwrap_or(-1);
    let range = (i128::from(high) - i128::from(low) + 1) as u128;
    // A table of the whole range is faster than a hash map as long as it is not much larger than the column.
    if range <= 2 * n as u128 + (1 << 16) {
        let mut table = vec![u32::MAX; range as usize];
        columns.iter().flat_map(|ids| ids.iter()).for_each(|&id| table[(id - low) as usize] = 0);
        let mut ids = Vec::new();
        for (offset, slot) in table.iter_mut().enumerate().filter(|(_, slot)| **slot == 0) {
            *slot = ids.len() as u32;
            ids.push(low + offset as i64);
        }
        return (Vocab::Int(ids), rows(columns, row, |id| table[(id - low) as usize]));
    }
    let mut row_of: HashMap<i64, u32, BuildHasherDefault<FastHash>> = HashMap::default();
    row_of.extend(columns.iter().flat_map(|ids| ids.iter()).map(|&id| (id, 0)));
    let vocab = Vocab::from_ints(row_of.keys().copied().collect());
    if let Vocab::Int(ids) = &vocab {
        row_of.extend(ids.iter().copied().zip(0..));
    }
    (vocab, rows(columns, row, |id| row_of[&id]))
}

fn rows<T: Send + Copy>(columns: &[&[i64]], row: fn(u32) -> T, find: impl Fn(i64) -> u32 + Sync) -> Vec<T> {
    let find = &find;
    columns.par_iter().flat_map_iter(|ids| ids.iter().map(move |&id| row(find(id)))).collect()
}

/// Hashes by multiplying and rotating 8 bytes at a time (the "Fx" hash of Firefox). It does not resist keys chosen by
/// an adversary.
#[derive(Default)]
pub struct FastHash(u64);

impl Hasher for FastHash {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.write_u64(u64::from_le_bytes(chunk.try_into().expect("a chunk has 8 bytes")));
        }
        let rest = chunks.remainder().iter().fold(0, |rest, &byte| rest << 8 | u64::from(byte));
        self.write_u64(rest);
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_i64(&mut self, number: i64) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn finish(&self) -> u64 {
        // The hash map takes its slot from the low bits, which the multiplication mixes least.
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(ids: &[&str]) -> IdBuilder {
        let mut column = IdBuilder::default();
        ids.iter().for_each(|id| column.push(id));
        column
    }

    fn joined(columns: &[&[&str]]) -> (Vocab, Vec<u32>) {
        join(columns.iter().map(|ids| column(ids)).collect(), |row| row)
    }

    #[test]
    fn integers_stay_integers_dense_or_far_apart() {
        let (vocab, rows) = joined(&[&["5", "-2", "5"], &["7"]]);
        assert_eq!(vocab, Vocab::Int(vec![-2, 5, 7]));
        assert_eq!(rows, [1, 0, 1, 2]);
        let (vocab, rows) = joined(&[&["5000000000", "-9223372036854775808"], &["9223372036854775807"]]);
        assert_eq!(vocab, Vocab::Int(vec![i64::MIN, 5_000_000_000, i64::MAX]));
        assert_eq!(rows, [1, 0, 2]);
    }

    #[test]
    fn one_string_makes_all_ids_strings_as_they_stood() {
        let (vocab, rows) = joined(&[&["12", "-7", "12", "012", "é"], &["3"]]);
        assert_eq!(vocab, Vocab::from_strs(["-7", "012", "12", "3", "é"]));
        assert_eq!(rows, [2, 0, 2, 1, 4, 3]);
    }

    #[test]
    fn no_column_is_an_empty_vocabulary() {
        assert_eq!(joined(&[]), (Vocab::Int(vec![]), vec![]));
    }
}
