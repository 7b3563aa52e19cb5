//! A trial of a device: a part of the rows of a run is trained on it for a moment, which gives the seconds of the whole
//! run.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burnrec_data::{Candidates, Csr, Holdout, ItemIx, Prepared, UserIx};
use burnrec_models::device::{OpenDevice, is_host};
use burnrec_models::{Compute, Error as ModelError, FitInput, Learner, Phase, Progress, Scorer};
use toml::Value;

use crate::{Result, TrainConfig};

/// The most rows of a trial where four batches have fewer. With many fewer a step would be too fast: rows, and what users
/// have seen, would be in the processor's caches.
const MOST_ROWS: usize = 2_000_000;
/// A trial's epoch has at most this part of the rows that the whole run goes through.
const PART: u64 = 40;
/// How long the steps of a trial's epoch take at most, beside the one under way.
const MOMENT: Duration = Duration::from_millis(150);
/// The pairs that a trial scores on the CPU, and on a card, which takes a whole block of an evaluation at once.
const PAIRS: [usize; 2] = [1 << 14, 1 << 20];
/// How often a trial scores them at most.
const SCORINGS: usize = 3;

/// How often a run goes through its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Epochs of all fits.
    pub epochs: u64,
    /// Evaluations on a holdout.
    pub evaluations: u64,
}

impl Work {
    /// Returns the most work of a run: both fits with all epochs, the evaluations on valid and the one on test.
    pub fn of_run(config: &TrainConfig) -> Self {
        let choosing = Self::of_choices(config, 1);
        let fits = if config.run.refit { 2 } else { 1 };
        Self { epochs: fits * choosing.epochs, evaluations: choosing.evaluations + 2 }
    }

    /// Returns the most work of so many fits that choose an epoch on valid, as a search has them.
    pub fn of_choices(config: &TrainConfig, fits: usize) -> Self {
        let (fits, run) = (fits as u64, &config.run);
        let evaluations = run.epochs.div_ceil(run.eval_every.max(1));
        Self { epochs: fits * u64::from(run.epochs), evaluations: fits * u64::from(evaluations) }
    }
}

/// A run to estimate.
pub struct Trial<'a> {
    config: &'a TrainConfig,
    data: &'a Prepared,
    work: Work,
    progress: &'a dyn Progress,
    /// The rows that are trained on, with all users and items: a step costs as much as in the run.
    train: Csr,
    /// How many times as many rows the run has.
    times: f64,
}

impl<'a> Trial<'a> {
    /// Prepares trials of `work` by a config on prepared data; `progress` may stop them.
    pub fn new(config: &'a TrainConfig, data: &'a Prepared, work: Work, progress: &'a dyn Progress) -> Self {
        let all = data.split.train.len();
        let batch = config.to_table().get("batch_size").and_then(Value::as_integer).unwrap_or(0);
        let most = MOST_ROWS.max(4 * batch as usize);
        let part = (all as u64).saturating_mul(work.epochs) / PART;
        let n = most.min(part as usize).max(1).min(all);
        // At even distances, as rows that stand together may be of few users.
        let rows: Vec<u32> = (0..n).map(|k| (k as u64 * all as u64 / n as u64) as u32).collect();
        let train = data.matrix(&data.split.train.select(&rows), config.model().reads_order());
        Self { config, data, work, progress, train, times: all as f64 / n.max(1) as f64 }
    }

    /// Trains on a device for a moment, and returns the seconds that the whole run is estimated to take there: its
    /// epochs, and the scores that a model which scores on the device computes in evaluations. What costs the same on
    /// all devices is left out. On a card the first epoch compiles the kernels, which is not counted: the run finds
    /// them compiled.
    ///
    /// # Errors
    /// When the device cannot train the model, or the trial was interrupted.
    pub fn seconds(&self, device: &OpenDevice) -> Result<f64> {
        let is_card = !is_host(&device.device);
        let fit = FitInput {
            train: &self.train,
            data: self.data,
            phase: Phase::Choose,
            seed: self.config.run.seed,
            device,
        };
        let mut learner = self.config.trainer.learner(&fit)?;
        let scoring_seconds = self.scoring_seconds(&*learner.model(), is_card)?;
        let mut epoch = self.epoch(&mut *learner)?;
        if !epoch.stopped {
            epoch = EpochTime { warm: true, ..self.epoch(&mut *learner)? };
        }
        let epochs = self.work.epochs as f64 * epoch.seconds(self.times);
        let evaluations = self.work.evaluations as f64 * scoring_seconds;
        drop(learner);
        if is_card {
            device.device.memory_cleanup();
        }
        Ok(epochs + evaluations)
    }

