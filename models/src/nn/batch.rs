//! The rows of one training step, and which table rows they meet: each table row of a batch is fetched once and
//! receives its whole gradient at once, however many samples share it.

use burn_tensor::{Device, Int, Tensor, TensorData};

use crate::nn::device::is_host;

/// Rows of users, each with several items.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Samples in each row.
    pub per_row: usize,
    /// The user of each row.
    pub users: Side,
    /// The item of each sample, `[rows, per_row]` row-major.
    pub items: Side,
}

impl Batch {
    /// Of `users` `[rows]` and `items` `[rows, per_row]`, which are rows of tables of these lengths.
    pub fn new(users: &[u32], n_users: usize, items: &[u32], n_items: usize) -> Self {
        let per_row = items.len() / users.len().max(1);
        Self { per_row, users: Side::new(users, n_users), items: Side::new(items, n_items) }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.users.len()
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.items.len()
    }

    /// Works out, for any device but the host, in which order sums are made.
    pub fn folded(mut self) -> Self {
        self.users.folds = self.users.fold();
        self.items.folds = self.items.fold();
        self
    }

    /// Sends the indices to a device that cannot read them here.
    pub fn to_device(mut self, device: &Device) -> Self {
        if !is_host(device) {
            self.users.upload(device);
            self.items.upload(device);
        }
        self
    }
}

/// The table rows that a batch meets on one side, and who meets them.
#[derive(Clone, Debug)]
pub struct Side {
    /// Length of the table.
    pub n_table: usize,
    /// `[distinct]`: the rows of the table that are met, ascending.
    pub rows: Vec<u32>,
    /// `[entries]`: for each entry (a batch row or a sample) the place of its table row in `rows`.
    pub places: Vec<u32>,
    /// `[distinct + 1]`: where the entries of each table row start in `members`.
    pub starts: Vec<u32>,
    /// `[entries]`: the entries, ordered by table row and then by number.
    pub members: Vec<u32>,
    /// For each round of [`Side::device_sums`] the two places whose sum comes next.
    folds: Vec<[Vec<u32>; 2]>,
    on_device: Option<OnDevice>,
}

/// The indices where a device that is not the host can read them.
#[derive(Clone, Debug)]
struct OnDevice {
    rows: Tensor<1, Int>,
    places: Tensor<1, Int>,
    counts: Tensor<2>,
    folds: Vec<[Tensor<1, Int>; 2]>,
}

