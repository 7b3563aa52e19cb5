//! Models that score on a graphics card: in large blocks, and of a user only the best items come back.

/// Returns the model as it is: this program was built without kernels.
#[cfg(not(all(feature = "cube", feature = "train")))]
pub fn on_card(
    model: Box<dyn crate::model::Model>,
    _: impl FnOnce() -> super::pair_score::PairScore,
    _: &burn_tensor::Device,
) -> Box<dyn crate::model::Model> {
    model
}

#[cfg(all(feature = "cube", feature = "train"))]
pub use with_kernels::{on_card, with_card_weights};

#[cfg(all(feature = "cube", feature = "train"))]
mod with_kernels {
    use std::sync::{Arc, OnceLock};

    use burn_tensor::Device;
    use burnrec_data::tensors::Tensor;
    use burnrec_data::{Holdout, ItemIx, UserIx};

    use crate::device::is_host;
    use crate::drift::Drift;
    use crate::model::{Model, ModelConfig};
    use crate::nn::gpu::{CardWeights, Catalog};
    use crate::nn::pair_score::PairScore;
    use crate::scorer::{Allowed, Factors, FoldIn, Ranked, Scorer, Shape, Vectors};
    use crate::similar::Likeness;

    /// Returns the model with the score that kernels compute on the device, where it is a card and they take it; else as it
    /// is.
    pub fn on_card(
        model: Box<dyn Model>,
        score: impl FnOnce() -> PairScore,
        device: &Device,
    ) -> Box<dyn Model> {
        if is_host(device) {
            return model;
        }
        let (score, device) = (score(), device.clone());
        Box::new(OnCard { score, device, there: None, catalog: OnceLock::new(), model })
    }

    /// Does the same for a model whose weights are on the card already.
    pub fn with_card_weights(
        model: Box<dyn Model>,
        score: PairScore,
        device: &Device,
        weights: CardWeights,
    ) -> Box<dyn Model> {
        let device = device.clone();
        Box::new(OnCard { score, device, there: Some(weights), catalog: OnceLock::new(), model })
    }

    /// A model with kernels that score it.
    struct OnCard {
        model: Box<dyn Model>,
        score: PairScore,
        device: Device,
        there: Option<CardWeights>,
        catalog: OnceLock<Option<Catalog>>,
    }

    impl OnCard {
        /// Returns the kernels; the first call puts the weights on the card, where they are not there yet.
        fn catalog(&self) -> Option<&Catalog> {
            let make = || {
                let shape = Shape { n_users: self.n_users(), n_items: self.n_items() };
                let weights = if self.there.is_some() { Vec::new() } else { self.model.weights() };
                let weight = |name: &str| {
                    let found = weights.iter().find(|(other, _)| other == name);
                    found.and_then(|(_, weight)| weight.values())
                };
                Catalog::new(&self.device, &self.score, shape, self.there.clone(), &weight)
            };
            self.catalog.get_or_init(make).as_ref()
        }
    }

    impl Scorer for OnCard {
        fn n_users(&self) -> usize {
            self.model.n_users()
        }

        fn n_items(&self) -> usize {
            self.model.n_items()
        }

        fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
            match self.catalog() {
                Some(catalog) => catalog.score_pairs(users, items, out),
                None => self.model.score_pairs(users, items, out),
            }
        }

        fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
            match self.catalog() {
                Some(catalog) => catalog.score_catalog(users, out),
                None => self.model.score_catalog(users, out),
            }
        }

        fn best_on_device<'a>(
            &self,
            users: &[UserIx],
            k: usize,
            exclude: &(dyn Fn(usize) -> &'a [u32] + Sync),
            allowed: Option<&Allowed>,
        ) -> Option<Vec<Vec<(ItemIx, f32)>>> {
            self.catalog()?.best(users, k, exclude, allowed)
        }

        fn rank_on_device(
            &self,
            users: &[UserIx],
            holdout: &Holdout,
            rows: &[usize],
            k: usize,
            last: &[ItemIx],
        ) -> Option<Vec<Ranked>> {
            self.catalog()?.rank(users, holdout, rows, k, last)
        }

        fn pairs_at_once(&self) -> usize {
            if self.catalog().is_some() { Catalog::PAIRS_AT_ONCE } else { self.model.pairs_at_once() }
        }

        fn as_fold_in(&self) -> Option<&dyn FoldIn> {
            self.model.as_fold_in()
        }

        fn item_vectors(&self) -> Option<Vectors<'_>> {
            self.model.item_vectors()
        }

        fn likeness(&self) -> Option<Likeness<'_>> {
            self.model.likeness()
        }

        fn user_vectors(&self) -> Option<Vectors<'_>> {
            self.model.user_vectors()
        }

        fn factors(&self) -> Option<Factors> {
            self.model.factors()
        }

        fn drift(&self) -> Option<Arc<Drift>> {
            self.model.drift()
        }
    }

    impl Model for OnCard {
        fn config(&self) -> ModelConfig {
            self.model.config()
        }

        fn pair_score(&self) -> Option<PairScore> {
            self.model.pair_score()
        }

        fn weights(&self) -> Vec<(String, Tensor)> {
            self.model.weights()
        }
    }
}
