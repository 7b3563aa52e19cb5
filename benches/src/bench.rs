//! A bench: every case of a config trained and judged on the same splits, each leaving its record before the next begins.
//!
//! The folder of a bench has `bench.json` (what it set out to do), `splits/`, `runs/` and `records/`. A case that has its
//! record is done; a bench that was stopped goes on with the others, from what its folder says. Each case is meant to
//! run in a process of its own, so that its memory and its time are its own: [`Bench::pending`] lists what is left, and
//! [`Bench::keep`] takes what came of one.

pub mod cluster;
pub mod inference;
pub mod outcome;
pub mod peer;
pub mod plan;

use std::fs;
use std::path::{Path, PathBuf};

use burnrec_data::filter::Filters;
use burnrec_data::read::ReadSummary;
use burnrec_data::split::GivenSplit;
use burnrec_data::{Csr, Dataset, Error as DataError, Prepared};
use burnrec_models::Error as ModelError;
use burnrec_models::checkpoint::DataFacts;
use burnrec_train::evaluate::protocol;
use burnrec_train::{Result, TrainConfig};

use crate::record::{BenchRecord, CaseName, CaseRecord, FORMAT, SplitCounts, SplitRecord, Task, read, save};
use outcome::Outcome;
use plan::{CasePlan, Plan, TaskPlan};

/// A case on a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What is asked.
    pub task: Task,
    /// What the split is drawn from.
    pub seed: u64,
    /// The name of the case.
    pub case: String,
}

impl CaseRecord {
    /// Where it belongs.
    pub fn place(&self) -> Place {
        Place { task: self.task, seed: self.seed, case: self.case.clone() }
    }
}

/// The rows that a bench splits.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The rows, ids and titles.
    pub dataset: Dataset,
    /// The test part that their files bring by themselves.
    pub given: Option<GivenSplit>,
    /// What the reader took and dropped; none for rows that were drawn.
    pub read: Option<ReadSummary>,
}

/// A bench and its folder.
pub struct Bench {
    dir: PathBuf,
    plan: Plan,
}

impl Bench {
    /// Sets one up in `dir`: writes what it sets out to do, and draws its splits from `data`.
    ///
    /// # Errors
    /// When the folder has a bench of another config or other data, the data cannot be split so, or a file cannot be written.
    pub fn begin(dir: &Path, plan: Plan, command: String, rows: &Rows) -> Result<Self> {
        fs::create_dir_all(dir).map_err(DataError::io("make", dir))?;
        let path = BenchRecord::path(dir);
        let config = serde_json::to_value(&plan).expect("a plan has only string keys");
        if path.exists() {
            let found: BenchRecord = read(&path)?;
            if found.config != config {
                let expected = "the same one, as its records are taken up; --force begins anew";
                return Err(DataError::malformed(&path, "a bench of another config", expected).into());
            }
        }
        let cases = plan.cases().map(|(task, case)| CaseName { task, case: case.name.clone() }).collect();
        let against = plan.tasks.iter().map(|(&task, of)| (task, of.against.clone())).collect();
        let bench = Self { dir: dir.to_owned(), plan };
        let splits = bench.splits(rows)?;
        save(&BenchRecord { format: FORMAT, command, config, cases, against }, &path)?;
        for (task, split) in splits {
            let seed = split.manifest.seed;
            split.save(&bench.split_dir(task, seed))?;
            save(&split_record(task, &split), &SplitRecord::path(dir, task, seed))?;
        }
        Ok(bench)
    }

