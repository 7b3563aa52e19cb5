//! `bench`: every case of a config on the same splits, each in a process of its own, and the report of them.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use burnrec::data::read::{ReadOptions, ReadOutcome, read};
use burnrec::interchange::mlflow::{Run, Status, metric_name};
use burnrec::models::Compute;
use burnrec::train::checkpoints;
use burnrec::train::run_dir::EPOCHS;
use burnrec::{Begin, DeviceChoice, Phase, Prepared, Recommender, TrainConfig};
use burnrec_bench::bench::cluster::ClusterConfig;
use burnrec_bench::bench::outcome::{CaseOutcome, epochs};
use burnrec_bench::bench::plan::{BenchPlan, CaseMethod, Extent};
use burnrec_bench::bench::{Bench, CaseKey, Rows, inference, peer, search};
use burnrec_bench::record::{BenchRecord, CaseRecord, Records, Task, read as read_record};
use burnrec_bench::report::Report;
use serde_json::json;

use super::train::train;
use crate::cli::{Bench as BenchArgs, BenchCase, Report as ReportArgs};
use crate::interrupt;
use crate::progress::Bars;
use crate::{show, start, tracking};

pub fn run(args: BenchArgs) -> Result<()> {
    let BenchArgs { quick, peers, no_tune, .. } = args;
    let extent = Extent { quick, seeds: args.seeds.map(usize::from), peers, no_tune };
    let plan = BenchPlan::read(&args.config, &args.device.choice.to_string(), extent)
        .with_context(|| args.config.display().to_string())?;
    if args.force && BenchRecord::path(&args.out).exists() {
        std::fs::remove_dir_all(&args.out).with_context(|| format!("cannot empty {}", args.out.display()))?;
    }
    let ReadOutcome { dataset, summary, given } = read(&args.data, &ReadOptions::default())?;
    let rows = Rows { dataset, given, read: Some(summary) };
    let tags = [
        ("burnrec.data", rows.dataset.name.clone()),
        ("burnrec.synthetic", rows.dataset.synthetic.to_string()),
    ];
    let settings = json!({
        "config": args.config.display().to_string(),
        "data": args.data.display().to_string(),
        "seeds": plan.seeds,
        "device": plan.device,
    });
    let name = format!("bench {}", args.out.display());
    let tracked = tracking::begin(&args.tracking, &name, &args.out, &tags, &settings)?;
    let ran = bench(&args.out, plan, show::command_line(&["--force"]), &rows, tracked.as_ref());
    tracking::end(tracked, &ran);
    ran?;
    report(&[&args.out], &args.out)
}

/// Rebuilds the report of benches from their records.
pub fn report_of(args: ReportArgs) -> Result<()> {
    let dirs: Vec<&Path> = args.dirs.iter().map(AsRef::as_ref).collect();
    report(&dirs, args.out.as_deref().unwrap_or(dirs[0]))
}

/// Writes the report and says what it found and where it is.
pub fn report(dirs: &[&Path], out: &Path) -> Result<()> {
    let records = dirs.iter().map(|dir| Records::read(dir)).collect::<Result<Vec<_>, _>>()?;
    let report = Report::of(&records)?;
    let paths = report.save(out)?;
    let mut stdout = std::io::stdout().lock();
    for section in &report.sections {
        writeln!(stdout, "{}", section.title)?;
        for sentence in section.warnings.iter().chain(&section.sentences) {
            writeln!(stdout, "  {sentence}")?;
        }
        if let Some(scores) = section.blocks.iter().flat_map(|block| &block.tables).next() {
            let head: Vec<&str> = scores.columns.iter().map(String::as_str).collect();
            let rows: Vec<Vec<String>> = scores
                .rows
                .iter()
                .map(|row| row.iter().map(|cell| cell.shown().to_owned()).collect())
                .collect();
            show::table(&mut stdout, &head, &rows)?;
        }
    }
    writeln!(stdout, "report: {}", paths.html.display())?;
    Ok(())
}

/// Runs the cases of the bench in `dir` that have no record yet; `tracked` gets each of them as a run within it.
pub fn bench(dir: &Path, plan: BenchPlan, command: String, rows: &Rows, tracked: Option<&Run>) -> Result<()> {
    let bench = Bench::begin(dir, plan, command, rows)?;
    interrupt::install()?;
    let (pending, n) = bench.pending();
    if pending.len() < n {
        eprintln!("{}: {} of {n} cases have their records already", dir.display(), n - pending.len());
    }
    let done = n - pending.len();
    for (at, key) in pending.iter().enumerate() {
        let (_, case) = bench.case(key)?;
        eprintln!("[{}/{n}] {}, seed {}: {}", done + at + 1, key.task, key.seed, case.label);
        if let Err(error) = in_a_process(dir, key) {
            let how = format!("{}: the cases before it are kept; the same command goes on", case.label);
            return Err(error.context(how));
        }
        if let Some(run) = tracked {
            let path = CaseRecord::path(dir, key.task, &key.case, key.seed);
            tracking::warn(track(run, &read_record(&path)?));
        }
    }
    Ok(())
}

