//! The kinds of models that configs and saved runs may name: one line for each family here, and those that a program
//! adds.

use std::any::TypeId;
use std::sync::{PoisonError, RwLock};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

use crate::model::{Family, ModelConfig};
use crate::settings::did_you_mean;
#[cfg(feature = "train")]
use crate::settings::{Settings, cut};
#[cfg(feature = "train")]
use crate::trainer::{Trainable, Trainer};
use crate::{
    Error, Result, als, blend, bpmf, ease, knn, mf, ncf, popularity, rp3beta, sasrec, slim, transition,
};

/// The kinds that come with burnrec, in the order in which messages list them.
const KINDS: [Kind; 14] = [
    Kind::of::<popularity::PopularityConfig>(),
    Kind::of::<als::AlsConfig>(),
    Kind::of::<bpmf::BpmfConfig>(),
    Kind::of::<transition::TransitionConfig>(),
    Kind::of::<mf::MfConfig>(),
    Kind::of::<ncf::GmfConfig>(),
    Kind::of::<ncf::MlpConfig>(),
    Kind::of::<ncf::NeumfConfig>(),
    Kind::of::<ease::EaseConfig>(),
    Kind::of::<knn::KnnConfig>(),
    Kind::of::<rp3beta::Rp3betaConfig>(),
    Kind::of::<slim::SlimConfig>(),
    Kind::of::<sasrec::SasrecConfig>(),
    Kind::of::<blend::BlendConfig>(),
];

/// The kinds that the program has added.
static ADDED: RwLock<Vec<Kind>> = RwLock::new(Vec::new());

/// What the registry knows of a kind of model.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    name: &'static str,
    settings: TypeId,
    from_json: fn(serde_json::Value) -> serde_json::Result<ModelConfig>,
    #[cfg(feature = "train")]
    training: TrainingKind,
}

/// The part of a kind that training reads.
#[cfg(feature = "train")]
#[derive(Clone, Copy, Debug)]
struct TrainingKind {
    model_keys: fn() -> Vec<&'static str>,
    keys: fn() -> Vec<&'static str>,
    trainer: fn(Table, Table) -> Result<Trainer>,
}

impl Kind {
    /// Describes a family that learns.
    #[cfg(feature = "train")]
    pub const fn of<F: Trainable>() -> Self {
        let trainer: fn(Table, Table) -> Result<Trainer> =
            |model, training| Ok(Trainer::new(F::from_table(model)?, F::Training::from_table(training)?));
        let training = TrainingKind { model_keys: F::keys, keys: <F::Training as Settings>::keys, trainer };
        Self { name: F::KIND, settings: TypeId::of::<F>(), from_json: from_json::<F>, training }
    }

    /// Describes a family.
    #[cfg(not(feature = "train"))]
    pub const fn of<F: Family>() -> Self {
        Self { name: F::KIND, settings: TypeId::of::<F>(), from_json: from_json::<F> }
    }

    /// Decodes the settings of a saved run, an object without its `model`.
    pub(crate) fn decode(&self, settings: serde_json::Value) -> serde_json::Result<ModelConfig> {
        (self.from_json)(settings)
    }

    /// Returns the keys that a config of training may have beside `model` and those of the run.
    #[cfg(feature = "train")]
    pub fn training_keys(&self) -> Vec<&'static str> {
        [(self.training.model_keys)(), (self.training.keys)()].concat()
    }

    /// Takes the settings of the model and of its training out of a config's flat table.
    ///
    /// # Errors
    /// When a value has the wrong type; the error names its key.
    #[cfg(feature = "train")]
    pub fn trainer(&self, table: &mut Table) -> Result<Trainer> {
        let model = cut(table, &(self.training.model_keys)());
        let training = cut(table, &(self.training.keys)());
        (self.training.trainer)(model, training)
    }
}

fn from_json<F: Family>(settings: serde_json::Value) -> serde_json::Result<ModelConfig> {
    serde_json::from_value::<F>(settings).map(ModelConfig::new)
}

/// Adds a kind of model of the program's own, so that configs and saved runs may name it. Adding the same family again
/// changes nothing.
///
/// # Errors
/// When another family has the name.
pub fn register(kind: Kind) -> Result<()> {
    let mut added = ADDED.write().unwrap_or_else(PoisonError::into_inner);
    match KINDS.iter().chain(added.iter()).find(|known| known.name == kind.name) {
        None => {
            added.push(kind);
            Ok(())
        }
        Some(known) if known.settings == kind.settings => Ok(()),
        Some(_) => Err(Error::config(
            "model",
            format!("a second family {:?}", kind.name),
            "a name that is not taken",
        )),
    }
}

/// Returns the names of all kinds.
pub fn names() -> Vec<&'static str> {
    let added = ADDED.read().unwrap_or_else(PoisonError::into_inner);
    KINDS.iter().chain(added.iter()).map(|kind| kind.name).collect()
}

