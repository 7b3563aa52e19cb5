//! The samples of one training step, with their lookups in the tables of users and of items: each table row that a
//! batch uses is read once and gets its whole gradient at once, however many samples share it.

use burn_tensor::{Device, Int, Tensor, TensorData};

use crate::nn::device::is_host;

/// Rows of users, each with several items.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Samples in each row.
    pub per_row: usize,
    /// The user of each row.
    pub users: Lookup,
    /// The item of each sample, `[rows, per_row]` row-major.
    pub items: Lookup,
}

impl Batch {
    /// Makes a batch of `users` `[rows]` and `items` `[rows, per_row]`, which are row indices into tables of these
    /// lengths.
    pub fn new(users: &[u32], n_users: usize, items: &[u32], n_items: usize) -> Self {
        let per_row = items.len() / users.len().max(1);
        Self { per_row, users: Lookup::new(users, n_users), items: Lookup::new(items, n_items) }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.users.len()
    }

    /// Returns the number of samples.
    pub fn samples(&self) -> usize {
        self.items.len()
    }

    /// Plans the segmented reductions of [`Lookup::device_segment_sums`]; the host needs no plan.
    pub fn with_reductions(mut self) -> Self {
        self.users = self.users.with_reduction();
        self.items = self.items.with_reduction();
        self
    }

    /// Sends the indices to a device other than the host; kernels on the host read them from the batch itself.
    pub fn to_device(mut self, device: &Device) -> Self {
        if !is_host(device) {
            self.users.upload(device);
            self.items.upload(device);
        }
        self
    }
}

/// The lookups of a batch in one table: which table row each entry reads, an entry being a batch row (for users) or a
/// sample (for items). Several entries may read the same row.
///
/// Reading goes by the *inverse indices*: entry `e` reads the table row `unique[inverse[e]]`, as in numpy's
/// `unique(..., return_inverse=True)`. The way back, from gradients of entries to those of table rows, goes by
/// *segments*: `entries` lists the entries ordered by table row, and the segment of the table row `unique[k]` is
/// `entries[offsets[k]..offsets[k + 1]]`.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The number of rows of the table.
    pub n_table: usize,
    /// `[unique]`: the table rows that are read, each once, ascending.
    pub unique: Vec<u32>,
    /// `[entries]`: the inverse indices, which say for each entry where its table row is in `unique`.
    pub inverse: Vec<u32>,
    /// `[unique + 1]`: where the segment of each table row starts in `entries`, and where the last one ends.
    pub offsets: Vec<u32>,
    /// `[entries]`: the entries, ordered by table row and then by entry.
    pub entries: Vec<u32>,
    /// For each round of [`Lookup::device_segment_sums`] the positions of the left and of the right summands.
    reduction: Vec<[Vec<u32>; 2]>,
    on_device: Option<DeviceLookup>,
}

/// The same indices in the memory of a device that is not the host.
#[derive(Clone, Debug)]
struct DeviceLookup {
    unique: Tensor<1, Int>,
    inverse: Tensor<1, Int>,
    counts: Tensor<2>,
    reduction: Vec<[Tensor<1, Int>; 2]>,
}

impl Lookup {
    /// Makes the lookup of `rows`, an entry each, in a table of `n_table` rows.
    pub fn new(rows: &[u32], n_table: usize) -> Self {
        // Counting is the cheaper way to order unless the table is much longer than the batch.
        let (unique, inverse, offsets) = match n_table <= 16 * rows.len() {
            true => by_counting(rows, n_table),
            false => by_sorting(rows),
        };
        let mut next = offsets.clone();
        let mut entries = vec![0; rows.len()];
        for (entry, &segment) in inverse.iter().enumerate() {
            let next = &mut next[segment as usize];
            entries[*next as usize] = entry as u32;
            *next += 1;
        }
        Self { n_table, unique, inverse, offsets, entries, reduction: Vec::new(), on_device: None }
    }

    /// Plans the segmented reduction of [`Lookup::device_segment_sums`]; the host needs no plan.
    pub fn with_reduction(mut self) -> Self {
        self.reduction = self.pairwise_reduction();
        self
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.inverse.len()
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.inverse.is_empty()
    }

    /// Returns how many different table rows are read.
    pub fn n_unique(&self) -> usize {
        self.unique.len()
    }

    /// Returns the entries that read the table row `unique[k]`, ascending.
    pub fn segment(&self, k: usize) -> &[u32] {
        &self.entries[self.offsets[k] as usize..self.offsets[k + 1] as usize]
    }

