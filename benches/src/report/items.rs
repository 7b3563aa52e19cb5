//! Precision and recall of each item. An item is shown to a user if it is in the user's top `k`. Precision is the share
//! of the users it was shown to for whom it is relevant; recall is the share of the users for whom it is relevant that
//! it was shown to. To show an item is a decision for it, so that these are the confusion matrices of all items.

use std::collections::HashMap;

use serde::Serialize;

use super::group::Group;
use super::table::{Cell, Table};
use crate::number::{counted, score};
use burnrec_train::stats::mean;

/// The number of items that a page shows.
const SHOWN: usize = 30;

/// The decisions of all models on all items, in arrays by item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Items {
    /// The cut: an item is shown to a user if it is among the first `k`.
    pub k: usize,
    /// `[items]`: ids, the most often relevant first.
    pub items: Vec<String>,
    /// The decisions of each model.
    pub models: Vec<ModelItems>,
}

/// The decisions of a model, summed over seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelItems {
    /// Its name.
    pub model: String,
    /// `[items]`: shown and relevant.
    pub tp: Vec<u64>,
    /// `[items]`: shown, and not relevant.
    pub fp: Vec<u64>,
    /// `[items]`: relevant, and not shown.
    pub r#fn: Vec<u64>,
    /// `[items]`: tp / (tp + fn), rounded to 6 digits; none where it is relevant for nobody.
    pub recall: Vec<Option<f64>>,
    /// `[items]`: tp / (tp + fp), rounded to 6 digits; none where it was not shown.
    pub precision: Vec<Option<f64>>,
}

/// Sums up the items of a group; none where no lists were recorded.
pub fn items(group: &Group) -> Option<Items> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut ids: Vec<&str> = Vec::new();
    let mut relevant: Vec<u64> = Vec::new();
    for split in &group.splits {
        for (id, &users) in split.item_ids.iter().zip(&split.item_relevant) {
            let place = *places.entry(id).or_insert_with(|| {
                ids.push(id);
                relevant.push(0);
                ids.len() - 1
            });
            relevant[place] += u64::from(users);
        }
    }
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_key(|&place| (std::cmp::Reverse(relevant[place]), place));
    let mut models = Vec::new();
    for model in &group.models {
        if model.runs.iter().any(|run| run.case.item_hits.is_empty()) {
            continue;
        }
        let mut sums = vec![[0u64; 3]; ids.len()];
        for run in &model.runs {
            for (item, id) in run.split.item_ids.iter().enumerate() {
                let hits = run.case.item_hits[item];
                let sum = &mut sums[places[id.as_str()]];
                sum[0] += u64::from(hits);
                sum[1] += u64::from(run.case.item_shown[item] - hits);
                sum[2] += u64::from(run.split.item_relevant[item] - hits);
            }
        }
        let column = |at: usize| order.iter().map(|&place| sums[place][at]).collect::<Vec<u64>>();
        let shares = |of: usize| order.iter().map(|&place| share(sums[place][0], sums[place][of])).collect();
        models.push(ModelItems {
            model: model.name.clone(),
            tp: column(0),
            fp: column(1),
            r#fn: column(2),
            recall: shares(2),
            precision: shares(1),
        });
    }
    let k = group.models.first()?.runs[0].case.k;
    let items = order.into_iter().map(|place| ids[place].to_owned()).collect();
    (!models.is_empty()).then_some(Items { k, items, models })
}

/// Returns `right / (right + wrong)`, rounded to 6 digits; none where both are 0.
fn share(right: u64, wrong: u64) -> Option<f64> {
    let all = right + wrong;
    (all > 0).then(|| (right as f64 / all as f64 * 1e6).round() / 1e6)
}

/// Returns the totals of each model as a table.
pub fn totals(items: &Items) -> Table {
    let columns = [
        "Model",
        "tp",
        "fp",
        "fn",
        "Recall",
        "Precision",
        "Recall, mean of items",
        "Precision, mean of items",
        "Items shown",
    ];
    let mut table = Table::new("Right and wrong decisions in total", &columns).note(format!(
        "Positive: among a user's first {k}. tp: shown and relevant; fp: shown, not relevant; fn: relevant, not shown; \
         summed over users and seeds. Recall is tp / (tp + fn), precision tp / (tp + fp). The means of items leave out \
         items that were never relevant, or never shown.",
        k = items.k
    ));
    let row = |model: &ModelItems| {
        let sum = |column: &[u64]| column.iter().sum::<u64>();
        let (tp, fp, missed) = (sum(&model.tp), sum(&model.fp), sum(&model.r#fn));
        let ratio = |wrong: u64| Some(tp as f64 / (tp + wrong) as f64);
        let over_items = |shares: &[Option<f64>]| Some(mean(shares.iter().copied().flatten()));
        vec![
            Cell::text(&model.model),
            Cell::count(tp),
            Cell::count(fp),
            Cell::count(missed),
            Cell::maybe(ratio(missed), score),
            Cell::maybe(ratio(fp), score),
            Cell::maybe(over_items(&model.recall), score),
            Cell::maybe(over_items(&model.precision), score),
            Cell::count(model.precision.iter().flatten().count() as u64),
        ]
    };
    table.rows = items.models.iter().map(row).collect();
    table
}

/// Returns a table for each model, of the items that are most often relevant.
pub fn tables(items: &Items) -> Vec<Table> {
    let table = |model: &ModelItems| {
        let title = format!("{}, item by item", model.model);
        let mut table = Table::new(title, &["Item", "Relevant", "tp", "fp", "fn", "Recall", "Precision"])
            .note(format!(
                "The {} most often relevant; report.json has all {}.",
                SHOWN.min(items.items.len()),
                counted(items.items.len() as u64, "item")
            ));
        table.folded = true;
        let row = |at: usize| {
            vec![
                Cell::text(&items.items[at]),
                Cell::count(model.tp[at] + model.r#fn[at]),
                Cell::count(model.tp[at]),
                Cell::count(model.fp[at]),
                Cell::count(model.r#fn[at]),
                Cell::maybe(model.recall[at], score),
                Cell::maybe(model.precision[at], score),
            ]
        };
        table.rows = (0..items.items.len().min(SHOWN)).map(row).collect();
        table
    };
    items.models.iter().map(table).collect()
}
