//! A section of the report: everything about one group of comparable models, from the sentences to the facts about data
//! and machines.

use burnrec_train::metrics::Metric;
use serde::Serialize;

use super::compare::{self, Comparison, LEVEL, name};
use super::facts::{self, Setting, SplitFacts};
use super::group::Group;
use super::items::{self, Items};
use super::scores::{self, Scored};
use super::table::{Cell, Table};
use super::{buckets, cost, curves, tuning};
use crate::chart::Chart;
use crate::number::{self, count, counted};
use crate::record::Task;
use burnrec_train::stats::{RESAMPLES, SWAPS};

/// The section of one task on one data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportSection {
    /// The title: `Ranking on ml-1m`.
    pub title: String,
    /// The task.
    pub task: Task,
    /// The metric that is shown first and tested; it was fixed before anything was trained.
    pub metric: Option<Metric>,
    /// Whether a higher value of the metric is better.
    pub higher_is_better: Option<bool>,
    /// The findings in plain words, the most important first.
    pub sentences: Vec<String>,
    /// What a reader must know before comparing figures.
    pub warnings: Vec<String>,
    /// The chart of quality against time.
    pub picture: Option<Chart>,
    /// The picture's caption.
    pub caption: String,
    /// The tests behind the sentences.
    pub comparisons: Vec<Comparison>,
    /// The other charts and tables, in their order.
    pub blocks: Vec<Block>,
    /// Right and wrong decisions on every item.
    pub items: Option<Items>,
    /// The splits.
    pub splits: Vec<SplitFacts>,
    /// Each model's settings.
    pub settings: Vec<Setting>,
}

/// Charts and tables under one heading.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Block {
    /// The heading.
    pub title: String,
    /// Notes for the reader.
    pub notes: Vec<String>,
    /// The charts.
    pub charts: Vec<Chart>,
    /// The tables.
    pub tables: Vec<Table>,
}

