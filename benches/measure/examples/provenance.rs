//! What the index of events costs: the same flow, over a transport in memory, without and with it in turns; then what the index takes
//! in memory and on disk, and how long searches take. Fails where the rate with it is below nine tenths of that without.
//!
//! ```sh
//! cargo run --release --example provenance -- [--n 5000000] [--rounds 5]
//! ```
//!
//! A request costs less here than over Kafka, so that the share of the index is larger than there. The machine should be idle; the
//! time of the processor is shown as well, as it depends less on what else runs.

mod allocator;
#[path = "provenance/feed.rs"]
mod feed;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burnrec_measure::kafka::models::Models;
use burnrec_measure::kafka::requests::{Kind, Requests};
use burnrec_measure::{holds, median};
use burnrec_models::Shape;
use burnrec_serve::config::ProvenanceConfig;
use burnrec_serve::flow::{Flow, FlowOptions};
use burnrec_serve::metrics::{Metrics, resident_bytes};
use burnrec_serve::provenance::{Index, Query, Wanted};
use burnrec_serve::{Engine, ServeConfig};
use burnrec_train::machine::peak_memory_bytes;
use clap::Parser;

use feed::Feed;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Measures what the index of events costs.
#[derive(Parser)]
struct Args {
    /// Requests of a turn.
    #[arg(long, short, default_value_t = 5_000_000)]
    n: usize,
    /// Turns without and with the index.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Workers.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// `at-least-once` or `exactly-once`.
    #[arg(long, default_value = "exactly-once")]
    guarantee: String,
}

/// What a turn took.
struct Turn {
    /// Events a second.
    rate: f64,
    /// Microseconds of the processor for each event.
    cpu_us: f64,
}

fn main() -> Fallible<()> {
    allocator::keep_freed_memory();
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let (n_users, n_items) = (6040, 3706);
    let shape = Shape { n_users: n_users as usize, n_items: n_items as usize };
    let models = Models::write(folder.path(), shape, 64, 42)?;
    let requests = Arc::new(Requests::draw(Kind::Score, args.n, n_users, n_items, 42));
    let config = config(&models.mf, &args.guarantee)?;
    let (mut plain, mut indexed) = (Vec::new(), Vec::new());
    let before = resident_bytes().unwrap_or(0);
    turn(&args, &config, &requests, None)?;
    let without = peak_memory_bytes();
    for round in 0..args.rounds {
        plain.push(turn(&args, &config, &requests, None)?);
        let dir = folder.path().join(format!("index-{round}"));
        let (metrics, of) = (Arc::<Metrics>::default(), provenance(&dir));
        let index = Index::open(&of, &metrics)?;
        indexed.push(turn(&args, &config, &requests, Some(&index))?);
        let missed = metrics.provenance.missed.get();
        let file = std::fs::metadata(dir.join("events.redb"))?.len();
        let blocks = metrics.provenance.bytes.get();
        eprintln!(
            "round {round}: {:.0} against {:.0} events/s, {:.3} against {:.3} µs of the processor, {missed} missed",
            indexed[round].rate, plain[round].rate, indexed[round].cpu_us, plain[round].cpu_us
        );
        if round + 1 == args.rounds {
            println!(
                "{} events: {:.1} MB in blocks, {:.1} bytes each; the file has {:.1} MB",
                args.n,
                blocks as f64 / 1e6,
                blocks as f64 / args.n as f64,
                file as f64 / 1e6
            );
            search(&index)?;
        }
        index.close();
        drop(index);
        std::fs::remove_dir_all(&dir)?;
    }
    let peak = peak_memory_bytes();
    println!(
        "memory: {:.0} MB before, peak {:.0} MB without the index, {:.0} MB with it",
        before as f64 / 1e6,
        without as f64 / 1e6,
        peak as f64 / 1e6
    );
    let middle = |turns: &[Turn], of: &dyn Fn(&Turn) -> f64| median(turns.iter().map(of).collect());
    let cpu = [&plain, &indexed].map(|turns| middle(turns, &|turn| turn.cpu_us));
    println!("processor: {:.3} µs an event without, {:.3} µs with the index", cpu[0], cpu[1]);
    let rates = [&plain, &indexed].map(|turns| middle(turns, &|turn| turn.rate));
    match holds("events a second, without the index against with it", rates[0], rates[1], 1.0 / 0.9) {
        true => Ok(()),
        false => Err("a bound is missed".into()),
    }
}

fn provenance(dir: &Path) -> ProvenanceConfig {
    ProvenanceConfig { dir: dir.to_owned(), ..ProvenanceConfig::default() }
}

fn config(run: &Path, guarantee: &str) -> Fallible<ServeConfig> {
    let text = format!(
        r#"
        device = "cpu"
        models.main.run = {run:?}
        [kafka]
        bootstrap = "none"
        instance = "a"
        guarantee = {guarantee:?}
        requests = ["requests"]
        replies = "replies"
        rejects = "rejects"
        "#
    );
    Ok(text.parse()?)
}

/// Lets workers answer all requests.
fn turn(
    args: &Args,
    config: &ServeConfig,
    requests: &Arc<Requests>,
    index: Option<&Arc<Index>>,
) -> Fallible<Turn> {
    let engine = Arc::new(index.into_iter().fold(Engine::open(config)?, Engine::with_index));
    let kafka = config.kafka.as_ref().ok_or("no [kafka]")?;
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let ended: Vec<burnrec_serve::Result<()>> = std::thread::scope(|scope| {
        let work = |worker: usize| {
            let (engine, stop) = (Arc::clone(&engine), Arc::new(AtomicBool::new(false)));
            let feed = Feed::new(requests, (worker, args.workers), &stop);
            let mut flow = Flow::new(engine, Arc::default(), FlowOptions::new(worker, kafka), feed);
            scope.spawn(move || flow.run(&stop))
        };
        let workers: Vec<_> = (0..args.workers).map(work).collect();
        workers.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    ended.into_iter().collect::<burnrec_serve::Result<()>>()?;
    // What waits for the index is a part of the work.
    index.map(|index| index.flush()).transpose()?;
    let n = args.n as f64;
    Ok(Turn { rate: n / start.elapsed().as_secs_f64(), cpu_us: 1e6 * (cpu_seconds() - cpu) / n })
}

/// Prints how long searches take.
fn search(index: &Index) -> Fallible<()> {
    let text = |text: &str| Some(text.to_owned());
    for (what, wanted) in [
        ("user", Wanted { user: text("777"), ..Wanted::default() }),
        ("item", Wanted { item: text("777"), ..Wanted::default() }),
        ("id", Wanted { id: text("7777"), ..Wanted::default() }),
        ("source", Wanted { source: text("requests/1/7777"), ..Wanted::default() }),
        ("an outcome that no event has", Wanted { outcome: text("dropped"), ..Wanted::default() }),
    ] {
        let query = Query::read(wanted, index.ids())?;
        let start = Instant::now();
        let page = index.search(&query)?;
        println!(
            "search by {what}: {} events in {:.1} ms",
            page.events.len(),
            1e3 * start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

/// Returns the seconds of the processor that this process has used.
fn cpu_seconds() -> f64 {
    // SAFETY: the struct is plain numbers, and the call fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + 1e-6 * time.tv_usec as f64;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
