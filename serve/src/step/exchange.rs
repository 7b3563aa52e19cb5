//! Lines of a batch to processes, and their answers.
//!
//! A process that dies or hangs had the oldest of its lines in hand: that event fails, and the others go to whichever process
//! is there. So each death ends one event, and a batch ends however its processes behave.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::pool::{Pool, Worker};
use super::process::wait;
use super::{Step, StepEvent, line};

impl Step for Pool {
    fn apply(&self, batch: &mut [StepEvent<'_>]) {
        Exchange::new(self, self.take(batch.len()), batch.len()).run(batch);
    }
}

/// The exchange of a batch with processes that are its own meanwhile.
struct Exchange<'p> {
    pool: &'p Pool,
    workers: Vec<Worker>,
    /// Events without a line in flight, by their indices.
    waiting: VecDeque<usize>,
    /// How many events are not answered.
    open: usize,
}

impl<'p> Exchange<'p> {
    /// Begins with all events waiting.
    fn new(pool: &'p Pool, workers: Vec<Worker>, events: usize) -> Self {
        Self { pool, workers, waiting: (0..events).collect(), open: events }
    }

    /// Lets each event be answered, or fail.
    fn run(&mut self, batch: &mut [StepEvent<'_>]) {
        while self.open > 0 {
            self.workers
                .iter_mut()
                .filter(|worker| is_idle(worker))
                .for_each(|worker| self.pool.start(worker));
            self.hand_out(batch);
            let now = Instant::now();
            let is_stuck = self.workers.iter().all(|worker| worker.process.is_none());
            if is_stuck {
                let next = self.workers.iter().map(|worker| worker.next_start).min().unwrap_or(now);
                let wait = next.saturating_duration_since(now);
                if wait > self.pool.config.timeout() {
                    self.give_up(batch, wait);
                    return;
                }
                std::thread::sleep(wait);
                continue;
            }
            self.exchange(batch, now);
        }
    }

    /// Hands lines to the processes that have the fewest.
    fn hand_out(&mut self, batch: &[StepEvent<'_>]) {
        let config = &self.pool.config;
        while let Some(&event) = self.waiting.front() {
            let running = self.workers.iter_mut().filter_map(|worker| worker.process.as_mut());
            let least = running.min_by_key(|process| process.sent.len());
            let Some(process) = least.filter(|process| process.sent.len() < config.lines) else { return };
            let number = self.pool.next_line();
            process.send(number, event, &line::write(&batch[event], number), config);
            self.waiting.pop_front();
        }
    }

    /// Waits for what is next, and takes it.
    fn exchange(&mut self, batch: &mut [StepEvent<'_>], now: Instant) {
        let mut until = None;
        let (mut places, mut pipes) = (Vec::new(), Vec::new());
        for (at, worker) in self.workers.iter().enumerate() {
            let due = match &worker.process {
                Some(process) => {
                    places.push(at);
                    pipes.extend(process.pipes());
                    process.deadline()
                }
                None => Some(worker.next_start).filter(|_| !self.waiting.is_empty()),
            };
            until = until.into_iter().chain(due).min();
        }
        let most = until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
        wait(&mut pipes, most);
        for (at, ready) in places.into_iter().zip(pipes.chunks(2)) {
            if let Err((reason, why)) = self.look(at, ready, batch) {
                self.lose(at, reason, &why, batch);
            }
        }
    }

    /// Reads and writes what one process is ready for.
    fn look(
        &mut self,
        at: usize,
        ready: &[libc::pollfd],
        batch: &mut [StepEvent<'_>],
    ) -> Result<(), (&'static str, String)> {
        let Some(process) = &mut self.workers[at].process else { return Ok(()) };
        let mut lines = Vec::new();
        let read = if ready[0].revents != 0 { process.lines(&mut lines) } else { Ok(()) };
        let written = if ready[1].revents != 0 { process.write() } else { Ok(()) };
        lines.into_iter().for_each(|bytes| self.answer(at, &bytes, batch));
        read.and(written).map_err(|why| ("died", why))?;
        let Some(process) = &self.workers[at].process else { return Ok(()) };
        match process.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            true => Err(("timeout", format!("no answer within {} ms", self.pool.config.timeout_ms))),
            false => Ok(()),
        }
    }

    /// Takes a line of a process.
    fn answer(&mut self, at: usize, bytes: &[u8], batch: &mut [StepEvent<'_>]) {
        let worker = &mut self.workers[at];
        let Some(process) = &mut worker.process else { return };
        let ended = match line::read(bytes) {
            Ok((number, object)) => {
                let place = process.sent.iter().position(|sent| sent.line == number);
                place.and_then(|place| process.sent.remove(place)).map(|sent| {
                    line::take(&mut batch[sent.event], object);
                })
            }
            // It is taken for the answer to the oldest line.
            Err((reason, text)) => {
                process.sent.pop_front().map(|sent| batch[sent.event].fail_for(reason, text))
            }
        };
        match ended {
            Some(()) => {
                process.answered(&self.pool.config);
                worker.answered();
                self.open -= 1;
            }
            None => tracing::debug!(step = self.pool.name, "a process wrote a line that nobody waits for"),
        }
    }

    /// Buries a process: the event that it had in hand fails, its others wait again.
    fn lose(&mut self, at: usize, reason: &'static str, why: &str, batch: &mut [StepEvent<'_>]) {
        let sent = self.workers[at].process.as_mut().map(|process| std::mem::take(&mut process.sent));
        let mut sent = sent.unwrap_or_default().into_iter();
        if let Some(oldest) = sent.next() {
            batch[oldest.event].fail_for(reason, why);
            self.open -= 1;
        }
        sent.rev().for_each(|sent| self.waiting.push_front(sent.event));
        self.pool.bury(&mut self.workers[at], why);
    }

    /// Fails all that waits: no process is there for long.
    fn give_up(&mut self, batch: &mut [StepEvent<'_>], wait: Duration) {
        for event in self.waiting.drain(..) {
            let text = format!("no process; the next is started in {} ms", wait.as_millis());
            batch[event].fail_for("no-process", text);
            self.open -= 1;
        }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        // After a panic an answer may still come, to what nobody knows any more.
        let is_left = |worker: &&mut Worker| !is_idle(worker);
        self.workers.iter_mut().filter(is_left).for_each(|worker| worker.process = None);
        self.pool.give_back(std::mem::take(&mut self.workers));
    }
}

fn is_idle(worker: &Worker) -> bool {
    worker.process.as_ref().is_none_or(|process| process.sent.is_empty())
}
