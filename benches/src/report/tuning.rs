//! How the settings of each model were searched on valid.

use serde_json::Value as Json;

use super::compare::name;
use super::facts::words;
use super::group::{Group, Model};
use super::table::{Cell, Table};
use crate::number::{self, counted};
use crate::record::Tuned;

/// Returns the searches of a model, with the seeds of their splits.
fn searches<'a>(model: &'a Model<'a>) -> impl Iterator<Item = (u64, &'a Tuned)> {
    model.runs.iter().filter_map(|run| Some((run.case.seed, run.case.tuned.as_ref()?)))
}

/// Returns what was searched and chosen, a row a model; none where no settings were searched.
pub fn table(group: &Group) -> Option<Table> {
    let valid = group.metric.map_or_else(String::new, name);
    let columns = [
        "Model".to_owned(),
        "Searched".to_owned(),
        "Settings tried".to_owned(),
        "Stopped early".to_owned(),
        "Seconds".to_owned(),
        format!("{valid} on valid, as they stood"),
        format!("{valid} on valid, chosen"),
        "Chosen".to_owned(),
    ];
    let mut table = Table::new("Settings", &columns.each_ref().map(String::as_str));
    table.rows = group.models.iter().map(row).collect();
    group.models.iter().any(|model| searches(model).next().is_some()).then_some(table)
}

fn row(model: &Model) -> Vec<Cell> {
    let all: Vec<(u64, &Tuned)> = searches(model).collect();
    let Some((_, first)) = all.first() else {
        let mut row = vec![Cell::text(&model.name), Cell::text("nothing")];
        row.resize(7, Cell::None);
        row.push(Cell::text("as in the config"));
        return row;
    };
    let sum = |of: fn(&Tuned) -> f64| all.iter().map(|(_, tuned)| of(tuned)).sum::<f64>();
    let mean = |of: fn(&Tuned) -> f64| sum(of) / all.len() as f64;
    let mut chosen: Vec<(String, Vec<String>)> = Vec::new();
    for (seed, tuned) in &all {
        let text = words(&tuned.chosen);
        match chosen.iter_mut().find(|(other, _)| *other == text) {
            Some((_, seeds)) => seeds.push(seed.to_string()),
            None => chosen.push((text, vec![seed.to_string()])),
        }
    }
    let chosen: Vec<String> = match chosen.as_slice() {
        [(one, _)] => vec![one.clone()],
        several => several.iter().map(|(text, seeds)| format!("seed {}: {text}", seeds.join(", "))).collect(),
    };
    vec![
        Cell::text(&model.name),
        Cell::text(ranges(&first.space)),
        Cell::count(sum(|tuned| tuned.trials as f64) as u64),
        Cell::count(sum(|tuned| tuned.stopped as f64) as u64),
        Cell::number(sum(|tuned| tuned.seconds), number::seconds),
        Cell::number(mean(|tuned| tuned.stood.unwrap_or(f64::NAN)), number::score),
        Cell::number(mean(|tuned| tuned.best), number::score),
        Cell::text(chosen.join("; ")),
    ]
}

/// Writes a space in one line: `reg 0.001 to 0.1, dim 64 or 128`.
fn ranges(space: &Json) -> String {
    let axis = |(key, axis): (&String, &Json)| match axis {
        Json::Array(values) => {
            let values: Vec<String> = values.iter().map(words).collect();
            format!("{key} {}", values.join(" or "))
        }
        range => {
            let end = |key: &str| range.get(key).map_or_else(String::new, words);
            format!("{key} {} to {}", end("low"), end("high"))
        }
    };
    space.as_object().into_iter().flatten().map(axis).collect::<Vec<_>>().join(", ")
}

/// Writes what each search was allowed.
pub fn notes(group: &Group) -> Vec<String> {
    let all = group.models.iter().flat_map(|model| searches(model));
    let mut budgets: Vec<(usize, f64)> =
        all.map(|(_, tuned)| (tuned.budget.trials, tuned.budget.seconds)).collect();
    budgets.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    budgets.dedup();
    let budgets: Vec<String> = budgets
        .into_iter()
        .map(|(trials, seconds)| {
            format!(
                "{} or {} s, whichever came first",
                counted(trials as u64, "setting"),
                number::seconds(seconds)
            )
        })
        .collect();
    let mut notes = vec![format!(
        "Each model was searched on valid of each split with the same budget: {}. The settings of the config come first, then \
         drawn ones; of drawn ones that fall behind the median of those before, no further epoch is trained (Golovin et al. \
         2017). Times and scores elsewhere are of the final model alone.",
        budgets.join(", or ")
    )];
    if group.models.iter().any(|model| searches(model).next().is_none()) {
        notes.push("Models without a search have no settings, or those of their config.".to_owned());
    }
    notes
}
