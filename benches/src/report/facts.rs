//! The facts that figures depend on: data, machines, versions, settings; and the warnings that follow from them.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value as Json;

use super::group::{Group, Model, Run};
use super::table::{Cell, Table};
use crate::number::{bytes, counted};
use crate::record::{SplitCounts, SplitRecord};

/// A model's settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The model.
    pub model: String,
    /// The seed of the run. Where no settings were searched, those of the other seeds differ in nothing else and are left out.
    pub seed: u64,
    /// Every setting, defaults included.
    pub config: Json,
}

/// The facts of a split: its data, its size and its protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitFacts {
    /// The seed.
    pub seed: u64,
    /// The name of the data.
    pub data: String,
    /// Whether the data is synthetic.
    pub synthetic: bool,
    /// The hash of the prepared split.
    pub hash: String,
    /// Users, items and rows.
    pub counts: SplitCounts,
    /// The settings of the split.
    pub split: Json,
    /// The items that a user's relevant ones are ranked against, in words.
    pub protocol: String,
    /// The number of judged users.
    pub judged_users: usize,
}

/// Returns the splits of a group.
pub fn splits(group: &Group) -> Vec<SplitFacts> {
    let facts = |split: &&SplitRecord| SplitFacts {
        seed: split.seed,
        data: split.data.name.clone(),
        synthetic: split.data.synthetic,
        hash: split.data.hash.clone(),
        counts: split.counts,
        split: split.split.clone(),
        protocol: split.protocol.clone(),
        judged_users: split.user_activity.len(),
    };
    group.splits.iter().map(facts).collect()
}

/// Returns the splits of a group as a table; of their hashes it has the first 12 characters.
pub fn data(group: &Group) -> Table {
    let columns = [
        "Data",
        "Seed",
        "Users",
        "Items",
        "Rows in train",
        "Rows in valid",
        "Rows in test",
        "Judged users",
        "Protocol",
        "Split",
        "Hash",
    ];
    let mut table = Table::new("Data", &columns);
    table.rows = group
        .splits
        .iter()
        .map(|split| {
            let kind = if split.data.synthetic { " (synthetic)" } else { "" };
            vec![
                Cell::text(format!("{}{kind}", split.data.name)),
                Cell::number(split.seed as f64, |seed| format!("{seed:.0}")),
                Cell::count(split.counts.users),
                Cell::count(split.counts.items),
                Cell::count(split.counts.train),
                Cell::count(split.counts.valid),
                Cell::count(split.counts.test),
                Cell::count(split.user_activity.len() as u64),
                Cell::text(&split.protocol),
                Cell::text(words(&split.split)),
                Cell::text(split.data.hash.chars().take(12).collect::<String>()),
            ]
        })
        .collect();
    table
}

/// Writes a small config in one line: `kind = leave-one-out, seed = 1`.
pub fn words(config: &Json) -> String {
    match config {
        Json::Object(table) => {
            let pair = |(key, value): (&String, &Json)| match value {
                Json::Object(_) => format!("{key} = ({})", words(value)),
                value => format!("{key} = {}", words(value)),
            };
            table.iter().map(pair).collect::<Vec<_>>().join(", ")
        }
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns all runs of a group, with the names of their models.
fn runs<'a>(group: &'a Group<'a>) -> impl Iterator<Item = (&'a Model<'a>, &'a Run<'a>)> {
    group.models.iter().flat_map(|model| model.runs.iter().map(move |run| (model, run)))
}

/// Returns the distinct values, each with the models that have it.
fn differing<'a, T: PartialEq>(group: &'a Group<'a>, of: impl Fn(&Run) -> T) -> Vec<(T, Vec<&'a str>)> {
    let mut found: Vec<(T, Vec<&str>)> = Vec::new();
    for (model, run) in runs(group) {
        let value = of(run);
        let place = found.iter().position(|(have, _)| *have == value).unwrap_or_else(|| {
            found.push((value, Vec::new()));
            found.len() - 1
        });
        if !found[place].1.contains(&model.name.as_str()) {
            found[place].1.push(&model.name);
        }
    }
    found
}

/// Returns the names of models as a cell, or `all`.
fn whom(group: &Group, names: &[&str]) -> Cell {
    Cell::text(if names.len() == group.models.len() { "all".to_owned() } else { names.join(", ") })
}

