//! Sequences of an epoch, in batches by length: a batch has sequences of similar length, so that a device that pads them pads
//! little. Which batches there are is a pure function of the seed and the epoch.

use burnrec_data::draws::{Key, Permutation, key};
use burnrec_data::{Csr, Error as DataError};

use crate::Result;
use crate::nn::kernels::Mask;

/// How many batches are cut from a window of sequences that is sorted by length. More would pad less, and leave less to
/// chance.
const WINDOW: usize = 8;

/// The sequences of all histories. Each has an item for each of its rows and, shifted by one, the targets.
pub struct Sequences {
    /// The items of all histories of at least two rows, one after the other, each from its oldest row on.
    items: Vec<u32>,
    /// Where each sequence starts in `items`, and how many rows it has.
    spans: Vec<(usize, usize)>,
    n_rows: usize,
    batch_rows: usize,
    seed: u64,
}

/// The sequences of an optimiser step.
pub struct Batch {
    /// `[rows]`
    pub items: Vec<u32>,
    /// `[rows]`: the item after each row.
    pub targets: Vec<u32>,
    /// How many rows each sequence has.
    pub lengths: Vec<usize>,
}

/// What is drawn for a batch.
pub(super) struct Draws {
    /// The dropout masks, one for each place ([`dropout_places`](super::host::dropout_places)); none where nothing is dropped.
    pub masks: Option<Vec<Mask>>,
    /// The items that rows are contrasted with, each once; `None` where these are all.
    pub candidates: Option<Vec<u32>>,
}

impl Sequences {
    /// Cuts each history into sequences of at most `length` rows, from its newest row backwards; the newest row itself is a
    /// target alone. A batch has at most `batch_rows` rows, but at least one sequence.
    ///
    /// # Errors
    /// When no history has two rows.
    pub fn new(train: &Csr, length: usize, batch_rows: usize, seed: u64) -> Result<Self> {
        let (mut items, mut spans) = (Vec::with_capacity(train.nnz()), Vec::new());
        for user in (0..train.n_rows()).filter(|&user| train.row(user).0.len() > 1) {
            let start = items.len();
            items.extend(train.history(user).iter().map(|entry| entry.col));
            let mut end = items.len() - 1;
            while end > start {
                let first = end.saturating_sub(length).max(start);
                spans.push((first, end - first));
                end = first;
            }
        }
        let n_rows = spans.iter().map(|(_, rows)| rows).sum();
        if n_rows == 0 {
            let found = format!("{} rows, no two of one user", train.nnz());
            return Err(DataError::setting("training data", found, "a row with another before it").into());
        }
        Ok(Self { items, spans, n_rows, batch_rows, seed })
    }

    /// Returns the number of rows that have a target.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Returns the key of the draws for a purpose in an epoch.
    pub fn key(&self, purpose: &str, epoch: u32) -> Key {
        key(self.seed, purpose, u64::from(epoch))
    }

    /// Returns the batches of an epoch: the numbers of their sequences.
    pub fn batches(&self, epoch: u32) -> Vec<Vec<u32>> {
        let order = Permutation::new(self.spans.len() as u32, self.key("sequences.order", epoch));
        let mut batches = Vec::new();
        let (mut window, mut rows) = (Vec::new(), 0);
        for place in 0..order.len {
            let sequence = order.at(place);
            window.push(sequence);
            rows += self.rows_of(sequence);
            if rows >= WINDOW * self.batch_rows || place + 1 == order.len {
                self.cut(std::mem::take(&mut window), &mut batches);
                rows = 0;
            }
        }
        let order = Permutation::new(batches.len() as u32, self.key("sequences.batches", epoch));
        (0..order.len).map(|place| std::mem::take(&mut batches[order.at(place) as usize])).collect()
    }

    fn rows_of(&self, sequence: u32) -> usize {
        self.spans[sequence as usize].1
    }

