//! Gives the program wrong input: it must print a clear error and leave nothing half-written.

mod common;

use std::path::{Path, PathBuf};

use common::{Folder, burnrec, weights_of};

const GOOD: &str = "userId,movieId,rating,timestamp\n1,10,4.0,1\n1,11,3.0,2\n1,12,5.0,3\n1,13,5.0,4\n\
                    2,10,4.0,1\n2,11,3.0,2\n2,12,5.0,3\n2,14,5.0,4\n3,10,4.0,1\n3,13,3.0,2\n3,14,5.0,3\n";

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs")
}

/// Runs `prepare` on a file, which must fail with these words and write nothing.
#[track_caller]
fn refused(name: &str, text: impl AsRef<[u8]>, words: &[&str]) {
    let folder = Folder::new();
    let (file, out) = (folder.file(name, text), folder.path("out"));
    burnrec("prepare {} --out {}", &[&file, &out]).fails(words);
    assert!(!out.exists(), "something was written");
}

#[test]
fn ratings_files() {
    refused("empty.csv", "", &["empty.csv"]);
    refused("head.csv", "userId,movieId,rating,timestamp\n", &["head.csv"]);
    refused("number.csv", GOOD.replace("2,11,3.0", "2,11,many"), &["number.csv", "7", "many"]);
    refused("nan.csv", GOOD.replace("2,11,3.0", "2,11,NaN"), &["nan.csv", "7", "NaN"]);
    refused("columns.csv", GOOD.replace("movieId", "colour"), &["columns.csv", "colour"]);
    refused("one.csv", "userId,movieId,rating\n1,10,4\n1,11,4\n1,12,4\n1,13,4\n", &["user"]);
    refused("separator.csv", GOOD.replace(',', "^"), &["separator.csv"]);
    refused("broken.parquet", "PAR1 and then nothing", &["broken.parquet"]);
    let missing = Folder::new();
    let (file, out) = (missing.path("missing.csv"), missing.path("out"));
    burnrec("prepare {} --out {}", &[&file, &out]).fails(&["missing.csv"]);
}

#[test]
fn filters_that_leave_nothing() {
    let folder = Folder::new();
    let (file, out) = (folder.file("ratings.csv", GOOD), folder.path("out"));
    burnrec("prepare {} --out {} --min-user 100", &[&file, &out]).fails(&["filters", "min_user"]);
    burnrec("prepare {} --out {} --positive-from 9", &[&file, &out]).fails(&["positive_from"]);
    burnrec("prepare {} --out {} --candidates 99", &[&file, &out]).fails(&["candidates"]);
}

#[test]
fn options_that_the_split_has_no_use_for() {
    let folder = Folder::new();
    let (file, out) = (folder.file("ratings.csv", GOOD), folder.path("out"));
    burnrec("prepare {} --out {} --split random --candidates 2", &[&file, &out]).fails(&["--candidates"]);
    burnrec("prepare {} --out {} --fold 2", &[&file, &out]).fails(&["--fold", "k-fold"]);
    burnrec("prepare {} --out {} --split user-holdout --valid 0.1 --test 1", &[&file, &out]).fails(&["0.1"]);
    assert!(!out.exists());
}

/// Refuses a Parquet file whose end is missing.
#[test]
fn a_truncated_parquet_file() {
    let folder = Folder::new();
    let (raw, data, run) = (folder.path("raw"), folder.path("data"), folder.path("run"));
    burnrec("synth --users 30 --items 40 --rows 600 --out {}", &[&raw]).ok();
    burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    burnrec("train {} --data {} --out {}", &[&configs().join("popularity.toml"), &data, &run]).ok();
    let (whole, cut) = (folder.path("whole.parquet"), folder.path("cut.parquet"));
    burnrec("recommend {} --all --out {}", &[&run, &whole]).ok();
    let bytes = std::fs::read(&whole).expect("a file");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).expect("a file");
    burnrec("prepare {} --out {}", &[&whole, &folder.path("good")]).ok();
    burnrec("prepare {} --out {}", &[&cut, &folder.path("bad")]).fails(&["cut.parquet"]);
}

