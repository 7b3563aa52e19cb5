//! Long work with the interpreter released: its threads, its progress, and how Ctrl-C stops it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use burnrec::data::Stop;
use burnrec::train::record::EpochRecord;
use burnrec::train::run_dir::Watch;
use burnrec::{Progress, Result};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::exception;

/// How often signals are looked for, and progress is told.
const TICK: Duration = Duration::from_millis(50);

/// The most threads that may be asked for.
const MOST_THREADS: usize = 4096;

/// The last pool, with the process that made it, for a fork has none of its threads, and the number of threads asked for.
static POOL: Mutex<Option<(u32, usize, Arc<ThreadPool>)>> = Mutex::new(None);

/// Returns a pool of so many threads, for 0 one of all cores, and keeps it for the next call that asks for as many.
fn pool(threads: usize) -> PyResult<Arc<ThreadPool>> {
    if threads > MOST_THREADS {
        let text = format!("threads: found {threads}, expected at most {MOST_THREADS}, or 0 for all cores");
        return Err(PyValueError::new_err(text));
    }
    let here = std::process::id();
    let mut kept = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    match kept.take() {
        Some((process, n, pool)) if (process, n) == (here, threads) => {
            *kept = Some((process, n, Arc::clone(&pool)));
            return Ok(pool);
        }
        // Its threads are in the process that was forked, and waiting for them would never end.
        Some((process, _, pool)) if process != here => std::mem::forget(pool),
        _ => {}
    }
    let new = ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = Arc::new(new.map_err(|error| PyRuntimeError::new_err(format!("threads: {error}")))?);
    *kept = Some((here, threads, Arc::clone(&pool)));
    Ok(pool)
}

/// How many users or pairs are answered between two looks at whether to stop.
pub const USERS: usize = 1 << 14;

/// Does short work on the pool with the interpreter released.
pub fn short<T: Send>(py: Python<'_>, threads: usize, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let pool = pool(threads)?;
    caught(|| py.detach(|| pool.install(work)))
}

/// Does long work on the pool with the interpreter released. The calling thread meanwhile looks for signals, and stops the
/// work if a handler raises, as that of Ctrl-C does; and it tells `listener` of the progress, whose exceptions stop it too.
///
/// `listener` is called with `("progress", (what, done, total, note))` and `("epoch", json)`.
pub fn long<T: Send>(
    py: Python<'_>,
    threads: usize,
    listener: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Told) -> Result<T> + Send,
) -> PyResult<T> {
    let pool = pool(threads)?;
    let told = Told::default();
    let listener = listener.map(|listener| listener.clone().unbind());
    let mut raised = None;
    let done = py.detach(|| {
        thread::scope(|scope| {
            let (told, pool) = (&told, &pool);
            // The worker's end of the channel is gone as soon as the work is done.
            let (working, done) = channel::<()>();
            let worker = scope.spawn(move || {
                let _working = working;
                pool.install(|| work(told))
            });
            while done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if raised.is_none() {
                    raised = Python::attach(|py| told.tell(py, listener.as_ref())).err();
                }
                if raised.is_some() {
                    told.stop.ask();
                }
            }
            worker.join()
        })
    });
    if let Some(raised) = raised {
        return Err(raised);
    }
    match done {
        Ok(done) => {
            let done = done.map_err(exception)?;
            told.tell(py, listener.as_ref())?;
            Ok(done)
        }
        Err(panic) => Err(broken(&*panic)),
    }
}

/// Turns a panic, which is a defect of the library, into an exception that callers may catch.
pub fn caught<T>(work: impl FnOnce() -> T) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| broken(&*panic))
}

fn broken(panic: &(dyn Any + Send)) -> PyErr {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message");
    PyRuntimeError::new_err(format!("burnrec has a defect here, please report it: {text}"))
}

/// The progress of work, as the thread that waits for it tells it.
#[derive(Default)]
pub struct Told {
    /// What tells the work to stop.
    pub stop: Stop,
    done: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The name of the current piece of work, with its steps.
    piece: Option<(String, u64)>,
    note: String,
    /// The records of finished epochs that have not been told.
    epochs: Vec<String>,
    /// What was told last.
    last: Option<(String, u64, String)>,
}

impl Told {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for signals, and tells the listener what is new.
    fn tell(&self, py: Python<'_>, listener: Option<&Py<PyAny>>) -> PyResult<()> {
        py.check_signals()?;
        let Some(listener) = listener else { return Ok(()) };
        let done = self.done.load(Ordering::Relaxed);
        let (epochs, progress) = {
            let mut state = self.state();
            let now = state.piece.as_ref().map(|(what, _)| (what.clone(), done, state.note.clone()));
            let new = now != state.last && now.is_some();
            let progress = state
                .piece
                .clone()
                .filter(|_| new)
                .map(|(what, total)| (what, done, total, state.note.clone()));
            state.last = now;
            (std::mem::take(&mut state.epochs), progress)
        };
        for epoch in epochs {
            listener.call1(py, ("epoch", epoch))?;
        }
        if let Some(progress) = progress {
            listener.call1(py, ("progress", progress))?;
        }
        Ok(())
    }

    /// Tells of a finished epoch: its record as JSON.
    pub fn epoch(&self, json: String) {
        self.state().epochs.push(json);
    }
}

impl Progress for Told {
    fn begin(&self, what: &str, total: u64) {
        let mut state = self.state();
        (state.piece, state.note) = (Some((what.to_owned(), total)), String::new());
        self.done.store(0, Ordering::Relaxed);
    }

    fn advance(&self, steps: u64) {
        self.done.fetch_add(steps, Ordering::Relaxed);
    }

    fn note(&self, text: &str) {
        text.clone_into(&mut self.state().note);
    }

    fn end(&self) {
        self.state().piece = None;
    }

    fn interrupted(&self) -> bool {
        self.stop.is_asked()
    }
}

/// Tells of every epoch of a run.
pub struct Epochs<'a>(pub &'a Told);

impl Watch for Epochs<'_> {
    fn epoch(&mut self, epoch: &EpochRecord) {
        self.0.epoch(serde_json::to_string(epoch).unwrap_or_default());
    }
}
