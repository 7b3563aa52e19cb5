//! Solves rows by preconditioned conjugate gradients in the basis of the eigenvectors: the steps of [`crate::als`]'s
//! solver on the host, to the same relative residual tolerance.
//!
//! A row takes 64 units where rows are short, else a whole cube of 256; the units of a row hold its vectors, four values
//! each. Entries pass through shared memory in chunks, which rows of one chunk gather once for all steps. A long row is
//! *dense*: its entries are summed in pieces before ([`normal`](super::normal)), and it multiplies by the sum.
//!
//! Launch: `tasks / (256 / units)` cubes in a row, 24 KB of shared memory. FLOPs: `16 ld4` an entry and step (dense:
//! `32 ld4^2` a step), one step more for the first residual; reads `16 ld4` bytes an entry where it has one chunk, and that
//! at each step where it has more.

use cubecl::prelude::*;

use crate::nn::gpu::kernels::shared::V4;

use super::normal::TASK;

/// The relative residual tolerance, as that of the host's solver.
const RELATIVE_TOLERANCE: f32 = crate::als::cg::RELATIVE_TOLERANCE;

/// The least element of the preconditioner's diagonal, as that of the host's solver.
const LEAST_EXPECTED: f32 = crate::als::cg::LEAST_EXPECTED;

/// What the units of one row share, in a cube of `256 / units` rows.
#[derive(CubeType)]
struct Memory {
    /// Gathered rows, with a vector of padding each.
    rows: Shared<[V4]>,
    add: Shared<[f32]>,
    pull: Shared<[f32]>,
    /// The vector that the entries are multiplied with, `[4 ld4]`.
    vector: Shared<[V4]>,
    /// The same, one value each.
    elements: Shared<[f32]>,
    /// Parts of the entries' scores.
    parts: Shared<[f32]>,
    /// Parts of the sums over entries.
    sums: Shared<[V4]>,
}

/// How a row is laid out over units and shared memory, by `ld4` and the units of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    ld4: usize,
    units: usize,
    per_cube: usize,
    chunk: usize,
    lanes: usize,
    slices: usize,
    dense: bool,
}

impl Layout {
    /// Lays rows out; `ld4` is at most 32, `units` 64 or 256.
    pub const fn new(ld4: usize, units: usize, dense: bool) -> Self {
        let per_cube = 256 / units;
        let chunk = if ld4 <= 16 { 64 } else { 32 } / per_cube;
        let slices = if units / ld4 < 16 { units / ld4 } else { 16 };
        Self { ld4, units, per_cube, chunk, lanes: units / chunk, slices, dense }
    }

    /// Returns the rows of a cube.
    pub const fn rows_of_cube(self) -> usize {
        self.per_cube
    }
}