#[test]
fn bad_rows_can_be_skipped_and_are_counted() {
    let folder = Folder::new();
    let text = GOOD.replace("2,11,3.0", "2,11,many");
    let (file, out) = (folder.file("ratings.csv", text), folder.path("out"));
    let summary = burnrec("prepare {} --out {} --on-bad-row skip", &[&file, &out]).ok();
    assert!(summary.contains("many") || summary.contains("dropped"), "{summary}");
}

#[test]
fn ids_beyond_31_bits_survive() {
    let folder = Folder::new();
    let text = GOOD.replace(",14,", ",9007199254740993,");
    let (file, out, run) = (folder.file("ratings.csv", text), folder.path("out"), folder.path("run"));
    burnrec("prepare {} --out {}", &[&file, &out]).ok();
    let popularity = configs().join("popularity.toml");
    burnrec("train {} --data {} --out {}", &[&popularity, &out, &run]).ok();
    let best = burnrec("recommend {} --user 1 --only 9007199254740993 --json", &[&run]).json();
    assert_eq!(best["items"][0]["item"], 9_007_199_254_740_993_i64);
}

#[test]
fn an_id_may_be_negative_and_an_unknown_one_may_be_left_out() {
    let folder = Folder::new();
    let text = GOOD.replace("\n1,", "\n-5,").replace(",14,", ",-3,").replace(",12,", ",-2,");
    let (file, out, run) = (folder.file("ratings.csv", text), folder.path("out"), folder.path("run"));
    burnrec("prepare {} --out {}", &[&file, &out]).ok();
    let popularity = configs().join("popularity.toml");
    burnrec("train {} --data {} --out {}", &[&popularity, &out, &run]).ok();
    let only = burnrec("recommend {} --user -5 --include-seen --only -3,-2 --json", &[&run]).json();
    assert_eq!(only["user"], -5);
    let mut items: Vec<i64> =
        only["items"].as_array().unwrap().iter().map(|item| item["item"].as_i64().unwrap()).collect();
    items.sort_unstable();
    assert_eq!(items, [-3, -2]);
    let line = "recommend {} --user -5 --include-seen --without -3,9999 --json";
    let without = burnrec(line, &[&run]).json();
    let items = without["items"].as_array().unwrap();
    assert!(!items.is_empty() && items.iter().all(|item| item["item"] != -3), "{without}");
    burnrec("recommend {} --user -5 --only 9999", &[&run]).fails(&["9999"]);
}

#[test]
fn configs_and_settings() {
    let folder = Folder::new();
    let als = configs().join("als.toml");
    let typo = folder.file("typo.toml", "model = \"als\"\nepoch = 3\n");
    burnrec("check {}", &[&typo]).fails(&["typo.toml", "epoch", "did you mean \"epochs\""]);
    let broken = folder.file("broken.toml", "model = \"als\"\ndim = = 3\n");
    burnrec("check {}", &[&broken]).fails(&["broken.toml", "line 2"]);
    burnrec("check {} --set dim=many", &[&als]).fails(&["dim", "many"]);
    burnrec("check {} --set dim", &[&als]).fails(&["KEY=VALUE"]);
    burnrec("check {} --set dim=0", &[&als]).fails(&["dim", "0"]);
    burnrec("check {} --set reg=-1.0", &[&als]).fails(&["reg", "-1"]);
}

