//! Rows of a sparse matrix as parallel tasks of about equal work.

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

/// Calls `solve` with each row and its slice of each of `outs`, `[rows, dim]`, in parallel; the result must be a function of
/// the row alone. `offsets`, `[rows + 1]`, are those of the rows' entries, `T` is memory of each thread, and `done` is called
/// with the number of entries of each task when it is finished.
///
/// # Panics
/// When an output does not have one vector of `dim` for each row.
pub fn each_row<const N: usize, T: Default + Send>(
    offsets: &[usize],
    dim: usize,
    outs: [&mut [f32]; N],
    done: &(dyn Fn(u64) + Sync),
    solve: impl Fn(&mut T, usize, [&mut [f32]; N]) + Sync,
) {
    assert!(outs.iter().all(|out| out.len() == (offsets.len() - 1) * dim), "one vector per row");
    let tasks = cut(offsets, dim);
    let mut slices: Vec<[&mut [f32]; N]> = Vec::with_capacity(tasks.len());
    let mut left = outs;
    for task in &tasks {
        let mut rest = left.map(|out| out.split_at_mut(task.len() * dim));
        slices.push(rest.each_mut().map(|(head, _)| std::mem::take(head)));
        left = rest.map(|(_, tail)| tail);
    }
    // Each thread has one scratch for the whole sweep. A thread of the pool uses the one at its index; a thread outside the
    // pool works alone and uses the first.
    let scratch: Vec<Mutex<T>> = (0..rayon::current_num_threads()).map(|_| Mutex::default()).collect();
    tasks.into_par_iter().zip(slices).for_each(|(task, outs)| {
        let thread = rayon::current_thread_index().unwrap_or(0);
        let mut scratch = scratch[thread].lock().expect("no row panics");
        let mut chunks = outs.map(|out| out.chunks_exact_mut(dim));
        for row in task.clone() {
            let outs = chunks.each_mut().map(|out| out.next().expect("one vector per row"));
            solve(&mut scratch, row, outs);
        }
        done((offsets[task.end] - offsets[task.start]) as u64);
    });
}

/// Cuts the rows into tasks of about equal work.
fn cut(offsets: &[usize], dim: usize) -> Vec<Range<usize>> {
    // A row costs one unit for each entry, and a constant of about `dim` units.
    let n_rows = offsets.len() - 1;
    let work = |row: usize| offsets[row] + row * dim;
    let share = work(n_rows) / (rayon::current_num_threads() * 32) + 1;
    let (mut tasks, mut first) = (Vec::new(), 0);
    for row in 1..=n_rows {
        if work(row) - work(first) >= share || row == n_rows {
            tasks.push(first..row);
            first = row;
        }
    }
    tasks
}