/// Improves `y` `[rows, ld4]`, the rows of the tasks in the basis of the eigenvectors.
///
/// `fixed` is `[n_fixed, ld4]` in the same basis, `values` `[4 ld4 + 4]` the eigenvalues and the
/// largest of them; `sums` has the sums of dense tasks,
/// whose first word says where; `rows` `[rows, 3]` has each row's regulariser, the sum of its `add` by `n_fixed`, and the
/// residual below which all is rounding.
#[cube(launch_unchecked)]
pub fn cg(
    fixed: &[V4],
    cols: &[u32],
    add: &[f32],
    pull: &[f32],
    tasks: &[u32],
    values: &[V4],
    sums: &[V4],
    rows: &[f32],
    y: &mut [V4],
    n_tasks: u32,
    w0: f32,
    steps: u32,
    #[comptime] layout: Layout,
) {
    let ld4 = comptime!(layout.ld4);
    let per_cube = comptime!(layout.per_cube);
    let units = comptime!(layout.units);
    let mut memory = Memory {
        rows: Shared::new_slice(per_cube * layout.chunk * (ld4 + 1)),
        add: Shared::new_slice(per_cube * layout.chunk),
        pull: Shared::new_slice(per_cube * layout.chunk),
        vector: Shared::new_slice(per_cube * ld4),
        elements: Shared::new_slice(per_cube * ld4 * 4),
        parts: Shared::new_slice(256usize),
        sums: Shared::new_slice(256usize),
    };
    let mut sh_dots = Shared::<[f32]>::new_slice(2 * per_cube * ld4);
    let mut sh_alive = Shared::<[u32]>::new_slice(per_cube);
    let slot = UNIT_POS as usize / units;
    let t = UNIT_POS as usize % units;
    let first_task = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize * per_cube;
    let task = first_task + slot;
    let mut first = 0usize;
    let mut n = 0usize;
    let mut row = 0usize;
    let mut longest = 0usize;
    if task < n_tasks as usize {
        first = tasks[task * TASK] as usize;
        n = tasks[task * TASK + 1] as usize;
        row = tasks[task * TASK + 2] as usize;
    }
    if first_task < n_tasks as usize {
        longest = tasks[first_task * TASK + 1] as usize;
    }
    let n_chunks = max(1usize, (longest + layout.chunk - 1) / layout.chunk);
    let reg = rows[row * 3];
    let own = rows[row * 3 + 1];
    let rounding = rows[row * 3 + 2];
    // Rows without entries, or with targets of 0 alone, are 0.
    let holds = t < ld4 && n > 0 && rounding > 0.0f32;
    let mut x = V4::new(0.0f32);
    let mut base = V4::new(0.0f32);
    let mut inverse = V4::new(0.0f32);
    if holds {
        x = y[row * ld4 + t];
        base = V4::new(w0) * values[t] + V4::new(reg);
        let expected = base + V4::new(own) * values[t];
        let least = ((w0 + own) * values[ld4].extract(0usize) + reg) * LEAST_EXPECTED;
        #[unroll]
        for e in 0..4usize {
            let v = max(expected.extract(e), least);
            inverse.insert(e, select(v > 0.0f32, 1.0f32 / v, 0.0f32));
        }
    }
    let mut r =
        observe(&mut memory, fixed, cols, add, pull, sums, x, slot, t, first, n, n_chunks, layout, true);
    if holds {
        r -= base * x;
        if comptime!(layout.dense) {
            r += sums[first * (ld4 * 4 + 1) * ld4 + ld4 * 4 * ld4 + t];
        }
    }
    let mut z = inverse * r;
    let mut p = z;
    let mut rz = dot(&mut sh_dots, r, z, slot, t, 0usize, layout);
    let tolerance = max(RELATIVE_TOLERANCE * rz, rounding);
    let mut alive = rz > 0.0f32;
    let mut any = alive;
    if comptime!(per_cube > 1) {
        any = any_alive(&mut sh_alive, alive, slot, t, layout);
    }
    for _ in 0..steps {
        if any {
            let mut ap = observe(
                &mut memory,
                fixed,
                cols,
                add,
                pull,
                sums,
                p,
                slot,
                t,
                first,
                n,
                n_chunks,
                layout,
                false,
            );
            ap += base * p;
            let curvature = dot(&mut sh_dots, p, ap, slot, t, 0usize, layout);
            alive = alive && curvature > 0.0f32;
            let length = select(alive, rz / curvature, 0.0f32);
            x += V4::new(length) * p;
            r -= V4::new(length) * ap;
            z = inverse * r;
            let next = dot(&mut sh_dots, r, z, slot, t, 1usize, layout);
            alive = alive && next > 0.0f32 && next > tolerance;
            p = z + V4::new(select(alive, next / rz, 0.0f32)) * p;
            rz = next;
            any = alive;
            if comptime!(per_cube > 1) {
                any = any_alive(&mut sh_alive, alive, slot, t, layout);
            }
        }
    }
    if t < ld4 && task < n_tasks as usize {
        y[row * ld4 + t] = x;
    }
}

