//! Every model does what every model must. One line per model.

use burnrec_data::{Csr, Vocab};
use burnrec_models::als::{AlsConfig, AlsLearner};
use burnrec_models::blend::{BlendConfig, BlendLearner, Part, Scale};
use burnrec_models::bpmf::{BpmfConfig, BpmfLearner, Implicit};
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::ease::EaseConfig;
use burnrec_models::item_item::ItemItemLearner;
use burnrec_models::knn::{KnnConfig, Similarity};
use burnrec_models::mf::{AgedMfLearner, MfConfig};
use burnrec_models::ncf::{GmfConfig, MlpConfig, NcfSpec, NeumfConfig};
use burnrec_models::nn::loss::Loss;
use burnrec_models::nn::network::Architecture;
use burnrec_models::nn::{NnLearner, NnTraining};
use burnrec_models::popularity::Popularity;
use burnrec_models::rp3beta::Rp3betaConfig;
use burnrec_models::sasrec::{SasrecConfig, SasrecLearner, SequenceLoss};
use burnrec_models::saved::Stage;
use burnrec_models::slim::SlimConfig;
use burnrec_models::testing::{Expect, conforms};
use burnrec_models::transition::{TransitionConfig, TransitionLearner};
use burnrec_models::{DeviceChoice, Learner, Model, Recency, Recommender, Silent};

fn cpu() -> OpenDevice {
    device::open(DeviceChoice::Cpu).expect("the CPU")
}

fn fitted(mut learner: impl Learner, epochs: usize) -> Box<dyn Model> {
    for _ in 0..epochs {
        learner.epoch(&Silent).expect("an epoch");
    }
    learner.model()
}

fn network(architecture: impl Architecture, epochs: usize) -> impl Fn(&Csr) -> Box<dyn Model> {
    let burn = NnTraining { batch_size: 512, learning_rate: 0.02, ..NnTraining::default() };
    move |train| fitted(NnLearner::new(train, &architecture, &burn, 7, &cpu()).expect("a learner"), epochs)
}

#[test]
fn popularity() {
    let fit = |train: &Csr| Box::new(Popularity::new(train)) as Box<dyn Model>;
    conforms(&fit, Expect { personal: false, folds_in: true }, &cpu());
}

#[test]
fn als() {
    let fit = |train: &Csr| fitted(AlsLearner::new(train, Default::default(), 7).expect("a learner"), 10);
    conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
}

#[test]
fn als_with_biases() {
    // The planted values are all 1, so that nothing but the mean is to be learned from them.
    let config = AlsConfig { biases: true, ..AlsConfig::explicit() };
    let fit = |train: &Csr| fitted(AlsLearner::new(train, config.clone(), 7).expect("a learner"), 3);
    conforms(&fit, Expect { personal: false, folds_in: true }, &cpu());
}

#[test]
fn bpmf() {
    // Likewise; the effects are of what was rated, and not of the values.
    for implicit in [Implicit::None, Implicit::Users, Implicit::Both] {
        let config = BpmfConfig { dim: 7, burn_in: 2, samples: 3, implicit, ..BpmfConfig::default() };
        let fit = |train: &Csr| fitted(BpmfLearner::new(train, config.clone(), 7).expect("a learner"), 6);
        conforms(&fit, Expect { personal: false, folds_in: true }, &cpu());
    }
}

#[test]
fn bpmf_over_time() {
    for (item_bins, user_span) in [(4, 0), (0, 3), (4, 3)] {
        let config =
            BpmfConfig { dim: 7, burn_in: 2, samples: 3, item_bins, user_span, ..BpmfConfig::default() };
        let fit = |train: &Csr| fitted(BpmfLearner::new(train, config.clone(), 7).expect("a learner"), 6);
        conforms(&fit, Expect { personal: false, folds_in: true }, &cpu());
    }
}

#[test]
fn ease() {
    let fit = |train: &Csr| {
        fitted(
            ItemItemLearner::new(train, EaseConfig { reg: 1.0, ..EaseConfig::default() }).expect("a learner"),
            1,
        )
    };
    conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
}

#[test]
fn knn() {
    for similarity in [Similarity::Cosine, Similarity::Tfidf, Similarity::Bm25] {
        let config = KnnConfig { similarity, ..KnnConfig::default() };
        let fit = |train: &Csr| fitted(ItemItemLearner::new(train, config.clone()).expect("a learner"), 1);
        conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
    }
}

#[test]
fn rp3beta() {
    let fit =
        |train: &Csr| fitted(ItemItemLearner::new(train, Rp3betaConfig::default()).expect("a learner"), 1);
    conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
}

#[test]
fn slim() {
    let config = SlimConfig { reg: 1.0, l1: 0.1, ..SlimConfig::default() };
    let fit = |train: &Csr| fitted(ItemItemLearner::new(train, config.clone()).expect("a learner"), 1);
    conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
}

