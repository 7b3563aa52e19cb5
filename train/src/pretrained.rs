//! First weights of NeuMF from trained GMF and MLP runs (He et al. 2017, section 3.4.1).

use std::collections::BTreeMap;
use std::path::Path;

use burnrec_data::Prepared;
use burnrec_data::tensors::TensorFile;
use burnrec_models::checkpoint::{self, Stage};
use burnrec_models::ncf::Parts;
use burnrec_models::params::matrix;
use burnrec_models::{Error as ModelError, ModelConfig};

use crate::config::Pretrained;
use crate::record::Phase;
use crate::{Error, Result};

/// The values of weights by name.
pub type Weights = BTreeMap<String, Vec<f32>>;

/// The weights that NeuMF starts from. To choose an epoch on valid they are those that the runs had before they were
/// trained on valid as well; for the final fit they are the final ones.
///
/// # Errors
/// When a run cannot be opened, is of another model or of other sizes, or was trained on other data.
pub fn weights(
    pretrained: &Pretrained,
    model: &ModelConfig,
    data: &Prepared,
    phase: Phase,
) -> Result<Weights> {
    let parts = model.ncf().ok_or_else(|| refused("pretrained", model.name(), "model = \"neumf\""))?;
    let gmf = Parts { tower: None, ..parts.clone() };
    let mlp = Parts { gmf: None, ..parts };
    let mut weights = Weights::new();
    let alpha = pretrained.alpha;
    for (key, dir, parts, share) in
        [("gmf", &pretrained.gmf, gmf, alpha), ("mlp", &pretrained.mlp, mlp, 1.0 - alpha)]
    {
        let file = open(key, dir, &parts, data, phase)?;
        for name in file.names().iter().filter(|name| !name.starts_with("output_")) {
            weights.insert(name.clone(), file.get::<f32>(name)?.1);
        }
        let last = parts.gmf.or(parts.tower.and_then(|tower| tower.layers.last().copied())).unwrap_or(0);
        let weight = matrix(&file, "output_weight", &[last, 1])?.into_iter().map(|value| share * value);
        weights.entry("output_weight".into()).or_default().extend(weight);
        let bias = share * matrix(&file, "output_bias", &[1, 1])?[0];
        weights.entry("output_bias".into()).or_insert_with(|| vec![0.0])[0] += bias;
    }
    Ok(weights)
}

fn open(key: &str, dir: &Path, parts: &Parts, data: &Prepared, phase: Phase) -> Result<TensorFile> {
    let key = format!("pretrained.{key}");
    let manifest = checkpoint::manifest(dir)?;
    let found = manifest.model.ncf();
    let shape = |parts: &Parts| (parts.gmf, parts.tower.clone(), parts.classes);
    if found.as_ref().map(shape) != Some(shape(parts)) {
        let sizes = match (&parts.gmf, &parts.tower) {
            (Some(dim), _) => format!("gmf with dim = {dim}"),
            (None, Some(tower)) => format!("mlp with layers = {:?}", tower.layers),
            (None, None) => "gmf or mlp".into(),
        };
        let found = format!("a run of {} in {}", manifest.model.name(), dir.display());
        return Err(refused(&key, found, format!("a run of {sizes}")));
    }
    if manifest.data.hash != data.manifest.hash {
        let found = format!("a run on {:?} ({})", manifest.data.name, manifest.data.hash);
        let expected = format!("one on the same split, {:?} ({})", data.name, data.manifest.hash);
        return Err(refused(&key, found, expected));
    }
    let stage = match phase {
        Phase::Choose => Stage::Chosen,
        Phase::Refit => Stage::Final,
    };
    Ok(checkpoint::weights(dir, &manifest, stage)?)
}

fn refused(key: &str, found: impl Into<String>, expected: impl Into<String>) -> Error {
    ModelError::config(key, found.into(), expected.into()).into()
}
