//! Draws the batches of an epoch: training rows in an order drawn for the epoch, each with its drawn negatives. What
//! stands at a place of the epoch is a pure function of the seed, the epoch and the place ([`burnrec_data::draws`]), so
//! that it can be drawn ahead on another thread, or on a graphics card.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use crate::nn::batch::Batch;
use burnrec_data::draws::{Key, Permutation, key};
use burnrec_data::negatives::NegativeSampler;
use burnrec_data::{Csr, Error as DataError, UserIx};

use crate::Result;

/// How many batches are drawn ahead of the optimiser.
const AHEAD: usize = 4;

/// The samples of one optimiser step.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// A row for each training row: its item, then the user's negatives.
    pub batch: Batch,
    /// The values of the training rows, `[rows]`.
    pub ratings: Vec<f32>,
}

/// Cuts the training matrix into batches; cheap to clone.
#[derive(Clone)]
pub struct Batches {
    data: Arc<Data>,
    negatives: usize,
    rows_per_batch: usize,
    with_reductions: bool,
    seed: u64,
}

struct Data {
    /// User, item and value of each training row.
    rows: Vec<(u32, u32, f32)>,
    sampler: NegativeSampler,
}

/// Training rows as a device draws from them.
#[cfg(feature = "cube")]
pub struct Words<'a> {
    /// `[n_rows, 2]`: user and item of each training row.
    pub rows: Vec<u32>,
    /// `[n_rows]`: their values.
    pub values: Vec<f32>,
    /// `[n_users + 1]`: where what each user has seen begins.
    pub offsets: Vec<u32>,
    /// The items that each user has seen, ascending.
    pub seen: &'a [u32],
}

impl Batches {
    /// Makes batches of at most `batch_size` samples each, but at least one row; `with_reductions` for devices other
    /// than the host ([`Batch::with_reductions`]).
    ///
    /// Users who have had every item have no negatives: unless none are drawn, their rows are left out.
    ///
    /// # Errors
    /// When no row is left.
    pub fn new(
        train: &Csr,
        negatives: usize,
        batch_size: usize,
        with_reductions: bool,
        seed: u64,
    ) -> Result<Self> {
        let sampler = NegativeSampler::new(train.clone());
        let learned = |&user: &u32| negatives == 0 || sampler.has_negatives(UserIx(user));
        let rows = |user: u32| {
            let (items, values) = train.row(user as usize);
            items.iter().zip(values).map(move |(&item, &value)| (user, item, value))
        };
        let rows: Vec<_> = (0..train.n_rows() as u32).filter(learned).flat_map(rows).collect();
        if rows.is_empty() {
            let found = format!("{} rows, none of a user with an item left to contrast", train.nnz());
            return Err(DataError::setting("training data", found, "at least one row to learn from").into());
        }
        let rows_per_batch = (batch_size / (1 + negatives)).max(1);
        Ok(Self { data: Arc::new(Data { rows, sampler }), negatives, rows_per_batch, with_reductions, seed })
    }

    /// Returns the number of training rows.
    pub fn rows(&self) -> usize {
        self.data.rows.len()
    }

    /// Returns how many users and items a whole batch looks up.
    pub fn entries(&self) -> [usize; 2] {
        let rows = self.rows_per_batch.min(self.rows());
        [rows, rows * (1 + self.negatives)]
    }

    /// Returns the negatives of a training row.
    #[cfg(feature = "cube")]
    pub fn negatives(&self) -> usize {
        self.negatives
    }

    /// Returns the number of batches of an epoch.
    pub fn count(&self) -> usize {
        self.rows().div_ceil(self.rows_per_batch)
    }

    /// Returns the number of samples of an epoch.
    pub fn samples(&self) -> u64 {
        (self.rows() * (1 + self.negatives)) as u64
    }

    /// Returns the order of the rows in an epoch: the row at each place.
    pub fn order(&self, epoch: u32) -> Permutation {
        Permutation::new(self.rows() as u32, key(self.seed, "batches.order", u64::from(epoch)))
    }

    /// Returns the key of the negatives in an epoch ([`NegativeSampler`]).
    pub fn negatives_key(&self, epoch: u32) -> Key {
        key(self.seed, "batches.negatives", u64::from(epoch))
    }

    /// Returns the key of the dropout masks in an epoch ([`ReluDropout`](crate::nn::kernels::ReluDropout)).
    pub fn dropout_key(&self, epoch: u32) -> Key {
        key(self.seed, "dropout", u64::from(epoch))
    }

