//! Ctrl-C, SIGTERM and a closed terminal while training: the first asks it to stop where it can go on later, the second
//! ends the program at once. Other commands install nothing and end by the signal.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// What the program exits with once interrupted: 128 and the number of SIGINT, as shells have it.
pub const EXIT_CODE: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on a signal asks to stop, instead of ending the program.
pub fn install() -> Result<()> {
    // SAFETY: signal(2) with SIG_IGN touches nothing of this program.
    let ignore_hang_up = || unsafe { signal(SIGHUP, SIG_IGN) };
    // What `nohup` started is to outlive its terminal.
    let ignored = ignore_hang_up() == SIG_IGN;
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        eprintln!("stopping; once more ends at once");
    })
    .context("cannot listen to Ctrl-C")?;
    if ignored {
        ignore_hang_up();
    }
    Ok(())
}

/// Whether a signal asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Whether work ended because it was asked to.
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
    /// signal(2): sets what a signal does, and gives what it did.
    fn signal(number: i32, handler: usize) -> usize;
}
