//! What the service says on stderr, with a broker that is not there and with none.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use common::{Folder, burnrec};
use serde_json::Value;

/// Returns the config of a service whose model is ALS.
fn config(folder: &Folder, more: &str) -> PathBuf {
    let (raw, data, run) = (folder.path("raw"), folder.path("data"), folder.path("run"));
    let als = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/als.toml");
    burnrec("synth --users 30 --items 40 --rows 600 --out {}", &[&raw]).ok();
    burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    burnrec("train {} --data {} --out {} --set dim=4 --set epochs=1", &[&als, &data, &run]).ok();
    folder.file("serve.toml", format!("models.main.run = {run:?}\nhttp.listen = \"127.0.0.1:0\"\n{more}"))
}

fn serve(config: &Path, more: &[&str]) -> (Child, BufReader<ChildStderr>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burnrec"));
    // Without this variable some graphics drivers complain when they are asked for a card.
    command.arg("serve").arg(config).args(more).env_remove("XDG_RUNTIME_DIR").env_remove("RUST_LOG");
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    (child, stderr)
}

/// Returns what it says, up to the line that has `last`.
fn until(stderr: &mut BufReader<ChildStderr>, last: &str) -> String {
    let mut said = String::new();
    while !said.contains(last) {
        assert!(stderr.read_line(&mut said).expect("UTF-8") > 0, "no {last:?} in {said}");
    }
    said
}

#[test]
fn a_service_says_that_it_waits_for_the_brokers_and_a_file_gets_no_colours() {
    let folder = Folder::new();
    let kafka =
        "kafka = { bootstrap = \"127.0.0.1:1\", requests = [\"q\"], replies = \"r\", rejects = \"x\" }";
    let (mut child, mut stderr) = serve(&config(&folder, kafka), &[]);
    let said = until(&mut stderr, "waits for the brokers");
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert_eq!(child.try_wait().expect("a child"), None, "it says so before it gives up");
    child.kill().expect("it is ended");
    child.wait().expect("it has ended");
    assert!(!said.contains('\u{1b}'), "a colour in {said}");
}

#[test]
fn a_step_must_be_there_speaks_in_the_log_and_does_not_see_the_settings() {
    let folder = Folder::new();
    let step = |program: &str| {
        let says = "echo settings: $(env | grep -c ^BURNREC__) >&2; cat";
        format!("[steps.aside]\nplace = \"after-score\"\ncommand = [{program:?}, \"-c\", {says:?}]\n")
    };
    let config = config(&folder, &step("sh"));
    let listen = "BURNREC__HTTP__LISTEN=127.0.0.1:0";
    let (name, value) = listen.split_once('=').expect("a variable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_burnrec"));
    command.arg("serve").arg(&config).env(name, value).env_remove("RUST_LOG").stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let said = until(&mut BufReader::new(child.stderr.take().expect("piped")), "settings: ");
    child.kill().expect("it is ended");
    child.wait().expect("it has ended");
    assert!(said.contains("settings: 0") && said.contains("aside"), "{said}");
    let text = std::fs::read_to_string(&config).expect("a config");
    let config = folder.file("other.toml", text.replace("\"sh\"", "\"burnrec-no-such\""));
    burnrec("serve {}", &[&config]).fails(&["steps.aside.command", "burnrec-no-such", "can be started"]);
}

#[test]
fn json_logs_are_json_from_the_first_line_to_the_last() {
    let folder = Folder::new();
    let config = config(&folder, "");
    let (mut child, mut stderr) = serve(&config, &["--log", "json"]);
    let mut said = until(&mut stderr, "serving on http://");
    let end = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &end]).status().expect("a shell").success());
    stderr.read_to_string(&mut said).expect("UTF-8");
    assert!(child.wait().expect("it ends").success());
    assert!(said.contains("device: cpu") && !said.contains("XDG"), "no card is asked: {said}");
    let wrong = burnrec("serve {} --log json --set models.main.run=nowhere", &[&config]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("no manifest.json"), "{}", wrong.stderr);
    let unknown = burnrec("serve {} --log json --set colour=red", &[&config]);
    assert!(unknown.stderr.contains("colour"), "{}", unknown.stderr);
    for line in [said, wrong.stderr, unknown.stderr].iter().flat_map(|text| text.lines()) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["fields"]["message"].is_string(), "{line}");
    }
}
