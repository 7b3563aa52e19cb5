//! Progress on stderr. A terminal gets a bar for the current work, such as an epoch, and below it one for the whole
//! run; a file or a pipe gets whole lines only.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use burnrec::train::checkpoints::Manifest;
use burnrec::train::record::EpochRecord;
use burnrec::{Metric, Phase, Progress, TrainConfig};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::interrupt;

/// The bars of the program.
#[derive(Default)]
pub struct Bars {
    all: MultiProgress,
    /// The bar of the current work, such as an epoch.
    work: Mutex<Option<ProgressBar>>,
}

impl Bars {
    /// Writes a line to stderr, above the bars.
    pub fn line(&self, text: &str) {
        if self.all.is_hidden() || self.all.println(text).is_err() {
            eprintln!("{text}");
        }
    }

    /// Moves the bar of a download, whose total may be unknown, to `done` bytes.
    pub fn bytes(&self, what: &str, done: u64, total: Option<u64>) {
        if self.work().is_none() {
            let template = match total {
                Some(_) => "{msg:24} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
                None => "{msg:24} {spinner} {bytes} {bytes_per_sec}",
            };
            self.set(Some(styled(what, total, template)));
        }
        self.with(|bar| bar.set_position(done));
    }

    /// Adds the bar of a whole run, which begins at the epoch of the checkpoint that it resumes from.
    pub fn run(&self, config: &TrainConfig, resumed: Option<&Manifest>) -> RunBar {
        let most = u64::from(config.run.epochs) * if config.run.refit { 2 } else { 1 };
        let chosen = resumed.and_then(|resumed| resumed.chosen.as_ref());
        let total = chosen.map_or(most, |chosen| chosen.epochs.into());
        let template = "{msg:24} {wide_bar} {pos}/{len} epochs  {prefix}  {eta} left";
        let bar = self.all.add(styled(config.model().kind(), Some(total), template));
        bar.set_position(resumed.map_or(0, |resumed| resumed.epoch.into()));
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(500));
        let metric = config.select_by();
        let best = match (resumed, chosen) {
            (_, Some(chosen)) => chosen.valid.value(metric).map(|value| (chosen.epochs, value)),
            (Some(Manifest { best: Some(best), .. }), None) => {
                Some((best.epoch, if metric.higher_is_better() { best.value } else { -best.value }))
            }
            _ => None,
        };
        let run = RunBar { bar, metric, best, refit: chosen.is_some() };
        run.show_best();
        run
    }

    fn work(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, use_bar: impl FnOnce(&ProgressBar)) {
        self.work().as_ref().map(use_bar);
    }

    fn set(&self, next: Option<ProgressBar>) {
        let next = next.map(|bar| self.all.insert(0, bar));
        if let Some(last) = std::mem::replace(&mut *self.work(), next) {
            last.finish_and_clear();
            self.all.remove(&last);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.set(None);
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: u64) {
        let template = "{msg:24} {wide_bar} {human_pos}/{human_len}  {rate}  {prefix}  {eta} left";
        self.set(Some(styled(what, Some(total), template)));
    }

    fn advance(&self, steps: u64) {
        self.with(|bar| bar.inc(steps));
    }

    fn note(&self, text: &str) {
        self.with(|bar| bar.set_prefix(text.to_owned()));
    }

    fn end(&self) {
        self.set(None);
    }

    fn interrupted(&self) -> bool {
        interrupt::asked()
    }
}

/// The bar of a whole run: the epochs of both fits, and the best metric on valid so far.
pub struct RunBar {
    bar: ProgressBar,
    metric: Metric,
    /// The epoch with the best metric on valid so far, and its value.
    best: Option<(u32, f64)>,
    refit: bool,
}

impl RunBar {
    /// Counts a finished epoch.
    pub fn epoch(&mut self, epoch: &EpochRecord) {
        if epoch.phase == Phase::Refit && !self.refit {
            self.refit = true;
            let chosen = self.best.map_or(0, |(epoch, _)| epoch.into());
            self.bar.set_length(self.bar.position() + chosen);
        }
        if let Some(value) = epoch.valid.as_ref().and_then(|scores| scores.value(self.metric)) {
            let better = |(_, so_far): (u32, f64)| {
                if self.metric.higher_is_better() { value > so_far } else { value < so_far }
            };
            if self.best.is_none_or(better) {
                self.best = Some((epoch.epoch, value));
            }
        }
        self.bar.inc(1);
        self.show_best();
    }

    fn show_best(&self) {
        if let Some((epoch, value)) = self.best {
            self.bar.set_prefix(format!("best {} {value:.4} (epoch {epoch})", self.metric));
        }
    }
}

impl Drop for RunBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn styled(what: &str, total: Option<u64>, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is fixed and valid");
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.with_style(style.with_key("rate", rate)).with_message(what.to_owned())
}

/// Writes the steps a second with about three digits.
fn rate(state: &ProgressState, out: &mut dyn Write) {
    let rate = state.per_sec();
    // An error here would say that nobody reads the bar.
    let _ = match rate {
        1e6.. => write!(out, "{:.2} M/s", rate / 1e6),
        1e3.. => write!(out, "{:.1} k/s", rate / 1e3),
        _ => write!(out, "{rate:.0}/s"),
    };
}
