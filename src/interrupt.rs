//! Ctrl-C, SIGTERM and a closed terminal, for the commands that can stop cleanly (`train`, `bench`, `demo`, `serve` and
//! `replay`): the first signal asks the work to stop, the second ends the program at once. The other commands do not
//! call [`install`], so that a signal ends them as usual.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// The exit code of an interrupted program: 128 plus the number of SIGINT, as in shells.
pub const EXIT_CODE: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Installs the handler: from then on the first signal only asks to stop.
pub fn install() -> Result<()> {
    install_telling(|text| eprintln!("{text}"))
}

/// Does the same, and tells of the signal in another way than by a line on stderr.
pub fn install_telling(tell: fn(&str)) -> Result<()> {
    // SAFETY: signal(2) with SIG_IGN touches nothing of this program.
    let ignore_hang_up = || unsafe { signal(SIGHUP, SIG_IGN) };
    // A program that `nohup` started ignores SIGHUP and must go on ignoring it: `set_handler` would undo that.
    let ignored = ignore_hang_up() == SIG_IGN;
    ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        tell("stopping; once more ends at once");
    })
    .context("cannot listen to Ctrl-C")?;
    if ignored {
        ignore_hang_up();
    }
    Ok(())
}

/// Returns whether a signal has asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Returns whether the error only says that work stopped because a signal asked it to.
pub fn is_cause_of(error: &anyhow::Error) -> bool {
    let is = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref() {
        Some(burnrec::Error::Model(burnrec::models::Error::Interrupted)) => true,
        _ => match cause.downcast_ref::<burnrec::train::Error>() {
            Some(error) => error.is_interrupted(),
            None => matches!(cause.downcast_ref(), Some(burnrec::models::Error::Interrupted)),
        },
    };
    error.chain().any(is)
}

const SIGHUP: i32 = 1;
const SIG_IGN: usize = 1;

unsafe extern "C" {
    /// signal(2): sets the handler of a signal, and returns the previous one.
    fn signal(number: i32, handler: usize) -> usize;
}