impl Side {
    fn new(entries: &[u32], n_table: usize) -> Self {
        // Counting is the cheaper way to order unless the table is much longer than the batch.
        let (rows, places, starts) = match n_table <= 16 * entries.len() {
            true => counted(entries, n_table),
            false => sorted(entries),
        };
        let mut next = starts.clone();
        let mut members = vec![0; entries.len()];
        for (entry, &place) in places.iter().enumerate() {
            let next = &mut next[place as usize];
            members[*next as usize] = entry as u32;
            *next += 1;
        }
        Self { n_table, rows, places, starts, members, folds: Vec::new(), on_device: None }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many different table rows are met.
    pub fn distinct(&self) -> usize {
        self.rows.len()
    }

    /// The entries of the table row at a place.
    pub fn members(&self, place: usize) -> &[u32] {
        &self.members[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    /// Sends the indices to a device, be it the host.
    pub fn upload(&mut self, device: &Device) {
        let counts: Vec<f32> = self.starts.windows(2).map(|pair| (pair[1] - pair[0]) as f32).collect();
        self.on_device = Some(OnDevice {
            rows: index(&self.rows, device),
            places: index(&self.places, device),
            counts: Tensor::from_data(TensorData::new(counts, [self.distinct(), 1]), device),
            folds: self
                .folds
                .iter()
                .map(|fold| fold.each_ref().map(|places| index(places, device)))
                .collect(),
        });
    }

    fn on_device(&self) -> &OnDevice {
        self.on_device.as_ref().expect("a batch is sent to its device before it is used there")
    }

    /// `[distinct]`: the rows of the table, on the device.
    pub fn device_rows(&self) -> Tensor<1, Int> {
        self.on_device().rows.clone()
    }

    /// `[entries]`: the places, on the device.
    pub fn device_places(&self) -> Tensor<1, Int> {
        self.on_device().places.clone()
    }

    /// `[distinct, 1]`: how many entries each table row has, on the device.
    pub fn device_counts(&self) -> Tensor<2> {
        self.on_device().counts.clone()
    }

    /// Sums `values` `[entries, width]` over the entries of each table row of a folded batch: `[distinct, width]`,
    /// on the device.
    ///
    /// Sums of pairs, and of pairs of these, until each table row has one: on a GPU every one of them has its own
    /// thread, and the order is always the same.
    pub fn device_sums(&self, values: Tensor<2>) -> Tensor<2> {
        let [_, width] = values.dims();
        self.on_device().folds.iter().fold(values, |values, [left, right]| {
            let zero = Tensor::zeros([1, width], &values.device());
            let values = Tensor::cat(vec![values, zero], 0);
            values.clone().select(0, left.clone()) + values.select(0, right.clone())
        })
    }

    /// The pairs of each round; the place behind the last holds 0.
    fn fold(&self) -> Vec<[Vec<u32>; 2]> {
        let mut lists: Vec<Vec<u32>> =
            (0..self.distinct()).map(|place| self.members(place).to_vec()).collect();
        let mut n = self.len() as u32;
        let mut folds = Vec::new();
        loop {
            let (mut left, mut right) = (Vec::new(), Vec::new());
            for list in &mut lists {
                let first = left.len() as u32;
                for pair in list.chunks(2) {
                    left.push(pair[0]);
                    right.push(pair.get(1).copied().unwrap_or(n));
                }
                *list = (first..left.len() as u32).collect();
            }
            n = left.len() as u32;
            folds.push([left, right]);
            if n as usize == self.distinct() {
                return folds;
            }
        }
    }
}

fn index(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

type Ordered = (Vec<u32>, Vec<u32>, Vec<u32>);

fn counted(entries: &[u32], n_table: usize) -> Ordered {
    let mut counts = vec![0u32; n_table];
    entries.iter().for_each(|&row| counts[row as usize] += 1);
    let (mut rows, mut starts) = (Vec::with_capacity(entries.len().min(n_table)), vec![0]);
    let mut end = 0;
    for (row, count) in counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
        end += *count;
        *count = rows.len() as u32;
        rows.push(row as u32);
        starts.push(end);
    }
    let places = entries.iter().map(|&row| counts[row as usize]).collect();
    (rows, places, starts)
}

fn sorted(entries: &[u32]) -> Ordered {
    let mut keys: Vec<u64> = (0..).zip(entries).map(|(entry, &row)| u64::from(row) << 32 | entry).collect();
    keys.sort_unstable();
    let (mut rows, mut starts) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len() + 1));
    let mut places = vec![0; entries.len()];
    for (end, key) in (0..).zip(&keys) {
        let row = (key >> 32) as u32;
        if rows.last() != Some(&row) {
            rows.push(row);
            starts.push(end);
        }
        places[(key & 0xffff_ffff) as usize] = rows.len() as u32 - 1;
    }
    starts.push(entries.len() as u32);
    (rows, places, starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_order_agree_and_every_entry_has_its_row() {
        let entries: Vec<u32> = (0..100u32).map(|k| k * k % 37).collect();
        let side = Side::new(&entries, 37);
        assert_eq!(counted(&entries, 37), sorted(&entries));
        assert!(side.rows.is_sorted() && side.distinct() < 37);
        for place in 0..side.distinct() {
            assert!(side.members(place).is_sorted());
            assert!(side.members(place).iter().all(|&entry| entries[entry as usize] == side.rows[place]));
        }
        assert_eq!(side.members.len(), 100);
    }

    #[test]
    fn folding_sums_every_entry_once() {
        let entries: Vec<u32> = (0..50u32).map(|k| k * k % 11).collect();
        let side = Side::new(&entries, 11);
        let mut sums: Vec<u64> = (0..50).map(|k| 1 << k).collect();
        for [left, right] in side.fold() {
            sums.push(0);
            sums = left.iter().zip(&right).map(|(&l, &r)| sums[l as usize] + sums[r as usize]).collect();
        }
        for (place, sum) in sums.iter().enumerate() {
            assert_eq!(*sum, side.members(place).iter().map(|&entry| 1u64 << entry).sum::<u64>());
        }
    }
}
