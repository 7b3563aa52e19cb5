//! Compares each model with the baseline that the bench's config names, by a paired test, and says the result in plain
//! words.

use burnrec_train::metrics::Metric;
use serde::Serialize;

use super::group::{Group, Model, Run, measure, same};
use super::table::{Cell, Table};
use crate::chart::{Axis, Chart, Dot, Drawn, Value};
use crate::number::{self, MEASURABLE, counted, interval, p_is, score, times};
use burnrec_train::stats::{difference, holm, mean};

/// The significance level of all tests of a section together.
pub const LEVEL: f64 = 0.05;

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The model is better.
    Better,
    /// It is worse.
    Worse,
    /// No difference can be shown.
    Open,
}

/// A model compared with another by a paired test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The model.
    pub model: String,
    /// The other.
    pub against: String,
    /// The metric.
    pub metric: Metric,
    /// The seeds of both models.
    pub seeds: Vec<u64>,
    /// Users that both models were judged on, over all seeds.
    pub users: usize,
    /// The model's value less the other's, with the 95 % interval.
    pub difference: Value,
    /// The p-value, uncorrected.
    pub p: f64,
    /// The p-value after Holm's correction.
    pub p_corrected: f64,
    /// The model's seconds of the final fit divided by the other's; none where either is too short to be stated.
    pub times: Option<f64>,
    /// The result at the level of the tests.
    pub verdict: Verdict,
    /// The comparison in plain words.
    pub sentence: String,
    #[serde(skip)]
    index: usize,
}

/// Pairs of runs of one split.
type Pairs<'a> = Vec<(Run<'a>, Run<'a>)>;

/// Compares all models of a group with its baseline, and says why some are not compared.
pub fn comparisons(group: &Group) -> (Vec<Comparison>, Vec<String>) {
    let Some(metric) = group.metric else { return Default::default() };
    let Some(baseline) = group.baseline() else {
        let reason = group.against().map(|name| {
            format!("Nothing is tested: {name}, which the others were to be tested against, is not finished.")
        });
        return (Vec::new(), reason.into_iter().collect());
    };
    let theirs = &group.models[baseline];
    let (mut found, mut reasons) = (Vec::new(), Vec::new());
    for (index, model) in group.models.iter().enumerate().filter(|(index, _)| *index != baseline) {
        match compare(model, theirs, metric) {
            Ok(comparison) => found.push(Comparison { index, ..comparison }),
            Err(reason) => {
                reasons.push(format!("{} is not tested against {}: {reason}.", model.name, theirs.name))
            }
        }
    }
    let corrected = holm(&found.iter().map(|one| one.p).collect::<Vec<_>>());
    for (one, p) in found.iter_mut().zip(corrected) {
        one.p_corrected = p;
        let gain = if metric.higher_is_better() { one.difference.value } else { -one.difference.value };
        one.verdict = match gain {
            _ if p >= LEVEL => Verdict::Open,
            gain if gain > 0.0 => Verdict::Better,
            _ => Verdict::Worse,
        };
        one.sentence = sentence(one, &group.models[one.index], theirs);
    }
    (found, reasons)
}

/// Tests a model against another, without correction, or says why that is impossible.
fn compare(model: &Model, theirs: &Model, metric: Metric) -> Result<Comparison, String> {
    let pairs = common(model, theirs);
    if pairs.is_empty() {
        return Err("they have no seed in common".to_owned());
    }
    let (ours_runs, their_runs): (Vec<Run>, Vec<Run>) = pairs.iter().copied().unzip();
    let (Some(ours), Some(other)) = (measure(&ours_runs, metric), measure(&their_runs, metric)) else {
        return Err(format!("{} is not recorded for each user", name(metric)));
    };
    let weights = |a: &[[f64; 2]], b: &[[f64; 2]]| a.iter().zip(b).all(|(a, b)| a[1] == b[1]);
    if !ours.seeds.iter().zip(&other.seeds).all(|(a, b)| a.len() == b.len() && weights(a, b)) {
        return Err("they were judged on different pairs".to_owned());
    }
    let found = difference(&ours, &other);
    let seconds = |runs: &[Run]| mean(runs.iter().map(|run| run.case.fit_seconds));
    let (mine, others) = (seconds(&ours_runs), seconds(&their_runs));
    Ok(Comparison {
        model: model.name.clone(),
        against: theirs.name.clone(),
        metric,
        seeds: ours_runs.iter().map(|run| run.split.seed).collect(),
        users: ours.seeds.iter().map(Vec::len).sum(),
        difference: Value {
            value: found.value,
            low: found.interval.map(|i| i.low),
            high: found.interval.map(|i| i.high),
        },
        p: found.p,
        p_corrected: found.p,
        times: (mine > MEASURABLE && others > MEASURABLE).then(|| mine / others),
        verdict: Verdict::Open,
        sentence: String::new(),
        index: 0,
    })
}

