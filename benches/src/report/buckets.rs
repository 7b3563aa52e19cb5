//! Scores by the popularity of items and by the activity of users: for which of them a model is good.

use burnrec_train::metrics::Metric;

use super::compare::name;
use super::group::{Group, Model};
use super::table::{Cell, Table};
use crate::chart::{Axis, Chart, Drawn, Series, Value};
use crate::number::count;
use burnrec_train::stats::{Measure, estimates, wilson};

/// The number of buckets; there are fewer where values coincide.
const BUCKETS: usize = 5;

/// Returns the recall of items in buckets of popularity, each with about as many training rows.
pub fn by_popularity(group: &Group) -> Option<(Chart, Table)> {
    let items =
        group.splits.iter().flat_map(|split| &split.item_popularity).map(|&rows| (rows, u64::from(rows)));
    let bounds = cut(items.collect());
    let n_seeds = |model: &Model| model.runs.len() as f64;
    let mut recalls = Vec::new();
    for model in &group.models {
        let (mut hits, mut relevant) = (vec![0.0; bounds.len()], vec![0.0; bounds.len()]);
        for run in model.runs.iter().filter(|run| !run.case.item_hits.is_empty()) {
            for (item, &rows) in run.split.item_popularity.iter().enumerate() {
                let at = bucket(&bounds, rows);
                hits[at] += f64::from(run.case.item_hits[item]);
                relevant[at] += f64::from(*run.split.item_relevant.get(item).unwrap_or(&0));
            }
        }
        // Seeds may share pairs of user and item. Their counts are averaged, so that the interval is that of one seed.
        let value = |(hits, relevant): (&f64, &f64)| {
            let interval = wilson(hits / n_seeds(model), relevant / n_seeds(model))?;
            Some(Value { value: hits / relevant, low: Some(interval.low), high: Some(interval.high) })
        };
        let values: Vec<Option<Value>> = hits.iter().zip(&relevant).map(value).collect();
        if values.iter().any(Option::is_some) {
            recalls.push((model, values));
        }
    }
    let k = recalls.first()?.0.runs[0].case.k;
    let steps = ranges(&bounds);
    let title = format!("Recall@{k} against the popularity of items");
    let note = format!(
        "Items by their rows in training, in buckets that hold about as many rows each: of a bucket's relevant items, \
         the share that stood in the first {k}. Intervals are Wilson's for a share; several seeds count as the pairs of \
         one, as they may have pairs in common."
    );
    let y = Axis { title: format!("Recall@{k}"), zero: true, ..Axis::default() };
    Some(both(title, note, "rows of the item in training", "rows", steps, y, recalls))
}

/// Returns the metric of users in buckets of activity, each with about as many users.
pub fn by_activity(group: &Group, metric: Metric) -> Option<(Chart, Table)> {
    let users = group.splits.iter().flat_map(|split| &split.user_activity).map(|&rows| (rows, 1));
    let bounds = cut(users.collect());
    let mut found = Vec::new();
    for model in &group.models {
        let Some(measure) = model.measure(metric) else { continue };
        let value = |at: usize| {
            let of = |(users, split): (&Vec<[f64; 2]>, &super::group::Run)| -> Vec<[f64; 2]> {
                let within = users.iter().zip(&split.split.user_activity);
                within.filter(|(_, rows)| bucket(&bounds, **rows) == at).map(|(user, _)| *user).collect()
            };
            let seeds: Vec<_> = measure.seeds.iter().zip(&model.runs).map(of).collect();
            let judged = |users: &Vec<[f64; 2]>| users.iter().any(|user| user[1] > 0.0);
            let part =
                Measure { statistic: measure.statistic, seeds: seeds.into_iter().filter(judged).collect() };
            (!part.seeds.is_empty()).then(|| Value::from(&estimates(&[part])[0]))
        };
        found.push((model, (0..bounds.len()).map(value).collect::<Vec<_>>()));
    }
    if found.is_empty() {
        return None;
    }
    let steps = ranges(&bounds);
    let title = format!("{} against the activity of users", name(metric));
    let note = "Judged users by their rows in training, in buckets that hold about as many users each. Intervals by \
                bootstrap over the users of a bucket.";
    let y = Axis { title: name(metric), zero: metric.higher_is_better(), ..Axis::default() };
    Some(both(title, note.to_owned(), "rows of the user in training", "rows", steps, y, found))
}

