//! Jobs over REST as Apache Livy's `/batches` has them: commands of this program, each in a process of its own with bounds on time
//! and memory, from a queue that a restart does not forget.
//!
//! ```text
//! POST /batches ─► store: a directory a job ─► runner: the queue, schedules ─► `burnrec job DIR`: supervise ─► the command
//! ```
//!
//! All state is in the directories of the jobs ([`store`]): the server can be killed and started again at any time, and the jobs go
//! on meanwhile, each watched by a supervisor of its own ([`supervise`]).

mod config;
mod livy;
mod runner;
mod server;
pub mod store;
mod supervise;

use std::ffi::OsString;
use std::process::Command;

pub use config::{COMMANDS, JobsConfig, Schedule};
pub use server::JobServer;
pub use supervise::supervise;

/// Returns the command that starts a program by its words.
fn command(program: &[OsString]) -> Command {
    let mut words = program.iter();
    let mut command = Command::new(words.next().map_or_else(Default::default, OsString::clone));
    command.args(words);
    command
}
