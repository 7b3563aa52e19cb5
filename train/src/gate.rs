//! The gate before a release: a newly trained model beside the one that serves, on the newest rows, by a paired comparison of the
//! same users.

use burnrec_data::{Csr, Entry, ItemIx, Prepared, UserIx};
use burnrec_models::trained::Answering;
use burnrec_models::{Progress, Recommender, Scorer};
use serde::{Deserialize, Serialize};

use crate::evaluate::{EvaluateOptions, Scores, evaluate};
use crate::metrics::Metric;
use crate::run::Trained;
use crate::stats::{Difference, Measure, Statistic, difference};
use crate::{Error, Result};

/// What a model must show to be promoted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// The metric on test: one that is a mean over users.
    pub metric: Metric,
    /// How much worse than the serving model it may be, in the metric's own units: the lower end of the 95 % interval of the paired
    /// difference must not be below minus this (a test of non-inferiority).
    pub not_worse_by: f64,
    /// How many users of test must be judged at least.
    pub users: usize,
}

impl Default for Gate {
    fn default() -> Self {
        Self { metric: Metric::Ndcg(10), not_worse_by: 0.005, users: 100 }
    }
}

/// What the gate found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The metric of the new model.
    pub candidate: f64,
    /// That of the serving one, on the same users, and the difference; none where none serves yet.
    pub serving: Option<(f64, Difference)>,
    /// How many users were judged.
    pub users: usize,
    /// Why the new model is not promoted, if it is not.
    pub refused: Option<String>,
}

impl Gate {
    /// Checks the settings.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn validate(&self) -> Result<()> {
        let config = |key: &str, found: String, expected: &str| {
            Err(burnrec_models::Error::config(key, found, expected).into())
        };
        if !(self.not_worse_by >= 0.0 && self.not_worse_by.is_finite()) {
            return config(
                "gate.not_worse_by",
                self.not_worse_by.to_string(),
                "a finite number of at least 0",
            );
        }
        if self.users == 0 {
            return config("gate.users", "0".to_owned(), "at least 1");
        }
        Ok(())
    }

    /// Compares a model that was trained on `data` with the one that serves, on test. The serving model answers as it would in the
    /// service after the same events: users are folded in from their rows of train and valid where it can, else they have the row
    /// that it was trained with, and those that it does not know the popularity of its items. An item that it does not know comes last.
    ///
    /// # Errors
    /// When the metric is not one of test that is a mean over users, or the serving model cannot be judged.
    pub fn judge(
        &self,
        candidate: &Trained,
        serving: Option<&Recommender>,
        data: &Prepared,
        progress: &dyn Progress,
    ) -> Result<Verdict> {
        let test = &candidate.record.metrics.test;
        let ours = self.per_user(test)?;
        let users = test.users;
        let value = mean(&ours);
        let theirs = match serving {
            None => None,
            Some(serving) => {
                let scores = judge_serving(serving, self.metric, data, progress)?;
                let theirs = self.per_user(&scores)?;
                let sign = if self.metric.higher_is_better() { 1.0 } else { -1.0 };
                let measure = |values: &[f32]| Measure {
                    statistic: Statistic::Mean,
                    seeds: vec![values.iter().map(|value| [sign * f64::from(*value), 1.0]).collect()],
                };
                Some((mean(&theirs), difference(&measure(&ours), &measure(&theirs))))
            }
        };
        let refused = self.refuse(value, theirs.as_ref(), users);
        Ok(Verdict { candidate: value, serving: theirs, users, refused })
    }

    /// Returns why a model is not promoted, if it is not.
    fn refuse(&self, value: f64, serving: Option<&(f64, Difference)>, users: usize) -> Option<String> {
        let Self { metric, not_worse_by, users: least } = self;
        if users < *least {
            return Some(format!("{users} users were judged, where gate.users asks for {least}"));
        }
        let (theirs, difference) = serving?;
        let low = difference.interval.map_or(f64::NEG_INFINITY, |interval| interval.low);
        (low < -not_worse_by).then(|| {
            format!(
                "{metric} is {value:.4} beside {theirs:.4} of the serving model: by the 95 % interval of the difference it may be \
                 worse by {:.4}, where gate.not_worse_by allows {not_worse_by}",
                -low
            )
        })
    }

    fn per_user(&self, scores: &Scores) -> Result<Vec<f32>> {
        scores.per_user.get(&self.metric).cloned().ok_or_else(|| {
            let all: Vec<String> = scores.per_user.keys().map(ToString::to_string).collect();
            let expected = format!("one of {}", all.join(", "));
            burnrec_models::Error::config("gate.metric", self.metric, expected).into()
        })
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64
}

