//! Jobs on disk, a directory each.
//!
//! ```text
//! DIR/000007/job.json      what was submitted; written once, and a directory without it is no job
//! DIR/000007/state.json    where it stands; without it the job waits
//! DIR/000007/log, log.1    what it says, the older part in log.1
//! DIR/000007/kill          it is to end
//! DIR/000007/deleted       it is shown to nobody
//! DIR/000007/_lock         held by its supervisor while that lives
//! DIR/audit.jsonl          who submitted and ended jobs, where callers have names
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burnrec_data::write::{list_dir, lock_dir, write_file};
use burnrec_data::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, SystemClock};

/// A job as it was submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: u32,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The command.
    pub file: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The directory that it runs in.
    pub root: PathBuf,
    /// How long it may run, in seconds.
    pub seconds: u64,
    /// How much memory it may hold, in MiB.
    pub memory_mb: u64,
    /// How long its log gets, in MiB.
    pub log_mb: u64,
    /// When it was submitted, in Unix milliseconds.
    pub submitted_ms: i64,
    /// The schedule that it came by and when it was due, in Unix seconds.
    pub due: Option<(String, i64)>,
}

/// Where a job stands, by Livy's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits.
    NotStarted,
    /// Its supervisor starts.
    Starting,
    /// It runs.
    Running,
    /// It ended with exit code 0.
    Success,
    /// It failed, or went over a bound.
    Dead,
    /// It was ended because somebody asked for that.
    Killed,
    /// It could not be started.
    Error,
}

impl State {
    /// Returns the name that clients know.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Success => "success",
            Self::Dead => "dead",
            Self::Killed => "killed",
            Self::Error => "error",
        }
    }

    /// Returns whether it is over.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Success | Self::Dead | Self::Killed | Self::Error)
    }
}

/// Where a job stands, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Where.
    pub state: State,
    /// Since when, in Unix milliseconds.
    pub since_ms: i64,
    /// Its exit code, where it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Why it ended, where the log does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Standing {
    /// Returns a state as of now.
    pub fn now(state: State) -> Self {
        Self { state, since_ms: SystemClock.unix_ms(), code: None, why: String::new() }
    }

    /// Returns the end of a job for a reason.
    pub fn ended(state: State, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..Self::now(state) }
    }
}

/// The directory of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobDir(pub PathBuf);

/// The jobs of a directory. Clones share what they know.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    /// Where the jobs that are there and have ended stand, which they do for good.
    ended: Arc<Mutex<BTreeMap<JobDir, Standing>>>,
}

impl Store {
    /// Names the directory of jobs, and makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        Ok(Self { dir: dir.to_owned(), ended: Arc::default() })
    }

    /// Returns the directories of all jobs, by number.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn all(&self) -> Result<Vec<JobDir>> {
        let dirs: Vec<JobDir> = list_dir(&self.dir)?.into_iter().map(JobDir).collect();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|dir, _| dirs.binary_search(dir).is_ok());
        let job = |dir: JobDir| {
            let id: u32 = dir.0.file_name()?.to_str()?.parse().ok()?;
            (ended.contains_key(&dir) || dir.0.join(JOB).exists()).then_some((id, dir))
        };
        let mut all: Vec<(u32, JobDir)> = dirs.into_iter().filter_map(job).collect();
        all.sort();
        Ok(all.into_iter().map(|(_, dir)| dir).collect())
    }

    /// Returns where a job stands. The files of one that has ended are read once.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn standing(&self, dir: &JobDir) -> Result<Standing> {
        let ended = || self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = ended().get(dir) {
            return Ok(standing.clone());
        }
        let standing = dir.standing()?;
        if standing.state.is_end() {
            ended().insert(dir.clone(), standing.clone());
        }
        Ok(standing)
    }

    /// Returns the job of a number.
    pub fn find(&self, id: u32) -> Option<JobDir> {
        let dir = self.dir(id);
        dir.0.join(JOB).exists().then_some(dir)
    }

    /// Adds a job, which gets the next number. One process at a time adds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&self, job: Job) -> Result<Job> {
        let mut id = self.all()?.last().and_then(|dir| dir.job().ok()).map_or(0, |job| job.id);
        let dir = loop {
            id += 1;
            let dir = self.dir(id);
            // A directory without a job was left by a crash.
            match fs::create_dir(&dir.0) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => break made.map(|()| dir).map_err(Error::io("create", &self.dir))?,
            }
        };
        let job = Job { id, ..job };
        dir.write(JOB, &job)?;
        Ok(job)
    }

    fn dir(&self, id: u32) -> JobDir {
        JobDir(self.dir.join(format!("{id:06}")))
    }
}