    /// Trains an epoch until it ends or the moment is over.
    fn epoch(&self, learner: &mut dyn Learner) -> Result<EpochTime> {
        let clock = StepClock { run: self.progress, times: Mutex::default() };
        let start = Instant::now();
        let trained = learner.epoch(&clock);
        let seconds = start.elapsed().as_secs_f64();
        let mut times = clock.times();
        let stopped = match trained {
            Ok(loss) => {
                times.total = loss.samples;
                false
            }
            Err(ModelError::Interrupted) if times.is_over && !self.progress.interrupted() => true,
            Err(error) => return Err(error.into()),
        };
        Ok(EpochTime { times: times.clone(), seconds, stopped, warm: false })
    }

    /// Returns the seconds in which a model that scores on a device computes the scores of one evaluation.
    fn scoring_seconds(&self, scorer: &dyn Scorer, is_card: bool) -> Result<f64> {
        let valid = &self.data.split.valid;
        if self.config.model().scores_on() != Compute::Device || valid.is_empty() || valid.fold_in {
            return Ok(0.0);
        }
        let mut block = Pairs::of(valid, scorer.n_items(), PAIRS[usize::from(is_card)]);
        if is_card {
            block.score(scorer);
        }
        // The fastest of a few, as a card may still be at work on what came before.
        let (begun, mut least) = (Instant::now(), f64::INFINITY);
        for number in 0..SCORINGS {
            self.progress.check()?;
            if number > 0 && begun.elapsed() > MOMENT {
                break;
            }
            let start = Instant::now();
            block.score(scorer);
            least = least.min(start.elapsed().as_secs_f64());
        }
        Ok(least * block.times)
    }
}

/// What an epoch of a trial took.
struct EpochTime {
    times: Times,
    /// From its beginning to its end.
    seconds: f64,
    /// Whether the moment was over before it ended.
    stopped: bool,
    /// Whether an epoch came before it.
    warm: bool,
}

impl EpochTime {
    /// Returns the seconds of an epoch with so many times its samples.
    fn seconds(&self, times: f64) -> f64 {
        let Times { total, begun: Some(begun), first: Some(first), last: Some(last), .. } = self.times else {
            return self.seconds * times;
        };
        // The first step warms up what later ones find warm.
        let since =
            if self.warm || last.samples == first.samples { Report { at: begun, samples: 0 } } else { first };
        let steps = (last.at - since.at).as_secs_f64() / (last.samples - since.samples).max(1) as f64;
        // Such as the weights that are read back from a card: the same for any number of samples.
        let once = if self.stopped { 0.0 } else { self.seconds - (last.at - begun).as_secs_f64() };
        steps * total as f64 * times + once.max(0.0)
    }
}

/// Samples that were reported as done at a time.
#[derive(Clone, Copy)]
struct Report {
    at: Instant,
    samples: u64,
}

/// When an epoch began and what it reported.
#[derive(Clone, Default)]
struct Times {
    begun: Option<Instant>,
    total: u64,
    first: Option<Report>,
    last: Option<Report>,
    is_over: bool,
}

/// Progress that remembers the times of the steps, and ends the epoch when the moment is over.
struct StepClock<'a> {
    run: &'a dyn Progress,
    times: Mutex<Times>,
}

