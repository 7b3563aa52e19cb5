//! The jobs of the optimiser's step.

use super::jobs::{Accumulators, Jobs, Sizes, UNITS, in_a_row};
use super::kernels::score::Parts;
use super::kernels::shared::{NONE, bound};
use super::kernels::update;
use super::layout::{Layout, Table};

/// The optimiser's jobs: each table, the dense weights, and what is to be zero for the next batch.
pub fn update_jobs(
    layout: &Layout,
    accumulators: &Accumulators,
    parts: Parts,
    first_hidden: Option<&[usize; 2]>,
    sizes: Sizes,
) -> Jobs {
    // The words of a job but the first cube.
    const LEN: usize = update::job::LEN - 1;
    let none = NONE as usize;
    let mut jobs: Vec<[usize; LEN]> = Vec::new();
    let table = |kind: u32, table: Table, side: usize| {
        let mut job = [0; LEN];
        job[update::job::KIND - 1] = kind as usize;
        job[update::job::LEN4 - 1] = table.len4();
        job[update::job::WEIGHTS - 1] = table.start / 4;
        job[update::job::WIDTH - 1] = table.width;
        job[update::job::COUNT - 1] = sizes.count(side);
        job[update::job::OTHER_BOUND - 1] = none;
        job[update::job::FACTOR - 1] = sizes.samples_of_entry(side);
        job[update::job::DOT_WEIGHT - 1] = none;
        job[update::job::LAZY - 1] = usize::from(sizes.lazy[side]);
        // Rows of one value share vectors, so that a table of them is not cut by a list.
        job[update::job::LIST - 1] = if table.width > 1 { sizes.list(side) } else { none };
        job[update::job::SIDE - 1] = side;
        job
    };
    for side in 0..2 {
        // A user's vector is in each sample of a training row.
        let reg = if parts.reg { sizes.samples_of_entry(side) } else { 0 };
        if let Some(tables) = layout.dot {
            let mut job = table(update::kind::TABLE, tables[side], side);
            job[update::job::ACCUMULATORS - 1] = accumulators.dot[side] / 4;
            job[update::job::BOUND - 1] = bound::SCORE;
            job[update::job::OTHER_BOUND - 1] = if side == 0 { bound::ITEM } else { bound::USER };
            if parts.weighted {
                let class = if parts.two_classes { layout.output_rows } else { 0 };
                job[update::job::DOT_WEIGHT - 1] = class / 4;
            }
            job[update::job::REG - 1] = reg;
            jobs.push(job);
        }
        if let Some(tables) = layout.biases {
            let mut job = table(update::kind::TABLE, tables[side], side);
            job[update::job::ACCUMULATORS - 1] = accumulators.biases[side] / 4;
            job[update::job::BOUND - 1] = bound::SCORE;
            job[update::job::REG - 1] = reg;
            jobs.push(job);
        }
        if let (Some(tables), Some([width, _])) = (layout.embeddings, first_hidden) {
            jobs.push(table(update::kind::GRADIENTS, tables[side], side));
            let mut clear = [0; LEN];
            clear[update::job::KIND - 1] = update::kind::CLEAR as usize;
            clear[update::job::LEN4 - 1] = sizes.n()[side] * width / 4;
            clear[update::job::ACCUMULATORS - 1] = accumulators.hidden[side] / 4;
            clear[update::job::WIDTH - 1] = *width;
            clear[update::job::LIST - 1] = sizes.list(side);
            clear[update::job::SIDE - 1] = side;
            jobs.push(clear);
        }
    }
    if layout.len > layout.dense {
        let mut dense = [0; LEN];
        dense[update::job::KIND - 1] = update::kind::GRADIENTS as usize;
        dense[update::job::LEN4 - 1] = (layout.len - layout.dense) / 4;
        dense[update::job::WEIGHTS - 1] = layout.dense / 4;
        dense[update::job::WIDTH - 1] = 4;
        dense[update::job::LIST - 1] = none;
        jobs.push(dense);
    }
    let mut counts = [0; LEN];
    counts[update::job::KIND - 1] = update::kind::CLEAR_COUNTS as usize;
    counts[update::job::LEN4 - 1] = sizes.shape.n_users + sizes.shape.n_items;
    counts[update::job::WIDTH - 1] = 4;
    counts[update::job::LIST - 1] = none;
    jobs.push(counts);
    in_a_row(&jobs, |job| {
        let listed = sizes.most_rows(job[update::job::SIDE - 1]) * job[update::job::WIDTH - 1] / 4;
        let len4 = job[update::job::LEN4 - 1];
        let vectors = if job[update::job::LIST - 1] == none { len4 } else { listed };
        vectors.div_ceil(UNITS)
    })
}
