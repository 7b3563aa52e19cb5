//! Memory and speed of training, and speed of inference.

use super::group::{Group, Model};
use super::scores::samples_per_second;
use super::table::{Cell, Table};
use crate::chart::{Axis, Chart, Dot, Drawn, Value};
use crate::number::{bytes, rate};
use crate::record::CaseRecord;

/// A figure of a case, and how it is shown.
struct Figure {
    title: &'static str,
    axis: &'static str,
    of: fn(&CaseRecord) -> Option<f64>,
    write: fn(f64) -> String,
    /// What one unit of the axis stands for, such as the bytes of a MiB.
    unit: f64,
}

const MIB: f64 = 1024.0 * 1024.0;

const FIGURES: [Figure; 5] = [
    Figure {
        title: "Samples/s in training",
        axis: "samples of the final fit a second",
        of: samples_per_second,
        write: rate,
        unit: 1.0,
    },
    Figure {
        title: "Peak memory in training",
        axis: "peak memory of the process, MiB",
        of: |case| Some(case.peak_memory_bytes as f64).filter(|bytes| *bytes > 0.0),
        write: bytes,
        unit: MIB,
    },
    Figure {
        title: "Pairs scored a second",
        axis: "pairs of user and item a second",
        of: |case| case.inference.pairs_per_second,
        write: rate,
        unit: 1.0,
    },
    Figure {
        title: "Users given their top 10 a second",
        axis: "users a second",
        of: |case| case.inference.top10_users_per_second,
        write: rate,
        unit: 1.0,
    },
    Figure {
        title: "Service requests a second",
        axis: "requests a second, in memory",
        of: |case| case.inference.service_requests_per_second,
        write: rate,
        unit: 1.0,
    },
];

/// Returns a chart of each figure that any model has.
pub fn charts(group: &Group) -> Vec<Chart> {
    FIGURES.iter().filter_map(|figure| chart(group, figure)).collect()
}

fn chart(group: &Group, figure: &Figure) -> Option<Chart> {
    let row = |model: &Model| {
        let value = model.maybe_mean(figure.of).filter(|value| *value > 0.0)?;
        let drawn = Value { value: value / figure.unit, low: None, high: None };
        Some(Dot { name: model.name.clone(), style: model.style, value: drawn, text: (figure.write)(value) })
    };
    let rows: Vec<Dot> = group.models.iter().filter_map(row).collect();
    let values = || rows.iter().map(|row| row.value.value);
    let log = values().fold(0.0, f64::max) > 20.0 * values().fold(f64::INFINITY, f64::min);
    let title = format!("{}{}", figure.axis, if log { " (log scale)" } else { "" });
    let x = Axis { title, log, zero: !log, ..Axis::default() };
    (!rows.is_empty()).then(|| Chart { title: figure.title.to_owned(), drawn: Drawn::Dots { x, rows } })
}

/// Returns all figures as a table.
pub fn table(group: &Group) -> Table {
    let columns = [
        "Model",
        "Samples/s",
        "Peak memory",
        "Parameters",
        "Pairs/s",
        "Top-10 users/s",
        "Service requests/s",
        "Device",
        "Threads",
    ];
    let mut table = Table::new("Speed and memory", &columns).note(
        "Means over seeds. Answers: the best of several rounds; top-10 without what the user has seen; service requests \
         through the engine in memory, from JSON bytes to JSON bytes.",
    );
    let row = |model: &Model| {
        let one = |write: fn(&CaseRecord) -> String| {
            let mut all: Vec<String> = model.runs.iter().map(|run| write(run.case)).collect();
            all.dedup();
            Cell::Text(all.join(", "))
        };
        let figure = |at: usize| Cell::maybe(model.maybe_mean(FIGURES[at].of), FIGURES[at].write);
        vec![
            Cell::text(&model.name),
            figure(0),
            figure(1),
            Cell::count(model.mean(|case| case.parameters as f64).round() as u64),
            figure(2),
            figure(3),
            figure(4),
            one(|case| case.device.clone()),
            one(|case| case.threads.to_string()),
        ]
    };
    table.rows = group.models.iter().map(row).collect();
    table.without_empty_columns()
}
