//! The model: the item-item matrix with the histories of its users.

use std::fmt;
use std::sync::Arc;

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::vocab_file::csr_tensors;
use burnrec_data::{Csr, ItemIx, UserIx};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ItemMatrix;
use super::matrix::read_matrix;
use crate::device::OpenDevice;
use crate::model::{Family, Model, ModelConfig, Output};
use crate::scorer::{FoldIn, Scorer, Shape, check_histories};
use crate::similar::Likeness;
use crate::user_array::UserArray;
use crate::weights::matrix as array;
use crate::{Recency, Result};

/// A family whose models are an item-item matrix: what it says of itself, from which all that [`Family`] asks for follows.
pub trait ItemItem:
    Serialize + DeserializeOwned + Clone + PartialEq + fmt::Debug + Send + Sync + 'static
{
    /// The [`Family::KIND`].
    const NAME: &'static str;

    /// Refuses settings, but for [`ItemItem::recency`], that no model can be made of.
    ///
    /// # Errors
    /// When a setting is out of its range; the error names it.
    fn check_settings(&self) -> Result<()>;

    /// Returns how the weight of a history's rows falls with their age.
    fn recency(&self) -> Recency;

    /// Returns what a row of a history with this value counts, before its age is weighed: 1 for every value over 0, else 0, unless
    /// a family says otherwise.
    fn count(&self, value: f32) -> f32 {
        one(value)
    }

    /// Returns how much an item's popularity adds to every user's score of it: this times the share of users who have the item,
    /// in units of the mean weight of the matrix. It orders the items that no item of a history has a weight for.
    fn popularity(&self) -> f32 {
        0.0
    }

    /// Returns histories, `[users, n_items]`, with the values `x_ui` that scores weigh their items by: [`ItemItem::count`] times
    /// the weight of the row's age. Rows that count nothing are left out.
    ///
    /// # Errors
    /// When the ages of the rows count and are not known.
    fn weigh(&self, histories: &Csr) -> Result<Csr> {
        let by_age = self.recency().weights(histories)?;
        Ok(counted(histories, |at, value| {
            by_age.as_ref().map_or(1.0, |by_age| by_age[at]) * self.count(value)
        }))
    }
}

impl<F: ItemItem> Family for F {
    const KIND: &'static str = F::NAME;

    fn validate(&self) -> Result<()> {
        self.check_settings()?;
        self.recency().validate()
    }

    fn output(&self) -> Output {
        Output::Raw
    }

    fn reads_order(&self) -> bool {
        self.recency() != Recency::None
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        Some(vec![UserArray::Matrix(HISTORIES)])
    }

    fn load(&self, weights: &TensorFile, shape: Shape, _: &OpenDevice) -> Result<Box<dyn Model>> {
        Ok(Box::new(ItemItemModel::load(weights, self.clone(), shape)?))
    }
}

/// Returns the entries over 0, each with the value 1.
pub fn ones(matrix: &Csr) -> Csr {
    counted(matrix, |_, value| one(value))
}

fn one(value: f32) -> f32 {
    f32::from(u8::from(value > 0.0))
}

/// Returns a matrix without an order, with the values that `count` makes of the place among the entries and the value, and
/// without those that are 0.
fn counted(matrix: &Csr, count: impl Fn(usize, f32) -> f32) -> Csr {
    let mut offsets = Vec::with_capacity(matrix.n_rows() + 1);
    let (mut cols, mut values) = (Vec::with_capacity(matrix.nnz()), Vec::with_capacity(matrix.nnz()));
    offsets.push(0);
    for ends in matrix.offsets().windows(2) {
        for at in ends[0]..ends[1] {
            let value = count(at, matrix.values()[at]);
            if value != 0.0 {
                cols.push(matrix.cols()[at]);
                values.push(value);
            }
        }
        offsets.push(cols.len());
    }
    Csr::new(matrix.n_cols(), offsets, cols, values)
}