fn both(
    title: String,
    note: String,
    x: &str,
    unit: &str,
    steps: Vec<String>,
    y: Axis,
    found: Vec<(&Model, Vec<Option<Value>>)>,
) -> (Chart, Table) {
    let names: Vec<String> = steps.iter().map(|step| format!("{step} {unit}")).collect();
    let columns: Vec<&str> = std::iter::once("Model").chain(names.iter().map(String::as_str)).collect();
    let mut table = Table::new(&title, &columns).note(note);
    let cells = |values: &[Option<Value>]| -> Vec<Cell> {
        values.iter().map(|value| value.map_or(Cell::None, Cell::score)).collect()
    };
    let row = |(model, values): &(&Model, Vec<Option<Value>>)| {
        std::iter::once(Cell::text(&model.name)).chain(cells(values)).collect()
    };
    table.rows = found.iter().map(row).collect();
    let one = |(model, values): (&Model, Vec<Option<Value>>)| Series {
        name: model.name.clone(),
        style: model.style,
        values,
    };
    let series = found.into_iter().map(one).collect();
    (Chart { title, drawn: Drawn::Steps { x: x.to_owned(), steps, y, series } }, table)
}

/// Splits values with weights into about [`BUCKETS`] buckets of about equal weight, and returns the largest value of
/// each. Equal values stay together.
fn cut(mut values: Vec<(u32, u64)>) -> Vec<u32> {
    values.sort_unstable();
    let total: u64 = values.iter().map(|(_, weight)| weight).sum();
    let (mut bounds, mut sum, mut before) = (Vec::new(), 0, 0);
    for (at, &(value, weight)) in values.iter().enumerate() {
        sum += weight;
        let ends = values.get(at + 1).is_none_or(|next| next.0 != value);
        // A bucket is full once it has its share of the weight that is left for the remaining buckets.
        let left = (BUCKETS - bounds.len().min(BUCKETS - 1)) as u64;
        let full = left > 1 && sum > before && (sum - before) * left >= total - before;
        if at + 1 == values.len() || (ends && full) {
            bounds.push(value);
            before = sum;
        }
    }
    bounds
}

fn bucket(bounds: &[u32], value: u32) -> usize {
    bounds.partition_point(|bound| *bound < value).min(bounds.len().saturating_sub(1))
}

/// Names each bucket.
fn ranges(bounds: &[u32]) -> Vec<String> {
    let from = |at: usize| if at == 0 { 0 } else { bounds[at - 1] + 1 };
    let range = |(at, &to): (usize, &u32)| match from(at) {
        from if from == to => count(to.into()),
        from => format!("{}–{}", count(from.into()), count(to.into())),
    };
    bounds.iter().enumerate().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_equal_weight_and_equal_values_stay_together() {
        let users = |values: &[u32]| cut(values.iter().map(|&value| (value, 1)).collect());
        assert_eq!(users(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), [2, 4, 6, 8, 10]);
        assert_eq!(users(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 7]), [1, 7]);
        assert_eq!(users(&[3, 3]), [3]);
        assert!(users(&[]).is_empty());
        // Ten rows: one item has half of them.
        assert_eq!(cut([0, 1, 1, 1, 2, 5].map(|rows| (rows, u64::from(rows))).to_vec()), [1, 2, 5]);
        assert_eq!(ranges(&[2, 3, 1200]), ["0–2", "3", "4–1,200"]);
        assert_eq!([0, 2, 3, 4, 5000].map(|value| bucket(&[2, 3, 1200], value)), [0, 0, 1, 2, 2]);
    }
}
