//! Training on a graphics card: first checks, against the CPU and of one run against another, then the pace by batch size
//! beside PyTorch, as a Markdown table whose rows appear as they are measured. `benches/measure/gpu.sh` runs it. It ends
//! within 6 minutes; exit code 1 says that a check failed.
//!
//! ```sh
//! cargo run --release --example gpu_pace -- [--device gpu|gpu:N] [--small] [--peers cuda|cpu|none] [--batches N,N,…]
//! ```
//!
//! The rows are synthetic, with the sizes of MovieLens 1M and 20M; `--small` has tiny tables and batches, for an adapter of
//! software, and asks PyTorch only where `--peers` says so.

mod allocator;
#[path = "gpu_pace/catalog.rs"]
mod catalog;
#[path = "gpu_pace/checks.rs"]
mod checks;
#[path = "gpu_pace/kernels.rs"]
mod kernels;
#[path = "gpu_pace/peer.rs"]
mod peer;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use burnrec_data::Csr;
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_measure::neural::{NeuralTask, epoch, skewed, thin};
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::{DeviceChoice, Shape};
use clap::Parser;

use peer::{Peer, WAYS};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const NEGATIVES: usize = 4;

/// What burnrec takes for a row of the table at most; mostly to put the rows on the card.
const OWN_ROW: Duration = Duration::from_secs(5);
/// The seconds of a figure of PyTorch at least, and those around it: its first steps, and steps that are slow.
const LEAST: f64 = 0.2;
const AROUND: f64 = 0.5;

#[derive(Parser)]
struct Args {
    /// The card.
    #[arg(long, default_value = "gpu")]
    device: DeviceChoice,
    /// Tiny tables and batches.
    #[arg(long)]
    small: bool,
    /// Where PyTorch computes: cuda, cpu or none; cuda by default, with --small none.
    #[arg(long, value_parser = ["cuda", "cpu", "none"])]
    peers: Option<String>,
    /// The seconds for everything; the last one given counts.
    #[arg(long, default_value_t = 335, overrides_with = "seconds")]
    seconds: u64,
    /// The samples of a step, smallest first.
    #[arg(long, value_delimiter = ',')]
    batches: Vec<usize>,
}

/// How much is measured.
struct Sizes {
    /// The length of the vectors.
    dim: usize,
    batches: Vec<usize>,
    /// The most steps of an epoch.
    steps: usize,
    /// For how many seconds one figure is measured, at least.
    seconds: f64,
    /// When all has to be done.
    end: Instant,
}

/// The interactions of a part of the table.
struct Tables {
    name: String,
    train: Csr,
}

/// A network on one of the two tables.
struct Case {
    tables: usize,
    model: &'static str,
    /// Widths of the tower in lengths of the vectors; 4, 2 and 1 by default.
    layers: &'static [usize],
}

/// The largest comes last, so that its peers are the first to be left out where time is short.
const CASES: [Case; 5] = [
    Case { tables: 0, model: "mf", layers: &[] },
    Case { tables: 0, model: "neumf", layers: &[] },
    // With vectors of 64 the layers of NVIDIA's NCF: 256, 256, 128, 64.
    Case { tables: 0, model: "neumf", layers: &[4, 4, 2, 1] },
    Case { tables: 1, model: "mf", layers: &[] },
    Case { tables: 1, model: "neumf", layers: &[] },
];

impl Case {
    fn task(&self, dim: usize, batch_size: usize) -> NeuralTask {
        match self.model {
            "mf" => NeuralTask::mf(dim, batch_size),
            _ => NeuralTask::neumf_of(dim, &self.widths(dim), batch_size),
        }
    }

    fn widths(&self, dim: usize) -> Vec<usize> {
        self.layers.iter().map(|width| width * dim).collect()
    }

    fn name(&self, dim: usize) -> String {
        format!("{} {}", self.model, joined(&self.widths(dim))).trim_end().to_owned()
    }

