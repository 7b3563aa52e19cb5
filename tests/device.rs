//! Tests `--device`: `auto` takes no adapter of software and says what it took; ALS it trains on the CPU, and `gpu` on
//! whatever graphics adapter there is, software included.

mod common;

use std::path::{Path, PathBuf};

use burnrec::device;
use common::{Folder, burnrec, weights_of};

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

#[test]
fn auto_says_what_it_took_and_never_takes_software() {
    let folder = Folder::new();
    let data = prepared(&folder);
    let text = "model = 'neumf'\ndim = 4\nepochs = 2\nbatch_size = 2000\n";
    let config = folder.file("neumf.toml", text);
    let run = folder.path("run");
    let says = |stderr: &str| {
        assert!(stderr.contains("device: ") && !stderr.contains("llvmpipe"), "{stderr}");
    };
    let trained = burnrec(&format!("{TRAIN} auto"), &[&config, &data, &run]);
    says(&trained.stderr);
    let line = trained.stderr.lines().next().expect("a line").to_owned();
    let record = trained.json();
    let (device, reason) = (&record["device"], &record["auto_device"]["reason"]);
    assert_eq!(
        line,
        format!("device: {}, {}", device.as_str().expect("a name"), reason.as_str().expect("one"))
    );
    let saved = std::fs::read(run.join("manifest.json")).expect("a manifest");
    let saved: serde_json::Value = serde_json::from_slice(&saved).expect("JSON");
    assert_eq!(saved["record"]["auto_device"]["reason"], *reason);
    // So few rows are trained before a card is open.
    assert!(line.starts_with("device: cpu (flex, "), "{line}");
    if device::card().is_none() {
        assert!(line.ends_with(" threads), as there is no graphics card"), "{line}");
    }

    let named = folder.path("named");
    let record = burnrec(&format!("{TRAIN} cpu"), &[&config, &data, &named]).json();
    assert!(record["auto_device"].is_null(), "{record}");
    let weights = |run: &Path| std::fs::read(weights_of(run)).expect("weights");
    assert!(weights(&run) == weights(&named), "other weights");

    let again = burnrec(&format!("{TRAIN} auto"), &[&config, &data, &run]);
    again.fails(&["a finished run", "--force"]);
    let recommended = burnrec("recommend {} --user 1", &[&run]);
    says(&recommended.stderr);
    let search = folder.file("tune.toml", format!("{text}[search.space]\ndim = [2, 4]\n"));
    let tuned = burnrec("tune {} --data {} --out {}", &[&search, &data, &folder.path("tuned")]);
    says(&tuned.stderr);
    tuned.ok();
}
