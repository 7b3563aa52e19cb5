//! Prints the table of a measurement, and checks its bounds.

use burnrec_measure::kafka::contenders::{Contender, Guarantee};
use burnrec_measure::kafka::process::Ended;
use burnrec_measure::kafka::replies::ReplyVerdict;
use burnrec_measure::median;

/// The contenders that the rates of the others are compared with.
const REFERENCES: [&str; 2] = ["bare", "kafka-streams"];

/// A contender that answered all requests.
pub struct Measured {
    pub verdict: ReplyVerdict,
    pub ended: Ended,
    /// Resident memory after the first million replies, if there were so many.
    pub warm_bytes: Option<u64>,
    /// Resident memory at the last reply.
    pub last_bytes: Option<u64>,
}

/// A contender with its measurement, or why it was not measured.
pub struct Row {
    pub contender: Contender,
    pub outcome: Result<Measured, String>,
}

/// Returns a row as one line of text.
pub fn line(row: &Row) -> String {
    let Contender { name, guarantee, .. } = &row.contender;
    match &row.outcome {
        Ok(Measured { verdict, ended, .. }) => {
            let cpu = 1e6 * ended.cpu_seconds / verdict.n as f64;
            format!("{name}, {guarantee}: {:.0} replies/s, {cpu:.2} µs each", verdict.rate)
        }
        Err(why) => format!("{name}, {guarantee}: NOT MEASURED: {why}"),
    }
}

/// Returns the median of a figure of contender `k` over the rounds that have it.
fn middle(rounds: &[Vec<Row>], k: usize, figure: impl Fn(&Measured) -> Option<f64>) -> f64 {
    let measured = rounds.iter().filter_map(|rows| rows[k].outcome.as_ref().ok());
    median(measured.filter_map(figure).collect())
}

/// Returns the median over the rounds of the ratio of contender `k`'s rate to that of another under the same guarantee.
fn ratio(rounds: &[Vec<Row>], k: usize, to: &str) -> Option<f64> {
    let rate = |row: &Row| row.outcome.as_ref().ok().map(|measured| measured.verdict.rate);
    let ratios = rounds.iter().filter_map(|rows| {
        let guarantee = rows[k].contender.guarantee;
        let other =
            rows.iter().find(|row| row.contender.name == to && row.contender.guarantee == guarantee)?;
        Some(rate(&rows[k])? / rate(other)?)
    });
    let ratios: Vec<f64> = ratios.collect();
    (!ratios.is_empty()).then(|| median(ratios))
}

/// Prints the table. Returns false where a bound is missed or a contender was not measured in some round.
pub fn print(rounds: &[Vec<Row>]) -> bool {
    let Some(first) = rounds.first() else { return true };
    let mut held = true;
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let of_guarantee = |row: &&Row| row.contender.guarantee == guarantee;
        if !first.iter().any(|row| of_guarantee(&row)) {
            continue;
        }
        println!(
            "\n{guarantee:16}{:>9} {:>9} {:>8} {:>7} {:>7} {:>7} {:>6} {:>6} {:>8} {:>8}",
            "k/s",
            "2nd half",
            "µs cpu",
            "MiB 1M",
            "MiB end",
            "MiB max",
            "bytes",
            "twice",
            "/ bare",
            "/ streams"
        );
        for (k, row) in first.iter().enumerate().filter(|(_, row)| of_guarantee(row)) {
            let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
            let figure = |figure: &dyn Fn(&Measured) -> Option<f64>| middle(rounds, k, figure);
            let rate = figure(&|m| Some(1e-3 * m.verdict.rate));
            if !rate.is_nan() {
                print!(
                    "{:16}{rate:>9.0} {:>9.0} {:>8.2} {:>7.0} {:>7.0} {:>7.0} {:>6.0} {:>6.0}",
                    row.contender.name,
                    figure(&|m| Some(1e-3 * m.verdict.second_half_rate)),
                    figure(&|m| Some(1e6 * m.ended.cpu_seconds / m.verdict.n as f64)),
                    figure(&|m| mib(m.warm_bytes)),
                    figure(&|m| mib(m.last_bytes)),
                    figure(&|m| mib(Some(m.ended.peak_bytes))),
                    figure(&|m| Some(m.verdict.bytes)),
                    figure(&|m| Some(m.verdict.duplicates as f64)),
                );
                for yardstick in REFERENCES {
                    let told = ratio(rounds, k, yardstick).map_or("-".into(), |ratio| format!("{ratio:.2}"));
                    print!(" {told:>8}");
                }
                println!();
            }
            for (round, rows) in rounds.iter().enumerate() {
                if let Err(why) = &rows[k].outcome {
                    println!("{:16}NOT MEASURED in round {}: {why}", row.contender.name, round + 1);
                    held = false;
                }
            }
        }
        for (k, row) in first.iter().enumerate().filter(|(_, row)| of_guarantee(row)) {
            let Contender { name, at_least, at_least_per_second, .. } = &row.contender;
            for (other, bound) in at_least {
                held &= holds(&format!("{name} to {other}, {guarantee}"), ratio(rounds, k, other), *bound);
            }
            if let Some(bound) = at_least_per_second {
                let rate = middle(rounds, k, |m| Some(m.verdict.rate));
                held &=
                    holds(&format!("{name}, replies/s"), Some(rate).filter(|rate| !rate.is_nan()), *bound);
            }
        }
    }
    held
}

/// Prints a figure beside its bound, and returns whether there is one and it is at least the bound.
fn holds(what: &str, found: Option<f64>, bound: f64) -> bool {
    let (told, verdict) = match found {
        Some(found) if found >= bound => (format!("{found:.3}"), "holds"),
        Some(found) => (format!("{found:.3}"), "MISSED"),
        None => ("unknown".into(), "NOT MEASURED"),
    };
    println!("{what}: {told}, at least {bound} {verdict}");
    verdict == "holds"
}
