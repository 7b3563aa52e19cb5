//! Training pace by batch size: the CPU, a GPU, and PyTorch on CUDA where it is there, as a Markdown table whose rows
//! appear as they are measured. `benches/measure/gpu.sh` runs it.
//!
//! ```sh
//! cargo run --release --example gpu_batches -- [--device gpu|gpu:N] [--rows N] [--batches N,N,…]
//! ```
//!
//! Synthetic rows of MovieLens 1M's size, or `--rows` of them; an epoch has at most a hundred steps.

mod allocator;

use burnrec_bench::peers;
use burnrec_data::Csr;
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_measure::neural::{NeuralTask, Torch, epoch, thin};
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::{DeviceChoice, Shape};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const DIM: usize = 64;
const NEGATIVES: usize = 4;
const STEPS: usize = 100;
const EPOCHS: usize = 2;

struct Settings {
    device: DeviceChoice,
    rows: usize,
    batches: Vec<usize>,
}

fn main() -> Fallible<()> {
    allocator::keep_freed_memory();
    let settings = settings()?;
    let dataset = synth(&SynthConfig::like("ml-1m")?)?;
    let shape = Shape { n_users: dataset.users.len(), n_items: dataset.items.len() };
    let rows = &dataset.interactions;
    let (cpu, gpu) = (device::open(DeviceChoice::Cpu)?, device::open(settings.device)?);
    let dir = tempfile::tempdir()?;
    let train = thin(rows, settings.rows, shape);
    let file = dir.path().join("train.csv");
    peers::write_rows(&file, &train)?;
    let torch = Torch::new(file, &train, settings.device);

    println!("Thousands of samples a second, dim {DIM}, {NEGATIVES} negatives, {} rows.\n", train.nnz());
    println!("| model | batch | {} | {} | PyTorch, CUDA | GPU to PyTorch |", cpu.name, gpu.name);
    println!("|---|---|---|---|---|---|");
    let mut torch_runs = true;
    for make in [NeuralTask::neumf, NeuralTask::mf] {
        for &batch_size in &settings.batches {
            let task = make(DIM, batch_size);
            let train = thin(rows, settings.rows.min(STEPS * (batch_size / (1 + NEGATIVES))), shape);
            let ours = [pace(&task, &train, &cpu)?, pace(&task, &train, &gpu)?];
            let theirs = torch_runs.then(|| theirs(&torch, &task)).flatten();
            // After a failure PyTorch is not tried again: each try would cost its start.
            torch_runs = theirs.is_some();
            let [cpu, gpu] = ours.map(|pace| format!("{:.0}", pace / 1e3));
            let theirs =
                theirs.map_or("- | -".into(), |pace| format!("{:.0} | {:.2}", pace / 1e3, ours[1] / pace));
            println!("| {} | {batch_size} | {cpu} | {gpu} | {theirs} |", task.kind());
        }
    }
    Ok(())
}

fn settings() -> Fallible<Settings> {
    let mut settings = Settings {
        device: DeviceChoice::Gpu(None),
        rows: 1_000_000,
        batches: (12..=20).step_by(2).map(|power| 1 << power).collect(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag}: found no value, expected one"))?;
        match flag.as_str() {
            "--device" => settings.device = value.parse()?,
            "--rows" => settings.rows = value.parse()?,
            "--batches" => settings.batches = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            _ => return Err(format!("found {flag}, expected --device, --rows or --batches").into()),
        }
    }
    Ok(settings)
}

/// Returns the samples a second of the best of some epochs, after one in which the device tunes its kernels.
fn pace(task: &NeuralTask, train: &Csr, device: &OpenDevice) -> Fallible<f64> {
    let mut learner = task.learner(train, device)?;
    epoch(&mut learner)?;
    let mut best = 0.0f64;
    for _ in 0..EPOCHS {
        best = best.max(epoch(&mut learner)?.samples_per_second);
    }
    Ok(best)
}

/// Returns the samples a second of PyTorch, if it runs.
fn theirs(torch: &Torch, task: &NeuralTask) -> Option<f64> {
    let steps = STEPS.min(5_000_000usize.div_ceil(task.batch_size)).to_string();
    let record = torch.run(task, torch.setups()[0], &["--warmup", "5", "--steps", &steps]);
    let pace = record.and_then(|record| peers::figure(&record, "/samples_per_second"));
    pace.inspect_err(|error| eprintln!("PyTorch on CUDA is left out: {error}")).ok()
}
