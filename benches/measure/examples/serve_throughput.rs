//! Measures the throughput of the scoring service beside a loop that only copies and beside Kafka Streams: requests
//! wait in a topic, the programs answer them one program after the other, and the rate follows from the times at which
//! the broker appended the replies. Every reply is checked; a program with a wrong reply gets no rate. Fails where a
//! bound in `contenders.toml` is missed.
//!
//! ```sh
//! (cd benches/peers/kafka-streams && mvn -B -q package)
//! cargo build --release --examples
//! KAFKA_BOOTSTRAP=HOST:PORT cargo run --release --example serve_throughput -- [--quick]
//! KAFKA_BOOTSTRAP=HOST:PORT cargo run --release --example serve_throughput -- \
//!     --contenders benches/measure/examples/serve_throughput/operated.toml --rounds 3
//! ```
//!
//! The broker runs on the same machine, which should otherwise be idle. A program that cannot be started, ends early or
//! stalls is reported as not measured.

#[path = "serve_throughput/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use burnrec_measure::kafka::contenders::{self, Contender};
use burnrec_measure::kafka::models::Models;
use burnrec_measure::kafka::process::{Ended, Process};
use burnrec_measure::kafka::replies::{ReplyCheck, check_topic};
use burnrec_measure::kafka::requests::{Kind, Requests};
use burnrec_measure::kafka::topics::Broker;
use burnrec_models::Shape;
use clap::Parser;

use table::{Measured, Row};

/// The default list of contenders.
const CONTENDERS: &str = include_str!("serve_throughput/contenders.toml");
/// The time between two looks at the output topic; it is long, as each look costs the broker time too.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After all requests have a reply, the time without a further one after which the run is over.
const SETTLED: Duration = Duration::from_secs(2);
/// A program that has sent no reply for this long has stalled.
const STALLED: Duration = Duration::from_secs(60);
/// The longest time that a program may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// The number of replies after which a program's memory is first read.
const WARM: i64 = 1_000_000;

/// Measures how many requests a second are answered from and to Kafka.
#[derive(Parser)]
struct Args {
    /// The broker.
    #[arg(long, env = "KAFKA_BOOTSTRAP")]
    bootstrap: String,
    /// Requests.
    #[arg(long, short, default_value_t = 3_000_000)]
    n: usize,
    /// A tenth of them.
    #[arg(long)]
    quick: bool,
    /// Users of the model.
    #[arg(long, default_value_t = 6040)]
    users: u32,
    /// Items of the model.
    #[arg(long, default_value_t = 3706)]
    items: u32,
    /// Length of the model's vectors.
    #[arg(long, default_value_t = 64)]
    dim: usize,
    /// Partitions of the topics.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// The producers' linger time.
    #[arg(long, default_value_t = 5)]
    linger_ms: u32,
    /// Requests and models are drawn from it.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Ask for the best ten items instead of a score; then no score is checked.
    #[arg(long)]
    recommend: bool,
    /// Turns; with several the table is of medians.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Another list of contenders.
    #[arg(long, value_name = "FILE")]
    contenders: Option<PathBuf>,
    /// Only contenders of this name; may be given again.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The burnrec program; beside the examples by default.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Where to keep models and logs; a directory that is removed by default.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// The broker, the requests and the models that all contenders share.
struct Setting<'a> {
    args: &'a Args,
    broker: Broker,
    input: String,
    requests: Requests,
    scores: Vec<f32>,
    dir: PathBuf,
    values: BTreeMap<&'static str, String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::parse();
    if args.quick {
        args.n /= 10;
    }
    let mut contenders = match &args.contenders {
        Some(file) => contenders::read(file)?,
        None => contenders::parse(CONTENDERS)?,
    };
    contenders.retain(|contender| args.only.is_empty() || args.only.contains(&contender.name));
    let kept = tempfile::tempdir()?;
    let setting = Setting::prepare(&args, kept.path())?;
    let mut rounds = Vec::new();
    for round in 0..args.rounds {
        let rows = contenders.iter().enumerate().map(|(k, contender)| {
            let run = format!("{round}-{k}");
            let outcome = setting.measure(contender, &run).map_err(|error| error.to_string());
            let row = Row { contender: contender.clone(), outcome };
            eprintln!("{}", table::line(&row));
            row
        });
        rounds.push(rows.collect::<Vec<Row>>());
    }
    setting.broker.delete(&setting.input)?;
    let kind = if args.recommend { "top-10" } else { "score" };
    println!(
        "{} {kind} requests, {} users x {} items, dim {}, {} partitions, linger {} ms, {} rounds, {} cores",
        args.n,
        args.users,
        args.items,
        args.dim,
        args.partitions,
        args.linger_ms,
        args.rounds,
        thread::available_parallelism()?,
    );
    if table::print(&rounds) {
        Ok(())
    } else {
        Err("a bound is missed, or something was not measured".into())
    }
}

