//! The supervisor of a job: a process that starts the command, keeps its log, ends it at its bounds, and writes how it ended.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use burnrec_data::write::lock_dir;

use super::store::{Job, JobDir, Standing, State};
use crate::Result;

/// How often the bounds are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long a job that is asked to end may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the job of a directory with the program that these words start, and returns once it has ended and how is written.
///
/// # Errors
/// When the directory cannot be read or written, or the job has a supervisor already.
pub fn supervise(dir: PathBuf, program: &[OsString]) -> Result<()> {
    let dir = JobDir(dir);
    let _watch = lock_dir(&dir.0)?;
    let job = dir.job()?;
    let standing = match dir.is_killed() {
        true => Standing::ended(State::Killed, "killed before it began"),
        false => match start(&job, program) {
            Ok(child) => {
                dir.stand(&Standing::now(State::Running))?;
                watch(&dir, &job, child)?
            }
            Err(error) => Standing::ended(State::Error, format!("{} cannot be started: {error}", job.file)),
        },
    };
    Ok(dir.stand(&standing)?)
}

/// Starts the command of a job in a process group of its own, which does not outlive this process.
fn start(job: &Job, program: &[OsString]) -> std::io::Result<Child> {
    let mut command = super::command(program);
    command.arg(&job.file).args(&job.args).current_dir(&job.root).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: between fork and exec there is one system call, which takes no memory.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command.spawn()
}

/// Waits for the end of a job; returns how it ended.
fn watch(dir: &JobDir, job: &Job, mut child: Child) -> Result<Standing> {
    let log = Arc::new(Mutex::new(Log::open(dir, job.log_mb << 20)?));
    let pipes: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as _),
        child.stderr.take().map(|pipe| Box::new(pipe) as _),
    ];
    let copies: Vec<JoinHandle<()>> =
        pipes.into_iter().flatten().map(|pipe| copy(pipe, Arc::clone(&log))).collect();
    let group = child.id() as libc::pid_t;
    let (begin, mut asked): (_, Option<(Instant, Standing)>) = (Instant::now(), None);
    let code = loop {
        if let Some(status) = child.try_wait().map_err(failed(dir))? {
            break status.code();
        }
        match &asked {
            None => {
                asked = bound(dir, job, group, begin).map(|why| (Instant::now(), why));
                asked.iter().for_each(|_| signal(group, libc::SIGTERM));
            }
            Some((since, _)) if since.elapsed() > PATIENCE => signal(group, libc::SIGKILL),
            Some(_) => {}
        }
        std::thread::sleep(LOOK);
    };
    // What the command started in its turn ends with it, so that the pipes are closed.
    signal(group, libc::SIGKILL);
    copies.into_iter().for_each(|copy| drop(copy.join()));
    Ok(match asked {
        Some((_, standing)) => Standing { since_ms: super::store::now_ms(), code, ..standing },
        None if code == Some(0) => Standing { code, ..Standing::now(State::Success) },
        None => Standing { code, ..Standing::now(State::Dead) },
    })
}

/// Returns why a job is to end, if it is.
fn bound(dir: &JobDir, job: &Job, group: libc::pid_t, begin: Instant) -> Option<Standing> {
    if dir.is_killed() {
        return Some(Standing::ended(State::Killed, "killed"));
    }
    if begin.elapsed() > Duration::from_secs(job.seconds) {
        return Some(Standing::ended(State::Dead, format!("it ran for more than {} s", job.seconds)));
    }
    let held = held_mb(group);
    (held > job.memory_mb)
        .then(|| Standing::ended(State::Dead, format!("it held {held} MiB, more than {}", job.memory_mb)))
}

/// Returns how much memory the processes of a group hold, in MiB.
fn held_mb(group: libc::pid_t) -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pages = processes.filter_map(|process| {
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        // The name in parentheses may hold anything; state, parent, group … follow, and the resident pages are the 22nd of them.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let of = fields.get(2)?.parse::<libc::pid_t>().ok()?;
        if of == group { fields.get(21)?.parse::<u64>().ok() } else { None }
    });
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
    (pages.sum::<u64>() * page) >> 20
}

fn signal(group: libc::pid_t, signal: i32) {
    // SAFETY: sends a signal to a group that this process made.
    unsafe { libc::kill(-group, signal) };
}

fn failed(dir: &JobDir) -> impl Fn(std::io::Error) -> burnrec_data::Error + '_ {
    |error| burnrec_data::Error::io("watch the job of", &dir.0)(error)
}

fn copy(mut from: Box<dyn Read + Send>, log: Arc<Mutex<Log>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            log.lock().unwrap_or_else(PoisonError::into_inner).add(&bytes[..n]);
        }
    })
}

/// A log that stays within a size: when half of that is written, it becomes the older part, and that is gone.
struct Log {
    file: File,
    places: [PathBuf; 2],
    written: u64,
    most: u64,
}

impl Log {
    fn open(dir: &JobDir, most: u64) -> Result<Self> {
        let places = dir.logs();
        let file = append(&places[0]).map_err(failed(dir))?;
        Ok(Self { file, places, written: 0, most })
    }

    /// Adds to the log. The job goes on where that fails, such as on a full disk.
    fn add(&mut self, bytes: &[u8]) {
        if self.written > self.most / 2 {
            let turned = fs::rename(&self.places[0], &self.places[1]).and_then(|()| append(&self.places[0]));
            match turned {
                Ok(file) => (self.file, self.written) = (file, 0),
                Err(error) => tracing::warn!(%error, "the log is not rotated"),
            }
        }
        match self.file.write_all(bytes) {
            Ok(()) => self.written += bytes.len() as u64,
            Err(error) => tracing::warn!(%error, "the log is not written"),
        }
    }
}

fn append(path: &std::path::Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
