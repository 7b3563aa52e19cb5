//! A run directory that is a repository of the Hugging Face Hub as well: a model card and `config.json` beside its files.
//!
//! The card's head is YAML as the Hub reads it (<https://huggingface.co/docs/hub/model-cards>), with the judged scores of the
//! run's record as `model-index`.

use std::fmt::Write;
use std::path::Path;

use burnrec_data::write::write_file;
use burnrec_models::{Output, Recommender, saved};
use burnrec_train::record::RunRecord;
use serde_json::{Value, json};

use super::alone::open_alone;
use crate::Result;

/// The name under which the Hub knows programs of this library.
const LIBRARY: &str = "burnrec";

/// Makes a directory that is both a run and a repository of the Hugging Face Hub: `README.md`, a model card with the scores on
/// valid and test where the run has a record of its training, and `config.json`, the settings. `dir` may be the run itself,
/// which then gets the two files beside its own.
///
/// A run has the histories of its users (`seen-….safetensors`), and so has the directory: whoever publishes it publishes them.
///
/// # Errors
/// When the run cannot be opened, is made of other runs, `dir` holds another one, or a file cannot be written.
pub fn write_hub(run: impl AsRef<Path>, dir: impl AsRef<Path>) -> Result<()> {
    let dir = dir.as_ref();
    let recommender = open_alone(run.as_ref(), dir)?;
    let manifest = saved::manifest(dir)?;
    let config = json!({
        "library_name": LIBRARY,
        "burnrec_version": manifest.version,
        "format": manifest.format,
        "model_type": recommender.kind(),
        "settings": manifest.model,
        "output": manifest.output,
        "n_users": manifest.n_users,
        "n_items": manifest.n_items,
        "files": manifest.files.keys().map(|name| (name.clone(), file_name(&saved::path(dir, &manifest, name)))).collect::<serde_json::Map<_, _>>(),
    });
    let config = serde_json::to_vec_pretty(&config).expect("settings have only string keys");
    write_file(&dir.join("config.json"), &config)?;
    Ok(write_file(&dir.join("README.md"), card(&recommender).as_bytes())?)
}

fn file_name(path: &Path) -> Value {
    path.file_name().unwrap_or_default().to_string_lossy().into()
}

/// Returns the model card.
fn card(run: &Recommender) -> String {
    let record = RunRecord::of(run).ok();
    let (kind, data) = (run.kind(), run.data.name.as_str());
    let (users, items) = (run.trained().users().len(), run.trained().items().len());
    let mut card = format!(
        "---\nlibrary_name: {LIBRARY}\ntags:\n- recommendation\n- collaborative-filtering\n- {}\n",
        yaml(kind)
    );
    if let Some(record) = &record {
        card += &model_index(record);
    }
    card += "---\n\n";
    let meaning = match run.output {
        Output::Probability => "the probability that a user takes an item",
        Output::Rating => "the rating that a user would give an item",
        Output::Raw => "numbers of which only the order within one user means something",
    };
    let synthetic = if run.data.synthetic { " (synthetic)" } else { "" };
    // Writing to a text cannot fail.
    let _ = write!(
        card,
        "# {kind} on {data}{synthetic}\n\nA recommender of {items} items for {users} users, made by \
         [burnrec](https://github.com/burnrec/burnrec). Its scores are {meaning}.\n\n\
         ```sh\nhf download OWNER/NAME --local-dir run\nburnrec recommend run --user {} -k 10\n```\n\n",
        run.trained().users().first().map_or_else(String::new, |user| run
            .users
            .vocab()
            .id(user.0)
            .to_string()),
    );
    if let Some(record) = &record {
        card += &results(record);
    }
    card += "## What is in it\n\nThe weights, the ids of users and items, and **the histories that it was trained on**, which it \
             needs to leave out what a user has had: publish it only if these may be published. `manifest.json` has the \
             settings, the record of the training, and the hash of each file.\n";
    card
}

/// Returns the scores on valid and test as the Hub's `model-index`.
fn model_index(record: &RunRecord) -> String {
    let (kind, data) = (&record.model, yaml(&record.data.name));
    let mut index =
        format!("model-index:\n- name: {}\n  results:\n", yaml(&format!("{kind} on {}", record.data.name)));
    for (split, scores) in [("test", &record.metrics.test), ("validation", &record.metrics.valid)] {
        let _ = write!(
            index,
            "  - task:\n      type: recommendation\n      name: Recommendation\n    dataset:\n      type: {data}\n      \
             name: {data}\n      split: {split}\n    metrics:\n"
        );
        for (metric, score) in &scores.metrics {
            let (name, protocol) =
                (yaml(&metric.to_string()), yaml(&format!("{metric}, {}", scores.protocol)));
            let _ =
                write!(index, "    - type: {name}\n      value: {}\n      name: {protocol}\n", score.value);
        }
    }
    index
}

/// Returns the scores as a table.
fn results(record: &RunRecord) -> String {
    let (valid, test) = (&record.metrics.valid, &record.metrics.test);
    let mut text = format!(
        "## Scores\n\n{}, {} users of test.\n\n| metric | valid | test |\n|---|---|---|\n",
        test.protocol, test.users
    );
    for (metric, score) in &valid.metrics {
        let of_test = test.metrics.get(metric).map_or_else(String::new, ToString::to_string);
        let _ = writeln!(text, "| {metric} | {score} | {of_test} |");
    }
    text + "\nIn brackets: 95 % bootstrap intervals over users. The epoch was chosen on valid; test was touched once.\n\n"
}

/// Returns a text as YAML takes it, which in double quotes is JSON.
fn yaml(text: &str) -> String {
    Value::from(text).to_string()
}
