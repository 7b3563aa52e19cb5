//! Samples of the posterior in files.

use std::sync::Arc;

use burnrec_data::Error as DataError;
use burnrec_data::tensors::{Tensor, TensorFile};

use super::posterior::{Given, RowPosterior};
use super::{BpmfConfig, Implicit};
use crate::Result;
use crate::weights::matrix;

const NOISE: &str = "noise_precision";
const BINS: &str = "item_bins";
const SPANS: &str = "span_precision";

/// Returns what users are computed from in each of some samples, by name: the first axis is that of the samples.
pub fn tensors(samples: &[Arc<RowPosterior>]) -> Vec<(String, Tensor)> {
    let (k, given) = (samples.len(), || samples.iter().map(|sample| sample.given()));
    let Some(first) = given().next() else { return Vec::new() };
    let width = first.mean.len();
    let array = |part: fn(&Given) -> &[f32], rows: usize| {
        Tensor::new(&[k, rows, width], given().flat_map(part).copied())
    };
    let mut tensors = vec![
        ("items".to_owned(), array(|given| &given.fixed, first.fixed.len() / width)),
        ("prior_mean".to_owned(), array(|given| &given.mean, 1)),
        ("prior_precision".to_owned(), array(|given| &given.precision, width)),
        (NOISE.to_owned(), Tensor::new(&[k], given().map(|given| given.noise))),
    ];
    if !first.effects.is_empty() {
        tensors.push(("effects".to_owned(), array(|given| &given.effects, first.effects.len() / width)));
    }
    if !first.bins.is_empty() {
        let n_items = first.fixed.len() / width;
        let bins = given().flat_map(|given| &given.bins).copied();
        tensors.push((BINS.to_owned(), Tensor::new(&[k, n_items, first.bins.len() / n_items], bins)));
    }
    if first.span_strength.is_some() {
        let strengths = given().filter_map(|given| given.span_strength);
        tensors.push((SPANS.to_owned(), Tensor::new(&[k], strengths)));
    }
    tensors
}

/// Reads what [`tensors`] returned.
///
/// # Errors
/// When it is not of these settings and this number of items.
pub fn load(file: &TensorFile, config: &BpmfConfig, n_items: usize) -> Result<Vec<Arc<RowPosterior>>> {
    let (width, noise) = (config.width(), precisions(file, NOISE)?);
    let k = noise.len();
    let array = |name: &str, rows: usize| matrix(file, name, &[k, rows, width]);
    let (items, means) = (array("items", n_items)?, array("prior_mean", 1)?);
    let prior_precisions = array("prior_precision", width)?;
    let effects = match config.implicit {
        Implicit::None => Vec::new(),
        Implicit::Users | Implicit::Both => array("effects", n_items)?,
    };
    let bins = match config.item_bins {
        0 => Vec::new(),
        n => matrix(file, BINS, &[k, n_items, n])?,
    };
    let strengths = match config.user_span {
        0 => None,
        _ => Some(precisions(file, SPANS)?),
    };
    if let Some(found) = strengths.as_ref().map(Vec::len).filter(|&found| found != k) {
        let (found, expected) = (format!("{SPANS:?} of {found} samples"), format!("{k}, as {NOISE:?} has"));
        return Err(DataError::malformed(file.path(), found, expected).into());
    }
    let of = |values: &[f32], rows: usize, sample: usize| {
        values.get(sample * rows * width..(sample + 1) * rows * width).unwrap_or_default().to_vec()
    };
    let sample = |(sample, &noise): (usize, &f32)| {
        Arc::new(RowPosterior::new(Given {
            fixed: of(&items, n_items, sample),
            mean: of(&means, 1, sample),
            precision: of(&prior_precisions, width, sample),
            noise,
            effects: of(&effects, n_items, sample),
            bins: bins.chunks_exact(bins.len().max(k) / k).nth(sample).unwrap_or_default().to_vec(),
            span_strength: strengths.as_ref().map(|strengths| strengths[sample]),
        }))
    };
    Ok(noise.iter().enumerate().map(sample).collect())
}

/// Reads a precision of each sample.
fn precisions(file: &TensorFile, name: &str) -> Result<Vec<f32>> {
    let values = file.column::<f32>(name)?;
    if let Some(found) = values.iter().find(|&&value| !(value.is_finite() && value > 0.0)) {
        let found = format!("{found} in {name:?}");
        return Err(DataError::malformed(file.path(), found, "finite numbers above 0").into());
    }
    Ok(values)
}
