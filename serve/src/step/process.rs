//! A process of a step: started, asked by lines, killed with what it started.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::config::StepConfig;

/// The most bytes of a line that a process writes.
const MOST_BYTES: usize = 16 << 20;

/// The most bytes of a line on standard error that the log gets.
const MOST_LOGGED: u64 = 1000;

/// The most lines of standard error that the log gets in a second.
const LOGGED: u32 = 20;

/// How long a process may take to end once nothing more comes.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the names of environment variables begin with that hold settings of the service, secrets among them.
const SETTINGS: &str = "BURNREC__";

/// A line that waits for its answer.
pub struct Sent {
    /// Its number.
    pub line: u64,
    /// The event, by its index in the batch.
    pub event: usize,
    deadline: Instant,
}

/// A process that runs.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// Bytes to be written.
    to_write: VecDeque<u8>,
    /// Bytes of a line that is not whole yet.
    read: Vec<u8>,
    /// Lines without an answer, the oldest first.
    pub sent: VecDeque<Sent>,
    has_answered: bool,
}

impl Process {
    /// Starts the command of a step, in a process group of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &'static str, config: &StepConfig) -> std::io::Result<Self> {
        let mut command = Command::new(&config.command[0]);
        command.args(&config.command[1..]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let own = std::env::vars_os().map(|(name, _)| name);
        own.filter(|name| name.to_string_lossy().starts_with(SETTINGS)).for_each(|name| {
            command.env_remove(name);
        });
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(std::io::Error::other("no pipes"));
        };
        without_blocking(stdin.as_raw_fd())?;
        without_blocking(stdout.as_raw_fd())?;
        std::thread::Builder::new().name(format!("stderr {name}")).spawn(move || log(name, stderr))?;
        Ok(Self {
            child,
            stdin: Some(stdin),
            stdout,
            to_write: VecDeque::new(),
            read: Vec::new(),
            sent: VecDeque::new(),
            has_answered: false,
        })
    }

    /// Gives it a line for an event.
    pub fn send(&mut self, line: u64, event: usize, bytes: &[u8], config: &StepConfig) {
        let start = if self.has_answered { Duration::ZERO } else { config.start() };
        let waits = start + config.timeout() * (self.sent.len() as u32 + 1);
        self.sent.push_back(Sent { line, event, deadline: Instant::now() + waits });
        self.to_write.extend(bytes);
    }

    /// Notes that an answer came.
    pub fn answered(&mut self, config: &StepConfig) {
        if !self.has_answered {
            self.has_answered = true;
            let now = Instant::now();
            for (before, sent) in (1..).zip(&mut self.sent) {
                sent.deadline = now + config.timeout() * before;
            }
        }
    }

    /// Returns when it has taken too long.
    pub fn deadline(&self) -> Option<Instant> {
        self.sent.iter().map(|sent| sent.deadline).min()
    }

    /// Returns its pipes to be waited for: that to read, and that to write if there is anything to write.
    pub fn pipes(&self) -> [libc::pollfd; 2] {
        let of = |fd, events| libc::pollfd { fd, events, revents: 0 };
        // A negative one is passed over.
        let stdin = self.stdin.as_ref().filter(|_| !self.to_write.is_empty());
        [of(self.stdout.as_raw_fd(), libc::POLLIN), of(stdin.map_or(-1, AsRawFd::as_raw_fd), libc::POLLOUT)]
    }

    /// Writes what its pipe takes.
    ///
    /// # Errors
    /// When it does not read any more.
    pub fn write(&mut self) -> Result<(), String> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        while !self.to_write.is_empty() {
            match stdin.write(self.to_write.as_slices().0) {
                Ok(n) => drop(self.to_write.drain(..n)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("it does not read its standard input: {error}")),
            }
        }
        Ok(())
    }

    /// Reads the lines that are there.
    ///
    /// # Errors
    /// When its output has ended, or a line is too long.
    pub fn lines(&mut self, lines: &mut Vec<Vec<u8>>) -> Result<(), String> {
        let mut bytes = [0; 1 << 14];
        loop {
            match self.stdout.read(&mut bytes) {
                Ok(0) => return Err(self.how_it_ended()),
                Ok(n) => {
                    let mut parts = bytes[..n].split(|byte| *byte == b'\n');
                    self.read.extend_from_slice(parts.next().unwrap_or_default());
                    for part in parts {
                        lines.push(std::mem::replace(&mut self.read, part.to_vec()));
                    }
                    if self.read.len() > MOST_BYTES {
                        return Err(format!("it wrote a line of more than {MOST_BYTES} bytes"));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("its output cannot be read: {error}")),
            }
        }
    }

    /// Returns whether it lives.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn how_it_ended(&mut self) -> String {
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return format!("it ended: {status}"),
                Ok(None) if begin.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
                _ => return "it closed its standard output".into(),
            }
        }
    }

    /// Lets it know that nothing more comes.
    pub fn close(&mut self) {
        drop(self.stdin.take());
    }

    /// Kills it with all that it started.
    pub fn kill(&mut self) {
        let group = self.child.id() as libc::pid_t;
        // SAFETY: a signal to a process group takes no memory of this process.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        if let Err(error) = self.child.wait() {
            tracing::warn!(%error, "a process of a step cannot be waited for");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.close();
        let begin = Instant::now();
        while self.is_alive() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.kill();
    }
}

/// Waits until one of some pipes is ready, or for a time.
pub fn wait(pipes: &mut [libc::pollfd], most: Duration) {
    // Up, so that what is due by then is due.
    let ms = i32::try_from(most.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    // SAFETY: the pointer and the length are those of a slice that lives through the call.
    let n = unsafe { libc::poll(pipes.as_mut_ptr(), pipes.len() as libc::nfds_t, ms) };
    if n < 0 {
        // Interrupted: all are looked at, which finds what is ready.
        pipes.iter_mut().for_each(|pipe| pipe.revents = pipe.events);
    }
}

fn without_blocking(fd: RawFd) -> std::io::Result<()> {
    // SAFETY: the calls take an open file descriptor and numbers alone.
    let done = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        if flags < 0 { flags } else { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) }
    };
    if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Logs what a process says on standard error, a bounded number of lines a second.
fn log(step: &'static str, stderr: ChildStderr) {
    let mut lines = BufReader::new(stderr);
    let (mut since, mut logged, mut left_out, mut bytes) = (Instant::now(), 0, 0_u64, Vec::new());
    loop {
        bytes.clear();
        match lines.by_ref().take(MOST_LOGGED).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if since.elapsed() >= Duration::from_secs(1) {
            tell_left_out(step, left_out);
            (since, logged, left_out) = (Instant::now(), 0, 0);
        }
        if logged < LOGGED {
            logged += 1;
            tracing::info!(step, "{}", String::from_utf8_lossy(&bytes).trim_end());
        } else {
            left_out += 1;
        }
    }
    tell_left_out(step, left_out);
}

fn tell_left_out(step: &'static str, lines: u64) {
    if lines > 0 {
        tracing::warn!(step, lines, "lines of standard error are left out");
    }
}
