//! The normal equations of rows: `A` and `b` of [`crate::als`], summed over entries, and their solution.
//!
//! A task is a row, or a piece of a long one, or a piece of the fixed side, whose sum is a piece of the Gram matrix. With
//! `width` the padded `dim` (16, 32, 64 or 128), a task takes `(width / 4)^2` units, at most 256, each with blocks of 4 x 4
//! elements of `A` in registers; a cube of 256 units takes as many tasks as fit, of about equal lengths, since tasks are
//! sorted by length. Chunks of 8 to 32 entries pass through 8 KB of shared memory.
//!
//! Launch: `tasks / tasks_of_cube(width)` cubes in a row. FLOPs: `2 width^2` an entry, and [`solve`](super::solve); reads
//! `16 ld4 + 12` bytes an entry; a task that is not solved writes `16 ld4 (4 ld4 + 1)` bytes.

use cubecl::prelude::*;

use crate::nn::gpu::kernels::shared::V4;

use super::solve::solve;

/// The words of a task: its first entry, the number of entries, and the row or piece that it writes.
pub const TASK: usize = 3;

/// What a task sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Entries of a row: those from the task's first on.
    Entries,
    /// Rows of the fixed side, with weight 1.
    Fixed,
    /// Nothing: the sum is there already, and the task's first word says where in `sums`.
    Sums,
}

/// Returns the padded `dim` of the blocks.
pub fn width(ld: usize) -> usize {
    ld.next_power_of_two().clamp(16, 128)
}

/// Returns how many tasks a cube takes.
pub fn tasks_of_cube(width: usize) -> usize {
    256 / (width.min(64) / 4).pow(2)
}

