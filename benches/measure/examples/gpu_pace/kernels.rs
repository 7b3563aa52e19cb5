//! The device time of each kernel.

use std::time::{Duration, Instant};

use burnrec_data::Csr;
use burnrec_measure::neural::{NeuralTask, epoch, thin};
use burnrec_models::device::OpenDevice;

use super::{CASES, Fallible, NEGATIVES, Sizes, Tables};

/// Measures and prints the device time of each kernel, by the smallest and the largest batch.
pub fn measure(sizes: &Sizes, tables: &[Tables], device: &OpenDevice, notes: &mut Vec<String>) {
    println!("\nMicroseconds of a step by kernel, launched one by one\n");
    let ends = [sizes.batches.first(), sizes.batches.last()];
    for case in &CASES {
        for &batch in ends.into_iter().flatten() {
            let Tables { name, train } = &tables[case.tables];
            let row = format!("{name}, {}, batch {batch}", case.name(sizes.dim));
            if Instant::now() > sizes.end {
                notes.push(format!("{row}: kernels are not measured, as the time is over"));
                continue;
            }
            match kernels_of(&case.task(sizes.dim, batch), train, device) {
                Ok(times) => println!("- {row}: {times}"),
                Err(error) => notes.push(format!("{row}: {error}")),
            }
        }
    }
}

/// The fastest of a few launches of each kernel, and their sum.
fn kernels_of(task: &NeuralTask, train: &Csr, device: &OpenDevice) -> Fallible<String> {
    const STEPS: usize = 6;
    // A card takes a while to raise its clock.
    const AWAKE: Duration = Duration::from_millis(300);
    let rows = task.batch_size / (1 + NEGATIVES);
    // Whole batches alone.
    let steps = (train.nnz() / rows).min(STEPS);
    let train = thin(train, (steps * rows).max(1));
    let mut learner = task.learner(&train, device)?;
    let start = Instant::now();
    while start.elapsed() < AWAKE {
        epoch(&mut learner)?;
    }
    learner.measure_kernels();
    epoch(&mut learner)?;
    let mut all = 0.0;
    let mut each = Vec::new();
    for (name, times) in learner.kernel_times() {
        // A kernel that is launched several times in a step counts so many times.
        let launches = times.len().div_ceil(steps.max(1));
        let of_step = times.chunks_exact(launches).map(|step| step.iter().sum::<Duration>());
        let micros = of_step.min().unwrap_or_default().as_secs_f64() * 1e6;
        all += micros;
        each.push(format!("{name} {micros:.0}"));
    }
    Ok(format!("{all:.0}: {}", each.join(", ")))
}
