//! Tests `tune`: the best setting of a grid wins, an interrupted search goes on, and `train` accepts its best settings.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use burnrec_data::Prepared;
use burnrec_models::DeviceChoice;
use burnrec_models::Silent;
use burnrec_models::device::{OpenDevice, open};
use burnrec_train::tune::{SearchResult, TuneConfig, search};
use common::{Folder, burnrec};
use serde_json::Value;

/// A grid with a hopeless, a good and a poor regulariser.
const GRID: &str = "model = 'als'\ndim = 8\nepochs = 4\n[search.space]\nreg = [1e6, 0.02, 10.0]\n";
const TUNE: &str = "tune {} --data {} --out {} --json";

/// Prepares synthetic ratings, and returns the directory.
fn prepared(folder: &Folder, split: &str) -> PathBuf {
    let (raw, data) = (folder.path("raw"), folder.path("data"));
    burnrec("synth --users 150 --items 120 --rows 4500 --out {}", &[&raw]).ok();
    burnrec(&format!("prepare {{}} --out {{}} --split {split}"), &[&raw, &data]).ok();
    data
}

fn lines(out: &Path) -> Vec<String> {
    let text = fs::read_to_string(out.join("trials.jsonl")).expect("trials.jsonl");
    text.lines().map(str::to_owned).collect()
}

fn value(trial: &Value) -> f64 {
    trial["value"].as_f64().expect("a value")
}

/// Returns the trials without the fields that depend on the clock.
fn timeless(mut found: Value) -> Value {
    for trial in found["trials"].as_array_mut().expect("trials") {
        trial.as_object_mut().expect("an object").remove("seconds");
    }
    found["trials"].take()
}

#[test]
fn the_good_setting_wins_and_trains() {
    let folder = Folder::new();
    let data = prepared(&folder, "leave-one-out --candidates 20");
    let (config, out, run) = (folder.file("grid.toml", GRID), folder.path("out"), folder.path("run"));
    let found = burnrec(TUNE, &[&config, &data, &out]).json();
    let trials = found["trials"].as_array().expect("trials");
    assert_eq!((trials.len(), lines(&out).len()), (3, 3));
    assert_eq!(trials[0]["settings"]["reg"], 0.02, "{found}");
    assert!(value(&trials[0]) > 1.2 * value(&trials[2]), "{found}");
    assert_eq!((&found["metric"], &found["protocol"]), (&"ndcg@10".into(), &"20 drawn candidates".into()));

    let best = out.join("best.toml");
    let record = burnrec("train {} --data {} --out {} --json", &[&best, &data, &run]).json();
    assert_eq!(record["config"]["reg"], 0.02);
    let valid = record["metrics"]["valid"]["ndcg@10"]["value"].as_f64().expect("a value");
    assert!(
        (valid - value(&trials[0])).abs() < 1e-12,
        "{valid} on valid, as the trial had {}",
        value(&trials[0])
    );

    let shown = burnrec("tune {} --data {} --out {}", &[&config, &data, &out]);
    assert!(shown.stderr.contains("3 finished trials were taken up"), "{}", shown.stderr);
    let shown = shown.ok();
    let row = shown.lines().nth(2).expect("a first row");
    assert!(row.split_whitespace().take(2).eq(["2", "0.02"]), "{shown}");
    assert!(shown.contains("next: burnrec train"), "{shown}");
}