#[test]
fn run_directories() {
    let folder = Folder::new();
    let (file, data, run) = (folder.file("ratings.csv", GOOD), folder.path("data"), folder.path("run"));
    let popularity = configs().join("popularity.toml");
    burnrec("train {} --data {} --out {}", &[&popularity, &file, &run]).fails(&["ratings.csv", "prepare"]);
    burnrec("prepare {} --out {}", &[&file, &data]).ok();
    burnrec("recommend {} --user 1", &[&run]).fails(&["manifest.json"]);
    burnrec("train {} --data {} --out {}", &[&popularity, &data, &run]).ok();
    burnrec("train {} --data {} --out {}", &[&popularity, &data, &run]).fails(&["--force"]);
    burnrec("train {} --data {} --out {} --force", &[&popularity, &data, &run]).ok();
    burnrec("train {} --data {} --out {} --force", &[&popularity, &data, &data]).fails(&["no run"]);
    burnrec("evaluate {} --on valid", &[&run]).fails(&["refit = false"]);
    burnrec("recommend {} --user 99", &[&run]).fails(&["99", "3 users"]);
    burnrec("similar {} --item 10", &[&run]).fails(&["popularity"]);

    let manifest = run.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).expect("a manifest");
    std::fs::write(&manifest, text.replacen("\"format\": 1", "\"format\": 2", 1)).expect("written");
    burnrec("recommend {} --user 1", &[&run]).fails(&["format 2", "format 1"]);
    std::fs::write(&manifest, &text).expect("written");
    burnrec("recommend {} --user 1", &[&run]).ok();

    let weights = weights_of(&run);
    let mut bytes = std::fs::read(&weights).expect("weights");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(&weights, bytes).expect("written");
    burnrec("recommend {} --user 1", &[&run]).fails(&["weights-", "SHA-256"]);
}

/// Tests a full disk: the system reports it for every write to `/dev/full`.
#[cfg(target_os = "linux")]
#[test]
fn a_place_that_takes_no_bytes() {
    let folder = Folder::new();
    let (file, data, run) = (folder.file("ratings.csv", GOOD), folder.path("data"), folder.path("run"));
    burnrec("prepare {} --out {}", &[&file, Path::new("/dev/full/data")]).fails(&["/dev/full"]);
    burnrec("prepare {} --out {}", &[&file, &data]).ok();
    std::fs::create_dir_all(&run).expect("a folder");
    std::os::unix::fs::symlink("/dev/full", run.join("record.jsonl")).expect("a link");
    let popularity = configs().join("popularity.toml");
    burnrec("train {} --data {} --out {}", &[&popularity, &data, &run]).fails(&["record.jsonl", "space"]);
    assert!(!run.join("manifest.json").exists());
}

/// Runs the program with a variable in its environment; returns all that it prints.
fn printed(arguments: &[&str], variable: (&str, &str)) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_burnrec"));
    let output = command.args(arguments).env(variable.0, variable.1).output().expect("the program starts");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn no_output_holds_a_secret() {
    const SECRET: &str = "4815162342";
    const GOOD: &str = "models.main.run = \"nowhere\"\nhttp.token = \"4815162342\"\n";
    let folder = Folder::new();
    let file = |name: &str, text: &str| folder.file(name, text).display().to_string();
    let good = file("good.toml", GOOD);
    let unquoted = file("unquoted.toml", "models.main.run = \"x\"\nhttp.token = x4815162342\n");
    let unclosed = file("unclosed.toml", "models.main.run = \"x\"\nhttp.token = \"4815162342\n");
    let number = file("number.toml", "models.main.run = \"x\"\nhttp.token = 4815162342\n");
    let als = configs().join("als.toml").display().to_string();
    let none = ("BURNREC_NONE", "");
    let under = "http.token.x=4815162342";
    for (arguments, variable, names) in [
        (vec!["check", &good], none, "(hidden)"),
        (vec!["serve", &good], none, "nowhere"),
        (vec!["check", &good, "--set", under], none, "--set http.token.x"),
        (vec!["check", &good, "--set", "http.token 4815162342"], none, "KEY=VALUE"),
        (vec!["check", &good], ("BURNREC__HTTP__TOKEN", SECRET), "(hidden)"),
        (vec!["check", &good], ("BURNREC__HTTP__TOKEN__X", SECRET), "BURNREC__HTTP__TOKEN__X"),
        (vec!["check", &good], ("BURNREC__HTTP", SECRET), "http"),
        (vec!["check", &unquoted], none, "unquoted.toml, line 2"),
        (vec!["check", &unclosed], none, "unclosed.toml, line 2"),
        (vec!["check", &number], none, "http.token: found invalid type: integer"),
        (vec!["check", &als], ("BURNREC__HTTP__TOKEN", SECRET), "http"),
    ] {
        let text = printed(&arguments, variable);
        assert!(!text.contains(SECRET) && text.contains(names), "{arguments:?} {variable:?}: {text}");
    }
}
