//! Quality: the picture against training time, and the tables of scores.

use std::collections::BTreeMap;

use burnrec_models::Phase;
use burnrec_train::evaluate::Score;
use burnrec_train::metrics::Metric;

use super::compare::name;
use super::group::{Group, Model};
use super::table::{Cell, Table};
use crate::chart::{Axis, Chart, Drawn, Point, Value};
use crate::number::{self, MEASURABLE, amount, counted, rate, score, seconds};
use crate::record::{CaseRecord, EpochPoint};
use burnrec_train::stats::{Estimate, Measure, estimates, mean};

/// A model's metrics on test.
pub type Scored = BTreeMap<Metric, Estimate>;

/// Returns the metrics of a model on test. The values are those recorded. The intervals are by bootstrap over all seeds
/// where the users' values are recorded; else they are those recorded, if there is one seed.
pub fn scored(model: &Model) -> Scored {
    let tests = || model.runs.iter().map(|run| &run.case.test);
    let all: Vec<Metric> =
        tests().next().map(|test| test.metrics.keys().copied().collect()).unwrap_or_default();
    let shared: Vec<Metric> =
        all.into_iter().filter(|metric| tests().all(|test| test.value(*metric).is_some())).collect();
    let measured: Vec<(Metric, Measure)> =
        shared.iter().filter_map(|metric| Some((*metric, model.measure(*metric)?))).collect();
    let measures: Vec<Measure> = measured.iter().map(|(_, measure)| measure.clone()).collect();
    let drawn: BTreeMap<Metric, Estimate> =
        measured.iter().map(|(metric, _)| *metric).zip(estimates(&measures)).collect();
    let of = |metric: Metric| {
        let scores: Vec<&Score> = tests().filter_map(|test| test.metrics.get(&metric)).collect();
        let interval = match (drawn.get(&metric), scores.as_slice()) {
            (Some(estimate), _) => estimate.interval,
            (None, [one]) => {
                one.low.zip(one.high).map(|(low, high)| burnrec_train::stats::Interval { low, high })
            }
            _ => None,
        };
        let seeds: Vec<f64> = scores.iter().map(|score| score.value).collect();
        (metric, Estimate { value: mean(seeds.iter().copied()), interval, seeds })
    };
    shared.into_iter().map(of).collect()
}

/// Returns the epochs of the final fit; without a refit, that is the fit that chose the epoch.
pub fn final_fit(case: &CaseRecord) -> impl Iterator<Item = &EpochPoint> {
    let refit = case.epochs.iter().any(|epoch| epoch.phase == Phase::Refit);
    case.epochs.iter().filter(move |epoch| (epoch.phase == Phase::Refit) == refit)
}

/// Returns the training seconds up to the epoch that was best on valid.
fn seconds_to_best(case: &CaseRecord) -> Option<f64> {
    let choosing = |epoch: &&EpochPoint| epoch.phase == Phase::Choose && epoch.epoch <= case.chosen_epochs;
    let seconds: Vec<f64> = case.epochs.iter().filter(choosing).map(|epoch| epoch.seconds).collect();
    (!seconds.is_empty()).then(|| seconds.iter().sum())
}

/// Returns the samples of the final fit divided by its epochs' seconds; none where that time is too short to measure.
pub fn samples_per_second(case: &CaseRecord) -> Option<f64> {
    let (samples, seconds) = final_fit(case).fold((0.0, 0.0), |(samples, seconds), epoch| {
        (samples + epoch.samples_per_second * epoch.seconds, seconds + epoch.seconds)
    });
    Some(samples / seconds).filter(|rate| seconds > MEASURABLE && rate.is_finite() && *rate > 0.0)
}

fn last_loss(case: &CaseRecord) -> Option<f64> {
    final_fit(case).filter_map(|epoch| epoch.loss).last()
}

/// Returns the chart of quality against the seconds of the final fit.
pub fn picture(group: &Group, metric: Metric, scored: &[Scored], title: String) -> Chart {
    let direction = if metric.higher_is_better() { "higher is better" } else { "lower is better" };
    let point = |(model, scored): (&Model, &Scored)| {
        let y: Value = (&scored[&metric]).into();
        let x = model.mean(|case| case.fit_seconds);
        let parts = model.runs.iter().zip(&scored[&metric].seeds);
        let parts = parts.map(|(run, value)| [run.case.fit_seconds.max(MEASURABLE), *value]);
        Point {
            name: model.name.clone(),
            style: model.style,
            x: x.max(MEASURABLE),
            y,
            parts: if model.runs.len() > 1 { parts.collect() } else { Vec::new() },
            told: format!(
                "{}: {} {} in {} s, {}",
                model.name,
                name(metric),
                Cell::score(y).shown(),
                seconds(x),
                counted(model.runs.len() as u64, "seed")
            ),
        }
    };
    let points = group.models.iter().zip(scored).map(point).collect();
    Chart {
        title,
        drawn: Drawn::Points {
            x: Axis {
                title: "seconds of the final fit (log scale)".to_owned(),
                log: true,
                ..Axis::default()
            },
            y: Axis { title: format!("{} on test, {direction}", name(metric)), ..Axis::default() },
            points,
        },
    }
}

