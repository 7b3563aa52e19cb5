//! Learning curves: loss and the value on valid, by epoch and by training time.

use burnrec_models::Phase;

use super::group::{Group, Model, Run};
use crate::chart::{Axis, Chart, Drawn, Line};
use crate::number::MEASURABLE;
use crate::record::EpochPoint;

/// The horizontal axis of a learning curve.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Epoch,
    Time,
}

/// Returns the charts of the value on valid, with all models in one.
pub fn valid(group: &Group) -> Vec<Chart> {
    let chart = |by: By| {
        let lines: Vec<Line> = group
            .models
            .iter()
            .flat_map(|model| {
                model.runs.iter().filter_map(move |run| line(model, run, by, Phase::Choose, valid_of))
            })
            .collect();
        let chooses = chooses(group);
        let points = || lines.iter().flat_map(|line| line.points.iter().map(|point| point[0]));
        let log =
            by == By::Time && points().fold(0.0, f64::max) > 30.0 * points().fold(f64::INFINITY, f64::min);
        (!lines.is_empty()).then(|| Chart {
            title: format!("{chooses} on valid by {}", by.name()),
            drawn: Drawn::Lines { x: by.axis(log), y: axis(chooses), lines, small: false },
        })
    };
    [By::Epoch, By::Time].into_iter().filter_map(chart).collect()
}

/// Returns the charts of the loss, one for each model, since losses of different models do not compare.
pub fn loss(group: &Group) -> Vec<Chart> {
    let chart = |model: &Model, by: By| {
        let phases = [Phase::Choose, Phase::Refit];
        let lines: Vec<Line> = phases
            .into_iter()
            .flat_map(|phase| {
                model.runs.iter().filter_map(move |run| line(model, run, by, phase, |epoch| epoch.loss))
            })
            .collect();
        let title = format!("{}: loss by {}", model.name, by.name());
        let long = lines.iter().any(|line| line.points.len() > 1);
        long.then(|| Chart {
            title,
            drawn: Drawn::Lines { x: by.axis(false), y: axis("loss".to_owned()), lines, small: true },
        })
    };
    let all = |by| group.models.iter().filter_map(move |model| chart(model, by));
    [By::Epoch, By::Time].into_iter().flat_map(all).collect()
}

fn valid_of(epoch: &EpochPoint) -> Option<f64> {
    epoch.valid
}

/// Returns the name of the metric that chooses the epoch, or a general phrase where models differ in it.
fn chooses(group: &Group) -> String {
    let named = |model: &Model| {
        let config = &model.runs[0].case.config;
        config.get("select_by").and_then(|name| name.as_str()).and_then(|name| name.parse().ok())
    };
    let mut names: Vec<_> = group.models.iter().filter_map(named).collect();
    names.dedup();
    match names.as_slice() {
        [metric] => super::compare::name(*metric),
        _ => "the metric that chooses".to_owned(),
    }
}

fn line(
    model: &Model,
    run: &Run,
    by: By,
    phase: Phase,
    value: fn(&EpochPoint) -> Option<f64>,
) -> Option<Line> {
    let (mut seconds, mut points, mut chosen) = (0.0, Vec::new(), None);
    for epoch in run.case.epochs.iter().filter(|epoch| epoch.phase == phase) {
        seconds += epoch.seconds;
        let Some(value) = value(epoch).filter(|value| value.is_finite()) else { continue };
        if phase == Phase::Choose && epoch.epoch == run.case.chosen_epochs {
            chosen = Some(points.len());
        }
        points.push([if by == By::Epoch { f64::from(epoch.epoch) } else { seconds.max(MEASURABLE) }, value]);
    }
    let dashed = phase == Phase::Refit;
    (!points.is_empty()).then(|| Line {
        name: model.name.clone(),
        style: model.style,
        dashed,
        points,
        chosen,
    })
}

fn axis(title: String) -> Axis {
    Axis { title, ..Axis::default() }
}

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Time => "training time",
        }
    }

    fn axis(self, log: bool) -> Axis {
        let title = match (self, log) {
            (Self::Epoch, _) => "epoch",
            (Self::Time, false) => "seconds of training",
            (Self::Time, true) => "seconds of training (log scale)",
        };
        Axis { title: title.to_owned(), log, zero: false, whole: self == Self::Epoch }
    }
}