    /// The one whose folder it is.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = BenchRecord::path(dir);
        let record: BenchRecord = read(&path)?;
        let malformed = |error: serde_json::Error| {
            DataError::malformed(&path, error.to_string(), "a bench of this version")
        };
        Ok(Self { dir: dir.to_owned(), plan: serde_json::from_value(record.config).map_err(malformed)? })
    }

    /// The splits that are not there yet; refuses those that are of other data.
    fn splits(&self, rows: &Rows) -> Result<Vec<(Task, Prepared)>> {
        let mut splits = Vec::new();
        for (&task, of) in &self.plan.tasks {
            for &seed in &self.plan.seeds {
                let Rows { dataset, given, read: summary } = rows.clone();
                let split = Prepared::build(dataset, given, summary, &Filters::default(), &of.split, seed)?;
                let path = SplitRecord::path(&self.dir, task, seed);
                if path.exists() {
                    let found: SplitRecord = read(&path)?;
                    if found.data.hash != split.manifest.hash {
                        let expected = "the same data, as its records are taken up; --force begins anew";
                        return Err(DataError::malformed(&path, "a split of other data", expected).into());
                    }
                } else {
                    splits.push((task, split));
                }
            }
        }
        Ok(splits)
    }

    /// What is left to do, and how many cases there are in all. Seeds come one after the other, so that one stopped early has
    /// the whole table of its first seed.
    pub fn pending(&self) -> (Vec<Place>, usize) {
        let seeds = self.plan.seeds.iter();
        let all = seeds.flat_map(|&seed| {
            self.plan.cases().map(move |(task, case)| Place { task, seed, case: case.name.clone() })
        });
        let all: Vec<Place> = all.collect();
        let n = all.len();
        (all.into_iter().filter(|place| !self.record_path(place).exists()).collect(), n)
    }

    /// The data of a place, and where it is.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn data(&self, place: &Place) -> Result<(Prepared, PathBuf)> {
        let dir = self.split_dir(place.task, place.seed);
        Ok((Prepared::open(&dir)?, dir))
    }

    /// The task and the case of a place.
    ///
    /// # Errors
    /// When the bench has no such case.
    pub fn case(&self, place: &Place) -> Result<(&TaskPlan, &CasePlan)> {
        let task = self.plan.tasks.get(&place.task);
        let case = task.and_then(|task| task.cases.iter().find(|case| case.name == place.case));
        task.zip(case).ok_or_else(|| {
            let names = self.plan.cases().map(|(task, case)| format!("{task} {}", case.name));
            let expected = names.collect::<Vec<_>>().join(", ");
            ModelError::config("case", format!("{} {}", place.task, place.case), expected).into()
        })
    }

    /// The config of a case with its seed, and the runs of other cases that it starts from.
    ///
    /// # Errors
    /// When the settings make no sense.
    pub fn config(&self, place: &Place, config: &toml::Table) -> Result<TrainConfig> {
        let mut config = TrainConfig::from_table(config.clone())?;
        config.run.seed = place.seed;
        config.run.select_by.get_or_insert(self.case(place)?.0.metric);
        if let Some(pretrained) = &mut config.run.pretrained {
            for run in [&mut pretrained.gmf, &mut pretrained.mlp] {
                if let Some(case) = plan::case_of(run) {
                    *run = self.run_dir(&Place { case: case.to_owned(), ..place.clone() });
                }
            }
        }
        Ok(config)
    }

    /// Where networks compute, as `--device` has it.
    pub fn device(&self) -> &str {
        &self.plan.device
    }

    /// Where the run of a case is kept.
    pub fn run_dir(&self, place: &Place) -> PathBuf {
        self.dir.join("runs").join(format!("{}-seed{}-{}", place.task, place.seed, place.case))
    }

    /// Keeps what came of a case. The time of the cases that it started from is part of its own.
    ///
    /// # Errors
    /// When the record cannot be written, or that of a part cannot be read.
    pub fn keep(&self, place: &Place, mut outcome: Outcome, data: &Prepared) -> Result<()> {
        let (task, case) = self.case(place)?;
        for part in case.parts() {
            let path = self.record_path(&Place { case: part.to_owned(), ..place.clone() });
            let part: CaseRecord = read(&path)?;
            outcome.fit_seconds += part.fit_seconds;
            outcome.total_seconds += part.total_seconds;
        }
        let record = outcome.into_record(place, case, task.metric, data.manifest.hash.clone());
        save(&record, &self.record_path(place))
    }

    fn split_dir(&self, task: Task, seed: u64) -> PathBuf {
        self.dir.join("splits").join(format!("{task}-seed{seed}"))
    }

    fn record_path(&self, place: &Place) -> PathBuf {
        CaseRecord::path(&self.dir, place.task, &place.case, place.seed)
    }
}

/// All that a final model learns from: train and valid together, `[n_users, n_items]`.
pub fn seen(data: &Prepared) -> Csr {
    let (n_users, n_items) = (data.users.len(), data.items.len());
    let valid = data.split.valid_rows.to_csr(n_users, n_items);
    data.split.train.to_csr(n_users, n_items).union(&valid, 0..n_users)
}

fn split_record(task: Task, data: &Prepared) -> SplitRecord {
    let (test, summary, seen) = (&data.split.test, &data.manifest.summary, seen(data));
    let count = |cols: &[u32]| {
        let mut counts = vec![0u32; data.items.len()];
        cols.iter().for_each(|&item| counts[item as usize] += 1);
        counts
    };
    let judged = (0..test.len()).filter(|&row| !test.relevant.row(row).0.is_empty());
    SplitRecord {
        format: FORMAT,
        task,
        seed: data.manifest.seed,
        data: DataFacts {
            name: data.name.clone(),
            synthetic: data.synthetic,
            hash: data.manifest.hash.clone(),
            path: None,
        },
        counts: SplitCounts {
            users: data.users.len() as u64,
            items: data.items.len() as u64,
            train: summary.train_rows,
            valid: data.split.valid_rows.len() as u64,
            test: test.relevant.nnz() as u64,
        },
        split: serde_json::to_value(data.manifest.split).expect("a split has only string keys"),
        protocol: protocol(test),
        user_activity: judged.map(|row| test.history.row(row).0.len() as u32).collect(),
        item_ids: (0..data.items.len() as u32).map(|item| data.items.id(item).to_string()).collect(),
        item_popularity: count(seen.cols()),
        item_relevant: count(test.relevant.cols()),
    }
}
