//! The settings of how a network learns.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a network learns: settings that only training reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NnTraining {
    /// Samples of one optimiser step: positives and their negatives together, or ratings.
    pub batch_size: usize,
    /// The learning rate of the optimiser, before `schedule`.
    pub learning_rate: f64,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Decoupled weight decay (Loshchilov and Hutter 2019): each step takes `learning_rate * weight_decay` off every
    /// weight.
    pub weight_decay: f32,
    /// The largest norm of all gradients together; above it they are scaled down to it.
    pub clip_norm: Option<f32>,
    /// Which rows of the embedding tables a step updates.
    pub embedding_update: EmbeddingUpdate,
    /// How the learning rate changes; constant where there is none.
    pub schedule: Option<Schedule>,
}

/// The optimiser of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam (Kingma and Ba 2015).
    Adam,
    /// AdaGrad (Duchi et al. 2011).
    Adagrad,
    /// Plain stochastic gradient descent.
    Sgd,
}

impl Optimizer {
    /// Returns how many values the optimiser keeps for each value of a weight.
    pub fn n_states(self) -> usize {
        match self {
            Self::Adam => 2,
            Self::Adagrad => 1,
            Self::Sgd => 0,
        }
    }
}

/// Which rows of the embedding tables a step updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingUpdate {
    /// Lazy for a table that is more than four times as long as a batch has entries for it, else dense.
    Auto,
    /// All rows, as Adam is published: its moments go on updating rows that earlier batches touched.
    Dense,
    /// Only the touched rows, which are those that the batch reads: the cost of a step does not grow with the tables.
    Lazy,
}

impl EmbeddingUpdate {
    /// Returns whether a table of this length is updated lazily by batches with so many lookups in it.
    pub fn is_lazy(self, table: usize, entries: usize) -> bool {
        match self {
            Self::Auto => table > 4 * entries,
            Self::Dense => false,
            Self::Lazy => true,
        }
    }
}

/// How the learning rate changes over the epochs: it rises linearly from 0 to the learning rate of the settings during
/// `warmup`, decays to `floor` times that rate until `epochs`, and stays there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The curve of the decay.
    pub kind: ScheduleKind,
    /// The epoch at which the decay ends, counted from the start of training.
    #[serde(default)]
    pub epochs: f64,
    /// The fraction of the learning rate that is left then.
    #[serde(default)]
    pub floor: f64,
    /// The epochs of the warm-up, after which the whole rate is reached.
    #[serde(default)]
    pub warmup: f64,
}

/// How a learning rate decays after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Not at all: there is a warm-up alone.
    Constant,
    /// Linearly.
    Linear,
    /// Along half a cosine wave (Loshchilov and Hutter 2017, without restarts).
    Cosine,
    /// By the same factor each epoch.
    Exponential,
}

impl Schedule {
    /// Returns the factor of the learning rate after this many epochs, fractions included.
    pub fn factor(&self, epochs: f64) -> f64 {
        let up = if epochs < self.warmup { epochs / self.warmup } else { 1.0 };
        let way =
            ((epochs - self.warmup) / (self.epochs - self.warmup).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        let left = match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Linear => 1.0 - way * (1.0 - self.floor),
            ScheduleKind::Cosine => {
                self.floor + (1.0 - self.floor) * (1.0 + (std::f64::consts::PI * way).cos()) / 2.0
            }
            ScheduleKind::Exponential => self.floor.powf(way),
        };
        up * left
    }

    fn validate(&self) -> Result<()> {
        let Self { kind, epochs, floor, warmup } = *self;
        let refused = |key: &str, found: f64, expected: &str| {
            Err(Error::config(format!("schedule.{key}"), found, expected))
        };
        if !(warmup.is_finite() && warmup >= 0.0) {
            return refused("warmup", warmup, "0 or a number of epochs");
        }
        if kind != ScheduleKind::Constant && !(epochs.is_finite() && epochs > warmup) {
            return refused("epochs", epochs, "the number of epochs until the floor, more than the warm-up");
        }
        if !(0.0..=1.0).contains(&floor) {
            return refused("floor", floor, "a part of the learning rate, from 0 to 1");
        }
        if kind == ScheduleKind::Exponential && floor == 0.0 {
            return refused("floor", floor, "a number above 0, as exponential decay never reaches 0");
        }
        Ok(())
    }
}

impl Default for NnTraining {
    fn default() -> Self {
        Self {
            batch_size: 16384,
            learning_rate: 0.001,
            optimizer: Optimizer::Adam,
            weight_decay: 0.0,
            clip_norm: None,
            embedding_update: EmbeddingUpdate::Auto,
            schedule: None,
        }
    }
}

impl NnTraining {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// When one is out of it.
    pub fn validate(&self) -> Result<()> {
        if self.batch_size == 0 {
            return Err(Error::config("batch_size", 0, "at least 1"));
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return Err(Error::config("learning_rate", self.learning_rate, "a number above 0"));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(Error::config("weight_decay", self.weight_decay, "0 or a number above"));
        }
        if let Some(most) = self.clip_norm.filter(|most| !(most.is_finite() && *most > 0.0)) {
            return Err(Error::config("clip_norm", most, "a number above 0"));
        }
        self.schedule.map_or(Ok(()), |schedule| schedule.validate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_start_whole_and_end_at_their_floor() {
        for kind in [ScheduleKind::Linear, ScheduleKind::Cosine, ScheduleKind::Exponential] {
            let schedule = Schedule { kind, epochs: 12.0, floor: 0.1, warmup: 2.0 };
            schedule.validate().expect("in range");
            let factor = |epochs| schedule.factor(epochs);
            assert_eq!([factor(0.0), factor(1.0), factor(2.0)], [0.0, 0.5, 1.0], "{kind:?}");
            assert!((factor(12.0) - 0.1).abs() < 1e-12 && factor(99.0) == factor(12.0), "{kind:?}");
            assert!(
                (3..12).all(|epoch| factor(f64::from(epoch)) < factor(f64::from(epoch) - 1.0)),
                "{kind:?}"
            );
        }
        let middle = |kind| Schedule { kind, epochs: 10.0, floor: 0.25, warmup: 0.0 }.factor(5.0);
        assert_eq!(middle(ScheduleKind::Linear), 0.625);
        assert!((middle(ScheduleKind::Cosine) - 0.625).abs() < 1e-12);
        assert_eq!(middle(ScheduleKind::Exponential), 0.5);
        assert_eq!(middle(ScheduleKind::Constant), 1.0);
    }

    #[test]
    fn tables_are_lazy_by_their_size() {
        assert!(EmbeddingUpdate::Auto.is_lazy(138_493, 3_276));
        assert!(!EmbeddingUpdate::Auto.is_lazy(3_706, 16_384));
        assert!(EmbeddingUpdate::Lazy.is_lazy(1, 100) && !EmbeddingUpdate::Dense.is_lazy(100, 1));
    }
}
