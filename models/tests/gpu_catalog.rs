//! Scores and best items on whatever graphics adapter there is, software included, beside the host.

mod devices;

use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::{Csr, ItemIx, UserIx};
use burnrec_models::als::AlsConfig;
use burnrec_models::device::OpenDevice;
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::{GmfConfig, MlpConfig, NcfSpec, NeumfConfig};
use burnrec_models::nn::network::Architecture;
use burnrec_models::nn::{InitialWeights, NnLearner, NnTraining};
use burnrec_models::scorer::Allowed;
use burnrec_models::topk::{select, top_k};
use burnrec_models::{Compute, Family, Learner, Model, Shape};
use devices::{cpu, gpu};

const SHAPE: Shape = Shape { n_users: 37, n_items: 141 };

/// A model with drawn weights, or with these.
fn model(
    architecture: &dyn Architecture,
    shape: Shape,
    weights: InitialWeights,
    device: &OpenDevice,
) -> Box<dyn Model> {
    let offsets = (0..=shape.n_users).collect();
    let train = Csr::new(shape.n_items, offsets, vec![0; shape.n_users], vec![1.0; shape.n_users]);
    let training = NnTraining { batch_size: 64, ..NnTraining::default() };
    let learner = NnLearner::with_weights(&train, architecture, &training, 4, weights, device);
    learner.expect("a learner").model()
}

fn architectures() -> Vec<Box<dyn Architecture>> {
    let init_std = 0.3;
    let mlp = MlpConfig { dim: 8, init_std, ..MlpConfig::default() };
    let neumf = NeumfConfig { dim: 6, init_std, ..NeumfConfig::default() };
    let mf = MfConfig { dim: 10, init_std, ..MfConfig::default() };
    let networks = [
        NcfSpec::from(&GmfConfig { dim: 7, init_std, ..GmfConfig::default() }),
        NcfSpec::from(&MlpConfig { layers: vec![16, 9], dropout: 0.5, ..mlp.clone() }),
        NcfSpec::from(&MlpConfig { layers: vec![16, 24, 70], ..mlp.clone() }),
        NcfSpec::from(&MlpConfig { layers: vec![30, 21, 13], user_dim: Some(18), classes: 2, ..mlp }),
        NcfSpec { classes: 2, ..NcfSpec::from(&neumf) },
        NcfSpec::from(&NeumfConfig { ..neumf.clone() }),
        NcfSpec::from(&NeumfConfig { layers: vec![140, 270, 24, 20, 16, 5], ..neumf }),
    ];
    let networks = networks.into_iter().map(|network| Box::new(network) as Box<dyn Architecture>);
    networks.chain([Box::new(mf) as Box<dyn Architecture>]).collect()
}

fn users(shape: Shape) -> Vec<UserIx> {
    (0..shape.n_users as u32).rev().map(UserIx).collect()
}

#[test]
fn scores_are_those_of_the_host() {
    let Some(gpu) = gpu("scores_are_those_of_the_host") else { return };
    for architecture in architectures() {
        let [ours, theirs] =
            [&gpu, &cpu()].map(|device| model(&*architecture, SHAPE, InitialWeights::new(), device));
        assert!(ours.pairs_at_once() > 1, "the kernels score {architecture:?}");
        assert_eq!(theirs.pairs_at_once(), 1);
        let users = users(SHAPE);
        let all = |model: &dyn Model| {
            let mut scores = vec![0.0; SHAPE.n_users * SHAPE.n_items];
            model.score_catalog(&users, &mut scores);
            scores
        };
        let (ours_all, theirs_all) = (all(&*ours), all(&*theirs));
        let largest = theirs_all.iter().fold(0.0f32, |most, score| most.max(score.abs()));
        for (ours, theirs) in ours_all.iter().zip(&theirs_all) {
            assert!((ours - theirs).abs() <= 1e-5 * largest, "{architecture:?}: {ours} and {theirs}");
        }
        let pairs: Vec<(UserIx, ItemIx)> =
            (0..75u32).map(|k| (UserIx(k * 7 % 37), ItemIx(k * 11 % 141))).collect();
        let (pair_users, pair_items): (Vec<UserIx>, Vec<ItemIx>) = pairs.into_iter().unzip();
        let mut scores = vec![0.0; 75];
        ours.score_pairs(&pair_users, &pair_items, &mut scores);
        for ((user, item), score) in pair_users.iter().zip(&pair_items).zip(&scores) {
            let row = SHAPE.n_users - 1 - user.at();
            assert_eq!(*score, ours_all[row * SHAPE.n_items + item.at()], "{architecture:?}");
        }
        // The same after scores of pairs as before.
        assert_eq!(all(&*ours), ours_all);
    }
}

/// Asserts that the lists are those that the host selects from the same scores.
fn assert_lists(model: &dyn Model, shape: Shape, k: usize, allowed: Option<&Allowed>) {
    let users = users(shape);
    let excluded: Vec<Vec<u32>> = users
        .iter()
        .map(|user| {
            (0..shape.n_items as u32).filter(|item| (item + user.0) % (2 + user.0 % 9) == 0).collect()
        })
        .collect();
    let mut scores = vec![0.0; shape.n_users * shape.n_items];
    model.score_catalog(&users, &mut scores);
    let lists = top_k(model, &users, k, |at| &excluded[at], allowed);
    assert_eq!(lists.len(), users.len());
    for ((list, scores), excluded) in lists.iter().zip(scores.chunks(shape.n_items)).zip(&excluded) {
        let expected = select(scores, k, excluded, allowed);
        let items = |list: &[(ItemIx, f32)]| list.iter().map(|(item, _)| item.0).collect::<Vec<_>>();
        let bits = |list: &[(ItemIx, f32)]| list.iter().map(|(_, score)| score.to_bits()).collect::<Vec<_>>();
        assert_eq!(items(list), items(&expected), "k {k}");
        assert_eq!(bits(list), bits(&expected), "k {k}");
    }
}

