//! Made-up records of a bench: eight models and a peer, with values drawn from a seed.

use std::collections::BTreeMap;

use burnrec_bench::record::{
    BenchRecord, CaseName, CaseRecord, EpochPoint, FORMAT, Inference, Records, SplitCounts, SplitRecord, Task,
};
use burnrec_data::rng::stream;
use burnrec_models::DataFacts;
use burnrec_models::Phase;
use burnrec_train::evaluate::{Score, Scores};
use burnrec_train::machine::Machine;
use burnrec_train::metrics::{Metric, RatingErrors};
use rand::RngExt;
use serde_json::json;

pub const USERS: usize = 400;
pub const ITEMS: usize = 300;

/// A model: name, label, peer, quality, seconds of its fit, epochs.
type Kind = (&'static str, &'static str, Option<&'static str>, f64, f64, u32);

const KINDS: [Kind; 9] = [
    ("popularity", "Popularity", None, 0.28, 0.002, 1),
    ("als", "ALS", None, 0.45, 1.3, 12),
    ("implicit-als", "ALS", Some("implicit"), 0.448, 3.9, 12),
    ("mf", "MF", None, 0.44, 18.0, 20),
    ("gmf", "GMF", None, 0.452, 26.0, 24),
    ("mlp", "MLP", None, 0.43, 48.0, 20),
    ("neumf", "NeuMF", None, 0.50, 81.0, 22),
    ("neumf-pretrained", "NeuMF, pretrained", None, 0.51, 120.0, 9),
    ("odd", "Odd <&\"> model", None, 0.36, 60.0, 15),
];

pub fn split(task: Task, seed: u64) -> SplitRecord {
    let mut rng = stream(seed, "test.split", 0);
    let item_popularity: Vec<u32> = (0..ITEMS).map(|item| (4000.0 / (item as f64 + 4.0)) as u32).collect();
    SplitRecord {
        format: FORMAT,
        task,
        seed,
        data: DataFacts {
            name: "planted".to_owned(),
            synthetic: true,
            hash: format!("{seed:02}f3a9c04be7715d20aa{task}"),
            path: None,
        },
        counts: SplitCounts { users: 450, items: ITEMS as u64, train: 21_000, valid: 400, test: 400 },
        split: json!({ "kind": "leave-one-out", "seed": seed, "candidates": { "drawn": 99 } }),
        protocol: "99 drawn candidates".to_owned(),
        user_activity: (0..USERS).map(|_| 3 + (rng.random::<f64>().powi(4) * 300.0) as u32).collect(),
        item_ids: (0..ITEMS).map(|item| format!("item-{item}")).collect(),
        item_popularity,
        item_relevant: (0..ITEMS).map(|item| if item < 100 { 4 } else { 0 }).collect(),
    }
}

/// Returns a case whose users' values are drawn from the split's seed.
fn case(split: &SplitRecord, kind: &Kind) -> CaseRecord {
    let &(case, label, peer, quality, seconds, epochs) = kind;
    let task = split.task;
    let mut rng = stream(split.seed, "test.user", 0);
    let mut own = stream(split.seed, case, 1);
    let mut columns = [Vec::new(), Vec::new()];
    let mut errors = Vec::new();
    for _ in 0..USERS {
        // Most of a user's luck is shared by all models, so that their results are correlated; the rest is the model's
        // own.
        let luck = 0.7 * rng.random::<f64>() + 0.3 * own.random::<f64>();
        let hit = luck < quality * 1.35;
        let rank = 1 + (luck * 9.0) as usize;
        columns[0].push(if hit { 1.0 } else { 0.0 });
        columns[1].push(if hit { (1.0 / (rank as f64 + 1.0).log2()) as f32 } else { 0.0 });
        let error = (1.3 - quality) * (0.4 + luck);
        errors.push([3.0 * error * error, 3.0 * error, 3.0]);
    }
    let rating = task == Task::Rating;
    let (metric, mut metrics) = (if rating { Metric::Rmse } else { Metric::Ndcg(10) }, BTreeMap::new());
    let score = |value| Score { value, low: None, high: None };
    if rating {
        let all = errors.iter().fold(RatingErrors::default(), |sum, row| RatingErrors {
            squared: sum.squared + row[0],
            absolute: sum.absolute + row[1],
            pairs: sum.pairs + row[2],
        });
        metrics.extend([(Metric::Rmse, score(all.rmse())), (Metric::Mae, score(all.mae()))]);
    } else {
        let mean = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>() / USERS as f64;
        metrics.extend([
            (Metric::Hr(10), score(mean(&columns[0]))),
            (Metric::Ndcg(10), score(mean(&columns[1]))),
        ]);
        metrics.insert(Metric::Coverage(10), score(quality));
    }
    let test = Scores {
        protocol: split.protocol.clone(),
        users: USERS,
        cold_pairs: rating.then_some(3),
        metrics,
        judged_users: Vec::new(),
        per_user: BTreeMap::new(),
        errors: Vec::new(),
        per_item: Default::default(),
    };
    let mut valid = test.clone();
    valid.metrics.values_mut().for_each(|score| score.value *= 1.02);
    let at_best = valid.metrics[&metric].value;
    let epoch = |phase, epoch: u32| {
        let left = (-f64::from(epoch) / 5.0).exp();
        EpochPoint {
            phase,
            epoch,
            loss: (case != "popularity").then_some(0.2 + quality * left),
            valid: (phase == Phase::Choose).then_some(if rating {
                at_best + 0.2 * left
            } else {
                at_best - 0.2 * left
            }),
            seconds: seconds / f64::from(epochs),
            samples_per_second: 21_000.0 * f64::from(epochs) / seconds,
        }
    };
    let choose = (1..=epochs + 3).map(|at| epoch(Phase::Choose, at));
    let item_hits: Vec<u32> = (0..ITEMS)
        .map(|item| if item < 100 { (quality * 8.0) as u32 - u32::from(item > 50) } else { 0 })
        .collect();
    CaseRecord {
        format: FORMAT,
        task,
        case: case.to_owned(),
        label: label.to_owned(),
        peer: peer.map(str::to_owned),
        seed: split.seed,
        data_hash: split.data.hash.clone(),
        config: json!({ "model": case, "dim": 32, "select_by": metric.to_string(), "seed": split.seed }),
        order_aware: false,
        tuned: None,
        metric,
        epochs: choose.chain((1..=epochs).map(|at| epoch(Phase::Refit, at))).collect(),
        chosen_epochs: epochs,
        fit_seconds: seconds * (1.0 + 0.05 * split.seed as f64),
        total_seconds: seconds * 2.5,
        peak_memory_bytes: (300 << 20) + (seconds * 1e6) as u64,
        parameters: 24_000 + (seconds * 100.0) as u64,
        device: "cpu".to_owned(),
        threads: 2,
        machine: machine("Example CPU 3000"),
        versions: BTreeMap::from([
            ("burn".to_owned(), "0.22.1".to_owned()),
            (peer.unwrap_or("burnrec").to_owned(), "0.1.0".to_owned()),
        ]),
        inference: Inference {
            pairs_per_second: Some(4e7 / (1.0 + seconds)),
            top10_users_per_second: Some(9e4 / (1.0 + seconds)),
            service_requests_per_second: peer.is_none().then_some(3e4 / (1.0 + seconds / 9.0)),
        },
        valid,
        test,
        per_user: match rating {
            true => BTreeMap::new(),
            false => {
                BTreeMap::from([(Metric::Hr(10), columns[0].clone()), (Metric::Ndcg(10), columns[1].clone())])
            }
        },
        per_user_errors: if rating { errors } else { Vec::new() },
        k: 10,
        item_shown: if rating { Vec::new() } else { item_hits.iter().map(|hits| hits * 3 + 1).collect() },
        item_hits: if rating { Vec::new() } else { item_hits },
    }
}

pub fn machine(cpu: &str) -> Machine {
    Machine {
        cpu: cpu.to_owned(),
        cores: 2,
        memory_bytes: 16 << 30,
        os: "Debian 13, Linux 6.12".to_owned(),
        simd: "avx512".to_owned(),
    }
}

/// Returns the records of the bench. The case `odd` has a record for seed 1 only, and the case `absent` has none.
pub fn records(tasks: &[Task], seeds: &[u64]) -> Records {
    let splits: Vec<SplitRecord> =
        tasks.iter().flat_map(|&task| seeds.iter().map(move |&seed| split(task, seed))).collect();
    let mut cases = Vec::new();
    for &task in tasks {
        for kind in &KINDS {
            let of_task = splits.iter().filter(|split| split.task == task);
            cases.extend(
                of_task.filter(|split| kind.0 != "odd" || split.seed == 1).map(|split| case(split, kind)),
            );
        }
    }
    let names = |task| {
        let of = move |case: &str| CaseName { task, case: case.to_owned() };
        KINDS.iter().map(move |kind| of(kind.0)).chain([of("absent")])
    };
    let bench = BenchRecord {
        format: FORMAT,
        command: "burnrec bench configs/bench.toml --out runs/bench".to_owned(),
        config: json!({ "seeds": seeds, "note": "a <b> & \"c\"" }),
        cases: tasks.iter().flat_map(|&task| names(task)).collect(),
        against: tasks.iter().map(|&task| (task, "als".to_owned())).collect(),
        left_out: Vec::new(),
    };
    Records { bench, splits, cases }
}