impl ReportSection {
    /// Makes the section of a group.
    pub fn of(group: &Group) -> Self {
        let mut names: Vec<&str> = group.splits.iter().map(|split| split.data.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut title = group.task.title().to_owned();
        if !names.is_empty() {
            title += &format!(" on {}", names.join(", "));
        }
        let mut section = Self {
            title,
            task: group.task,
            metric: group.metric,
            higher_is_better: group.metric.map(Metric::higher_is_better),
            sentences: vec!["No model is finished.".to_owned()],
            warnings: facts::warnings(group),
            picture: None,
            caption: String::new(),
            comparisons: Vec::new(),
            blocks: Vec::new(),
            items: None,
            splits: facts::splits(group),
            settings: facts::settings(group),
        };
        if let Some(metric) = group.metric.filter(|_| !group.models.is_empty()) {
            section.fill(group, metric);
        }
        section
    }

    fn fill(&mut self, group: &Group, metric: Metric) {
        let scored: Vec<Scored> = group.models.iter().map(scores::scored).collect();
        let (comparisons, reasons) = compare::comparisons(group);
        self.sentences = under_popularity(group, metric, &scored);
        self.sentences.push(leader(group, metric, &scored));
        self.sentences.extend(comparisons.iter().map(|one| one.sentence.clone()));
        self.sentences.extend(reasons);
        let title = format!("{}: {} against training time", self.title, name(metric));
        self.picture = Some(scores::picture(group, metric, &scored, title));
        self.caption = caption(group);
        self.items = items::items(group);

        let mut tables = vec![scores::table(group, metric, &scored), scores::all_metrics(group, &scored)];
        if group.splits.len() > 1 {
            tables.push(scores::by_seed(group, metric));
        }
        self.block("Scores", vec![], vec![], tables);
        if let (Some(chart), Some(table)) =
            (compare::chart(&comparisons, group), compare::table(&comparisons))
        {
            let title = format!("Differences from {}", comparisons[0].against);
            self.block(&title, vec![], vec![chart], vec![table]);
        }
        if let Some(table) = tuning::table(group) {
            self.block("How settings were chosen", tuning::notes(group), vec![], vec![table]);
        }
        self.block("Speed and memory", vec![], cost::charts(group), vec![cost::table(group)]);
        let mut charts = curves::valid(group);
        charts.extend(curves::loss(group));
        let note = "A large mark is the epoch that was chosen on valid. Further seeds are drawn fainter; a dashed line is \
                    the final fit, on train and valid together. Time is training alone, without evaluation.";
        self.block("Learning curves", vec![note.to_owned()], charts, vec![]);
        let both = [buckets::by_popularity(group), buckets::by_activity(group, metric)];
        let (charts, tables) = both.into_iter().flatten().unzip();
        self.block("Popular items and active users", vec![], charts, tables);
        if let Some(items) = &self.items {
            let mut tables = vec![items::totals(items)];
            tables.extend(items::tables(items));
            self.block("Precision and recall by item", vec![], vec![], tables);
        }
        let tables = vec![facts::data(group), facts::machines(group), facts::versions(group)];
        let mut notes = method(group, metric);
        if !comparisons.is_empty() {
            notes.push(test());
        }
        self.block("How it was measured", notes, vec![], tables);
        self.comparisons = comparisons;
    }

    fn block(&mut self, title: &str, notes: Vec<String>, charts: Vec<Chart>, tables: Vec<Table>) {
        if !charts.is_empty() || !tables.is_empty() {
            self.blocks.push(Block { title: title.to_owned(), notes, charts, tables });
        }
    }
}

/// Writes which models are no better than the same list for everyone.
fn under_popularity(group: &Group, metric: Metric, scored: &[Scored]) -> Vec<String> {
    let value = |at: usize| scored[at][&metric].value;
    let is_popularity = |at: &usize| group.models[*at].runs[0].case.config["model"] == "popularity";
    let Some(popularity) = (0..group.models.len()).find(is_popularity) else { return Vec::new() };
    let is_under = |at: &usize| match metric.higher_is_better() {
        true => value(*at) <= value(popularity),
        false => value(*at) >= value(popularity),
    };
    let others = (0..group.models.len()).filter(|at| *at != popularity);
    let under: Vec<usize> = others.filter(is_under).collect();
    if under.is_empty() {
        return Vec::new();
    }
    let say = |at: usize| format!("{} ({})", group.models[at].name, number::score(value(at)));
    let names: Vec<String> = under.iter().map(|&at| say(at)).collect();
    let verb = if under.len() == 1 { "is" } else { "are" };
    vec![format!(
        "No better than {}, which gives everyone the same list, {verb}: {}.",
        say(popularity),
        names.join(", ")
    )]
}

/// Writes which model has the best value, and the value of the baseline.
fn leader(group: &Group, metric: Metric, scored: &[Scored]) -> String {
    let value = |at: &usize| scored[*at][&metric].value;
    let better = |a: &usize, b: &usize| match metric.higher_is_better() {
        // Of equally good models the first wins.
        true => value(a).total_cmp(&value(b)).then(b.cmp(a)),
        false => value(b).total_cmp(&value(a)).then(b.cmp(a)),
    };
    let best = (0..group.models.len()).max_by(better).unwrap_or(0);
    let say = |at: usize| {
        let model = &group.models[at];
        let seconds = number::seconds(model.mean(|case| case.fit_seconds));
        (
            &model.name,
            format!("{}, after {seconds} s of training", Cell::score((&scored[at][&metric]).into()).shown()),
        )
    };
    let (leader, theirs) = say(best);
    let extreme = if metric.higher_is_better() { "highest" } else { "lowest" };
    let mut text = format!("{leader} has the {extreme} {} on test: {theirs}", name(metric));
    if let Some(baseline) = group.baseline().filter(|at| *at != best) {
        let (baseline, theirs) = say(baseline);
        text += &format!("; {baseline} has {theirs}");
    }
    text + "."
}

fn caption(group: &Group) -> String {
    let seeds = group.splits.len();
    let mut text = match seeds {
        1 => "Each mark is a model, trained and judged once on one split".to_owned(),
        seeds => format!("Each mark is a model's mean over {seeds} seeds; faint marks are the single seeds"),
    };
    text += ". Bars are 95 % intervals over users. To the left is faster.";
    if group.models.iter().any(|model| model.style.hollow) {
        text += " Outlines are other programs.";
    }
    text
}

/// Writes how the figures were measured.
fn method(group: &Group, metric: Metric) -> Vec<String> {
    let mut users: Vec<usize> = group.splits.iter().map(|split| split.user_activity.len()).collect();
    users.sort_unstable();
    users.dedup();
    let users: Vec<String> = users.into_iter().map(|users| counted(users as u64, "user")).collect();
    let mut protocols: Vec<&str> = group.splits.iter().map(|split| split.protocol.as_str()).collect();
    protocols.sort_unstable();
    protocols.dedup();
    let direction = if metric.higher_is_better() { "higher is better" } else { "lower is better" };
    let seeds: Vec<String> = group.splits.iter().map(|split| split.seed.to_string()).collect();
    let of_task = match group.task {
        Task::Ranking | Task::Rating => None,
        Task::Temporal => Some(
            "All rows of train come before those of valid, and these before those of test. Who has no row before a moment is \
             answered by popularity, and items that appear after it stand last.",
        ),
        Task::UserHoldout => Some(
            "The judged users have no row in training: a model folds in a part of each user's rows and has to find the others. \
             Published tables call capped recall Recall@k: hits by the smaller of k and the number of items to find.",
        ),
    };
    let mut notes = vec![
        format!(
            "{} on test was decided to be the metric before anything was trained; {direction}. Judged: {}. Protocol: {}.",
            name(metric),
            users.join(" or "),
            protocols.join(" and ")
        ),
        match seeds.as_slice() {
            [seed] => format!("One seed ({seed}): nothing is known of how much another split or training would differ."),
            seeds => format!(
                "{} seeds ({}), each with a split and a training of its own. A model's value is the mean over them.",
                seeds.len(),
                seeds.join(", ")
            ),
        },
        format!(
            "Intervals are the middle 95 % of {} bootstrap resamples of users (percentile bootstrap, Efron and \
             Tibshirani 1993). They say how far the value might lie with other users of the same kind, not with other \
             seeds; one draw of users serves all seeds, by their place among the judged ones.",
            count(RESAMPLES as u64)
        ),
        "Epochs and settings are chosen on valid; test is looked at once, by the final model. Times are wall-clock \
         seconds of the machine below."
            .to_owned(),
    ];
    notes.extend(of_task.map(str::to_owned));
    notes
}

/// Writes which test was used.
fn test() -> String {
    format!(
        "Models are compared with a paired randomisation test (Fisher; Smucker et al. 2007): each user's two results are \
         swapped by the toss of a coin, in all seeds at once, {} times, and p is the share of tosses whose difference is at \
         least as large as the one found, either way. Holm's correction (1979) over the tests of this section keeps the \
         chance of any false finding among them at {} %.",
        count(SWAPS as u64),
        100.0 * LEVEL
    )
}
