//! Runs the program as a user does.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod browser;
pub mod jobs;
pub mod kafka;
pub mod member;
pub mod storm;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A temporary folder for one test, which is removed when the test ends.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, text).expect("a file");
        path
    }
}

/// Returns an address of this machine on which nobody listens.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

/// The exit code and the output of a run of the program.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Fails the test unless the run succeeded; returns its stdout.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Fails the test unless the run ended with exit code 1 and an error message, not a panic, that has all of `words`.
    #[track_caller]
    pub fn fails(self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("error: ") || self.stderr.contains("\nerror: "), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "expected {word:?} in:\n{}", self.stderr);
        }
    }

    /// Returns stdout as JSON; fails the test unless the run succeeded.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).expect("JSON on stdout")
    }
}

/// Runs the program with the arguments of `line`, which spaces separate; each `{}` stands for the next of `paths`. Words of the form
/// `NAME=VALUE` before the subcommand are environment variables, as in a shell.
#[track_caller]
pub fn burnrec(line: &str, paths: &[&Path]) -> Ran {
    let mut paths = paths.iter();
    let mut words = line.split_whitespace().peekable();
    let variables = std::iter::from_fn(|| words.next_if(|word| word.contains('='))?.split_once('='));
    let mut command = Command::new(env!("CARGO_BIN_EXE_burnrec"));
    command.envs(variables);
    let words = words.map(|word| match word {
        "{}" => paths.next().expect("a path for each {}").as_os_str().to_owned(),
        word => word.into(),
    });
    let Output { status, stdout, stderr } = command.args(words).output().expect("the program starts");
    Ran {
        code: status.code(),
        stdout: String::from_utf8(stdout).expect("UTF-8"),
        stderr: String::from_utf8(stderr).expect("UTF-8"),
    }
}

/// Returns the file of a run directory that holds its weights.
pub fn weights_of(run: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(run).expect("a run").map(|file| file.expect("a file").path());
    let is_it =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("weights-"));
    files.find(is_it).expect("weights")
}

/// Trains a model by a config of this repository, with these settings, on rows that are drawn as `synth` says; returns its
/// run directory.
pub fn trained(folder: &Folder, synth: &str, config: &str, settings: &str) -> PathBuf {
    let (raw, data, run) = (folder.path("raw"), folder.path("data"), folder.path("run"));
    burnrec(&format!("synth {synth} --out {{}}"), &[&raw]).ok();
    burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(config);
    burnrec(&format!("train {{}} --data {{}} --out {{}} {settings}"), &[&config, &data, &run]).ok();
    run
}