    /// Returns the training rows and what each user has seen, for a device that draws by itself.
    #[cfg(feature = "cube")]
    pub fn as_words(&self) -> Words<'_> {
        let train = self.data.sampler.train();
        Words {
            rows: self.data.rows.iter().flat_map(|&(user, item, _)| [user, item]).collect(),
            values: self.data.rows.iter().map(|row| row.2).collect(),
            offsets: train.offsets().iter().map(|&offset| offset as u32).collect(),
            seen: train.cols(),
        }
    }

    /// Draws all batches of an epoch, in their order, on a thread of their own.
    pub fn draw_on<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, epoch: u32) -> Receiver<Drawn> {
        let (sender, receiver) = sync_channel(AHEAD);
        let (order, negatives_key) = (self.order(epoch), self.negatives_key(epoch));
        scope.spawn(move || {
            for first in (0..self.rows()).step_by(self.rows_per_batch) {
                let places = first as u32..self.rows().min(first + self.rows_per_batch) as u32;
                if sender.send(self.batch(places, &order, negatives_key)).is_err() {
                    // The receiver is gone, because training ended early.
                    return;
                }
            }
        });
        receiver
    }

    /// Makes the batch of these places of an epoch.
    fn batch(&self, places: Range<u32>, order: &Permutation, negatives_key: Key) -> Drawn {
        let (rows, per_row) = (places.len(), 1 + self.negatives);
        let (mut users, mut ratings) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut items = vec![0; rows * per_row];
        for (place, items) in places.zip(items.chunks_mut(per_row)) {
            let (user, item, value) = self.data.rows[order.at(place) as usize];
            users.push(user);
            ratings.push(value);
            items[0] = item;
            if self.negatives > 0 {
                self.data.sampler.fill(UserIx(user), negatives_key, place, &mut items[1..]);
            }
        }
        let train = self.data.sampler.train();
        let batch = Batch::new(&users, train.n_rows(), &items, train.n_cols());
        Drawn { batch: if self.with_reductions { batch.with_reductions() } else { batch }, ratings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train() -> Csr {
        // User 1 has every item.
        Csr::new(4, vec![0, 2, 6, 7], vec![0, 3, 0, 1, 2, 3, 2], vec![5.0, 4.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    }

    /// Returns the user and the items of each row, and its value.
    fn drawn(batches: &Batches, epoch: u32) -> Vec<Vec<(u32, Vec<u32>, f32)>> {
        let drawn: Vec<Drawn> =
            std::thread::scope(|scope| batches.draw_on(scope, epoch).into_iter().collect());
        let rows = |Drawn { batch, ratings }: &Drawn| {
            let items = batch.items.inverse.chunks(batch.per_row);
            let items = items.map(|row| row.iter().map(|&k| batch.items.unique[k as usize]).collect());
            let users = batch.users.inverse.iter().map(|&k| batch.users.unique[k as usize]);
            users.zip(items).zip(ratings).map(|((user, items), &rating)| (user, items, rating)).collect()
        };
        drawn.iter().map(rows).collect()
    }

    #[test]
    fn an_epoch_has_every_row_once_with_negatives_of_its_user() {
        let train = train();
        let batches = Batches::new(&train, 2, 7, false, 1).expect("batches");
        let epoch = drawn(&batches, 1);
        assert_eq!((batches.rows(), batches.count(), epoch.len()), (3, 2, 2));
        assert_eq!(epoch, drawn(&batches, 1));
        assert_ne!(epoch, drawn(&batches, 2));
        let mut positives = Vec::new();
        for (user, items, _) in epoch.iter().flatten() {
            assert_eq!(items.len(), 3);
            assert!(items[1..].iter().all(|&item| !train.contains(*user as usize, item)));
            positives.push((*user, items[0]));
        }
        positives.sort();
        assert_eq!(positives, [(0, 0), (0, 3), (2, 2)]);
    }

    #[test]
    fn ratings_come_as_they_are_and_nothing_to_learn_is_an_error() {
        let batches = Batches::new(&train(), 0, 3, false, 1).expect("batches");
        let mut ratings: Vec<f32> =
            drawn(&batches, 1).into_iter().flatten().map(|(_, _, rating)| rating).collect();
        ratings.sort_by(f32::total_cmp);
        assert_eq!(ratings, [1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 5.0]);
        let full = Csr::new(1, vec![0, 1], vec![0], vec![1.0]);
        let error = Batches::new(&full, 2, 7, false, 1).err().expect("nothing to contrast").to_string();
        assert!(error.starts_with("training data: found 1 rows"), "{error}");
    }
}