/// Returns the names of the kinds whose training takes a key.
#[cfg(feature = "train")]
pub fn with_key(key: &str) -> Vec<&'static str> {
    let added = ADDED.read().unwrap_or_else(PoisonError::into_inner);
    let takes = |kind: &&Kind| kind.training_keys().contains(&key);
    KINDS.iter().chain(added.iter()).filter(takes).map(|kind| kind.name).collect()
}

/// Returns the kind of a name.
///
/// # Errors
/// When there is none; the error lists those that there are, and names the nearest.
pub fn kind(name: &str) -> Result<Kind> {
    let added = ADDED.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(kind) = KINDS.iter().chain(added.iter()).find(|kind| kind.name == name) {
        return Ok(*kind);
    }
    drop(added);
    let names = names();
    let near = did_you_mean(name, names.iter().copied()).map(|name| format!("; did you mean {name:?}?"));
    let expected = format!("one of {}{}", names.join(", "), near.unwrap_or_default());
    Err(Error::config("model", format!("{name:?}"), expected))
}

/// Returns the value of the `model` key of a config's table.
///
/// # Errors
/// When there is none, or it is no text.
pub fn model_name(table: &Table) -> Result<String> {
    match table.get("model") {
        Some(Value::String(name)) => Ok(name.clone()),
        Some(other) => Err(Error::config("model", other, "the name of a model, in quotes")),
        None => Err(Error::config("model", "no such key", format!("one of {}", names().join(", ")))),
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = serde_json::Map::deserialize(deserializer)?;
        let model = settings.remove("model").ok_or_else(|| D::Error::missing_field("model"))?;
        let name = model
            .as_str()
            .ok_or_else(|| D::Error::custom(format!("model: found {model}, expected a name")))?;
        kind(name).map_err(D::Error::custom)?.decode(settings.into()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::als::AlsConfig;
    use crate::mf::MfConfig;
    use crate::ncf::{GmfConfig, MlpConfig, NeumfConfig};
    use crate::popularity::PopularityConfig;

    fn read(text: &str) -> serde_json::Result<ModelConfig> {
        serde_json::from_str(text)
    }

    #[test]
    fn settings_of_runs_saved_before_there_was_a_registry_are_read() {
        let als = r#"{"model":"als","feedback":"implicit","convention":"rendle","dim":64,"reg":0.007,
            "reg_scaling":"frequency","nu":1.0,"alpha":1.0,"unobserved_weight":0.3,"weighting":"none",
            "nonnegative":false,"solver":"cg","cg_steps":10,"block_size":32,"init_std":0.1}"#;
        let mf = r#"{"model":"mf","dim":64,"loss":"bce","negatives":4,"reg":0.0,"init_std":0.1}"#;
        let gmf = r#"{"model":"gmf","dim":64,"loss":"bce","negatives":4,"init_std":0.01}"#;
        let mlp = r#"{"model":"mlp","dim":64,"layers":[],"user_dim":null,"classes":1,"loss":"bce","negatives":4,
            "dropout":0.0,"init_std":0.01}"#;
        let neumf = r#"{"model":"neumf","dim":64,"layers":[],"loss":"bce","negatives":4,"dropout":0.0,
            "init_std":0.01}"#;
        let known: [(&str, ModelConfig); 6] = [
            (r#"{"model":"popularity"}"#, PopularityConfig {}.into()),
            (als, AlsConfig::default().into()),
            (mf, MfConfig::default().into()),
            (gmf, GmfConfig::default().into()),
            (mlp, MlpConfig::default().into()),
            (neumf, NeumfConfig::default().into()),
        ];
        for (text, expected) in known {
            assert_eq!(read(text).expect(text), expected);
            let again = serde_json::to_string(&expected).expect("JSON");
            assert_eq!(read(&again).expect(&again), expected, "as it is written now");
        }
    }

    #[test]
    fn an_unknown_kind_and_a_damaged_setting_are_named() {
        let error = |text: &str| read(text).expect_err(text).to_string();
        let unknown = error(r#"{"model":"emf","dim":8}"#);
        let expected = "model: found \"emf\", expected one of popularity, als, bpmf, transition, mf, gmf, mlp, neumf, ease, knn, \
                        rp3beta, slim, sasrec, blend; did you mean \"mf\"?";
        assert!(unknown.starts_with(expected), "{unknown}");
        assert!(error(r#"{"model":7}"#).contains("model: found 7, expected a name"));
        assert!(error(r#"{"dim":8}"#).contains("missing field `model`"));
        assert!(error(r#"{"model":"mf","dim":"x"}"#).contains("invalid type: string \"x\""));
        assert!(error(r#"{"model":"mf","width":8}"#).contains("unknown field `width`"));
    }

    #[test]
    fn another_family_cannot_take_a_name() {
        register(Kind::of::<MfConfig>()).expect("the same family again changes nothing");
        let other = Kind { settings: TypeId::of::<AlsConfig>(), ..Kind::of::<MfConfig>() };
        let error = register(other).expect_err("the name is taken").to_string();
        assert!(error.starts_with("model: found a second family \"mf\""), "{error}");
    }
}
