//! Measures latency in an open loop: requests come on a schedule, whether or not earlier ones are answered. From Kafka
//! to Kafka the service stands beside a loop that only copies, over HTTP beside a bare axum server. The rate should be
//! half of the highest that the mode reaches. Fails where a bound in the list of contenders is missed.
//!
//! ```sh
//! cargo build --release --examples
//! KAFKA_BOOTSTRAP=HOST:PORT cargo run --release --example serve_latency -- kafka --rate 148000
//! cargo run --release --example serve_latency -- http --rate 30000 --connections 16
//! ```

#[path = "serve_latency/over_http.rs"]
mod over_http;
#[path = "serve_latency/over_kafka.rs"]
mod over_kafka;
#[path = "serve_latency/schedule.rs"]
mod schedule;

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burnrec_measure::kafka::contenders::{self, Contender};
use burnrec_measure::kafka::models::Models;
use burnrec_measure::kafka::process::Process;
use burnrec_measure::kafka::requests::{Kind, Requests};
use burnrec_measure::kafka::topics::Broker;
use burnrec_models::Shape;
use clap::{Args, Parser, Subcommand};

use schedule::Percentiles;

/// Partitions of the topics.
const PARTITIONS: i32 = 4;
/// The longest time that a program may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// Measures the time from when a request is due to its reply.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From topic to topic.
    Kafka {
        /// The broker.
        #[arg(long, env = "KAFKA_BOOTSTRAP")]
        bootstrap: String,
        #[command(flatten)]
        common: Common,
    },
    /// Over HTTP.
    Http {
        /// Connections, each with a request at a time.
        #[arg(long, default_value_t = 16)]
        connections: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Answers every request with its body: the bare server.
    Echo {
        /// Where to listen on 127.0.0.1.
        #[arg(long)]
        port: u16,
    },
}

#[derive(Args)]
struct Common {
    /// Requests a second.
    #[arg(long)]
    rate: f64,
    /// Seconds that count.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Seconds before them that do not.
    #[arg(long, default_value_t = 5)]
    warm_seconds: u32,
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

/// The percentiles of a contender: the waits for replies, and how late the requests were sent.
type Latencies = io::Result<(Percentiles, Percentiles)>;

fn main() -> Result<(), Box<dyn Error>> {
    let held = match Cli::parse().command {
        Command::Echo { port } => return Ok(over_http::echo(port)?),
        Command::Kafka { bootstrap, common } => {
            let broker = Broker::connect(&bootstrap)?;
            let list = contenders(&common, include_str!("serve_latency/kafka.toml"))?;
            let setting = Setting::prepare(common)?;
            println!("Kafka, {} requests a second for {} s", setting.common.rate, setting.common.seconds);
            print(&list, |contender| setting.over_kafka(&broker, contender))
        }
        Command::Http { connections, common } => {
            let list = contenders(&common, include_str!("serve_latency/http.toml"))?;
            let setting = Setting::prepare(common)?;
            let Common { rate, seconds, .. } = setting.common;
            println!("HTTP, {rate} requests a second for {seconds} s, {connections} connections");
            print(&list, |contender| setting.over_http(connections, contender))
        }
    };
    if held { Ok(()) } else { Err("a bound is missed, or something was not measured".into()) }
}

fn contenders(common: &Common, default: &str) -> io::Result<Vec<Contender>> {
    let mut list =
        common.contenders.as_deref().map_or_else(|| contenders::parse(default), contenders::read)?;
    list.retain(|contender| common.only.is_empty() || common.only.contains(&contender.name));
    Ok(list)
}

/// The requests and the models that all contenders share.
struct Setting {
    common: Common,
    requests: Requests,
    warm: usize,
    dir: PathBuf,
    values: BTreeMap<&'static str, String>,
    _removed_at_the_end: tempfile::TempDir,
}

impl Setting {
    fn prepare(common: Common) -> io::Result<Self> {
        let removed = tempfile::tempdir()?;
        let dir = common.dir.clone().unwrap_or_else(|| removed.path().to_owned());
        let (n_users, n_items, seed) = (6040, 3706, 42);
        let shape = Shape { n_users: n_users as usize, n_items: n_items as usize };
        let models = Models::write(&dir, shape, 64, seed)?;
        let warm = (common.rate * f64::from(common.warm_seconds)) as usize;
        let n = warm + (common.rate * f64::from(common.seconds)) as usize;
        let this = std::env::current_exe()?;
        let examples = this.parent().unwrap_or(Path::new(".")).to_owned();
        let program = common.program.clone().unwrap_or_else(|| examples.join("../burnrec"));
        let text = |path: &Path| path.display().to_string();
        let values = BTreeMap::from([
            ("mf", text(&models.mf)),
            ("neumf", text(&models.neumf)),
            ("self", text(&this)),
            ("examples", text(&examples)),
            ("program", text(&program)),
            ("root", burnrec_measure::ROOT.to_owned()),
        ]);
        let requests = Requests::draw(Kind::Score, n, n_users, n_items, seed);
        Ok(Self { common, requests, warm, dir, values, _removed_at_the_end: removed })
    }

