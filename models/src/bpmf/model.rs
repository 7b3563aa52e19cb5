//! The trained model: the mean over samples, as one dot product.

use std::sync::Arc;

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::vocab_file::{csr_tensors, read_csr};
use burnrec_data::{Csr, Error as DataError};

use super::groups::{Groups, Spans};
use super::{BpmfConfig, RowPosterior, sample};
use crate::Result;
use crate::drift::{Bins, Drift};
use crate::least_squares::{BiasedDots, ItemSide, ScoresByDots, Side};
use crate::model::{Family, Model, ModelConfig};
use crate::scorer::{FoldIn, Scorer, Shape, check_histories, check_order};
use crate::weights::matrix;

/// The posterior mean of ratings over kept samples.
pub struct BpmfModel {
    config: BpmfConfig,
    /// With vectors of `samples * dim`, and biases that are those of the newest bins and spans.
    dots: BiasedDots,
    /// What users are computed from, a sample each.
    samples: Arc<Vec<Arc<RowPosterior>>>,
    /// The bins of time of the items' biases.
    bins: Option<Bins>,
    /// What scores differ at other times; none where nothing changes over time.
    drift: Option<Arc<Drift>>,
}

/// The users' vectors in each sample, `[n_users, width]`, and where they have biases of spans, these in each sample,
/// `[n_spans]`.
type Users<'a, V> = (&'a [V], Option<(&'a Spans, &'a [V])>);

impl BpmfModel {
    /// Makes the model of at least one sample of what users are computed from, with the users of each; `mean` is that of the
    /// values of training, `bins` are those of the items' biases over time.
    pub fn new(
        config: BpmfConfig,
        mean: f32,
        bins: Option<Bins>,
        samples: Vec<Arc<RowPosterior>>,
        users: Users<'_, impl AsRef<[f32]>>,
    ) -> Self {
        let (users, spans) = means_of(users, config.dim);
        Self::with_users(config, mean, bins, samples, users, spans)
    }

    fn with_users(
        config: BpmfConfig,
        mean: f32,
        bins: Option<Bins>,
        samples: Vec<Arc<RowPosterior>>,
        users: Side,
        spans: Option<Csr>,
    ) -> Self {
        let items: Vec<&[f32]> = samples.iter().map(|sample| &sample.given().fixed[..]).collect();
        let mut items = side_by_side(&items, config.dim, false);
        let of_bins = bins.map(|bins| {
            let of_samples: Vec<&[f32]> = samples.iter().map(|sample| &sample.given().bins[..]).collect();
            let (biases, n) = (Arc::make_mut(&mut items.biases), bins.n);
            let ends: Vec<usize> = (0..=biases.len()).map(|item| item * n).collect();
            (bins, Arc::new(less_newest(mean_of(&of_samples), &ends, biases)))
        });
        let items = Arc::new(ItemSide::new(items));
        let dots = BiasedDots { dim: samples.len() * config.dim, mean, users, items };
        let changes = of_bins.is_some() || spans.is_some();
        let drift = changes.then(|| Arc::new(Drift { items: of_bins, users: spans }));
        Self { config, dots, samples: Arc::new(samples), bins, drift }
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When the weights are not those of a model of these settings and this shape.
    pub fn load(weights: &TensorFile, config: BpmfConfig, shape: Shape) -> Result<Self> {
        config.validate()?;
        let bad = |found: String, expected: String| DataError::malformed(weights.path(), found, expected);
        let samples = sample::load(weights, &config, shape.n_items)?;
        let users = Side {
            vectors: Arc::new(matrix(weights, USERS, &[shape.n_users, samples.len() * config.dim])?),
            biases: Arc::new(matrix(weights, USER_BIASES, &[shape.n_users])?),
        };
        let mean = matrix(weights, MEAN, &[1])?[0];
        let bins = match config.item_bins {
            0 => None,
            n => match weights.column::<i64>(BIN_TIMES)?[..] {
                [oldest, newest] if oldest <= newest => Some(Bins { n, oldest, newest }),
                ref times => {
                    let expected = "the oldest time and the newest".to_owned();
                    return Err(bad(format!("{times:?} in {BIN_TIMES:?}"), expected).into());
                }
            },
        };
        let spans = (config.user_span > 0).then(|| read_csr(weights, USER_SPANS)).transpose()?;
        if let Some(spans) = spans.as_ref().filter(|spans| spans.n_rows() != shape.n_users) {
            let found = format!("{USER_SPANS:?} of {} users", spans.n_rows());
            return Err(bad(found, shape.n_users.to_string()).into());
        }
        Ok(Self::with_users(config, mean, bins, samples, users, spans))
    }
}

pub(super) const USERS: &str = "user_factors";
pub(super) const USER_BIASES: &str = "user_biases";
pub(super) const USER_SPANS: &str = "user_spans";
const MEAN: &str = "mean";
const BIN_TIMES: &str = "bin_times";

/// Returns the means of users over samples, their biases with those of their newest spans, and how much the other spans differ
/// from these, `[n_users, most spans]`.
fn means_of((users, spans): Users<'_, impl AsRef<[f32]>>, dim: usize) -> (Side, Option<Csr>) {
    let mut users = side_by_side(users, dim, true);
    let spans = spans.map(|(spans, of_samples)| {
        let starts = &spans.starts;
        let biases = Arc::make_mut(&mut users.biases);
        let mut left = less_newest(mean_of(of_samples), starts.offsets(), biases).into_iter();
        starts.map_values(|_, _, value| left.next().unwrap_or(value))
    });
    (users, spans)
}

/// Returns the mean of vectors of one length.
fn mean_of(samples: &[impl AsRef<[f32]>]) -> Vec<f32> {
    let mut mean = vec![0.0; samples.first().map_or(0, |sample| sample.as_ref().len())];
    for sample in samples {
        mean.iter_mut().zip(sample.as_ref()).for_each(|(sum, x)| *sum += x / samples.len() as f32);
    }
    mean
}

/// Adds the last of the values of each row, `values[ends[row]..ends[row + 1]]`, to its bias, and returns the values less it.
fn less_newest(mut values: Vec<f32>, ends: &[usize], biases: &mut [f32]) -> Vec<f32> {
    for (ends, bias) in ends.windows(2).zip(biases) {
        let of_row = &mut values[ends[0]..ends[1]];
        let newest = of_row.last().copied().unwrap_or(0.0);
        *bias += newest;
        of_row.iter_mut().for_each(|value| *value -= newest);
    }
    values
}

/// Puts the vectors of samples, each `[rows, dim + 1]` with the bias last, side by side, `[rows, samples * dim]`, with the means
/// of the biases. Where they `share`, each vector is divided by the number of samples, so that dot products are means.
fn side_by_side(samples: &[impl AsRef<[f32]>], dim: usize, share: bool) -> Side {
    let n = samples.len() as f32;
    let rows = samples.first().map_or(0, |sample| sample.as_ref().len() / (dim + 1));
    let (mut vectors, mut biases) = (Vec::with_capacity(rows * samples.len() * dim), vec![0.0; rows]);
    for (row, bias) in biases.iter_mut().enumerate() {
        for sample in samples {
            let row = &sample.as_ref()[row * (dim + 1)..(row + 1) * (dim + 1)];
            vectors.extend(row[..dim].iter().map(|x| if share { x / n } else { *x }));
            *bias += row[dim] / n;
        }
    }
    Side { vectors: Arc::new(vectors), biases: Arc::new(biases) }
}

impl ScoresByDots for BpmfModel {
    fn dots(&self) -> &BiasedDots {
        &self.dots
    }

