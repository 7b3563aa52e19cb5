//! The program writes runs for others and reads theirs; what is said and refused on the way. `python/tests/interchange/` holds
//! the formats to the programs that they are of.

#[path = "../common/mod.rs"]
mod common;
mod evaluate;
mod hub;
mod mlflow;
mod onnx;
mod protobuf;
mod spark;

use burnrec::data::synth::{SynthConfig, synth};
use burnrec::{Dataset, DeviceChoice, PrepareOptions, Prepared, Recommender, TrainConfig, Training};
use common::{Folder, burnrec, free_address, trained};

/// Returns drawn ratings of 60 users and 40 items.
fn ratings() -> Dataset {
    synth(&SynthConfig::new(60, 40, 900, 1)).expect("ratings")
}

/// Returns a split of ratings.
fn prepared(ratings: Dataset) -> Prepared {
    burnrec::prepare_dataset(ratings, &PrepareOptions::default()).expect("a split")
}

/// Trains a small model by a config on [`ratings`].
fn small(config: &str) -> Recommender {
    small_of(ratings(), config)
}

/// Trains a model by a config on ratings.
fn small_of(ratings: Dataset, config: &str) -> Recommender {
    let config: TrainConfig = config.parse().expect("a config");
    Training::new(config).device(DeviceChoice::Cpu).run(&prepared(ratings)).expect("a model").recommender
}

const SYNTH: &str = "--users 80 --items 50 --rows 1600";

#[test]
fn a_run_goes_to_spark_and_comes_back() {
    let folder = Folder::new();
    let run = trained(&folder, SYNTH, "als.toml", "--set dim=4 --set epochs=2");
    let (spark, back) = (folder.path("spark"), folder.path("back"));
    let said = burnrec("export {} --format spark-als --out {}", &[&run, &spark]).ok();
    assert!(said.contains("burnrec_als_") && said.contains("rank 4, 80 users"), "{said}");
    let again = burnrec("export {} --format spark-als --out {}", &[&run, &spark]);
    again.fails(&["found a folder with files", "expected a new folder"]);

    let ran = burnrec("import {} --out {} --set feedback=implicit --set alpha=40", &[&spark, &back]);
    assert!(ran.stderr.contains("without --ratings"), "{}", ran.stderr);
    ran.ok();
    let list =
        |run, words: &str| burnrec(&format!("recommend {{}} --user 7 -k 9 --json {words}"), &[run]).json();
    let (ours, theirs) = (list(&run, "--include-seen"), list(&back, ""));
    let items = |list: &serde_json::Value| -> Vec<serde_json::Value> {
        list["items"].as_array().expect("items").iter().map(|item| item["item"].clone()).collect()
    };
    assert_eq!(items(&ours), items(&theirs));

    burnrec("import {} --out {}", &[&spark, &back]).fails(&["found a finished run", "--force"]);
    let raw = folder.path("raw");
    burnrec("import {} --out {} --ratings {} --force", &[&spark, &back, &raw]).ok();
    let known = list(&back, "");
    assert!(known["items"][0]["title"].as_str().is_some_and(|title| !title.is_empty()), "{known}");
    burnrec("import {} --out {}", &[&raw, &folder.path("x")])
        .fails(&["no folder metadata", "that Spark saved"]);
    burnrec("import {} --out {} --set rank=4", &[&spark, &folder.path("x")]).fails(&["rank"]);
}

#[test]
fn graphs_and_folders_for_others_are_written_or_refused() {
    let folder = Folder::new();
    let run = trained(&folder, SYNTH, "neumf.toml", "--set dim=4 --set epochs=1 --device cpu");
    let (file, hub) = (folder.path("model.onnx"), folder.path("hub"));
    let said = burnrec("export {} --format onnx --out {}", &[&run, &file]).ok();
    let n_bytes = std::fs::metadata(&file).expect("a file").len();
    assert!(said.contains(&format!("{n_bytes} bytes")), "{said}");
    let run_name = run.display().to_string();
    let topk = burnrec("export {} --format onnx --graph topk --out {}", &[&run, &folder.path("x")]);
    topk.fails(&[&run_name, "neumf has no factors to export"]);
    burnrec("export {} --out {}", &[&run, &folder.path("x")]).fails(&[&run_name, "neumf has no factors"]);

    let ran = burnrec("export {} --format hub --out {}", &[&run, &hub]);
    assert!(ran.stderr.contains("histories of its users"), "{}", ran.stderr);
    ran.ok();
    burnrec("export {} --format mlflow --out {}", &[&hub, &hub]).ok();
    for name in ["README.md", "config.json", "MLmodel", "manifest.json"] {
        assert!(hub.join(name).exists(), "{name}");
    }
    burnrec("recommend {} --user 7 --json", &[&hub]).json();
}

#[test]
fn a_tracking_server_that_is_not_there_ends_the_command_before_it_trains() {
    let folder = Folder::new();
    let (raw, data, out) = (folder.path("raw"), folder.path("data"), folder.path("run"));
    burnrec(&format!("synth {SYNTH} --out {{}}"), &[&raw]).ok();
    burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    let address = free_address();
    let config = folder.file("als.toml", "model = 'als'\ndim = 2\nepochs = 1\n");
    let line = format!("train {{}} --data {{}} --out {{}} --mlflow http://{address}");
    burnrec(&line, &[&config, &data, &out]).fails(&["found no answer", "MLflow tracking server"]);
    assert!(!out.exists(), "nothing was trained");
    burnrec("train {} --data {} --out {} --mlflow localhost:5000", &[&config, &data, &out])
        .fails(&["localhost:5000", "http://127.0.0.1:5000"]);
}
