//! `demo`: trains and judges all models on synthetic ratings (or the user's own), recommends with the best one, and
//! scores requests from an embedded broker.

mod broker;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use burnrec::data::read::{ReadOptions, ReadOutcome, read};
use burnrec::data::synth::{SynthConfig, synth};
use burnrec::{DeviceChoice, ItemIx, Recommender, UserIx};
use burnrec_bench::bench::plan::{BenchPlan, Extent};
use burnrec_bench::bench::{Bench, Rows};
use burnrec_bench::record::{BenchRecord, CaseRecord, Records};

use super::bench;
use crate::cli::Demo;
use crate::show;

const SEED: u64 = 42;

/// The bench's config, and the training configs that it names.
pub const CONFIGS: [(&str, &str); 8] = [
    ("demo.toml", include_str!("../../configs/demo.toml")),
    ("popularity.toml", include_str!("../../configs/popularity.toml")),
    ("als.toml", include_str!("../../configs/als.toml")),
    ("transition.toml", include_str!("../../configs/transition.toml")),
    ("mf.toml", include_str!("../../configs/mf.toml")),
    ("gmf.toml", include_str!("../../configs/gmf.toml")),
    ("mlp.toml", include_str!("../../configs/mlp.toml")),
    ("neumf.toml", include_str!("../../configs/neumf.toml")),
];

pub fn run(args: Demo) -> Result<()> {
    let start = Instant::now();
    let rows = match &args.ratings {
        Some(ratings) => {
            let ReadOutcome { dataset, summary, given } = read(ratings, &ReadOptions::default())?;
            Rows { dataset, given, read: Some(summary) }
        }
        None => {
            Rows { dataset: synth(&SynthConfig::new(2000, 1200, 120_000, SEED))?, given: None, read: None }
        }
    };
    let config = |name: &str| {
        let found = CONFIGS.iter().find(|(config, _)| *config == name);
        Ok(found.map(|(_, text)| (*text).to_owned()).unwrap_or_default())
    };
    let plan = BenchPlan::parse(CONFIGS[0].1, &config, &args.device.choice.to_string(), Extent::default())?;
    if BenchRecord::path(&args.out).exists() {
        std::fs::remove_dir_all(&args.out).with_context(|| format!("cannot empty {}", args.out.display()))?;
    }
    bench::bench(&args.out, plan, show::command_line(&[]), &rows)?;
    let records = Records::read(&args.out)?;
    let best = best(&records.cases).context("the demo has models")?;
    let run = Bench::open(&args.out)?.run_dir(&best.key());
    recommend(&run)?;
    serve(&run)?;
    show::say("")?;
    bench::report(&[&args.out], &args.out)?;
    show::say(format_args!(
        "runs in {}; the whole demo took {:.0} s",
        args.out.display(),
        start.elapsed().as_secs_f64()
    ))?;
    show::say(format_args!(
        "next: burnrec recommend {} --user ID, or your own data: burnrec demo --ratings PATH",
        run.display()
    ))?;
    Ok(())
}

/// Returns the case with the best metric on valid; test is not used to choose.
fn best(cases: &[CaseRecord]) -> Option<&CaseRecord> {
    let value = |case: &CaseRecord| case.valid.value(case.metric).unwrap_or_default();
    cases.iter().max_by(|a, b| value(a).total_cmp(&value(b)))
}

/// The number of requests of the scoring run.
const REQUESTS: u64 = 200_000;

/// Scores requests through a broker embedded in this process, and prints the rate.
fn serve(run: &Path) -> Result<()> {
    let ran = broker::scoring_run(run, REQUESTS)?;
    let rate = ran.events as f64 / ran.seconds;
    show::say(format_args!(
        "\nscored {} requests from Kafka (an embedded broker) in {:.2} s: {:.0} a second; the last reply:\n{}",
        ran.events, ran.seconds, rate, ran.reply
    ))?;
    Ok(())
}

/// Opens the best run from its directory, and prints recommendations for the first three users with a history.
fn recommend(dir: &Path) -> Result<()> {
    let run = Recommender::open_on(dir, DeviceChoice::Cpu)?;
    let users = (0..run.users.vocab().len() as u32).map(UserIx);
    for user in users.filter(|user| !run.seen.row(user.at()).0.is_empty()).take(3) {
        let had = run.seen.row(user.at()).0.iter().take(3).map(|&item| run.name(ItemIx(item)));
        let (user, had) = (run.users.vocab().id(user.0), had.collect::<Vec<_>>().join(", "));
        show::say(format_args!("\nfor user {user}, who had {had} …"))?;
        for item in run.recommend(user, 5)? {
            show::say(format_args!("  {:.3}  {}", item.score, item.title.unwrap_or(item.id)))?;
        }
    }
    Ok(())
}