/// Returns the machines as a table.
pub fn machines(group: &Group) -> Table {
    let mut table =
        Table::new("Machines", &["Processor", "Cores", "Memory", "System", "SIMD", "Models trained there"]);
    let row = |(machine, names): &(burnrec_train::machine::Machine, Vec<&str>)| {
        vec![
            Cell::text(&machine.cpu),
            Cell::count(machine.cores as u64),
            Cell::maybe(Some(machine.memory_bytes as f64).filter(|bytes| *bytes > 0.0), bytes),
            Cell::text(&machine.os),
            Cell::text(&machine.simd),
            whom(group, names),
        ]
    };
    table.rows = differing(group, |run| run.case.machine.clone()).iter().map(row).collect();
    table
}

/// Returns the versions as a table.
pub fn versions(group: &Group) -> Table {
    let mut table = Table::new("Versions", &["Versions", "Models"]);
    let row = |(versions, names): &(std::collections::BTreeMap<String, String>, Vec<&str>)| {
        let all = versions.iter().map(|(name, version)| format!("{name} {version}"));
        vec![Cell::text(all.collect::<Vec<_>>().join(", ")), whom(group, names)]
    };
    table.rows = differing(group, |run| run.case.versions.clone()).iter().map(row).collect();
    table
}

/// Returns what a reader must know before comparing figures of the group.
pub fn warnings(group: &Group) -> Vec<String> {
    let mut found = Vec::new();
    for text in group.benches.iter().flat_map(|bench| &bench.left_out) {
        if !found.contains(text) {
            found.push(text.clone());
        }
    }
    if !group.models.is_empty() && runs(group).all(|(_, run)| run.case.tuned.is_none()) {
        found.push(
            "No settings were searched on this data: each model has those of its config, which may suit other data better."
                .to_owned(),
        );
    }
    if group.splits.iter().any(|split| split.data.synthetic) {
        found.push(
            "The data is synthetic: it was drawn by a program. The scores say how well models find what that program put \
             in, and nothing about real users."
                .to_owned(),
        );
    }
    if runs(group).any(|(_, run)| run.case.order_aware) {
        found.push(
            "Order-aware models are a class of their own: they read the order of a user's rows, which the others do not. How much \
             that is worth depends on what the order is of (on MovieLens, of sessions of rating), and where times are equal \
             the seed of the split draws it."
                .to_owned(),
        );
    }
    let machines = differing(group, |run| run.case.machine.clone()).len();
    if machines > 1 {
        found.push(format!(
            "Models were trained on {machines} different machines: compare times, speed and memory only within one."
        ));
    }
    let devices = differing(group, |run| (run.case.device.clone(), run.case.threads));
    if devices.len() > 1 {
        let mut text = "Not all models had the same to compute with:".to_owned();
        for (at, ((device, threads), names)) in devices.iter().enumerate() {
            let (comma, threads) = (if at > 0 { ";" } else { "" }, counted(*threads as u64, "thread"));
            // Writing to a string does not fail.
            let _ = write!(text, "{comma} {} on {device} with {threads}", names.join(", "));
        }
        found.push(text + ".");
    }
    let fewer: Vec<String> = group
        .models
        .iter()
        .filter(|model| model.runs.len() < group.splits.len())
        .map(|model| format!("{} ({} of {})", model.name, model.runs.len(), group.splits.len()))
        .collect();
    if !fewer.is_empty() {
        found.push(format!(
            "Not judged on all seeds: {}. Their values are means over fewer splits; the tests compare the seeds that both \
             models have.",
            fewer.join(", ")
        ));
    }
    let missing = group.missing();
    if !missing.is_empty() {
        found.push(format!("Planned and not finished: {}.", missing.join(", ")));
    }
    found
}

/// Returns each model's settings.
pub fn settings(group: &Group) -> Vec<Setting> {
    let is_shown = |(at, run): &(usize, &Run)| *at == 0 || run.case.tuned.is_some();
    let of = |model: &Model| -> Vec<Setting> {
        let shown = model.runs.iter().enumerate().filter(is_shown);
        let one = |(_, run): (usize, &Run)| {
            let (model, seed, config) = (model.name.clone(), run.case.seed, run.case.config.clone());
            Setting { model, seed, config }
        };
        shown.map(one).collect()
    };
    group.models.iter().flat_map(of).collect()
}
