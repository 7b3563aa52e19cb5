//! Stops training by a signal and resumes it: tests exit codes and messages, and that the weights have the same bytes.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Folder, Ran, burnrec, weights_of};

const MF: &str =
    "model = 'mf'\ndim = 32\nepochs = 12\nbatch_size = 500\nlearning_rate = 0.005\nreg = 0.005\n";

/// Returns a config and prepared data whose epochs take long enough to be interrupted.
fn ready(folder: &Folder) -> (PathBuf, PathBuf) {
    let (raw, data) = (folder.path("raw"), folder.path("data"));
    burnrec("synth --users 500 --items 300 --rows 40000 --out {}", &[&raw]).ok();
    burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    (folder.file("mf config.toml", MF), data)
}

fn signal(name: &str, process: u32) {
    let line = format!("kill -{name} {process}");
    assert!(Command::new("sh").args(["-c", &line]).status().expect("a shell").success());
}

/// Trains until stderr has a line with `last`, then sends the signal, and returns the exit code and stderr.
fn stopped(config: &Path, data: &Path, run: &Path, more: &[&str], last: &str, name: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_burnrec"))
        .arg("train")
        .arg(config)
        .arg("--data")
        .arg(data)
        .arg("--out")
        .arg(run)
        .args(["--device", "cpu"])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped"));
    let mut stderr = String::new();
    while !stderr.contains(last) {
        assert!(lines.read_line(&mut stderr).expect("UTF-8") > 0, "no {last:?} in {stderr}");
    }
    signal(name, child.id());
    lines.read_to_string(&mut stderr).expect("UTF-8");
    Ran { code: child.wait().expect("it ends").code(), stdout: String::new(), stderr }
}

#[test]
fn a_stopped_training_goes_on_to_the_same_bytes() {
    let folder = Folder::new();
    let (config, data) = ready(&folder);
    let (whole, run) = (folder.path("whole"), folder.path("run"));
    let train = "train {} --data {} --out {} --device cpu";
    let record = burnrec(&format!("{train} --json"), &[&config, &data, &whole]).json();
    assert!(!whole.join("checkpoints").exists());

    let ran = stopped(&config, &data, &run, &[], "epoch 1/12", "INT");
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(ran.stderr.contains("interrupted; choose epoch "), "{}", ran.stderr);
    assert!(run.join("checkpoints").exists() && !run.join("manifest.json").exists());
    burnrec(train, &[&config, &data, &run]).fails(&["stopped after choose epoch", "--resume", "--force"]);
    let other = burnrec(&format!("{train} --resume --set dim=9"), &[&config, &data, &run]);
    other.fails(&["dim: found 9, expected 32"]);

    // The printed command can be pasted into a shell.
    let command = ran.stderr.lines().last().expect("a command");
    assert!(command.ends_with(" --resume"), "{command}");
    let pasted = Command::new("sh").args(["-c", command]).output().expect("a shell");
    let said = String::from_utf8_lossy(&pasted.stderr).into_owned();
    assert!(pasted.status.success() && said.contains("goes on after choose epoch "), "{said}");

    let weights = |run: &Path| std::fs::read(weights_of(run)).expect("weights");
    assert!(weights(&whole) == weights(&run), "other weights");
    assert_eq!(burnrec("evaluate {} --json", &[&run]).json(), record["metrics"]["test"]);
    assert!(!run.join("checkpoints").exists());
    let epochs = |run: &Path| -> Vec<String> {
        let text = std::fs::read_to_string(run.join("record.jsonl")).expect("record.jsonl");
        text.lines().map(|line| line.split_once(",\"seconds\"").expect("seconds last").0.to_owned()).collect()
    };
    assert_eq!(epochs(&whole), epochs(&run));
    burnrec(&format!("{train} --resume"), &[&config, &data, &run]).fails(&["finished run", "--force"]);
}

#[test]
fn terminating_is_stopping_and_force_starts_anew() {
    let folder = Folder::new();
    let (config, data) = ready(&folder);
    let run = folder.path("run");
    let ran = stopped(&config, &data, &run, &[], "epoch 2/12", "TERM");
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let anew = "train {} --data {} --out {} --set epochs=1 --device cpu";
    burnrec(&format!("{anew} --force"), &[&config, &data, &run]).ok();
    assert!(!run.join("checkpoints").exists());
}

#[test]
fn a_run_is_there_until_the_one_that_replaces_it_is_whole() {
    let folder = Folder::new();
    let (config, data) = ready(&folder);
    let run = folder.path("run");
    let train = "train {} --data {} --out {} --device cpu --json";
    let old = burnrec(&format!("{train} --set epochs=1"), &[&config, &data, &run]).json();
    let ran = stopped(&config, &data, &run, &["--force"], "epoch 2/12", "TERM");
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert_eq!(burnrec("evaluate {} --json", &[&run]).json(), old["metrics"]["test"]);

    let new = burnrec(&format!("{train} --resume"), &[&config, &data, &run]).json();
    assert_ne!(new["metrics"]["test"], old["metrics"]["test"]);
    assert_eq!(burnrec("evaluate {} --json", &[&run]).json(), new["metrics"]["test"]);
    let files = std::fs::read_dir(&run).expect("a run").map(|file| file.expect("a file").file_name());
    let weights = files.filter(|name| name.to_string_lossy().starts_with("weights")).count();
    assert_eq!(weights, 1, "the files of the old run are gone");
}

#[test]
fn resuming_without_a_checkpoint_starts_from_the_first_epoch() {
    let folder = Folder::new();
    let (config, data) = ready(&folder);
    let run = folder.path("run");
    let train = "train {} --data {} --out {} --set epochs=1 --resume --device cpu";
    let ran = burnrec(train, &[&config, &data, &run]);
    assert!(
        ran.stderr.contains("no checkpoint to go on after; starts from the first epoch"),
        "{}",
        ran.stderr
    );
    ran.ok();
    let both = burnrec(&format!("{train} --force"), &[&config, &data, &run]);
    assert_eq!(both.code, Some(2));
}

#[test]
fn other_commands_end_by_the_signal() {
    let folder = Folder::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_burnrec"))
        .args(["synth", "--like", "ml-20m", "--out"])
        .arg(folder.path("raw"))
        .spawn()
        .expect("the program starts");
    signal("TERM", child.id());
    assert_eq!(child.wait().expect("it ends").signal(), Some(15));
}
