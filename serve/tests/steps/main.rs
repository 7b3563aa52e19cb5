//! Steps of one's own: those of the program, those of processes, and the worked examples.

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "http")]
mod examples;
mod own;
mod processes;
#[cfg(feature = "http")]
#[path = "../common/running.rs"]
mod running;

use burnrec_serve::Engine;

/// An engine of a model with steps.
fn engine(steps: &str) -> Engine {
    Engine::open(&common::config(&format!("models.main.run = \"RUN\"\n{steps}"))).expect("an engine")
}