    fn over_time(&self) -> Option<Arc<Drift>> {
        self.drift.clone()
    }
}

impl FoldIn for BpmfModel {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        if self.config.reads_order() {
            check_order(histories)?;
        }
        let (mean, width) = (self.dots.mean, self.config.width());
        let centred = histories.map_values(|_, _, value| value - mean);
        let bins = self.bins.and_then(|bins| Groups::of_bins(histories, bins));
        let length = Some(self.config.user_span).filter(|&length| length > 0);
        let spans = length.and_then(|length| Spans::of(histories, length));
        let folded = |sample: &Arc<RowPosterior>| {
            let of_sample = bins.as_ref().map(|groups| {
                let mut values = centred.values().to_vec();
                groups.add(&sample.given().bins, -1.0, &mut values);
                let mut values = values.into_iter();
                centred.map_values(|_, _, value| values.next().unwrap_or(value))
            });
            let rows = of_sample.as_ref().unwrap_or(&centred);
            let mut users = vec![0.0; histories.n_rows() * width];
            sample.means((rows, spans.as_ref()), &mut users);
            let of_spans = spans.as_ref().map(|spans| sample.span_means((rows, spans), &users));
            (users, of_spans.unwrap_or_default())
        };
        let (users, of_spans): (Vec<_>, Vec<_>) = self.samples.iter().map(folded).unzip();
        let spans = spans.as_ref().map(|spans| (spans, &of_spans[..]));
        let (users, spans) = means_of((&users[..], spans), self.config.dim);
        let items = self.drift.as_ref().map(|drift| drift.items.clone());
        let drift = items.map(|items| Arc::new(Drift { items, users: spans }));
        let dots = BiasedDots { users, ..self.dots.clone() };
        let (config, samples) = (self.config.clone(), Arc::clone(&self.samples));
        Ok(Box::new(Self { config, dots, samples, bins: self.bins, drift }))
    }
}

impl Model for BpmfModel {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let Side { vectors, biases } = &self.dots.users;
        let shape = [biases.len(), self.dots.dim];
        let mut weights = vec![
            (USERS.to_owned(), Tensor::new(&shape, vectors.iter().copied())),
            (USER_BIASES.to_owned(), Tensor::new(&[biases.len()], biases.iter().copied())),
            (MEAN.to_owned(), Tensor::new(&[1], [self.dots.mean])),
        ];
        if let Some(Bins { oldest, newest, .. }) = self.bins {
            weights.push((BIN_TIMES.to_owned(), Tensor::new(&[2], [oldest, newest])));
        }
        if let Some(spans) = self.drift.as_ref().and_then(|drift| drift.users.as_ref()) {
            weights.extend(csr_tensors(USER_SPANS, spans));
        }
        weights.extend(sample::tensors(&self.samples));
        weights
    }
}