const JOB: &str = "job.json";
const STATE: &str = "state.json";
const KILL: &str = "kill";
const DELETED: &str = "deleted";
const LOG: &str = "log";

impl JobDir {
    /// Returns what was submitted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn job(&self) -> Result<Job> {
        self.read(JOB)
    }

    /// Returns where the job stands by its own files.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn standing(&self) -> Result<Standing> {
        if self.0.join(STATE).exists() {
            return self.read(STATE);
        }
        Ok(Standing { since_ms: self.job()?.submitted_ms, ..Standing::now(State::NotStarted) })
    }

    /// Says where the job stands from now on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn stand(&self, standing: &Standing) -> Result<()> {
        self.write(STATE, standing)
    }

    /// Keeps a supervisor from the job until the file that is returned is closed; none where one lives.
    pub fn lock(&self) -> Option<File> {
        lock_dir(&self.0).ok()
    }

    /// Asks the supervisor to end the job, or the runner not to start it.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn kill(&self) -> Result<()> {
        write_file(&self.0.join(KILL), b"")
    }

    /// Returns whether it is asked to end.
    pub fn is_killed(&self) -> bool {
        self.0.join(KILL).exists()
    }

    /// Shows it to nobody from now on.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn delete(&self) -> Result<()> {
        write_file(&self.0.join(DELETED), b"")
    }

    /// Returns whether it is shown to nobody.
    pub fn is_deleted(&self) -> bool {
        self.0.join(DELETED).exists()
    }

    /// Returns the file of the log, and that of its older part.
    pub fn logs(&self) -> [PathBuf; 2] {
        [self.0.join(LOG), self.0.join(format!("{LOG}.1"))]
    }

    /// Returns the lines of the log that are left.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> Result<Vec<String>> {
        let mut bytes = Vec::new();
        for path in self.logs().iter().rev() {
            match File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("read", path)(error));
                }
                _ => {}
            }
        }
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<T> {
        let path = self.0.join(name);
        let text = fs::read(&path).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::malformed(&path, error.to_string(), "what a job server wrote"))
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec_pretty(value).expect("a job has only string keys and finite numbers");
        write_file(&self.0.join(name), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::JobsConfig;

    /// Returns a store with `n` jobs that wait.
    fn store(dir: &Path, n: usize) -> (Store, Vec<JobDir>) {
        let store = Store::open(dir).unwrap();
        (0..n).for_each(|_| drop(store.add(JobsConfig::default().job("train".into(), vec![])).unwrap()));
        let all = store.all().unwrap();
        assert_eq!(all.len(), n);
        (store, all)
    }

    #[test]
    fn a_job_that_has_ended_is_read_once_and_one_that_lives_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let (store, all) = store(dir.path(), 2);
        let [ended, live] = &all[..] else { unreachable!("two jobs") };
        let state = |store: &Store, dir: &JobDir| store.standing(dir).map(|standing| standing.state);
        assert_eq!(state(&store, live).unwrap(), State::NotStarted);
        live.stand(&Standing::now(State::Running)).unwrap();
        assert_eq!(state(&store, live).unwrap(), State::Running);
        ended.stand(&Standing::ended(State::Dead, "why")).unwrap();
        assert_eq!(store.standing(ended).unwrap().why, "why");
        // Without its files, what is known of it is all that there is.
        fs::remove_file(ended.0.join(STATE)).unwrap();
        fs::remove_file(ended.0.join(JOB)).unwrap();
        assert_eq!((store.all().unwrap(), state(&store.clone(), ended).unwrap()), (all.clone(), State::Dead));
        assert!(Store::open(dir.path()).unwrap().standing(ended).is_err());
    }

    #[test]
    fn what_is_known_of_a_job_goes_with_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (store, all) = store(dir.path(), 3);
        for job in &all {
            job.stand(&Standing::now(State::Success)).unwrap();
            store.standing(job).unwrap();
        }
        fs::remove_dir_all(&all[1].0).unwrap();
        assert_eq!(store.all().unwrap(), [all[0].clone(), all[2].clone()]);
        assert_eq!(store.ended.lock().unwrap().len(), 2);
        assert!(store.standing(&all[1]).is_err());
    }
}