    /// Sorts a window by length and cuts it into batches of about the same number of rows.
    fn cut(&self, mut window: Vec<u32>, batches: &mut Vec<Vec<u32>>) {
        window.sort_by_key(|&sequence| self.rows_of(sequence));
        let (mut batch, mut rows) = (Vec::new(), 0);
        for sequence in window {
            let more = self.rows_of(sequence);
            if !batch.is_empty() && rows + more > self.batch_rows {
                batches.push(std::mem::take(&mut batch));
                rows = 0;
            }
            batch.push(sequence);
            rows += more;
        }
        batches.push(batch);
    }

    /// Returns the rows of a batch.
    pub fn batch(&self, sequences: &[u32]) -> Batch {
        let spans = || sequences.iter().map(|&sequence| self.spans[sequence as usize]);
        let of = |shift: usize| {
            let rows = |(first, rows): (usize, usize)| &self.items[first + shift..first + shift + rows];
            spans().flat_map(rows).copied().collect()
        };
        Batch { items: of(0), targets: of(1), lengths: spans().map(|(_, rows)| rows).collect() }
    }
}

#[cfg(test)]
mod tests {
    use burnrec_data::Entry;
    use burnrec_data::draws::mixed;

    use super::*;

    fn histories(lengths: impl Iterator<Item = usize>) -> Csr {
        let entry = |(user, k): (usize, usize)| Entry {
            col: mixed((1000 * user + k) as u32) % 100_000,
            value: 1.0,
            time: None,
        };
        Csr::from_histories(
            100_000,
            lengths.enumerate().map(|(user, n)| (0..n).map(|k| entry((user, k))).collect()),
        )
    }

    #[test]
    fn every_row_but_the_first_is_a_target_once_and_an_epoch_draws_batches_of_its_own() {
        let train = histories((0..200).map(|user| user * user % 83));
        let sequences = Sequences::new(&train, 20, 100, 3).expect("rows");
        let of_epoch = |epoch| -> Vec<Batch> {
            sequences.batches(epoch).iter().map(|batch| sequences.batch(batch)).collect()
        };
        let mut expected: Vec<[u32; 2]> = (0..train.n_rows())
            .flat_map(|user| {
                let items: Vec<u32> = train.history(user).iter().map(|entry| entry.col).collect();
                items.windows(2).map(|pair| [pair[0], pair[1]]).collect::<Vec<_>>()
            })
            .collect();
        expected.sort_unstable();
        let (first, second) = (of_epoch(1), of_epoch(2));
        for batches in [&first, &second] {
            let pairs = batches.iter().flat_map(|batch| batch.items.iter().zip(&batch.targets));
            let mut pairs: Vec<[u32; 2]> = pairs.map(|(&item, &target)| [item, target]).collect();
            pairs.sort_unstable();
            assert_eq!(pairs, expected);
            for batch in batches {
                let rows: usize = batch.lengths.iter().sum();
                assert!(rows == batch.items.len() && (1..=100).contains(&rows), "{rows} rows");
                assert!(batch.lengths.iter().all(|length| (1..=20).contains(length)));
            }
        }
        assert_eq!(sequences.n_rows(), expected.len());
        assert_ne!(first[0].items, second[0].items);
    }

    #[test]
    fn batches_pad_little() {
        let sequences =
            Sequences::new(&histories((0..2000).map(|user| 2 + user % 199)), 200, 2000, 3).expect("rows");
        let (mut rows, mut padded) = (0, 0);
        for batch in sequences.batches(1) {
            let batch = sequences.batch(&batch);
            rows += batch.items.len();
            padded += batch.lengths.len() * batch.lengths.iter().max().expect("a sequence");
        }
        assert!((padded as f64) < 1.25 * rows as f64, "{padded} places for {rows} rows");
    }

    #[test]
    fn nothing_to_learn_is_an_error() {
        let error =
            Sequences::new(&histories([1, 0, 1].into_iter()), 5, 10, 1).err().expect("no pair").to_string();
        assert!(error.starts_with("training data: found 2 rows, no two of one user"), "{error}");
    }
}
