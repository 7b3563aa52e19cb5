//! How the program was started, for messages that say how to go on and for processes that run it again.

use std::ffi::OsString;
use std::sync::OnceLock;

/// How the program was started.
#[derive(Clone, Debug)]
pub struct Start {
    /// The words that start it again, before any argument: the program `bench` runs each case in a process of its own.
    pub program: Vec<OsString>,
    /// The words of the command line, of which the first is the program's name.
    pub words: Vec<OsString>,
}

impl Start {
    /// Returns how this process was started, where it is the program.
    pub fn of_this_process() -> Self {
        // Where the system does not say where the program is, its name may still be found on the PATH.
        let name = || std::env::args_os().next();
        let program = std::env::current_exe().map(OsString::from).ok().or_else(name);
        Self { program: program.into_iter().collect(), words: std::env::args_os().collect() }
    }
}

static START: OnceLock<Start> = OnceLock::new();

/// Keeps how the program was started; returns what was kept first.
pub fn keep(start: Start) -> &'static Start {
    START.get_or_init(|| start)
}

/// Returns how the program was started.
pub fn get() -> &'static Start {
    START.get_or_init(Start::of_this_process)
}
