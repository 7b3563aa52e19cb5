//! Tests ALS by device: `auto` trains it on the CPU, `gpu` on whatever graphics adapter there is, software included.

mod common;

use std::path::PathBuf;

use common::{Folder, burnrec};

const CONFIG: &str = "model = 'als'\ndim = 8\nepochs = 3\ntrack_loss = true\n";
const TRAIN: &str = "train {} --data {} --out {} --json --device";

/// Prepares synthetic ratings, and returns the directory.
fn prepared(folder: &Folder) -> PathBuf {
    let (raw, data) = (folder.path("raw"), folder.path("data"));
    burnrec("synth --users 150 --items 120 --rows 4500 --out {}", &[&raw]).ok();
    burnrec("prepare {} --out {} --split leave-one-out --candidates 20", &[&raw, &data]).ok();
    data
}

#[test]
fn a_record_says_what_computed_als() {
    let folder = Folder::new();
    let (config, data) = (folder.file("als.toml", CONFIG), prepared(&folder));
    let train =
        |name: &str, rest: &str| burnrec(&format!("{TRAIN} {rest}"), &[&config, &data, &folder.path(name)]);

    let auto = train("auto", "auto");
    assert!(!auto.stderr.contains("device: "), "{}", auto.stderr);
    let auto = auto.json();
    assert_eq!(auto["device"], "cpu");

    let gpu = train("gpu", "gpu");
    if gpu.stderr.contains("found no graphics adapter") {
        burnrec_data::testing::skipped("gpu", "a_record_says_what_computed_als: there is no adapter");
        return gpu.fails(&["device gpu"]);
    }
    assert!(gpu.stderr.contains("device: gpu ("), "{}", gpu.stderr);
    let gpu = gpu.json();
    assert!(gpu["device"].as_str().expect("a name").starts_with("gpu ("), "{gpu}");
    let value =
        |record: &serde_json::Value| record["metrics"]["test"]["ndcg@10"]["value"].as_f64().expect("a value");
    assert!((value(&gpu) - value(&auto)).abs() < 1e-3 && value(&gpu) > 0.0, "{gpu}");

    let search = folder.file("tune.toml", format!("{CONFIG}[search.space]\nreg = [0.02, 1000.0]\n"));
    let tune = "tune {} --data {} --out {} --json --device gpu";
    let tuned = burnrec(tune, &[&search, &data, &folder.path("tuned")]);
    assert!(tuned.stderr.contains("device: gpu ("), "{}", tuned.stderr);
    assert_eq!(tuned.json()["trials"][0]["settings"]["reg"], 0.02);

    train("subspace", "gpu --set solver=subspace").fails(&["solver = \"subspace\" trains on the CPU"]);
    train("wide", "gpu --set dim=200").fails(&["dim = 200 trains on the CPU"]);
}