/// An item-item matrix and the histories of users, which are all that it knows of them.
pub struct ItemItemModel<F> {
    config: F,
    /// `[n_users, n_items]`, as [`ItemItem::weigh`] returns them.
    histories: Arc<Csr>,
    matrix: Arc<ItemMatrix>,
    /// `[n_items]`: what is added to all users' scores, where something is.
    biases: Option<Arc<Vec<f32>>>,
}

const HISTORIES: &str = "histories";
const BIASES: &str = "item_biases";

impl<F: ItemItem> ItemItemModel<F> {
    /// Makes the model of histories, `[n_users, n_items]`, as [`ItemItem::weigh`] returns them.
    ///
    /// # Panics
    /// When the histories are over other items than the matrix.
    pub fn new(config: F, histories: Arc<Csr>, matrix: Arc<ItemMatrix>) -> Self {
        assert_eq!(histories.n_cols(), matrix.n_items(), "histories over the items of the matrix");
        Self { config, histories, matrix, biases: None }
    }

    /// Adds biases, `[n_items]`, to the scores of all users.
    ///
    /// # Panics
    /// When there is not one for each item.
    pub fn with_biases(self, biases: Option<Arc<Vec<f32>>>) -> Self {
        assert!(
            biases.as_ref().is_none_or(|biases| biases.len() == self.matrix.n_items()),
            "a bias for each item"
        );
        Self { biases, ..self }
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When a setting is out of its range, or the weights are not those of such a model of this shape.
    pub fn load(weights: &TensorFile, config: F, shape: Shape) -> Result<Self> {
        config.validate()?;
        let histories = read_matrix(weights, HISTORIES, [shape.n_users, shape.n_items])?;
        let matrix = ItemMatrix::load(weights, shape.n_items)?;
        let biases = match config.popularity() > 0.0 {
            true => Some(Arc::new(array(weights, BIASES, &[shape.n_items])?)),
            false => None,
        };
        Ok(Self::new(config, Arc::new(histories), Arc::new(matrix)).with_biases(biases))
    }

    /// Returns the item-item matrix.
    pub fn matrix(&self) -> &ItemMatrix {
        &self.matrix
    }
}

impl<F: ItemItem> Scorer for ItemItemModel<F> {
    fn n_users(&self) -> usize {
        self.histories.n_rows()
    }

    fn n_items(&self) -> usize {
        self.matrix.n_items()
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        let mut start = 0;
        for run in users.chunk_by(|a, b| a == b) {
            let pairs = start..start + run.len();
            start = pairs.end;
            let history = self.histories.row(run[0].at());
            self.matrix.score_some(history, &items[pairs.clone()], &mut out[pairs]);
        }
        if let Some(biases) = &self.biases {
            out.iter_mut().zip(items).for_each(|(out, item)| *out += biases[item.at()]);
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let histories: Vec<_> = users.iter().map(|user| self.histories.row(user.at())).collect();
        self.matrix.score_all(&histories, out);
        if let Some(biases) = &self.biases {
            for out in out.chunks_exact_mut(biases.len().max(1)) {
                out.iter_mut().zip(&**biases).for_each(|(out, bias)| *out += bias);
            }
        }
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        Some(self)
    }

    fn likeness(&self) -> Option<Likeness<'_>> {
        Some(Likeness::Weights(&self.matrix))
    }
}

impl<F: ItemItem> FoldIn for ItemItemModel<F> {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        let histories = Arc::new(self.config.weigh(histories)?);
        let (matrix, biases) = (Arc::clone(&self.matrix), self.biases.clone());
        Ok(Box::new(Self::new(self.config.clone(), histories, matrix).with_biases(biases)))
    }
}

impl<F: ItemItem> Model for ItemItemModel<F> {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let mut weights = csr_tensors(HISTORIES, &self.histories);
        weights.extend(self.matrix.tensors());
        let biases = self.biases.iter();
        weights.extend(biases.map(|of| (BIASES.to_owned(), Tensor::new(&[of.len()], of.iter().copied()))));
        weights
    }
}
