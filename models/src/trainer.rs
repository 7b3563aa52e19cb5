//! A family that learns, and the settings of a model of any family with those of its training: what makes learners.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use burnrec_data::split::Split;
use burnrec_data::{ItemIx, Prepared};
use toml::Table;

use crate::learner::{FitInput, Learner};
use crate::model::{Compute, Family, ModelConfig, Output};
use crate::settings::Settings;
use crate::{Error, Result};

/// A family whose models are trained here.
pub trait Trainable: Family {
    /// The settings that only training reads, beside those of the run: [`NoSettings`](crate::settings::NoSettings)
    /// where there are none.
    type Training: Settings + Default + Clone + PartialEq + fmt::Debug + Send + Sync + 'static;

    /// Refuses settings of training that are out of their range.
    ///
    /// # Errors
    /// When one is out of its range; the error names it.
    fn validate_training(_: &Self::Training) -> Result<()> {
        Ok(())
    }

    /// Returns where the model is trained.
    fn trains_on(&self) -> Compute {
        Compute::Host
    }

    /// Returns whether a row with a negative value has a meaning, as it has for a model of ratings. Where it has none, each
    /// row counts as a positive whatever its value, and training on such rows is refused.
    fn takes_negative_values(&self) -> bool {
        self.output() == Output::Rating
    }

    /// Returns whether the saved run keeps the weights that were chosen on valid beside the final ones, because other
    /// models start from them.
    fn keeps_chosen(&self) -> bool {
        false
    }

    /// Returns the key of the setting that names earlier runs to start from, where there are such: they may have seen
    /// what a fold of a cross-validation holds out.
    fn starts_from_runs(_: &Self::Training) -> Option<&'static str> {
        None
    }

    /// Makes the learner of one fit.
    ///
    /// # Errors
    /// When the settings cannot be met by the data or the device.
    fn learner<'a>(&self, training: &Self::Training, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>>;
}

/// The settings of a model of any family with those that only its training reads: what makes learners.
#[derive(Clone)]
pub struct Trainer(Arc<dyn AnyTrainer>);

impl Trainer {
    /// Holds the settings of a family and of its training.
    pub fn new<F: Trainable>(model: F, training: F::Training) -> Self {
        Self(Arc::new(TrainerOf { config: ModelConfig::new(model.clone()), model, training }))
    }

    /// Returns the settings of the model.
    pub fn model(&self) -> &ModelConfig {
        self.0.model()
    }

    /// Returns the settings of training if they are a `T`.
    pub fn training<T: 'static>(&self) -> Option<&T> {
        self.0.training().downcast_ref()
    }

    /// Refuses settings that no model can be made of, or that cannot train.
    ///
    /// # Errors
    /// When a setting is out of its range; the error names it.
    pub fn validate(&self) -> Result<()> {
        self.model().validate()?;
        self.0.validate_training()
    }

    /// Returns where the model is trained.
    pub fn trains_on(&self) -> Compute {
        self.0.trains_on()
    }

    /// Returns [`Trainable::keeps_chosen`].
    pub fn keeps_chosen(&self) -> bool {
        self.0.keeps_chosen()
    }

    /// Returns [`Trainable::starts_from_runs`].
    pub fn starts_from_runs(&self) -> Option<&'static str> {
        self.0.starts_from_runs()
    }

    /// Makes the learner of one fit.
    ///
    /// # Errors
    /// When the settings cannot be met by the data or the device, the data has negative values for which the model has no
    /// meaning, or the model reads the order of a user's rows and `fit.train` has none.
    pub fn learner<'a>(&self, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        if !self.0.takes_negative_values() {
            refuse_negative_values(self.model().kind(), fit.data)?;
        }
        if self.model().reads_order() && fit.train.order().is_none() {
            let by = self.model().reads_order_by().map_or("the model".to_owned(), |key| format!("its {key}"));
            return Err(Error::NoTimes { kind: self.model().kind(), by });
        }
        self.0.learner(fit)
    }

    /// Returns all settings as a flat table, defaults and `model` included.
    pub fn to_table(&self) -> Table {
        let mut table = self.model().to_table();
        table.extend(self.0.training_table());
        table
    }
}

/// Refuses data of which a row, trained on or held out, has a negative value.
fn refuse_negative_values(kind: &'static str, data: &Prepared) -> Result<()> {
    let Split { train, valid_rows, test, .. } = &data.split;
    let rows = [train, valid_rows].into_iter().flat_map(|rows| {
        let ids = rows.users.iter().zip(&rows.items);
        ids.zip(&rows.values).map(|((&user, &item), &value)| (user, item, value))
    });
    let histories = test.fold_in.then_some(&test.history);
    let of_test = [&test.relevant].into_iter().chain(histories).flat_map(|matrix| {
        let users = test.users.iter().enumerate();
        users.flat_map(|(row, &user)| {
            let (items, values) = matrix.row(row);
            items.iter().zip(values).map(move |(&item, &value)| (user, ItemIx(item), value))
        })
    });
    let mut negative = rows.chain(of_test).filter(|&(.., value)| value < 0.0);
    let Some((user, item, first)) = negative.next() else { return Ok(()) };
    let (rows, least) = negative.fold((1, first), |(n, least), (.., value)| (n + 1, value.min(least)));
    Err(Error::NegativeValues {
        kind,
        rows,
        least,
        first,
        user: data.users.id(user.0).to_string(),
        item: data.items.id(item.0).to_string(),
    })
}

impl PartialEq for Trainer {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_equal(&*other.0)
    }
}

impl fmt::Debug for Trainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// [`Trainable`] with its settings as a trait object.
trait AnyTrainer: fmt::Debug + Send + Sync {
    fn model(&self) -> &ModelConfig;
    fn training(&self) -> &dyn Any;
    fn validate_training(&self) -> Result<()>;
    fn trains_on(&self) -> Compute;
    fn takes_negative_values(&self) -> bool;
    fn keeps_chosen(&self) -> bool;
    fn starts_from_runs(&self) -> Option<&'static str>;
    fn learner<'a>(&self, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>>;
    fn training_table(&self) -> Table;
    fn is_equal(&self, other: &dyn AnyTrainer) -> bool;
}

#[derive(Debug)]
struct TrainerOf<F: Trainable> {
    config: ModelConfig,
    model: F,
    training: F::Training,
}

impl<F: Trainable> AnyTrainer for TrainerOf<F> {
    fn model(&self) -> &ModelConfig {
        &self.config
    }

    fn training(&self) -> &dyn Any {
        &self.training
    }

    fn validate_training(&self) -> Result<()> {
        F::validate_training(&self.training)
    }

    fn trains_on(&self) -> Compute {
        self.model.trains_on()
    }

    fn takes_negative_values(&self) -> bool {
        self.model.takes_negative_values()
    }

    fn keeps_chosen(&self) -> bool {
        self.model.keeps_chosen()
    }

    fn starts_from_runs(&self) -> Option<&'static str> {
        F::starts_from_runs(&self.training)
    }

    fn learner<'a>(&self, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        self.model.learner(&self.training, fit)
    }

    fn training_table(&self) -> Table {
        Settings::to_table(&self.training)
    }

    fn is_equal(&self, other: &dyn AnyTrainer) -> bool {
        *self.model() == *other.model() && other.training().downcast_ref() == Some(&self.training)
    }
}