    /// Sends the indices to a device, even if it is the host (where tests run the kernels for devices).
    pub fn upload(&mut self, device: &Device) {
        let counts: Vec<f32> = self.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as f32).collect();
        self.on_device = Some(DeviceLookup {
            unique: index(&self.unique, device),
            inverse: index(&self.inverse, device),
            counts: Tensor::from_data(TensorData::new(counts, [self.n_unique(), 1]), device),
            reduction: self
                .reduction
                .iter()
                .map(|round| round.each_ref().map(|positions| index(positions, device)))
                .collect(),
        });
    }

    fn on_device(&self) -> &DeviceLookup {
        self.on_device.as_ref().expect("a batch is sent to its device before it is used there")
    }

    /// Returns the unique indices on the device: `[unique]`.
    pub fn device_unique(&self) -> Tensor<1, Int> {
        self.on_device().unique.clone()
    }

    /// Returns the inverse indices on the device: `[entries]`.
    pub fn device_inverse(&self) -> Tensor<1, Int> {
        self.on_device().inverse.clone()
    }

    /// Returns the length of each segment, on the device: `[unique, 1]`.
    pub fn device_counts(&self) -> Tensor<2> {
        self.on_device().counts.clone()
    }

    /// Sums `values` `[entries, width]` over each segment, on the device: `[unique, width]`. The batch must have its
    /// reductions ([`Batch::with_reductions`]).
    ///
    /// This is a segmented reduction in a tree: each round adds neighbours in pairs until one sum is left of each
    /// segment. On a GPU every sum of a round has its own thread, and the order of additions is always the same.
    pub fn device_segment_sums(&self, values: Tensor<2>) -> Tensor<2> {
        let [_, width] = values.dims();
        self.on_device().reduction.iter().fold(values, |values, [left, right]| {
            let zero = Tensor::zeros([1, width], &values.device());
            let values = Tensor::cat(vec![values, zero], 0);
            values.clone().select(0, left.clone()) + values.select(0, right.clone())
        })
    }

    /// Plans the rounds of the reduction. A summand without a neighbour gets a zero, which stands behind the last
    /// value.
    fn pairwise_reduction(&self) -> Vec<[Vec<u32>; 2]> {
        let mut segments: Vec<Vec<u32>> = (0..self.n_unique()).map(|k| self.segment(k).to_vec()).collect();
        let mut n = self.len() as u32;
        let mut rounds = Vec::new();
        loop {
            let (mut left, mut right) = (Vec::new(), Vec::new());
            for segment in &mut segments {
                let first = left.len() as u32;
                for pair in segment.chunks(2) {
                    left.push(pair[0]);
                    right.push(pair.get(1).copied().unwrap_or(n));
                }
                *segment = (first..left.len() as u32).collect();
            }
            n = left.len() as u32;
            rounds.push([left, right]);
            if n as usize == self.n_unique() {
                return rounds;
            }
        }
    }
}

/// Sends indices to a device.
pub(crate) fn index(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// The unique indices, the inverse indices and the offsets of the segments.
type UniqueRows = (Vec<u32>, Vec<u32>, Vec<u32>);

/// Finds them by counting, in time that grows with the length of the table.
fn by_counting(rows: &[u32], n_table: usize) -> UniqueRows {
    let mut counts = vec![0u32; n_table];
    rows.iter().for_each(|&row| counts[row as usize] += 1);
    let (mut unique, mut offsets) = (Vec::with_capacity(rows.len().min(n_table)), vec![0]);
    let mut end = 0;
    for (row, count) in counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
        end += *count;
        *count = unique.len() as u32;
        unique.push(row as u32);
        offsets.push(end);
    }
    let inverse = rows.iter().map(|&row| counts[row as usize]).collect();
    (unique, inverse, offsets)
}

/// Finds them by sorting, in time that grows with the length of the batch alone.
fn by_sorting(rows: &[u32]) -> UniqueRows {
    let mut keys: Vec<u64> = (0..).zip(rows).map(|(entry, &row)| u64::from(row) << 32 | entry).collect();
    keys.sort_unstable();
    let (mut unique, mut offsets) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len() + 1));
    let mut inverse = vec![0; rows.len()];
    for (end, key) in (0..).zip(&keys) {
        let row = (key >> 32) as u32;
        if unique.last() != Some(&row) {
            unique.push(row);
            offsets.push(end);
        }
        inverse[(key & 0xffff_ffff) as usize] = unique.len() as u32 - 1;
    }
    offsets.push(rows.len() as u32);
    (unique, inverse, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_order_agree_and_every_entry_is_in_the_segment_of_its_row() {
        let rows: Vec<u32> = (0..100u32).map(|k| k * k % 37).collect();
        let lookup = Lookup::new(&rows, 37);
        assert_eq!(by_counting(&rows, 37), by_sorting(&rows));
        assert!(lookup.unique.is_sorted() && lookup.n_unique() < 37);
        for k in 0..lookup.n_unique() {
            assert!(lookup.segment(k).is_sorted());
            assert!(lookup.segment(k).iter().all(|&entry| rows[entry as usize] == lookup.unique[k]));
        }
        assert_eq!(lookup.entries.len(), 100);
    }

    #[test]
    fn the_reduction_sums_every_entry_once() {
        let rows: Vec<u32> = (0..50u32).map(|k| k * k % 11).collect();
        let lookup = Lookup::new(&rows, 11);
        let mut sums: Vec<u64> = (0..50).map(|k| 1 << k).collect();
        for [left, right] in lookup.pairwise_reduction() {
            sums.push(0);
            sums = left.iter().zip(&right).map(|(&l, &r)| sums[l as usize] + sums[r as usize]).collect();
        }
        for (k, sum) in sums.iter().enumerate() {
            assert_eq!(*sum, lookup.segment(k).iter().map(|&entry| 1u64 << entry).sum::<u64>());
        }
    }
}
