//! The queue of jobs and the schedules: starts what is next, and notices what ended without a word.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use chrono::{DateTime, Utc};
use croner::Cron;

use super::config::JobsConfig;
use super::store::{Job, JobDir, Standing, State, Store, now_ms};
use crate::{Error, Result};

/// How long a supervisor may take to lock the directory of its job.
const STARTS_MS: i64 = 10_000;

/// How long before its start a runner looks for schedules that were due.
const MISSED_SECONDS: i64 = 60;

/// Starts jobs.
pub struct Runner {
    config: JobsConfig,
    store: Store,
    /// The words that start the program.
    program: Vec<OsString>,
    /// The supervisors that this process started, to be reaped.
    children: Vec<Child>,
    schedules: Vec<Due>,
}

/// A schedule, and when it is due next.
struct Due {
    name: String,
    cron: Cron,
    next: Option<DateTime<Utc>>,
}

impl Runner {
    /// Finds when each schedule is due next: after it came last, and not long ago.
    ///
    /// # Errors
    /// When the jobs cannot be read.
    pub fn new(config: JobsConfig, store: Store, program: Vec<OsString>) -> Result<Self> {
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        for dir in store.all()? {
            if let Some((name, at)) = dir.job()?.due {
                let last = last.entry(name).or_insert(at);
                *last = at.max(*last);
            }
        }
        let begin = now_ms() / 1000 - MISSED_SECONDS;
        let schedules = config.schedules.iter().map(|(name, schedule)| {
            let cron = schedule
                .parse()
                .map_err(|why| Error::config(format!("schedules.{name}.cron"), &schedule.cron, why))?;
            let after = last.get(name).map_or(begin, |last| begin.max(*last));
            let next = DateTime::from_timestamp(after, 0)
                .and_then(|after| cron.find_next_occurrence(&after, false).ok());
            Ok(Due { name: name.clone(), cron, next })
        });
        let schedules = schedules.collect::<Result<_>>()?;
        Ok(Self { config, store, program, children: Vec::new(), schedules })
    }

    /// Does what is due now.
    ///
    /// # Errors
    /// When the jobs cannot be read or written.
    pub fn step(&mut self) -> Result<()> {
        self.children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        self.submit_due()?;
        let (mut running, mut ended, mut waiting) = (0, Vec::new(), Vec::new());
        for dir in self.store.all()? {
            let standing = settled(&dir)?;
            match standing.state {
                State::NotStarted => waiting.push(dir),
                state if state.is_end() => ended.push(dir),
                _ => running += 1,
            }
        }
        for dir in waiting {
            if dir.is_killed() {
                dir.stand(&Standing::ended(State::Killed, "killed before it began"))?;
            } else if running < self.config.at_once {
                self.start(&dir)?;
                running += 1;
            }
        }
        let n_old = ended.len().saturating_sub(self.config.keep);
        for dir in &ended[..n_old] {
            std::fs::remove_dir_all(&dir.0).map_err(burnrec_data::Error::io("remove", &dir.0))?;
        }
        Ok(())
    }

    /// Starts the supervisor of a job, which goes on when this process ends.
    fn start(&mut self, dir: &JobDir) -> Result<()> {
        dir.stand(&Standing::now(State::Starting))?;
        let mut command = super::command(&self.program);
        command.arg("job").arg(&dir.0).process_group(0);
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => self.children.push(child),
            Err(error) => dir.stand(&Standing::ended(
                State::Error,
                format!("its supervisor cannot be started: {error}"),
            ))?,
        }
        Ok(())
    }

    /// Submits the jobs of schedules that are due; one that is still at work from the last time is left out.
    fn submit_due(&mut self) -> Result<()> {
        let now = Utc::now();
        for due in &mut self.schedules {
            let Some(at) = due.next.filter(|at| *at <= now) else { continue };
            due.next = due.cron.find_next_occurrence(&now, false).ok();
            let schedule = &self.config.schedules[&due.name];
            let mut is_busy = false;
            for dir in self.store.all()? {
                let is_of = dir.job()?.due.is_some_and(|(name, _)| name == due.name);
                is_busy |= is_of && !dir.standing()?.state.is_end();
            }
            if is_busy {
                tracing::warn!(schedule = due.name, "is due again and is still at work; left out");
                continue;
            }
            let job = self.store.add(Job {
                id: 0,
                name: Some(due.name.clone()),
                file: schedule.file.clone(),
                args: schedule.args.clone(),
                root: self.config.root.clone(),
                seconds: self.config.seconds,
                memory_mb: self.config.memory_mb,
                log_mb: self.config.log_mb,
                submitted_ms: now_ms(),
                due: Some((due.name.clone(), at.timestamp())),
            })?;
            tracing::info!(schedule = due.name, job = job.id, "is due");
        }
        Ok(())
    }
}

/// Returns where a job stands; one whose supervisor ended without a word is dead.
fn settled(dir: &JobDir) -> Result<Standing> {
    let standing = dir.standing()?;
    let is_lost = match standing.state {
        State::Running => true,
        State::Starting => now_ms() - standing.since_ms > STARTS_MS,
        _ => false,
    };
    if !is_lost || dir.is_watched() {
        return Ok(standing);
    }
    // The supervisor may have ended the job between the two looks.
    let standing = dir.standing()?;
    if standing.state.is_end() {
        return Ok(standing);
    }
    let dead = Standing::ended(State::Dead, "its supervisor was killed, and the job with it");
    dir.stand(&dead)?;
    Ok(dead)
}