    fn over_kafka(&self, broker: &Broker, contender: &Contender) -> Latencies {
        let name = format!("bench-{}-{}", std::process::id(), contender.name);
        let topics = over_kafka::Topics {
            broker,
            input: format!("{name}-requests"),
            output: format!("{name}-replies"),
            partitions: PARTITIONS,
        };
        let mut values = self.values.clone();
        values.insert("bootstrap", broker.bootstrap.clone());
        values.insert("input", topics.input.clone());
        values.insert("output", topics.output.clone());
        values.insert("group", name);
        let command = contender.command(&values)?;
        broker.create(&topics.input, PARTITIONS, &[])?;
        broker.create(&topics.output, PARTITIONS, &[])?;
        let rejects = format!("{}-rejects", topics.output);
        broker.create(&rejects, 1, &[])?;
        let latencies = self.measure(contender, &command, |process| {
            over_kafka::ask(&topics, process, &self.requests, self.common.rate, self.warm)
        });
        broker.delete(&topics.input)?;
        broker.delete(&topics.output)?;
        broker.delete(&rejects)?;
        latencies
    }

    fn over_http(&self, connections: usize, contender: &Contender) -> Latencies {
        let port = over_http::free_port()?;
        let mut values = self.values.clone();
        values.insert("port", port.to_string());
        self.measure(contender, &contender.command(&values)?, |process| {
            over_http::ask(port, process, &self.requests, self.common.rate, self.warm, connections)
        })
    }

    fn measure(
        &self,
        contender: &Contender,
        command: &[String],
        ask: impl FnOnce(&mut Process) -> io::Result<(schedule::Schedule, over_kafka::Waits)>,
    ) -> Latencies {
        let log = self.dir.join(format!("{}.log", contender.name));
        let mut process = Process::start(command, &log)?;
        let (schedule, (replies, sent)) = ask(&mut process)?;
        process.stop(STOP_PATIENCE)?;
        Ok((schedule.percentiles(&replies)?, schedule.percentiles(&sent)?))
    }
}

/// Measures each contender and prints its row; false where a bound is missed or one was not measured.
fn print(list: &[Contender], measure: impl Fn(&Contender) -> Latencies) -> bool {
    println!("{:16}{:>9} {:>9} {:>9} {:>9}  sent late by", "ms", "p50", "p99", "p99.9", "max");
    let mut p99_ms = BTreeMap::new();
    let mut held = true;
    for contender in list {
        match measure(contender) {
            Ok((reply, sent)) => {
                let Percentiles { p50_ms, p99_ms: p99, p999_ms, max_ms } = reply;
                let name = &contender.name;
                println!(
                    "{name:16}{p50_ms:>9.3} {p99:>9.3} {p999_ms:>9.3} {max_ms:>9.3}  p50 {:.3}, p99 {:.3}",
                    sent.p50_ms, sent.p99_ms
                );
                p99_ms.insert(name, p99);
            }
            Err(why) => {
                println!("{:16}NOT MEASURED: {why}", contender.name);
                held = false;
            }
        }
    }
    for contender in list {
        for (other, bound) in &contender.at_most {
            let pair = p99_ms.get(&contender.name).zip(p99_ms.get(other));
            held &= match pair {
                Some((ours, theirs)) => burnrec_measure::holds(
                    &format!("p99 ms, {} to {other}", contender.name),
                    *ours,
                    *theirs,
                    *bound,
                ),
                None => false,
            };
        }
    }
    held
}
