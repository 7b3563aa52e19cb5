//! Initial weights of NeuMF from trained GMF and MLP runs (He et al. 2017, section 3.4.1).

use std::path::Path;

use burnrec_data::Prepared;
use burnrec_data::tensors::TensorFile;

use super::{GmfConfig, MlpConfig, NcfSpec, NeumfConfig, Pretrained};
use crate::learner::Phase;
use crate::model::ModelConfig;
use crate::nn::InitialWeights;
use crate::saved::{self, Stage};
use crate::weights::matrix;
use crate::{Error, Result};

/// Returns the weights that NeuMF starts from. For the fit that chooses the epoch on valid they are the weights that
/// the runs had before they were trained on valid as well; for the final fit they are the runs' final weights.
///
/// # Errors
/// When a run cannot be opened, is of another model or of other sizes, or was trained on other data.
pub fn weights(
    pretrained: &Pretrained,
    spec: &NcfSpec,
    data: &Prepared,
    phase: Phase,
) -> Result<InitialWeights> {
    let gmf = NcfSpec { tower: None, ..spec.clone() };
    let mlp = NcfSpec { gmf: None, ..spec.clone() };
    let mut weights = InitialWeights::new();
    let alpha = pretrained.alpha;
    for (key, dir, part, share) in
        [("gmf", &pretrained.gmf, gmf, alpha), ("mlp", &pretrained.mlp, mlp, 1.0 - alpha)]
    {
        let file = open(key, dir, &part, data, phase)?;
        for name in file.names().iter().filter(|name| !name.starts_with("output_")) {
            weights.insert(name.clone(), file.get::<f32>(name)?.1);
        }
        let last = part.gmf.or(part.tower.and_then(|tower| tower.layers.last().copied())).unwrap_or(0);
        let weight = matrix(&file, "output_weight", &[last, 1])?.into_iter().map(|value| share * value);
        weights.entry("output_weight".into()).or_default().extend(weight);
        let bias = share * matrix(&file, "output_bias", &[1, 1])?[0];
        weights.entry("output_bias".into()).or_insert_with(|| vec![0.0])[0] += bias;
    }
    Ok(weights)
}

fn open(key: &str, dir: &Path, part: &NcfSpec, data: &Prepared, phase: Phase) -> Result<TensorFile> {
    let key = format!("pretrained.{key}");
    let manifest = saved::manifest(dir)?;
    let found = spec(&manifest.model);
    let shape = |spec: &NcfSpec| (spec.gmf, spec.tower.clone(), spec.classes);
    if found.as_ref().map(shape) != Some(shape(part)) {
        let sizes = match (&part.gmf, &part.tower) {
            (Some(dim), _) => format!("gmf with dim = {dim}"),
            (None, Some(tower)) => format!("mlp with layers = {:?}", tower.layers),
            (None, None) => "gmf or mlp".into(),
        };
        let found = format!("a run of {} in {}", manifest.model.kind(), dir.display());
        return Err(refused(&key, found, format!("a run of {sizes}")));
    }
    saved::check_data(&key, dir, &manifest, data)?;
    saved::weights(dir, &manifest, Stage::of(phase))
}

/// Returns the architecture of a model, if it is one of the three.
fn spec(model: &ModelConfig) -> Option<NcfSpec> {
    let gmf = model.get::<GmfConfig>().map(NcfSpec::from);
    let mlp = || model.get::<MlpConfig>().map(NcfSpec::from);
    gmf.or_else(mlp).or_else(|| model.get::<NeumfConfig>().map(NcfSpec::from))
}

fn refused(key: &str, found: impl Into<String>, expected: impl Into<String>) -> Error {
    Error::config(key, found.into(), expected)
}
