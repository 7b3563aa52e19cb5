//! The table "Ranking against 99 candidates" of `docs/figures.md`: trains configs on the protocol of the NCF paper
//! (leave-one-out, 99 drawn candidates) and prints means over split seeds. `--full` ranks against all items instead, and `--both`
//! also judges the models that were chosen by 99 candidates so.
//!
//! ```sh
//! cargo run --release --example quality -- RATINGS [--seeds 3] [--first-seed 0] [--full | --both] [--device cpu] CONFIG[:KEY=VALUE,…] …
//! ```

mod allocator;

use burnrec_data::read::{ReadOptions, read};
use burnrec_data::split::SplitConfig;
use burnrec_data::{Prepared, filter::Filters};
use burnrec_models::DeviceChoice;
use burnrec_models::Silent;
use burnrec_models::trained::Answering;
use burnrec_train::TrainConfig;
use burnrec_train::evaluate::evaluate;
use burnrec_train::metrics::Metric;
use burnrec_train::run::{Trained, options, run};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    allocator::keep_freed_memory();
    let mut args = std::env::args().skip(1);
    let usage = "usage: quality RATINGS [--seeds N] [--first-seed N] [--full | --both] [--device DEVICE] CONFIG[:KEY=VALUE,…] …";
    let ratings = args.next().ok_or(usage)?;
    let (mut seeds, mut first_seed, mut candidates, mut both, mut configs) =
        (3, 0, Some(99), false, Vec::new());
    let mut choice = DeviceChoice::Cpu;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seeds" => seeds = args.next().ok_or("--seeds needs a number")?.parse()?,
            "--first-seed" => first_seed = args.next().ok_or("--first-seed needs a number")?.parse()?,
            "--full" => candidates = None,
            "--both" => both = true,
            "--device" => choice = args.next().ok_or("--device needs a device")?.parse()?,
            config => configs.push(config.to_owned()),
        }
    }
    let dataset = read(ratings.as_ref(), &ReadOptions::default())?.dataset;
    let build = |seed: u64, candidates: Option<u32>| {
        let split = SplitConfig::LeaveOneOut { candidates };
        Prepared::build(dataset.clone(), None, None, &Filters::default(), &split, seed)
    };
    let data = (first_seed..first_seed + seeds)
        .map(|seed| build(seed, candidates))
        .collect::<Result<Vec<_>, _>>()?;
    // The same rows held out, ranked against all items.
    let full = match both {
        true => {
            (first_seed..first_seed + seeds).map(|seed| build(seed, None)).collect::<Result<Vec<_>, _>>()?
        }
        false => Vec::new(),
    };
    println!("Device: {choice}\n");
    println!("| config | HR@10 | NDCG@10 | valid NDCG@10 | epochs | fit s |");
    println!("|---|---|---|---|---|---|");
    for name in &configs {
        let config = config(name)?;
        let device = config.trainer.trains_on().open(choice)?;
        let (mut hr, mut ndcg, mut valid, mut seconds) = (0.0, 0.0, 0.0, 0.0);
        let (mut full_hr, mut full_ndcg, mut epochs) = (0.0, 0.0, Vec::new());
        for (at, data) in data.iter().enumerate() {
            let Trained { record, recommender } =
                run(data, &config, &device, None, &mut |_| Ok(()), &Silent)?;
            if let Some(full) = full.get(at) {
                let answering = Answering::new(&*recommender.model, recommender.trained());
                let options = options(&config, &full.split.test);
                let scores = evaluate(&answering, &full.split.test, &recommender.seen, &options, &Silent)?;
                full_hr += scores.value(Metric::Hr(10)).unwrap_or_default();
                full_ndcg += scores.value(Metric::Ndcg(10)).unwrap_or_default();
            }
            hr += record.metrics.test.value(Metric::Hr(10)).unwrap_or_default();
            ndcg += record.metrics.test.value(Metric::Ndcg(10)).unwrap_or_default();
            valid += record.metrics.valid.value(Metric::Ndcg(10)).unwrap_or_default();
            seconds += record.fit_seconds;
            epochs.push(record.epochs.to_string());
        }
        let n = data.len() as f64;
        let (hr, ndcg, valid, seconds) = (hr / n, ndcg / n, valid / n, seconds / n);
        println!("| {name} | {hr:.4} | {ndcg:.4} | {valid:.4} | {} | {seconds:.1} |", epochs.join(" "));
        if both {
            println!("| the same, full ranking | {:.4} | {:.4} | | | |", full_hr / n, full_ndcg / n);
        }
    }
    Ok(())
}

/// Reads the config file of `FILE:KEY=VALUE,…`, and overrides its settings by those after the colon.
fn config(name: &str) -> Fallible<TrainConfig> {
    let (file, settings) = name.split_once(':').unwrap_or((name, ""));
    let mut table: toml::Table = toml::from_str(&std::fs::read_to_string(file)?)?;
    for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
        table.extend(toml::from_str::<toml::Table>(setting)?);
    }
    Ok(TrainConfig::from_table(table)?)
}