/// Returns, in the units `t < ld4` of a row, the sum over its entries of `add (q . v) q`; with `residual`, of
/// `(pull - add (q . v)) q`. `v` is in the same units.
#[cube]
fn observe(
    memory: &mut Memory,
    fixed: &[V4],
    cols: &[u32],
    add: &[f32],
    pull: &[f32],
    sums: &[V4],
    v: V4,
    slot: usize,
    t: usize,
    first: usize,
    n: usize,
    n_chunks: usize,
    #[comptime] layout: Layout,
    #[comptime] residual: bool,
) -> V4 {
    let ld4 = comptime!(layout.ld4);
    let units = comptime!(layout.units);
    let chunk = comptime!(layout.chunk);
    let lanes = comptime!(layout.lanes);
    let slices = comptime!(layout.slices);
    let tile = slot * chunk * (ld4 + 1);
    if t < ld4 {
        memory.vector[slot * ld4 + t] = v;
        if comptime!(layout.dense) {
            #[unroll]
            for e in 0..4usize {
                memory.elements[(slot * ld4 + t) * 4 + e] = v.extract(e);
            }
        }
    }
    let column = t % ld4;
    let slice = t / ld4;
    let mut total = V4::new(0.0f32);
    for part in 0..n_chunks {
        if residual || n_chunks > 1 {
            sync_cube();
            #[unroll]
            for load in 0..comptime!((chunk * ld4).div_ceil(units)) {
                let x = t + load * units;
                let entry = part * chunk + x / ld4;
                if x < chunk * ld4 {
                    let mut value = V4::new(0.0f32);
                    if entry < n {
                        if comptime!(layout.dense) {
                            value = sums[(first * (ld4 * 4 + 1) + entry) * ld4 + x % ld4];
                        } else {
                            value = fixed[cols[first + entry] as usize * ld4 + x % ld4];
                        }
                    }
                    memory.rows[tile + x / ld4 * (ld4 + 1) + x % ld4] = value;
                }
            }
            if comptime!(!layout.dense) {
                if t < chunk {
                    let entry = part * chunk + t;
                    let mut weight = 0.0f32;
                    let mut target = 0.0f32;
                    if entry < n {
                        weight = add[first + entry];
                        target = pull[first + entry];
                    }
                    memory.add[slot * chunk + t] = weight;
                    memory.pull[slot * chunk + t] = target;
                }
            }
        }
        sync_cube();
        if comptime!(!layout.dense) {
            let mut score = 0.0f32;
            let start = tile + t / lanes * (ld4 + 1);
            #[unroll]
            for step in 0..comptime!(ld4.div_ceil(lanes)) {
                let at = t % lanes + step * lanes;
                if at < ld4 {
                    let products = memory.rows[start + at] * memory.vector[slot * ld4 + at];
                    score += (products.extract(0usize) + products.extract(1usize))
                        + (products.extract(2usize) + products.extract(3usize));
                }
            }
            memory.parts[slot * units + t] = score;
            sync_cube();
        }
        if slice < slices {
            let mut entry = slice;
            while entry < chunk {
                let mut weight = 0.0f32;
                if comptime!(layout.dense) {
                    if part * chunk + entry < n {
                        weight = memory.elements[slot * ld4 * 4 + part * chunk + entry];
                    }
                } else {
                    #[unroll]
                    for lane in 0..lanes {
                        weight += memory.parts[slot * units + entry * lanes + lane];
                    }
                    weight *= memory.add[slot * chunk + entry];
                }
                if residual {
                    weight = -weight;
                    if comptime!(!layout.dense) {
                        weight += memory.pull[slot * chunk + entry];
                    }
                }
                total = fma(V4::new(weight), memory.rows[tile + entry * (ld4 + 1) + column], total);
                entry += slices;
            }
        }
    }
    memory.sums[slot * units + t] = total;
    sync_cube();
    let mut out = V4::new(0.0f32);
    if t < ld4 {
        #[unroll]
        for slice in 0..slices {
            out += memory.sums[slot * units + slice * ld4 + t];
        }
    }
    out
}

/// Returns, in all units of a row, the dot product of two of its vectors; `half` says which of two places it uses, and
/// neighbouring calls use another each.
#[cube]
fn dot(
    shared: &mut Shared<[f32]>,
    a: V4,
    b: V4,
    slot: usize,
    t: usize,
    #[comptime] half: usize,
    #[comptime] layout: Layout,
) -> f32 {
    let ld4 = comptime!(layout.ld4);
    let start = (half * layout.per_cube + slot) * ld4;
    if t < ld4 {
        let products = a * b;
        shared[start + t] = (products.extract(0usize) + products.extract(1usize))
            + (products.extract(2usize) + products.extract(3usize));
    }
    sync_cube();
    let mut total = 0.0f32;
    for k in 0..ld4 {
        total += shared[start + k];
    }
    total
}

/// Returns whether a row of the cube is not solved yet.
#[cube]
fn any_alive(
    shared: &mut Shared<[u32]>,
    alive: bool,
    slot: usize,
    t: usize,
    #[comptime] layout: Layout,
) -> bool {
    if t == 0 {
        shared[slot] = select(alive, 1u32, 0u32);
    }
    sync_cube();
    let mut any = 0u32;
    #[unroll]
    for other in 0..layout.per_cube {
        any = max(any, shared[other]);
    }
    any == 1u32
}
