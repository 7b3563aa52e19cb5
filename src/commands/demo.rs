//! `demo`: the whole way from ratings to recommendations on an embedded default.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use burnrec_data::Prepared;
use burnrec_data::filter::Filters;
use burnrec_data::read::ReadOptions;
use burnrec_data::split::SplitConfig;
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_models::DeviceChoice;
use burnrec_models::checkpoint::{self, Run};
use burnrec_models::device;
use burnrec_models::topk::top_k;
use burnrec_serve::kafka::scoring_run;
use burnrec_train::TrainConfig;
use burnrec_train::metrics::Metric;
use burnrec_train::record::RunRecord;
use toml::Table;

use super::ids;
use super::prepare::prepare;
use super::train::{Begin, device_for, train};
use crate::cli::Demo;
use crate::show;

const SEED: u64 = 42;

/// The configs of the demo, with what is set otherwise for its small data and to keep it at about a minute.
const MODELS: [(&str, &str); 6] = [
    (include_str!("../../configs/popularity.toml"), ""),
    (include_str!("../../configs/als.toml"), ""),
    (include_str!("../../configs/mf.toml"), "dim = 32\nepochs = 12\nbatch_size = 4096"),
    (include_str!("../../configs/gmf.toml"), "dim = 16\nbatch_size = 4096"),
    (
        include_str!("../../configs/mlp.toml"),
        "dim = 16\nepochs = 20\nbatch_size = 4096\nlearning_rate = 0.005\nschedule = { kind = 'cosine', epochs = 20 }",
    ),
    (
        include_str!("../../configs/neumf.toml"),
        "dim = 16\nepochs = 12\nbatch_size = 4096\nlearning_rate = 0.005\nschedule = { kind = 'cosine', epochs = 12 }",
    ),
];

pub fn run(args: Demo) -> Result<()> {
    let start = Instant::now();
    let data = match &args.ratings {
        Some(ratings) => prepare(ratings, &ReadOptions::default(), &Filters::default(), None, SEED)?,
        None => synthetic()?,
    };
    let data_dir = args.out.join("data");
    data.save(&data_dir)?;
    write!(std::io::stdout(), "{}", data.manifest)?;
    let mut records = Vec::new();
    for (text, quick) in MODELS {
        let config = config(text, quick)?;
        let choice = if config.burn.is_some() { args.device.choice } else { DeviceChoice::Cpu };
        let device = device_for(&config, choice)?;
        let out = args.out.join(config.model.name());
        records.push((train(&data, &data_dir, &config, &device, &out, Begin::Replace)?, out));
    }
    compare(&data, &records.iter().map(|(record, _)| record).collect::<Vec<_>>())?;
    let best =
        records.iter().max_by(|a, b| ndcg(&a.0).total_cmp(&ndcg(&b.0))).context("the demo has models")?;
    recommend(&best.1)?;
    serve(&best.1)?;
    show::say(format_args!(
        "\nruns in {}; the whole demo took {:.0} s",
        args.out.display(),
        start.elapsed().as_secs_f64()
    ))?;
    show::say(format_args!(
        "next: burnrec recommend {} --user ID, or your own data: burnrec demo --ratings PATH",
        best.1.display()
    ))?;
    Ok(())
}

/// Requests of the scoring run.
const REQUESTS: u64 = 200_000;

/// Scores through a broker in this process.
fn serve(run: &Path) -> Result<()> {
    let ran = scoring_run(run, REQUESTS)?;
    let rate = ran.events as f64 / ran.seconds;
    show::say(format_args!(
        "\nscored {} requests from Kafka (an embedded broker) in {:.2} s: {:.0} a second; the last reply:\n{}",
        ran.events, ran.seconds, rate, ran.reply
    ))?;
    Ok(())
}

fn synthetic() -> Result<Prepared> {
    let dataset = synth(&SynthConfig::new(2000, 1200, 120_000, SEED))?;
    let split = SplitConfig::LeaveOneOut { candidates: None };
    Ok(Prepared::build(dataset, None, None, &Filters::default(), &split, SEED)?)
}

fn config(text: &str, quick: &str) -> Result<TrainConfig> {
    let mut table: Table = toml::from_str(text).context("an embedded config")?;
    table.extend(toml::from_str::<Table>(quick).context("settings of the demo")?);
    Ok(TrainConfig::from_table(table)?)
}

fn ndcg(record: &RunRecord) -> f64 {
    record.metrics.test.value(Metric::Ndcg(10)).unwrap_or_default()
}

fn compare(data: &Prepared, records: &[&RunRecord]) -> Result<()> {
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            let test = &record.metrics.test;
            vec![
                record.model.to_owned(),
                show::interval(test, Metric::Hr(10)),
                show::interval(test, Metric::Ndcg(10)),
                format!("{:.2}", record.fit_seconds),
                record.epochs.to_string(),
                record.parameters.to_string(),
            ]
        })
        .collect();
    let mut stdout = std::io::stdout().lock();
    let synthetic = if data.synthetic { " (synthetic)" } else { "" };
    let protocol = records.first().map(|record| record.metrics.test.protocol.as_str()).unwrap_or_default();
    writeln!(stdout, "\n{}{synthetic}: test scores, {protocol}, epoch chosen on valid", data.name)?;
    let head = ["model", "HR@10 [95 %]", "NDCG@10 [95 %]", "fit s", "epochs", "weights"];
    Ok(show::table(&mut stdout, &head, &rows)?)
}

/// Reopens the best run as a user would, and recommends to the first three users with a history.
fn recommend(dir: &Path) -> Result<()> {
    let (run, manifest) = checkpoint::open(dir, &device::open(DeviceChoice::Cpu)?)?;
    let users = (0..run.users.len() as u32).map(burnrec_data::UserIx);
    let users: Vec<_> = users.filter(|user| !run.seen.row(user.at()).0.is_empty()).take(3).collect();
    let seen = |at: usize| run.seen.row(users[at].at()).0;
    for (user, best) in users.iter().zip(top_k(&*run.model, &users, 5, seen, None)) {
        show::say(format_args!("\nfor user {}, who had {} …", run.users.id(user.0), liked(&run, user.at())))?;
        for (item, logit) in best {
            let score = manifest.output.score(logit);
            show::say(format_args!("  {score:.3}  {}", name(&run, item)))?;
        }
    }
    Ok(())
}

fn liked(run: &Run, user: usize) -> String {
    let items = run.seen.row(user).0.iter().take(3);
    items.map(|&item| name(run, burnrec_data::ItemIx(item))).collect::<Vec<_>>().join(", ")
}

fn name(run: &Run, item: burnrec_data::ItemIx) -> String {
    let title = ids::title(&run.titles, item);
    if title.is_empty() { run.items.id(item.0).to_string() } else { title }
}