fn common<'a>(ours: &Model<'a>, theirs: &Model<'a>) -> Pairs<'a> {
    let pair = |run: &Run<'a>| Some((*run, *theirs.runs.iter().find(|other| same(other.split, run.split))?));
    ours.runs.iter().filter_map(pair).collect()
}

/// Writes a comparison in plain words.
fn sentence(one: &Comparison, ours: &Model, theirs: &Model) -> String {
    let Comparison { model, against, .. } = one;
    let metric = name(one.metric);
    let p = format!("{} after Holm's correction", p_is(one.p_corrected));
    let Value { value, low, high } = one.difference;
    let ends = |sign: f64| match low.zip(high) {
        Some((low, high)) if sign < 0.0 => format!(" {}", interval(-high, -low)),
        Some((low, high)) => format!(" {}", interval(low, high)),
        None => String::new(),
    };
    let factor = one.times.map(|factor| match factor {
        factor if (0.95..1.05).contains(&factor) => "about the same training time".to_owned(),
        factor => format!("{} times the training time", times(factor)),
    });
    let mut text = match one.verdict {
        Verdict::Open => {
            let takes = factor.map_or(String::new(), |factor| format!("; {model} takes {factor}"));
            format!(
                "No difference between {model} and {against} can be shown in {metric} (difference {}{}, {p}){takes}",
                score(value),
                ends(1.0)
            )
        }
        verdict => {
            let word = if verdict == Verdict::Better { "better" } else { "worse" };
            let at = factor.map_or(String::new(), |factor| format!(", at {factor}"));
            let by = score(value.abs());
            format!("{model} is {word} than {against} by {by} {metric}{} ({p}){at}", ends(value))
        }
    };
    let runs = |model: &Model| -> Vec<(String, String, usize)> {
        let place =
            |run: &Run| (format!("{:?}", run.case.machine), run.case.device.clone(), run.case.threads);
        model.runs.iter().map(place).collect()
    };
    let (mine, other) = (&runs(ours)[0], &runs(theirs)[0]);
    if mine.0 != other.0 {
        text += " (on another machine, so that the times do not compare)";
    } else if mine.1 != other.1 {
        text += &format!(" ({} against {})", mine.1, other.1);
    } else if mine.2 != other.2 {
        text +=
            &format!(" ({} against {})", counted(mine.2 as u64, "thread"), counted(other.2 as u64, "thread"));
    }
    let all = ours.runs.len().max(theirs.runs.len());
    if one.seeds.len() < all {
        text += &format!(", on {} of {all} seeds", one.seeds.len());
    }
    text + "."
}

/// Returns a metric's name as people write it.
pub fn name(metric: Metric) -> String {
    let text = metric.to_string();
    match metric {
        Metric::CappedRecall(k) => format!("Capped recall@{k}"),
        Metric::Recall(_) | Metric::Precision(_) | Metric::Coverage(_) | Metric::Novelty(_) => {
            text[..1].to_uppercase() + &text[1..]
        }
        _ => text.to_uppercase(),
    }
}

/// Returns all comparisons as a table.
pub fn table(found: &[Comparison]) -> Option<Table> {
    let Comparison { against, metric, .. } = found.first()?;
    let difference = format!("Difference in {}", name(*metric));
    let columns =
        ["Model", &difference, "p", "p, corrected", "Shown", "Times the training time", "Seeds", "Users"];
    let mut table = Table::new(format!("Each model against {against}"), &columns).note(format!(
        "Paired randomisation test over users, two-sided, corrected after Holm for {}. Shown: what holds at a level of \
         {} %. A user counts once for each seed.",
        counted(found.len() as u64, "test"),
        100.0 * LEVEL
    ));
    table.rows = found
        .iter()
        .map(|one| {
            let shown = match one.verdict {
                Verdict::Better => "better",
                Verdict::Worse => "worse",
                Verdict::Open => "no difference",
            };
            vec![
                Cell::text(&one.model),
                Cell::score(one.difference),
                Cell::number(one.p, number::p),
                Cell::number(one.p_corrected, number::p),
                Cell::text(shown),
                Cell::maybe(one.times, times),
                Cell::count(one.seeds.len() as u64),
                Cell::count(one.users as u64),
            ]
        })
        .collect();
    Some(table)
}

/// Returns all comparisons as a chart.
pub fn chart(found: &[Comparison], group: &Group) -> Option<Chart> {
    let Comparison { against, metric, .. } = found.first()?;
    let better = if metric.higher_is_better() { "right of 0 is better" } else { "left of 0 is better" };
    let row = |one: &Comparison| Dot {
        name: one.model.clone(),
        style: group.models[one.index].style,
        value: one.difference,
        text: score(one.difference.value),
    };
    let title = format!("{} less that of {against}; {better}", name(*metric));
    Some(Chart {
        title: format!("Difference from {against}, with 95 % intervals"),
        drawn: Drawn::Dots {
            x: Axis { title, zero: true, ..Axis::default() },
            rows: found.iter().map(row).collect(),
        },
    })
}