impl<'a> Setting<'a> {
    /// Saves the models, and writes all requests to the input topic.
    fn prepare(args: &'a Args, kept: &Path) -> io::Result<Self> {
        let broker = Broker::connect(&args.bootstrap)?;
        let dir = args.dir.clone().unwrap_or_else(|| kept.to_owned());
        let shape = Shape { n_users: args.users as usize, n_items: args.items as usize };
        let models = Models::write(&dir, shape, args.dim, args.seed)?;
        let kind = if args.recommend { Kind::Recommend } else { Kind::Score };
        let requests = Requests::draw(kind, args.n, args.users, args.items, args.seed);
        // The process id keeps the names of topics and groups unique, so that nothing of an earlier run is read.
        let input = format!("bench-{}-requests", std::process::id());
        broker.create(&input, args.partitions, &[("retention.ms", "-1")])?;
        let start = Instant::now();
        requests.send(&broker, &input, args.partitions)?;
        eprintln!("{} requests sent in {:.1} s", args.n, start.elapsed().as_secs_f64());
        let examples = std::env::current_exe()?.parent().unwrap_or(Path::new(".")).to_owned();
        let program = args.program.clone().unwrap_or_else(|| examples.join("../burnrec"));
        let text = |path: &Path| path.display().to_string();
        let values = BTreeMap::from([
            ("bootstrap", args.bootstrap.clone()),
            ("input", input.clone()),
            ("linger_ms", args.linger_ms.to_string()),
            ("mf", text(&models.mf)),
            ("neumf", text(&models.neumf)),
            ("vectors", text(&models.vectors)),
            ("examples", text(&examples)),
            ("program", text(&program)),
            ("root", burnrec_measure::ROOT.to_owned()),
        ]);
        let scores = if args.recommend { Vec::new() } else { models.scores(&requests) };
        Ok(Self { args, broker, input, requests, scores, dir, values })
    }

    /// Lets a contender answer all requests, and checks its replies.
    fn measure(&self, contender: &Contender, run: &str) -> io::Result<Measured> {
        let partitions = self.args.partitions;
        let output = format!("{}-{run}", self.input.replace("requests", "replies"));
        let state = self.dir.join(format!("state-{run}"));
        std::fs::create_dir_all(&state)?;
        let mut values = self.values.clone();
        values.insert("output", output.clone());
        values.insert("group", output.clone());
        values.insert("state", state.display().to_string());
        let command = contender.command(&values)?;
        self.broker.create(&output, partitions, &[("message.timestamp.type", "LogAppendTime")])?;
        let rejects = format!("{output}-rejects");
        self.broker.create(&rejects, 1, &[])?;
        let ran = self.run(contender, &command, &output, run);
        let scores = (contender.scores && !self.args.recommend).then_some(&self.scores[..]);
        let verdict = ran.and_then(|ran| {
            let check = ReplyCheck::new(&self.requests, scores);
            Ok((ran, check_topic(&self.broker, &output, partitions, contender.guarantee, check)?))
        });
        self.broker.delete(&output)?;
        self.broker.delete(&rejects)?;
        let ((ended, warm_bytes, last_bytes), verdict) = verdict?;
        match verdict.fault(contender.guarantee) {
            Some(fault) => Err(io::Error::other(format!("WRONG: {fault}"))),
            None => Ok(Measured { verdict, ended, warm_bytes, last_bytes }),
        }
    }

    /// Runs a contender until all replies are there. Returns what it used, and its memory when warm and at the end.
    fn run(
        &self,
        contender: &Contender,
        command: &[String],
        output: &str,
        run: &str,
    ) -> io::Result<(Ended, Option<u64>, Option<u64>)> {
        let hinted = |error: io::Error| match contender.hint.as_str() {
            "" => error,
            hint => io::Error::other(format!("{error} ({hint})")),
        };
        let log = self.dir.join(format!("{}-{run}.log", contender.name));
        let mut process = Process::start(command, &log).map_err(hinted)?;
        let (mut end, mut grew) = (0, Instant::now());
        let (mut warm_bytes, mut last_bytes) = (None, None);
        loop {
            thread::sleep(LOOK_EVERY);
            if let Some(ended) = process.ended()? {
                let said = process.last_words();
                return Err(hinted(io::Error::other(format!("ended early, {}: {said}", ended.status))));
            }
            let now = self.broker.end(output, self.args.partitions)?;
            if now > end {
                (end, grew) = (now, Instant::now());
                last_bytes = process.memory_bytes();
                if now >= WARM {
                    warm_bytes = warm_bytes.or(last_bytes);
                }
            } else if end >= self.args.n as i64 && grew.elapsed() > SETTLED {
                break;
            } else if grew.elapsed() > STALLED {
                let said = process.last_words();
                return Err(io::Error::other(format!(
                    "stood still after {end} of {} replies: {said}",
                    self.args.n
                )));
            }
        }
        let ended = process.stop(STOP_PATIENCE)?;
        // A JVM that ends by SIGTERM exits with 128 + 15.
        if !ended.status.success() && ended.status.code() != Some(143) {
            return Err(io::Error::other(format!("ended with {} when asked to end", ended.status)));
        }
        Ok((ended, warm_bytes, last_bytes))
    }
}