/// Judges the serving model on the test of data that it was not trained on.
fn judge_serving(
    serving: &Recommender,
    metric: Metric,
    data: &Prepared,
    progress: &dyn Progress,
) -> Result<Scores> {
    let train = data.matrix(&data.split.train, true);
    let seen = train.union(&data.matrix(&data.split.valid_rows, true), 0..train.n_rows());
    let holdout = &data.split.test;
    if holdout.fold_in {
        return Err(Error::Evaluate {
            found: "a split by users".to_owned(),
            expected: "one by time: both models answer the users that they know".to_owned(),
        });
    }
    let options = EvaluateOptions {
        rating: false,
        ..EvaluateOptions::of(&serving.model.config(), holdout, 42, Some(metric))
    };
    let scorer = OverIds::new(serving, data, &seen)?;
    evaluate(&scorer, holdout, &seen, &options, progress)
}

/// A recommender as a scorer over the rows of other data.
struct OverIds<'a> {
    scorer: Box<dyn Scorer + 'a>,
    /// Of each user of the data the scorer's.
    users: Vec<Option<UserIx>>,
    /// Of each item of the data the scorer's.
    items: Vec<Option<ItemIx>>,
    recommender: &'a Recommender,
}

impl<'a> OverIds<'a> {
    fn new(recommender: &'a Recommender, data: &Prepared, seen: &Csr) -> Result<Self> {
        let row = |row: u32| recommender.item_row(data.items.id(row));
        let items: Vec<Option<ItemIx>> = (0..data.items.len() as u32).map(row).collect();
        let answering = Answering::new(&*recommender.model, recommender.trained());
        let Some(fold_in) = answering.as_fold_in() else {
            let row = |row: u32| recommender.user_row(data.users.id(row));
            let users = (0..data.users.len() as u32).map(row).collect();
            return Ok(Self { scorer: Box::new(answering), users, items, recommender });
        };
        // As in the service, an event that the model cannot take is left out.
        let entry = |entry: Entry| {
            let item = items[entry.col as usize]?;
            recommender.trained().check_value(entry.value).ok()?;
            Some(Entry { col: item.0, ..entry })
        };
        let histories =
            (0..seen.n_rows()).map(|user| seen.history(user).into_iter().filter_map(entry).collect());
        let histories =
            Csr::from_histories(recommender.items.vocab().len(), histories.collect::<Vec<Vec<Entry>>>());
        let scorer = fold_in.fold_in(&histories)?;
        let users = (0..data.users.len() as u32).map(|user| Some(UserIx(user))).collect();
        Ok(Self { scorer, users, items, recommender })
    }

    fn popularity(&self, item: ItemIx) -> f32 {
        self.recommender.trained().popularity().count(item)
    }
}

impl Scorer for OverIds<'_> {
    fn n_users(&self) -> usize {
        self.users.len()
    }

    fn n_items(&self) -> usize {
        self.items.len()
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        out.fill(f32::NEG_INFINITY);
        let (mut known, mut places) = ((Vec::new(), Vec::new()), Vec::new());
        for (at, (user, item)) in users.iter().zip(items).enumerate() {
            let Some(item) = self.items[item.at()] else { continue };
            match self.users[user.at()] {
                None => out[at] = self.popularity(item),
                Some(user) => {
                    known.0.push(user);
                    known.1.push(item);
                    places.push(at);
                }
            }
        }
        let mut scores = vec![0.0; places.len()];
        self.scorer.score_pairs(&known.0, &known.1, &mut scores);
        places.iter().zip(scores).for_each(|(at, score)| out[*at] = score);
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let known: Vec<UserIx> = users.iter().filter_map(|user| self.users[user.at()]).collect();
        let n_theirs = self.scorer.n_items();
        let mut theirs = vec![0.0; known.len() * n_theirs];
        self.scorer.score_catalog(&known, &mut theirs);
        let mut rows = theirs.chunks_exact(n_theirs);
        for (user, out) in users.iter().zip(out.chunks_exact_mut(self.items.len())) {
            let row = self.users[user.at()].and_then(|_| rows.next());
            for (out, item) in out.iter_mut().zip(&self.items) {
                *out = match (item, row) {
                    (None, _) => f32::NEG_INFINITY,
                    (Some(item), Some(row)) => row[item.at()],
                    (Some(item), None) => self.popularity(*item),
                };
            }
        }
    }

    fn pairs_at_once(&self) -> usize {
        self.scorer.pairs_at_once()
    }
}
