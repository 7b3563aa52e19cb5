//! Starts, watches and stops a program that is measured, and reports the processor time and memory that it used.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running program, which is killed when this is dropped.
pub struct Process {
    pid: libc::pid_t,
    log: PathBuf,
    ended: Option<Ended>,
}

/// The exit status of a program that has ended, and what it used.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Processor time in user and kernel mode.
    pub cpu_seconds: f64,
    /// Its largest resident memory.
    pub peak_bytes: u64,
}

impl Process {
    /// Starts a program whose stdout and stderr go to a file.
    ///
    /// # Errors
    /// When there is no such program, or the system refuses.
    pub fn start(command: &[String], log: &Path) -> io::Result<Self> {
        let (program, args) = command.split_first().ok_or_else(|| io::Error::other("an empty command"))?;
        let out = File::create(log)?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .spawn()
            .map_err(|error| io::Error::other(format!("cannot run {program}: {error}")))?;
        // A pid fits: it comes from a pid_t.
        Ok(Self { pid: child.id() as libc::pid_t, log: log.to_owned(), ended: None })
    }

    /// Returns the exit status and what it used, if it has ended.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> io::Result<Option<Ended>> {
        if self.ended.is_none() {
            let mut status = 0;
            // SAFETY: rusage is plain numbers, for which zeros are valid; both pointers are to live values.
            let (pid, usage) = unsafe {
                let mut usage: libc::rusage = std::mem::zeroed();
                (libc::wait4(self.pid, &raw mut status, libc::WNOHANG, &raw mut usage), usage)
            };
            if pid < 0 {
                return Err(io::Error::last_os_error());
            }
            if pid == self.pid {
                let seconds = |time: libc::timeval| time.tv_sec as f64 + 1e-6 * time.tv_usec as f64;
                self.ended = Some(Ended {
                    status: ExitStatus::from_raw(status),
                    cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
                    peak_bytes: 1024 * usage.ru_maxrss as u64,
                });
            }
        }
        Ok(self.ended)
    }

    /// Returns its resident memory now, if it runs.
    pub fn memory_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| 1024 * kib)
    }

    /// Asks it to end with SIGTERM, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not end in time; it is then killed.
    pub fn stop(mut self, patience: Duration) -> io::Result<Ended> {
        self.signal(libc::SIGTERM);
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(ended) = self.ended()? {
                return Ok(ended);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("still running {} s after SIGTERM", patience.as_secs())))
    }

    /// Returns the last line of its output that names an error, or else the last line.
    pub fn last_words(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines = || said.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        let tells =
            |line: &&str| ["error", "Error", "ERROR", "Exception"].iter().any(|word| line.contains(word));
        lines().find(tells).or_else(|| lines().next()).unwrap_or("said nothing").to_owned()
    }

    fn signal(&self, signal: libc::c_int) {
        if self.ended.is_none() {
            // SAFETY: the pid is that of a child which has not been waited for, so it is no other process.
            unsafe { libc::kill(self.pid, signal) };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        while let Ok(None) = self.ended() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, log: &Path) -> Process {
        Process::start(&["sh", "-c", script].map(str::to_owned), log).expect("a shell")
    }

    #[test]
    fn a_program_is_stopped_and_its_use_is_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let script = "trap 'echo bye; exit 3' TERM; k=0; while [ $k -lt 100000 ]; do k=$((k+1)); done; echo ready; \
                      while :; do sleep 0.01; done";
        let process = sh(script, &log);
        let start = Instant::now();
        while process.last_words() != "ready" {
            assert!(start.elapsed() < Duration::from_secs(60), "{}", process.last_words());
            std::thread::yield_now();
        }
        assert!(process.memory_bytes().is_some_and(|bytes| bytes > 100_000));
        let ended = process.stop(Duration::from_secs(60)).expect("it ends");
        assert_eq!(ended.status.code(), Some(3));
        assert!(ended.cpu_seconds > 0.001 && ended.peak_bytes > 100_000, "{ended:?}");
        assert_eq!(std::fs::read_to_string(log).expect("a log"), "ready\nbye\n");
    }

    #[test]
    fn one_that_does_not_end_is_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let process = sh("trap '' TERM; echo ready; while :; do sleep 0.01; done", &log);
        while process.last_words() != "ready" {
            std::thread::yield_now();
        }
        let pid = process.pid;
        let error = process.stop(Duration::from_millis(100)).expect_err("it does not end");
        assert!(error.to_string().contains("after SIGTERM"), "{error}");
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn an_error_is_found_among_the_words() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let mut process = sh("echo 'error: no such subcommand'; echo; echo 'try --help'; exit 2", &log);
        while process.ended().expect("known").is_none() {
            std::thread::yield_now();
        }
        assert_eq!(process.last_words(), "error: no such subcommand");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Process::start(&["/no/such".to_owned()], Path::new("/dev/null")).err().expect("an error");
        assert!(error.to_string().starts_with("cannot run /no/such"), "{error}");
    }
}