#[test]
fn a_search_goes_on_where_it_was_cut_off() {
    let folder = Folder::new();
    let data = prepared(&folder, "random --valid 0.1 --test 0.1");
    let (config, whole, cut) = (folder.file("grid.toml", GRID), folder.path("whole"), folder.path("cut"));
    let random = "tune {} --data {} --out {} --json --set search.method=random --set search.space.nu=[0,1]";
    let expected = burnrec(&format!("{random} --set search.trials=6"), &[&config, &data, &whole]).json();
    let first = burnrec(&format!("{random} --set search.trials=3"), &[&config, &data, &cut]).json();
    assert_eq!(first["trials"].as_array().map(Vec::len), Some(3));

    // The file as a program leaves it that is killed while it writes the third line.
    let text = fs::read_to_string(cut.join("trials.jsonl")).expect("trials.jsonl");
    let before = lines(&cut);
    fs::write(cut.join("trials.jsonl"), &text[..text.len() - 10]).expect("written");
    fs::remove_file(cut.join("best.toml")).expect("removed");
    let found = burnrec(&format!("{random} --set search.trials=6"), &[&config, &data, &cut]).json();
    assert_eq!(found["resumed"], 2);
    let after = lines(&cut);
    assert_eq!((after.len(), &after[..2]), (6, &before[..2]), "the first two lines stay, times and all");
    assert_eq!(timeless(found), timeless(expected), "the same draws, the same values");
    assert_eq!(
        fs::read_to_string(cut.join("best.toml")).expect("best"),
        fs::read_to_string(whole.join("best.toml")).expect("best")
    );
}

#[test]
fn the_directory_of_another_search_is_refused() {
    let folder = Folder::new();
    let data = prepared(&folder, "random --valid 0.1 --test 0.1");
    let (config, out) = (folder.file("grid.toml", GRID), folder.path("out"));
    burnrec(TUNE, &[&config, &data, &out]).ok();
    let before = lines(&out);
    let again = |more: &str| burnrec(&format!("{TUNE} {more}"), &[&config, &data, &out]);
    again("--set dim=9").fails(&["search.json", "config.dim = 8", "expected 9", "--force"]);
    again("--set search.space.reg=[1]").fails(&["search.space.reg"]);
    again("--set search.folds=3").fails(&["search.folds = nothing", "expected 3"]);
    let other = folder.path("other");
    burnrec("prepare {} --out {} --seed 7", &[&folder.path("raw"), &other]).ok();
    burnrec(TUNE, &[&config, &other, &out]).fails(&["data.hash"]);
    assert_eq!(lines(&out), before, "a refused command changes nothing");

    burnrec(TUNE, &[&config, &data, &data]).fails(&["manifest.json", "new directory"]);
    let third = before[0].replace("\"number\":1", "\"number\":3");
    fs::write(out.join("trials.jsonl"), format!("{third}\n")).expect("written");
    again("").fails(&["trials.jsonl:1", "trial 3"]);
    fs::write(out.join("trials.jsonl"), format!("{}\nnonsense\n", before[0])).expect("written");
    again("").fails(&["trials.jsonl:2", "a finished trial"]);
    let found = again("--force --set dim=9").json();
    assert_eq!((&found["resumed"], lines(&out).len()), (&0.into(), 3));
}

#[test]
fn ratings_are_searched_by_cross_validation() {
    let folder = Folder::new();
    let data = prepared(&folder, "leave-one-out --candidates 20");
    let (config, out) = (folder.file("grid.toml", GRID), folder.path("out"));
    let line = format!("{TUNE} --set feedback=explicit --set search.folds=3 --set search.space.reg=[50,0.1]");
    let found = burnrec(&line, &[&config, &data, &out]).json();
    assert_eq!((&found["metric"], &found["folds"]), (&"rmse".into(), &3.into()));
    assert_eq!(found["protocol"], "full ranking", "whatever valid asks");
    let [good, bad] = &found["trials"].as_array().expect("trials")[..] else { panic!("two trials") };
    assert_eq!(good["settings"]["reg"], 0.1);
    assert!(value(good) < value(bad), "the lower rmse is the better: {found}");
    let folds: Vec<f64> = good["folds"].as_array().expect("folds").iter().map(value).collect();
    assert_eq!(folds.len(), 3);
    assert!((folds.iter().sum::<f64>() / 3.0 - value(good)).abs() < 1e-12);
    assert!(folds[0] != folds[1], "each fold has rows of its own");
}