/// Sums each task. Without `solved`, `out` `[pieces, 4 ld4 + 1, ld4]` gets `A` and then `b`; with it, `out`
/// `[rows, ld4]` gets the solution of `(w0 gram + A + regs[row] I) x = b`.
///
/// `fixed` is `[n_fixed, ld4]`, `gram` `[4 ld4, ld4]`, `sums` like pieces, `tasks` `[n_tasks, 3]`, and `rows` `[rows, 3]`
/// with a row's regulariser first. `lost[0]` becomes 1 where f32 does not hold a solution.
#[cube(launch_unchecked)]
pub fn normal(
    fixed: &[V4],
    cols: &[u32],
    add: &[f32],
    pull: &[f32],
    tasks: &[u32],
    gram: &[V4],
    sums: &[V4],
    rows: &[f32],
    out: &mut [V4],
    lost: &[Atomic<u32>],
    n_tasks: u32,
    w0: f32,
    #[comptime] ld4: usize,
    #[comptime] source: Source,
    #[comptime] solved: bool,
    #[comptime] has_gram: bool,
) {
    let width4 = comptime!(width(ld4 * 4) / 4);
    let side = comptime!(width4.min(16));
    let blocks = comptime!(width4 / side);
    let units = comptime!(side * side);
    let chunk = comptime!(2 * units / width4);
    let per_cube = comptime!(256 / units);
    let mut sh_rows = Shared::<[V4]>::new_slice(512usize);
    let mut sh_add = Shared::<[f32]>::new_slice(per_cube * chunk);
    let mut sh_pull = Shared::<[f32]>::new_slice(per_cube * chunk);
    let slot = UNIT_POS as usize / units;
    let t = UNIT_POS as usize % units;
    let ti = t / side;
    let tj = t % side;
    let first_task = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize * per_cube;
    let task = first_task + slot;
    let mut first = 0usize;
    let mut n = 0usize;
    let mut place = 0usize;
    let mut longest = 0usize;
    if task < n_tasks as usize {
        first = tasks[task * TASK] as usize;
        n = tasks[task * TASK + 1] as usize;
        place = tasks[task * TASK + 2] as usize;
    }
    if first_task < n_tasks as usize {
        longest = tasks[first_task * TASK + 1] as usize;
    }
    let mut a = Array::<V4>::new(4 * blocks * blocks);
    #[unroll]
    for x in 0..4 * blocks * blocks {
        a[x] = V4::new(0.0f32);
    }
    // The units of `ti == 0` hold b, a block of columns each.
    let mut b = Array::<V4>::new(blocks);
    #[unroll]
    for x in 0..blocks {
        b[x] = V4::new(0.0f32);
    }
    if comptime!(source == Source::Sums) {
        let start = first * (ld4 * 4 + 1) * ld4;
        if task < n_tasks as usize {
            #[unroll]
            for mj in 0..blocks {
                let column = mj * side + tj;
                if column < ld4 {
                    #[unroll]
                    for mi in 0..blocks {
                        #[unroll]
                        for l in 0..4usize {
                            let row = (mi * side + ti) * 4 + l;
                            if row < ld4 * 4 {
                                a[(mi * 4 + l) * blocks + mj] = sums[start + row * ld4 + column];
                            }
                        }
                    }
                    b[mj] = sums[start + ld4 * 4 * ld4 + column];
                }
            }
        }
    } else {
        for part in 0..(longest + chunk - 1) / chunk {
            sync_cube();
            #[unroll]
            for load in 0..2usize {
                let x = t + load * units;
                let entry = part * chunk + x / width4;
                let column = x % width4;
                let mut value = V4::new(0.0f32);
                if entry < n && column < ld4 {
                    let mut row = first + entry;
                    if comptime!(source == Source::Entries) {
                        row = cols[first + entry] as usize;
                    }
                    value = fixed[row * ld4 + column];
                }
                sh_rows[slot * 2 * units + x] = value;
            }
            if t < chunk {
                let entry = part * chunk + t;
                let mut weight = 1.0f32;
                let mut target = 0.0f32;
                if comptime!(source == Source::Entries) {
                    weight = 0.0f32;
                    if entry < n {
                        weight = add[first + entry];
                        target = pull[first + entry];
                    }
                }
                sh_add[slot * chunk + t] = weight;
                sh_pull[slot * chunk + t] = target;
            }
            sync_cube();
            for entry in 0..chunk {
                let weight = V4::new(sh_add[slot * chunk + entry]);
                let start = slot * 2 * units + entry * width4;
                let mut q = Array::<V4>::new(blocks);
                #[unroll]
                for mj in 0..blocks {
                    q[mj] = sh_rows[start + mj * side + tj];
                }
                #[unroll]
                for mi in 0..blocks {
                    let x = sh_rows[start + mi * side + ti] * weight;
                    #[unroll]
                    for l in 0..4usize {
                        let v = V4::new(x.extract(l));
                        #[unroll]
                        for mj in 0..blocks {
                            let at = (mi * 4 + l) * blocks + mj;
                            a[at] = fma(v, q[mj], a[at]);
                        }
                    }
                }
                if comptime!(source == Source::Entries) {
                    if ti == 0 {
                        let target = V4::new(sh_pull[slot * chunk + entry]);
                        #[unroll]
                        for mj in 0..blocks {
                            b[mj] = fma(target, q[mj], b[mj]);
                        }
                    }
                }
            }
        }
    }
    if solved {
        let mut sizes = Array::<f32>::new(4 * blocks);
        #[unroll]
        for x in 0..4 * blocks {
            sizes[x] = 0.0f32;
        }
        let mut reg = 1.0f32;
        if task < n_tasks as usize {
            reg = rows[place * 3];
        }
        #[unroll]
        for mi in 0..blocks {
            #[unroll]
            for l in 0..4usize {
                let row = (mi * side + ti) * 4 + l;
                #[unroll]
                for mj in 0..blocks {
                    let column = mj * side + tj;
                    let at = (mi * 4 + l) * blocks + mj;
                    if comptime!(has_gram) {
                        if row < ld4 * 4 && column < ld4 {
                            a[at] = fma(V4::new(w0), gram[row * ld4 + column], a[at]);
                            if row / 4 == column {
                                sizes[mi * 4 + l] = w0 * gram[row * ld4 + column].extract(l);
                            }
                        }
                    }
                    if row / 4 == column {
                        let mut v = a[at];
                        v.insert(l, v.extract(l) + reg);
                        a[at] = v;
                    }
                }
            }
        }
        let x = solve(&mut a, &mut b, &sizes, lost, task < n_tasks as usize, slot, t, ld4, width4);
        if t < ld4 && task < n_tasks as usize {
            out[place * ld4 + t] = x;
        }
    } else if task < n_tasks as usize {
        let start = place * (ld4 * 4 + 1) * ld4;
        #[unroll]
        for mj in 0..blocks {
            let column = mj * side + tj;
            if column < ld4 {
                #[unroll]
                for mi in 0..blocks {
                    #[unroll]
                    for l in 0..4usize {
                        let row = (mi * side + ti) * 4 + l;
                        if row < ld4 * 4 {
                            out[start + row * ld4 + column] = a[(mi * 4 + l) * blocks + mj];
                        }
                    }
                }
                if ti == 0 {
                    out[start + ld4 * 4 * ld4 + column] = b[mj];
                }
            }
        }
    }
}