#[test]
fn best_items_are_selected_by_the_rule_of_the_host() {
    let Some(gpu) = gpu("best_items_are_selected_by_the_rule_of_the_host") else { return };
    let odd: Vec<ItemIx> = (0..SHAPE.n_items as u32).filter(|item| item % 2 == 1).map(ItemIx).collect();
    let few: Vec<ItemIx> = [3, 64, 140].map(ItemIx).to_vec();
    let allowed = Allowed::all(SHAPE.n_items);
    let allowed = [None, Some(allowed.clone().only(&odd)), Some(allowed.only(&few))];
    for architecture in architectures() {
        let model = model(&*architecture, SHAPE, InitialWeights::new(), &gpu);
        for allowed in &allowed {
            for k in [1, 10, 60] {
                let lists = model.best_on_device(&users(SHAPE), k, &|_| &[], allowed.as_ref());
                assert!(lists.is_some(), "{architecture:?} selects on the device");
                assert_lists(&*model, SHAPE, k, allowed.as_ref());
            }
        }
        // Most of the catalogue is selected on the host.
        assert_lists(&*model, SHAPE, 100, None);
    }
}

/// GMF with one item vector for each kind of score, so that there are ties, infinities and what is no number.
#[test]
fn ties_infinities_and_nan_have_their_places() {
    let Some(gpu) = gpu("ties_infinities_and_nan_have_their_places") else { return };
    let Shape { n_users, n_items } = SHAPE;
    let kinds: [&[f32]; 4] = [
        &[0.0],
        &[1.0, 2.0, 2.0, -1.0],
        &[0.0, -0.0, f32::NEG_INFINITY, f32::INFINITY, 1.5],
        &[f32::NAN, f32::NEG_INFINITY, 3.0],
    ];
    for kinds in kinds {
        let items = (0..n_items).map(|item| kinds[item * 5 % kinds.len()]).collect();
        let weights = [
            ("user_gmf", vec![1.0; n_users]),
            ("item_gmf", items),
            ("output_weight", vec![1.0]),
            ("output_bias", vec![0.0]),
        ];
        let weights = weights.map(|(name, values)| (name.to_owned(), values)).into();
        let architecture = NcfSpec::from(&GmfConfig { dim: 1, ..GmfConfig::default() });
        let model = model(&architecture, SHAPE, weights, &gpu);
        for k in [1, 7, 50, 70] {
            assert_lists(&*model, SHAPE, k, None);
        }
    }
}

#[test]
fn factors_of_als_are_scored_on_a_card_that_is_named() {
    let Some(gpu) = gpu("factors_of_als_are_scored_on_a_card_that_is_named") else { return };
    let config = AlsConfig { dim: 12, ..AlsConfig::default() };
    assert_eq!(config.scores_on(), Compute::HostOrNamed);
    let factors = |n: usize| (0..n * 12).map(|k| ((k * 37 % 101) as f32 - 50.0) / 50.0);
    let weights = [
        ("user_factors", Tensor::new(&[SHAPE.n_users, 12], factors(SHAPE.n_users))),
        ("item_factors", Tensor::new(&[SHAPE.n_items, 12], factors(SHAPE.n_items))),
    ];
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("weights.safetensors");
    tensors::write(&path, &weights).expect("written");
    let weights = TensorFile::open(&path).expect("weights");
    let [ours, theirs] = [gpu, cpu()].map(|device| config.load(&weights, SHAPE, &device).expect("a model"));
    let mut scores = [vec![0.0; SHAPE.n_items], vec![0.0; SHAPE.n_items]];
    ours.score_catalog(&[UserIx(5)], &mut scores[0]);
    theirs.score_catalog(&[UserIx(5)], &mut scores[1]);
    for (ours, theirs) in scores[0].iter().zip(&scores[1]) {
        assert!((ours - theirs).abs() <= 1e-5, "{ours} and {theirs}");
    }
    assert_lists(&*ours, SHAPE, 10, None);
    assert!(ours.as_fold_in().is_some() && ours.item_vectors().is_some(), "all else is the model's");
}

#[test]
fn large_catalogues_go_in_blocks() {
    let Some(gpu) = gpu("large_catalogues_go_in_blocks") else { return };
    // More scores than one block has, and users of a block whose pairs are more than go through the layers at once.
    let shape = Shape { n_users: 4_200, n_items: 2_003 };
    let gmf = NcfSpec::from(&GmfConfig { dim: 4, init_std: 0.3, ..GmfConfig::default() });
    // More pairs than go through the layers at once, and a last part of them that is no multiple of four.
    let fewer = Shape { n_users: 601, ..shape };
    let neumf = NcfSpec::from(&NeumfConfig { dim: 4, init_std: 0.3, ..NeumfConfig::default() });
    for (architecture, shape) in [(gmf, shape), (neumf, fewer)] {
        let model = model(&architecture, shape, InitialWeights::new(), &gpu);
        assert_lists(&*model, shape, 10, None);
    }
}
