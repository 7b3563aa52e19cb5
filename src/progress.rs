//! Progress on stderr: bars on a terminal, nothing elsewhere.

use std::sync::Mutex;

use burnrec_train::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar for the piece of work under way.
#[derive(Default)]
pub struct Bars {
    bar: Mutex<Option<ProgressBar>>,
}

impl Bars {
    fn with(&self, use_bar: impl FnOnce(&ProgressBar)) {
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        bar.as_ref().map(use_bar);
    }

    fn set(&self, next: Option<ProgressBar>) {
        let mut bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(last) = std::mem::replace(&mut *bar, next) {
            last.finish_and_clear();
        }
    }

    /// A line on stderr, above the bar.
    pub fn line(&self, text: &str) {
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match bar.as_ref().filter(|bar| !bar.is_hidden()) {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// A bar over bytes whose number may not be known.
    pub fn bytes(&self, what: &str, done: u64, total: Option<u64>) {
        let fresh = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_none();
        if fresh {
            let template = match total {
                Some(_) => "{msg:24} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
                None => "{msg:24} {spinner} {bytes} {bytes_per_sec}",
            };
            self.set(Some(styled(what, total, template)));
        }
        self.with(|bar| bar.set_position(done));
    }
}

fn styled(what: &str, total: Option<u64>, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is fixed and valid");
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.with_style(style).with_message(what.to_owned())
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: u64) {
        let template = "{msg:24} {wide_bar} {human_pos}/{human_len} {per_sec} {eta} {prefix}";
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
}