/// Logs a finished case as a run within that of the bench.
fn track(bench: &Run, case: &CaseRecord) -> burnrec::Result<()> {
    let tags = [
        ("burnrec.task", case.task.to_string()),
        ("burnrec.case", case.case.clone()),
        ("burnrec.seed", case.seed.to_string()),
        ("burnrec.data_hash", case.data_hash.clone()),
        ("burnrec.device", case.device.clone()),
        ("burnrec.peer", case.peer.clone().unwrap_or_default()),
    ];
    let mut run = bench.begin_child(&case.key().name(), &tags)?;
    run.params(&case.config)?;
    for epoch in &case.epochs {
        let (name, step) =
            (if epoch.phase == Phase::Refit { "refit" } else { "epoch" }, u64::from(epoch.epoch));
        let valid = epoch.valid.map(|value| (metric_name(case.metric), value));
        let loss = epoch.loss.map(|loss| ("loss".to_owned(), loss));
        for (key, value) in valid.into_iter().chain(loss).chain([("seconds".to_owned(), epoch.seconds)]) {
            run.metric(&format!("{name}/{key}"), value, step);
        }
    }
    let step = u64::from(case.chosen_epochs);
    run.scores("valid", &case.valid, step);
    run.scores("test", &case.test, step);
    for (key, value) in [
        ("epochs", Some(f64::from(case.chosen_epochs))),
        ("fit_seconds", Some(case.fit_seconds)),
        ("total_seconds", Some(case.total_seconds)),
        ("peak_memory_bytes", Some(case.peak_memory_bytes as f64)),
        ("parameters", Some(case.parameters as f64)),
        ("pairs_per_second", case.inference.pairs_per_second),
        ("top10_users_per_second", case.inference.top10_users_per_second),
        ("service_requests_per_second", case.inference.service_requests_per_second),
    ] {
        value.into_iter().for_each(|value| run.metric(key, value, step));
    }
    run.end(Status::Finished)
}

/// Runs a case in a child process. The child's stdin is a pipe whose end tells it that this process has ended or wants
/// it to stop (`end_with_parent`).
fn in_a_process(dir: &Path, key: &CaseKey) -> Result<()> {
    let (program, before) = start::get().program.split_first().context("cannot find this program")?;
    let mut command = Command::new(program);
    command
        .args(before)
        .arg("bench-case")
        .arg(dir)
        .arg(key.task.to_string())
        .arg(key.seed.to_string())
        .arg(&key.case);
    command.arg("--threads").arg(rayon::current_num_threads().to_string());
    let mut child = command.stdin(Stdio::piped()).spawn().context("cannot start a process for the case")?;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the case")? {
            return match status.code() {
                Some(0) => Ok(()),
                Some(code) if code == i32::from(interrupt::EXIT_CODE) => {
                    Err(burnrec::models::Error::Interrupted.into())
                }
                _ => bail!("its process ended with {status}"),
            };
        }
        if interrupt::asked() {
            drop(child.stdin.take());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Ends this process as soon as its stdin is closed, which the end of the parent process does: otherwise a later
/// `bench` might start a second process for the same case.
fn end_with_parent() {
    thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(interrupt::EXIT_CODE.into());
    });
}

/// Runs one case: trains and judges its model, measures how fast it answers, and saves the record.
pub fn case(args: BenchCase) -> Result<()> {
    interrupt::install()?;
    end_with_parent();
    let bench = Bench::open(&args.dir)?;
    let key = CaseKey { task: args.task, seed: args.seed, case: args.case };
    let (data, data_dir) = bench.data(&key)?;
    let (task, case) = bench.case(&key)?;
    let run_dir = bench.run_dir(&key);
    let train = |config: TrainConfig| -> Result<CaseOutcome> {
        let choice = choice(&config, bench.device())?;
        let (config, tuned) = match bench.budget(case) {
            Some(budget) => {
                let dir = bench.search_dir(&key);
                let (config, tuned) =
                    search::of_model(&data, &config, (budget, &case.space), choice, &dir, &Bars::default())?;
                (config, Some(tuned))
            }
            None => (config, None),
        };
        Ok(CaseOutcome { tuned, ..trained(&data, &data_dir, &config, choice, &run_dir)? })
    };
    let outcome = match &case.method {
        CaseMethod::Train { config } => train(bench.config(&key, config)?)?,
        CaseMethod::Cluster { clusters, config } => {
            train(ClusterConfig::of(*clusters, &bench.config(&key, config)?)?)?
        }
        CaseMethod::Peer { script, args, .. } => {
            let (args, tuned) = match bench.budget(case) {
                Some(budget) => {
                    let (dir, space) = (bench.search_dir(&key), (budget, &case.space));
                    let peer = (script.as_str(), args.as_slice());
                    let (args, tuned) =
                        search::of_peer(&data, peer, space, task.metric, &dir, &Bars::default())?;
                    (args, Some(tuned))
                }
                None => (args.clone(), None),
            };
            let rating = key.task == Task::Rating;
            CaseOutcome { tuned, ..peer::run(&data, rating, &run_dir, script, &args, &Bars::default())? }
        }
    };
    Ok(bench.keep(&key, outcome, &data)?)
}

/// Returns what a case's model computes on; `device` is what networks are to compute on.
fn choice(config: &TrainConfig, device: &str) -> Result<DeviceChoice> {
    Ok(match config.trainer.trains_on() {
        Compute::Device => device.parse()?,
        Compute::Host | Compute::HostOrNamed => DeviceChoice::Cpu,
    })
}

fn trained(
    data: &Prepared,
    data_dir: &Path,
    config: &TrainConfig,
    choice: DeviceChoice,
    out: &Path,
) -> Result<CaseOutcome> {
    let begin = if checkpoints::newest(out)?.is_some() { Begin::Resume } else { Begin::Replace };
    let record = train(data, data_dir, config, choice, (out, begin), None)?.record;
    // A model answers where `auto` trained it.
    let scoring = if record.device.starts_with("cpu") { DeviceChoice::Cpu } else { choice };
    let run = Recommender::open_on(out, scoring)?;
    let inference = inference::measure(&*run.model, &run.seen, out, scoring)?;
    Ok(CaseOutcome::of_run(
        record,
        config.model().reads_order(),
        epochs(&out.join(EPOCHS), config.select_by())?,
        inference,
    ))
}