impl StepClock<'_> {
    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for StepClock<'_> {
    fn begin(&self, _: &str, total: u64) {
        *self.times() = Times { begun: Some(Instant::now()), total, ..Times::default() };
    }

    fn advance(&self, samples: u64) {
        let mut times = self.times();
        let done = times.last.map_or(0, |last| last.samples) + samples;
        let report = Report { at: Instant::now(), samples: done };
        // Two reports are needed, as the first is that of the step which warms up.
        times.is_over = times.first.is_some_and(|first| report.at - first.at >= MOMENT);
        times.first.get_or_insert(report);
        times.last = Some(report);
    }

    fn note(&self, _: &str) {}

    fn end(&self) {}

    fn interrupted(&self) -> bool {
        self.times().is_over || self.run.interrupted()
    }
}

/// Pairs of a holdout to score, as an evaluation does.
struct Pairs {
    users: Vec<UserIx>,
    /// The items of the users; `None` where each user is scored with every item.
    items: Option<Vec<ItemIx>>,
    scores: Vec<f32>,
    /// How many times as many pairs the holdout has.
    times: f64,
}

impl Pairs {
    /// Takes about `most` pairs from the first users of a holdout, at least those of one user.
    fn of(holdout: &Holdout, n_items: usize, most: usize) -> Self {
        match &holdout.candidates {
            Candidates::Unseen => {
                let n = (most / n_items.max(1)).clamp(1, holdout.len());
                let users = holdout.users[..n].to_vec();
                Self {
                    users,
                    items: None,
                    scores: vec![0.0; n * n_items],
                    times: holdout.len() as f64 / n as f64,
                }
            }
            Candidates::Drawn(lists) => {
                let (mut users, mut items) = (Vec::new(), Vec::new());
                for (row, &user) in holdout.users.iter().enumerate() {
                    items.extend(holdout.relevant.row(row).0.iter().map(|&item| ItemIx(item)));
                    items.extend_from_slice(lists.row(row));
                    users.resize(items.len(), user);
                    if items.len() >= most {
                        break;
                    }
                }
                let all = holdout.relevant.nnz() + lists.items().len();
                let (scores, times) = (vec![0.0; items.len()], all as f64 / items.len().max(1) as f64);
                Self { users, items: Some(items), scores, times }
            }
        }
    }

    fn score(&mut self, scorer: &dyn Scorer) {
        match &self.items {
            Some(items) => scorer.score_pairs(&self.users, items, &mut self.scores),
            None => scorer.score_catalog(&self.users, &mut self.scores),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_what_a_config_asks_for_at_most() {
        let config = |text: &str| text.parse::<TrainConfig>().expect("a config");
        let of_run = |text| {
            let Work { epochs, evaluations } = Work::of_run(&config(text));
            (epochs, evaluations)
        };
        assert_eq!(of_run("model = 'mf'\nepochs = 20"), (40, 22));
        assert_eq!(of_run("model = 'mf'\nepochs = 20\nrefit = false\neval_every = 3"), (20, 9));
        let search = Work::of_choices(&config("model = 'mf'\nepochs = 5\neval_every = 2"), 6);
        assert_eq!((search.epochs, search.evaluations), (30, 18));
    }

    #[test]
    fn an_epoch_of_all_rows_follows_from_the_steps_of_a_part() {
        let begun = Instant::now();
        let at = |ms, samples| Some(Report { at: begun + Duration::from_millis(ms), samples });
        let times = |first, last| Times { begun: Some(begun), total: 1000, first, last, is_over: false };
        let close = |epoch: EpochTime, expected: f64| {
            let seconds = epoch.seconds(10.0);
            assert!((seconds - expected).abs() < 1e-9, "{seconds} and not {expected}");
        };
        // 100 samples after the first took 1 s; the moment was over before the other 800.
        let stopped = times(at(5000, 100), at(6000, 200));
        close(EpochTime { times: stopped, seconds: 6.1, stopped: true, warm: false }, 100.0);
        // All samples took 2 s, and 0.5 s come once an epoch.
        let warm = times(at(100, 100), at(2000, 1000));
        close(EpochTime { times: warm, seconds: 2.5, stopped: false, warm: true }, 20.5);
        // One report alone.
        let whole = times(at(2000, 1000), at(2000, 1000));
        close(EpochTime { times: whole, seconds: 2.0, stopped: false, warm: true }, 20.0);
        // A learner that reports nothing.
        close(EpochTime { times: Times::default(), seconds: 2.0, stopped: false, warm: true }, 20.0);
    }
}