    /// Starts PyTorch on the rows in `file`, with `seconds` to get ready.
    fn peer(&self, file: &Path, shape: Shape, sizes: &Sizes, on: &str, seconds: u64) -> Result<Peer, String> {
        let mut args = vec![
            format!("--rows={}", file.display()),
            format!("--n-users={}", shape.n_users),
            format!("--n-items={}", shape.n_items),
            format!("--model={}", self.model),
            format!("--dim={}", sizes.dim),
            format!("--negatives={NEGATIVES}"),
            format!("--batches={}", joined(&sizes.batches)),
            format!("--device={on}"),
            format!("--prepare-seconds={seconds}"),
            "--orders".to_owned(),
        ];
        if !self.layers.is_empty() {
            args.push(format!("--layers={}", joined(&self.widths(sizes.dim))));
        }
        Peer::start(&args)
    }
}

fn joined(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn main() -> Fallible<ExitCode> {
    allocator::keep_freed_memory();
    let start = Instant::now();
    let args = Args::parse();
    let device = device::open(args.device)?;
    let sizes = sizes(&args, start);
    // When the checks end, and when PyTorch has to be ready.
    let prepared = Duration::from_secs(args.seconds * 9 / 20);
    let on = args.peers.as_deref().unwrap_or(if args.small { "none" } else { "cuda" });
    let dir = tempfile::tempdir()?;
    let left = |until: Duration| until.saturating_sub(start.elapsed());

    // PyTorch compiles while the checks run, whose time does not count.
    let mut tables = Vec::new();
    let mut peers = Vec::new();
    for number in 0..2 {
        let made = made(number, args.small)?;
        let file = dir.path().join(format!("{number}.pairs"));
        let shape = Shape { n_users: made.train.n_rows(), n_items: made.train.n_cols() };
        if on != "none" {
            peer::write_pairs(&file, &made.train)?;
        }
        tables.push(made);
        for case in CASES.iter().filter(|case| case.tables == number) {
            peers.push(match on {
                "none" => Err("it was not asked for".to_owned()),
                _ => case.peer(&file, shape, &sizes, on, left(prepared).as_secs()),
            });
        }
    }
    println!("Checks on {}\n", device.name);
    let passed = checks::run(&device, start + prepared);

    let mut notes = Vec::new();
    for peer in &mut peers {
        let ready = match peer {
            Ok(peer) => peer.ready(left(prepared + Duration::from_secs(20))),
            Err(why) => Err(why.clone()),
        };
        let note = match ready {
            Ok(what) => what,
            Err(why) => {
                let note = format!("PyTorch is left out: {why}");
                *peer = Err(why);
                note
            }
        };
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    table(&sizes, &tables, &mut peers, &device, &mut notes);
    catalog::measure(&sizes, &tables[0], &mut peers[1], &device, &mut notes);
    kernels::measure(&sizes, &tables, &device, &mut notes);
    println!();
    notes.iter().for_each(|note| println!("- {note}"));
    eprintln!("{:.0} s", start.elapsed().as_secs_f64());
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sizes(args: &Args, start: Instant) -> Sizes {
    let end = start + Duration::from_secs(args.seconds);
    let mut sizes = match args.small {
        true => Sizes { dim: 16, batches: vec![1_024, 4_096], steps: 4, seconds: 0.2, end },
        false => {
            let batches = vec![16_384, 65_536, 262_144, 1_048_576];
            Sizes { dim: 64, batches, steps: 1_000, seconds: 1.0, end }
        }
    };
    if !args.batches.is_empty() {
        sizes.batches.clone_from(&args.batches);
    }
    sizes
}

fn made(number: usize, small: bool) -> Fallible<Tables> {
    let drawn = |n_users, n_items, n| skewed(Shape { n_users, n_items }, n, 0);
    Ok(match (small, number) {
        (true, 0) => Tables { name: "400 x 300".into(), train: drawn(400, 300, 20_000) },
        (true, _) => Tables { name: "9,000 x 700".into(), train: drawn(9_000, 700, 60_000) },
        (false, 0) => {
            let dataset = synth(&SynthConfig::like("ml-1m")?)?;
            let train = dataset.interactions.to_csr(dataset.users.len(), dataset.items.len());
            Tables { name: "ml-1m".into(), train }
        }
        (false, _) => Tables { name: "ml-20m".into(), train: drawn(138_493, 26_744, 20_000_000) },
    })
}

/// Measures and prints the table, row by row.
fn table(
    sizes: &Sizes,
    tables: &[Tables],
    peers: &mut [Result<Peer, String>],
    device: &OpenDevice,
    notes: &mut Vec<String>,
) {
    let ways = WAYS.map(|(_, name)| name).join(" | ");
    println!(
        "\nMillions of samples a second, dim {}, {NEGATIVES} negatives. Epochs are whole: at their",
        sizes.dim
    );
    println!("end the weights are read back. Steps are the same epochs without that, as PyTorch's are.\n");
    println!("| tables | model | batch | first epoch, s | epochs | steps | {ways} | steps to the best |");
    println!("|---|---|---|---|---|---|{}---|", "---|".repeat(WAYS.len()));
    let mut rows_left = (CASES.len() * sizes.batches.len()) as u32;
    for (case, peer) in CASES.iter().zip(peers) {
        let model = case.name(sizes.dim);
        let Tables { name, train } = &tables[case.tables];
        for &batch in &sizes.batches {
            let row = format!("{name}, {model}, batch {batch}");
            let left = sizes.end.saturating_duration_since(Instant::now());
            // What the rows to come leave of the time, for one way of PyTorch here.
            let share = left.saturating_sub(OWN_ROW * rows_left) / (rows_left * WAYS.len() as u32);
            rows_left -= 1;
            if left < OWN_ROW {
                notes.push(format!("{row}: left out, as the time is over"));
                continue;
            }
            let ours = match pace(&case.task(sizes.dim, batch), train, sizes, device) {
                Ok(ours) => ours,
                Err(error) => {
                    notes.push(format!("{row}: {error}"));
                    continue;
                }
            };
            let seconds = (share.as_secs_f64() - AROUND).min(sizes.seconds);
            let theirs = match peer {
                Ok(_) if seconds < LEAST => {
                    notes.push(format!("{row}: PyTorch is left out, for want of time"));
                    [None; WAYS.len()]
                }
                Ok(peer) => WAYS.map(|(way, name)| {
                    let pace = peer.pace(batch, way, seconds);
                    pace.inspect_err(|why| notes.push(format!("{row}: {name}: {why}"))).ok()
                }),
                Err(_) => [None; WAYS.len()],
            };
            let best = theirs.iter().flatten().copied().fold(f64::NAN, f64::max);
            let ratio = if best > 0.0 { format!("{:.2}", ours.steps / best) } else { "-".into() };
            let theirs = theirs.map(|pace| pace.map_or("-".into(), millions)).join(" | ");
            let (first, epochs, steps) = (ours.first_seconds, millions(ours.epochs), millions(ours.steps));
            println!("| {name} | {model} | {batch} | {first:.1} | {epochs} | {steps} | {theirs} | {ratio} |");
        }
    }
}

fn millions(pace: f64) -> String {
    match pace / 1e6 {
        least if least < 1.0 => format!("{least:.3}"),
        small if small < 10.0 => format!("{small:.2}"),
        large => format!("{large:.0}"),
    }
}

/// The pace of burnrec.
struct Ours {
    /// Of the first epoch, in which the kernels are compiled.
    first_seconds: f64,
    /// Samples a second, of the best epoch.
    epochs: f64,
    /// The same for its steps alone.
    steps: f64,
}

/// Trains epochs of bounded length for a bounded time.
fn pace(task: &NeuralTask, train: &Csr, sizes: &Sizes, device: &OpenDevice) -> Fallible<Ours> {
    let train = thin(train, sizes.steps * (task.batch_size / (1 + NEGATIVES)));
    let mut learner = task.learner(&train, device)?;
    if let Err(why) = learner.traffic() {
        return Err(format!("the kernels do not train it: {why}").into());
    }
    let first_seconds = epoch(&mut learner)?.seconds;
    let (start, mut ours) = (Instant::now(), Ours { first_seconds, epochs: 0.0, steps: 0.0 });
    for number in 0..50 {
        if number >= 1 && start.elapsed().as_secs_f64() > sizes.seconds {
            break;
        }
        let pace = epoch(&mut learner)?;
        ours.epochs = ours.epochs.max(pace.samples_per_second);
        ours.steps = ours.steps.max(pace.samples_per_second_of_steps);
    }
    Ok(ours)
}