#[test]
fn item_item_models_with_recency() {
    let recency = Recency::Rows(3.0);
    let ease = EaseConfig { reg: 50.0, recency };
    let fit = |train: &Csr| fitted(ItemItemLearner::new(train, ease.clone()).expect("a learner"), 1);
    conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
    let knn = KnnConfig { recency, ..KnnConfig::default() };
    let fit = |train: &Csr| fitted(ItemItemLearner::new(train, knn.clone()).expect("a learner"), 1);
    conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
    let rp3beta = Rp3betaConfig { recency, popularity: 0.01, ..Rp3betaConfig::default() };
    let fit = |train: &Csr| fitted(ItemItemLearner::new(train, rp3beta.clone()).expect("a learner"), 1);
    conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
}

#[test]
fn als_with_recency() {
    let config = AlsConfig { recency: Recency::Rows(3.0), ..AlsConfig::default() };
    let fit = |train: &Csr| fitted(AlsLearner::new(train, config.clone(), 7).expect("a learner"), 10);
    conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
}

#[test]
fn transition() {
    let config = TransitionConfig { reg: 10.0, ..TransitionConfig::default() };
    let fit = |train: &Csr| fitted(TransitionLearner::new(train, config).expect("a learner"), 1);
    conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
}

#[test]
fn sasrec() {
    let burn = NnTraining { batch_size: 256, learning_rate: 0.01, ..NnTraining::default() };
    for loss in [SequenceLoss::Softmax, SequenceLoss::SampledSoftmax] {
        let config = SasrecConfig { dim: 16, loss, negatives: 30, ..SasrecConfig::default() };
        let fit = |train: &Csr| {
            fitted(SasrecLearner::new(train, &config, &burn, 7, &cpu()).expect("a learner"), 15)
        };
        conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
    }
}

#[test]
fn mf() {
    let fit = network(MfConfig { dim: 8, reg: 1e-3, ..MfConfig::default() }, 12);
    conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
}

#[test]
fn mf_with_recency() {
    let config = MfConfig { dim: 8, reg: 1e-3, recency: Recency::Rows(3.0), ..MfConfig::default() };
    let burn = NnTraining { batch_size: 512, learning_rate: 0.02, ..NnTraining::default() };
    let device = cpu();
    let fit =
        |train: &Csr| fitted(AgedMfLearner::new(train, &config, &burn, 7, &device).expect("a learner"), 12);
    conforms(&fit, Expect { personal: true, folds_in: true }, &device);
}

#[test]
fn mf_of_ratings() {
    // The planted values are all 1, so that nothing but the mean is to be learned from them.
    let fit = network(MfConfig { dim: 8, loss: Loss::Mse, ..MfConfig::default() }, 3);
    conforms(&fit, Expect { personal: false, folds_in: true }, &cpu());
}

#[test]
fn mf_of_pairs_and_of_softmax() {
    for loss in [Loss::Bpr, Loss::Softmax] {
        let fit = network(MfConfig { dim: 8, loss, reg: 1e-4, ..MfConfig::default() }, 25);
        conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
    }
}

#[test]
fn blend() {
    for scale in [Scale::Zscore, Scale::Rank] {
        let folder = tempfile::tempdir().expect("a folder");
        let fit = |train: &Csr| {
            let als = fitted(AlsLearner::new(train, Default::default(), 7).expect("a learner"), 10);
            let config = TransitionConfig { reg: 10.0, ..TransitionConfig::default() };
            let transition = fitted(TransitionLearner::new(train, config).expect("a learner"), 1);
            let parts = [("als", als), ("transition", transition)].map(|(name, model)| {
                let ids = |n: usize| Vocab::from_ints((0..n as i64).collect());
                let run = folder.path().join(name);
                let recommender =
                    Recommender::new(model, ids(train.n_rows()), ids(train.n_cols()), train.clone());
                recommender.save(&run).expect("saved");
                Part::open(&run, Stage::Final, &cpu()).expect("opened")
            });
            let config = BlendConfig { weights: vec![1.0, 0.5], scale, reads_order: true };
            fitted(BlendLearner::new(train, config, parts.into()).expect("a learner"), 1)
        };
        conforms(&fit, Expect { personal: true, folds_in: true }, &cpu());
    }
}

#[test]
fn gmf() {
    let fit = network(NcfSpec::from(&GmfConfig { dim: 8, init_std: 0.1, ..GmfConfig::default() }), 15);
    conforms(&fit, Expect { personal: true, folds_in: false }, &cpu());
}

#[test]
fn mlp() {
    for classes in [1, 2] {
        let config = MlpConfig { dim: 8, classes, init_std: 0.1, ..MlpConfig::default() };
        conforms(&network(NcfSpec::from(&config), 12), Expect { personal: true, folds_in: false }, &cpu());
    }
}

#[test]
fn neumf() {
    // Trained on, it learns the hidden items as the negatives that they are drawn as.
    let fit = network(NcfSpec::from(&NeumfConfig { dim: 8, init_std: 0.1, ..NeumfConfig::default() }), 12);
    conforms(&fit, Expect { personal: true, folds_in: false }, &cpu());
}