/// Returns the main table, with one row for each model.
pub fn table(group: &Group, metric: Metric, scored: &[Scored]) -> Table {
    let valid = format!("{} on valid", name(metric));
    let test = format!("{} on test", name(metric));
    let columns = [
        "Model",
        &test,
        &valid,
        "Fit, s",
        "To the best epoch, s",
        "All fits and evaluations, s",
        "Epochs",
        "Samples/s",
        "Last loss",
        "Seeds",
    ];
    let mut table = Table::new("Scores and cost", &columns).note(
        "Test: the final model. Valid: the chosen epoch, before the final fit. Fit: the final fit alone, without any \
         evaluation. To the best epoch: training alone, of the fit that chose the epoch. Means over seeds. Losses of \
         different models do not compare.",
    );
    let row = |(model, scored): (&Model, &Scored)| {
        vec![
            Cell::text(&model.name),
            Cell::score((&scored[&metric]).into()),
            Cell::maybe(model.maybe_mean(|case| case.valid.value(metric)), score),
            Cell::number(model.mean(|case| case.fit_seconds), seconds),
            Cell::maybe(model.maybe_mean(seconds_to_best), seconds),
            Cell::number(model.mean(|case| case.total_seconds), seconds),
            Cell::number(model.mean(|case| f64::from(case.chosen_epochs)), epochs),
            Cell::maybe(model.maybe_mean(samples_per_second), rate),
            Cell::maybe(model.maybe_mean(last_loss), amount),
            Cell::count(model.runs.len() as u64),
        ]
    };
    table.rows = group.models.iter().zip(scored).map(row).collect();
    table.without_empty_columns()
}

/// Writes a mean number of epochs, with a decimal where it is not whole.
fn epochs(value: f64) -> String {
    number::grouped(value, usize::from(value.fract() != 0.0))
}

/// Returns the table of all metrics on test.
pub fn all_metrics(group: &Group, scored: &[Scored]) -> Table {
    let mut metrics: Vec<Metric> = scored.iter().flat_map(|scored| scored.keys().copied()).collect();
    metrics.sort();
    metrics.dedup();
    let names: Vec<String> = metrics.iter().map(|metric| name(*metric)).collect();
    let mut columns = vec!["Model"];
    columns.extend(names.iter().map(String::as_str));
    let mut table = Table::new("All metrics on test", &columns).note(
        "Means over seeds, with 95 % intervals where a metric is made of the users' parts. Lower is better in RMSE and \
         MAE; novelty is in bits, and neither more nor less of it is better by itself.",
    );
    let row = |(model, scored): (&Model, &Scored)| {
        let cell = |metric: &Metric| scored.get(metric).map_or(Cell::None, |one| Cell::score(one.into()));
        std::iter::once(Cell::text(&model.name)).chain(metrics.iter().map(cell)).collect()
    };
    table.rows = group.models.iter().zip(scored).map(row).collect();
    table
}

/// Returns the table of all seeds.
pub fn by_seed(group: &Group, metric: Metric) -> Table {
    let (valid, test) = (format!("{} on valid", name(metric)), format!("{} on test", name(metric)));
    let columns =
        ["Model", "Seed", &test, &valid, "Fit, s", "Epochs", "Samples/s", "Last loss", "Peak memory"];
    let mut table = Table::new("Each seed by itself", &columns);
    table.folded = true;
    for model in &group.models {
        for run in &model.runs {
            let case = run.case;
            table.rows.push(vec![
                Cell::text(&model.name),
                Cell::number(case.seed as f64, |seed| format!("{seed:.0}")),
                Cell::maybe(case.test.value(metric), score),
                Cell::maybe(case.valid.value(metric), score),
                Cell::number(case.fit_seconds, seconds),
                Cell::count(u64::from(case.chosen_epochs)),
                Cell::maybe(samples_per_second(case), rate),
                Cell::maybe(last_loss(case), amount),
                Cell::number(case.peak_memory_bytes as f64, number::bytes),
            ]);
        }
    }
    table.without_empty_columns()
}
