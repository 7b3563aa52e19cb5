//! A run with a model card. `python/tests/interchange/` has the card read by the Hub's own library.

use burnrec::interchange::hub::write_hub;
use burnrec::{Recommender, RunRecord};
use serde_json::{Value, json};

use crate::small;

#[test]
fn a_run_gets_a_card_with_its_scores_and_stays_a_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let (run, hub) = (folder.path().join("run"), folder.path().join("hub"));
    let trained = small("model = 'als'\ndim = 4\nepochs = 1");
    trained.save(&run).expect("a run");
    write_hub(&run, &hub).expect("a copy");
    let card = std::fs::read_to_string(hub.join("README.md")).expect("a card");
    let head =
        card.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).expect("YAML at its head").0;
    let test = &RunRecord::of(&Recommender::open(&run).expect("a run")).expect("a record").metrics.test;
    let (metric, score) = test.metrics.first_key_value().expect("a score");
    for line in [
        "library_name: burnrec",
        "      split: test",
        &format!("    - type: \"{metric}\""),
        &format!("      value: {}", score.value),
    ] {
        assert!(head.lines().any(|other| other == line), "{line} in:\n{head}");
    }
    let config: Value =
        serde_json::from_slice(&std::fs::read(hub.join("config.json")).expect("a config")).expect("JSON");
    assert_eq!((&config["model_type"], &config["settings"]["dim"]), (&json!("als"), &json!(4)));
    let weights = config["files"]["weights"].as_str().expect("a file");
    assert!(hub.join(weights).exists());
    let opened = Recommender::open(&hub).expect("a run");
    let user = opened.users.vocab().id(0).to_string();
    assert_eq!(opened.recommend(&user, 5).expect("items"), trained.recommend(&user, 5).expect("items"));

    let before = std::fs::read(run.join("manifest.json")).expect("a manifest");
    write_hub(&run, &run).expect("beside the run's own files");
    assert_eq!(std::fs::read(run.join("manifest.json")).expect("a manifest"), before);
    assert!(run.join("README.md").exists());
    let error = write_hub(&run, &hub).expect_err("there is a run").to_string();
    assert!(error.contains("found a finished run, expected a new directory"), "{error}");
}