#[test]
fn users_to_fold_in_are_cross_validated_by_models_that_can() {
    let folder = Folder::new();
    let data = prepared(&folder, "user-holdout --valid 15 --test 30");
    let (config, out) = (folder.file("grid.toml", GRID), folder.path("out"));
    let found = burnrec(&format!("{TUNE} --set search.folds=3"), &[&config, &data, &out]).json();
    assert_eq!(found["trials"][0]["settings"]["reg"], 0.02, "{found}");
    let neumf = folder.file("neumf.toml", "model = 'neumf'\n[search.space]\ndim = [4, 8]\n");
    burnrec(TUNE, &[&neumf, &data, &folder.path("other")]).fails(&["fold users in", "als"]);
}

#[test]
fn a_trial_that_diverges_is_recorded_and_does_not_stop_the_search() {
    let folder = Folder::new();
    let data = prepared(&folder, "random --valid 0.1 --test 0.1");
    let text = "model = 'mf'\nloss = 'mse'\ndim = 4\nepochs = 2\nbatch_size = 256\noptimizer = 'sgd'\n\
                [search.space]\nlearning_rate = [1e30, 0.1]\n";
    let (config, out) = (folder.file("mf.toml", text), folder.path("out"));
    let found = burnrec(&format!("{TUNE} --device cpu"), &[&config, &data, &out]).json();
    let [good, failed] = &found["trials"].as_array().expect("trials")[..] else { panic!("two trials") };
    assert_eq!((&good["number"], &failed["number"]), (&2.into(), &1.into()));
    assert!(
        failed["value"].is_null() && failed["failed"].as_str().expect("why").contains("diverged"),
        "{found}"
    );
    let all = "--set search.space.learning_rate=[1e30] --device cpu";
    burnrec(&format!("{TUNE} {all}"), &[&config, &data, &folder.path("all")])
        .fails(&["all failed", "diverged"]);
}

#[test]
fn test_is_not_touched() {
    let folder = Folder::new();
    let mut data =
        Prepared::open(&prepared(&folder, "leave-one-out --candidates 20")).expect("prepared data");
    let device: OpenDevice = open(DeviceChoice::Cpu).expect("the CPU");
    let search = |data: &Prepared, name: &str, text: &str| -> SearchResult {
        let config = TuneConfig::from_table(toml::from_str(text).expect("TOML")).expect("a search");
        search(data, &config, &device, &folder.path(name), false, &mut |_| Ok(()), &Silent).expect("found")
    };
    let folded = GRID.replace("[search.space]", "[search]\nfolds = 2\n[search.space]");
    let values = |found: SearchResult| found.trials.iter().map(|trial| trial.value()).collect::<Vec<_>>();
    let before = [values(search(&data, "one", GRID)), values(search(&data, "two", &folded))];
    // Replaces test by a holdout without users.
    data.split.test = data.split.valid.clone();
    data.split.test.users.clear();
    let after = [values(search(&data, "three", GRID)), values(search(&data, "four", &folded))];
    assert_eq!(before, after);
}

#[test]
fn configs_of_a_search() {
    let folder = Folder::new();
    let (config, data) = (folder.file("grid.toml", GRID), folder.path("data"));
    let shown = burnrec("check {} --set search.space.dim=[1,2]", &[&config]).ok();
    assert!(shown.contains("method = \"grid\"") && shown.contains("epochs = 4"), "{shown}");
    burnrec("check {} --set search.trials=5", &[&config]).fails(&["grid.toml", "search.trials", "random"]);
    burnrec("check {} --set search.space.dims=[5]", &[&config]).fails(&["search.space.dims", "\"dim\""]);
    burnrec("train {} --data {} --out {}", &[&config, &data, &folder.path("run")]).fails(&["burnrec tune"]);
    let plain = folder.file("plain.toml", "model = 'als'\n");
    burnrec(TUNE, &[&plain, &data, &folder.path("out")]).fails(&["search: found no such table"]);
}
