//! A bench trains and judges every case of a config on the same splits, and saves each case's record before the next
//! begins.
//!
//! The folder of a bench has `bench.json` (its plan), `splits/`, `searches/`, `runs/` and `records/`. A case that has its
//! record is done; a bench that was stopped continues with the others. Each case is meant to run in a process of its
//! own, so that its memory and its time are its own: [`Bench::pending`] lists the cases that are left, and
//! [`Bench::keep`] saves the record of a finished one.

mod arguments;
pub mod cluster;
pub mod inference;
pub mod outcome;
pub mod peer;
pub mod plan;
pub mod search;

use std::fs;
use std::path::{Path, PathBuf};

use burnrec_data::filter::Filters;
use burnrec_data::read::ReadSummary;
use burnrec_data::split::GivenSplit;
use burnrec_data::{Csr, Dataset, Error as DataError, Prepared};
use burnrec_models::DataFacts;
use burnrec_models::Error as ModelError;
use burnrec_train::evaluate::protocol;
use burnrec_train::tune::Budget;
use burnrec_train::{Result, TrainConfig};

use crate::record::{BenchRecord, CaseName, CaseRecord, FORMAT, SplitCounts, SplitRecord, Task, read, save};
use outcome::CaseOutcome;
pub use plan::CaseKey;
use plan::{BenchPlan, CasePlan, TaskPlan};

/// The rows that a bench splits, read from files or synthetic.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The rows, ids and titles.
    pub dataset: Dataset,
    /// The test split that comes with the files.
    pub given: Option<GivenSplit>,
    /// What the reader kept and dropped; none for synthetic rows.
    pub read: Option<ReadSummary>,
}

/// A bench and its folder.
pub struct Bench {
    dir: PathBuf,
    plan: BenchPlan,
}

impl Bench {
    /// Sets up a bench in `dir`: writes its plan, and draws its splits from `rows`.
    ///
    /// # Errors
    /// When the folder has a bench of another config or other data, the data cannot be split as the config says, or a
    /// file cannot be written.
    pub fn begin(dir: &Path, mut plan: BenchPlan, command: String, rows: &Rows) -> Result<Self> {
        let left_out = plan.fit_to(&rows.dataset.interactions)?;
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
        save(&BenchRecord { format: FORMAT, command, config, cases, against, left_out }, &path)?;
        for (task, split) in splits {
            let seed = split.manifest.seed;
            split.save(&bench.split_dir(task, seed))?;
            save(&split_record(task, &split), &SplitRecord::path(dir, task, seed))?;
        }
        Ok(bench)
    }

    /// Opens the bench of a folder.
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

    /// Draws the splits that have no record yet. Refuses a record whose split is of other data.
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

    /// Returns the cases that have no record yet, and the number of all cases. Seeds come one after the other, so that
    /// a bench that is stopped early has the whole table of its first seed.
    pub fn pending(&self) -> (Vec<CaseKey>, usize) {
        let seeds = self.plan.seeds.iter();
        let all = seeds.flat_map(|&seed| {
            self.plan.cases().map(move |(task, case)| CaseKey { task, seed, case: case.name.clone() })
        });
        let all: Vec<CaseKey> = all.collect();
        let n = all.len();
        (all.into_iter().filter(|key| !self.record_path(key).exists()).collect(), n)
    }

    /// Reads the split of a case, and returns it with its folder.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn data(&self, key: &CaseKey) -> Result<(Prepared, PathBuf)> {
        let dir = self.split_dir(key.task, key.seed);
        Ok((Prepared::open(&dir)?, dir))
    }

    /// Returns the plans of the task and of the case.
    ///
    /// # Errors
    /// When the bench has no such case.
    pub fn case(&self, key: &CaseKey) -> Result<(&TaskPlan, &CasePlan)> {
        let task = self.plan.tasks.get(&key.task);
        let case = task.and_then(|task| task.cases.iter().find(|case| case.name == key.case));
        task.zip(case).ok_or_else(|| {
            let names = self.plan.cases().map(|(task, case)| format!("{task} {}", case.name));
            let expected = names.collect::<Vec<_>>().join(", ");
            ModelError::config("case", format!("{} {}", key.task, key.case), expected).into()
        })
    }

    /// Returns the training config of a case, with the case's seed, and with run directories in place of `case:NAME`. A case that
    /// another one starts from keeps the weights that are chosen on valid.
    ///
    /// # Errors
    /// When the settings make no sense.
    pub fn config(&self, key: &CaseKey, config: &toml::Table) -> Result<TrainConfig> {
        let mut config = config.clone();
        for (_, run) in plan::runs_of(&mut config) {
            if let Some(case) = plan::case_of(run) {
                let dir = self.run_dir(&CaseKey { case: case.to_owned(), ..key.clone() });
                *run = dir.to_string_lossy().into_owned();
            }
        }
        let mut config = TrainConfig::from_table(config)?;
        let task = self.case(key)?.0;
        config.run.seed = key.seed;
        config.run.select_by.get_or_insert(task.metric);
        config.run.keep_chosen |=
            task.cases.iter().any(|other| other.starts_from().iter().any(|(_, from)| *from == key.case));
        Ok(config)
    }

    /// Returns the device of networks, as `--device` names it.
    pub fn device(&self) -> &str {
        &self.plan.device
    }

    /// Returns what the search of a case's settings may take; none where settings are taken as they stand, or the case has
    /// nothing to search.
    pub fn budget(&self, case: &CasePlan) -> Option<Budget> {
        self.plan.tune.filter(|_| !case.space.is_empty())
    }

    /// Returns the directory of the search of a case's settings.
    pub fn search_dir(&self, key: &CaseKey) -> PathBuf {
        self.dir.join("searches").join(key.name())
    }

    /// Returns the run directory of a case.
    pub fn run_dir(&self, key: &CaseKey) -> PathBuf {
        self.dir.join("runs").join(key.name())
    }

    /// Saves the record of a finished case. The times of the cases that it started from are added to its own.
    ///
    /// # Errors
    /// When the record cannot be written, or that of a case it started from cannot be read.
    pub fn keep(&self, key: &CaseKey, mut outcome: CaseOutcome, data: &Prepared) -> Result<()> {
        let (task, case) = self.case(key)?;
        for (_, earlier) in case.starts_from() {
            let path = self.record_path(&CaseKey { case: earlier, ..key.clone() });
            let earlier: CaseRecord = read(&path)?;
            outcome.fit_seconds += earlier.fit_seconds;
            outcome.total_seconds += earlier.total_seconds;
        }
        let record = outcome.into_record(key, case, task.metric, data.manifest.hash.clone());
        save(&record, &self.record_path(key))
    }

    fn split_dir(&self, task: Task, seed: u64) -> PathBuf {
        self.dir.join("splits").join(format!("{task}-seed{seed}"))
    }

    fn record_path(&self, key: &CaseKey) -> PathBuf {
        CaseRecord::path(&self.dir, key.task, &key.case, key.seed)
    }
}

/// Returns the matrix `[n_users, n_items]` of train and valid together, which final models are trained on.
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
