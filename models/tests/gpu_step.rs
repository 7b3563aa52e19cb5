//! The kernels beside the host, on whatever graphics adapter there is, software included.

mod devices;

use burnrec_data::Csr;
use burnrec_data::tensors::TensorFile;
use burnrec_models::device::OpenDevice;
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::{GmfConfig, MlpConfig, NcfSpec, NeumfConfig};
use burnrec_models::nn::loss::Loss;
use burnrec_models::nn::network::Architecture;
use burnrec_models::nn::{EmbeddingUpdate, NnLearner, NnTraining, Optimizer, Schedule, ScheduleKind};
use burnrec_models::{Learner, Shape, Silent};
use devices::{cpu, gpu};

const SHAPE: Shape = Shape { n_users: 60, n_items: 45 };

/// Users with more and fewer items, one of them with all but three.
fn train() -> Csr {
    let (n_users, n_items) = (SHAPE.n_users as u32, SHAPE.n_items as u32);
    let mut offsets = vec![0];
    let mut cols = Vec::new();
    for user in 0..n_users {
        let seen = (0..n_items).filter(|&item| match user {
            7 => item % 15 != 3,
            _ => (user * 31 + item * item * 17 + user * item) % (3 + user % 9) == 0,
        });
        cols.extend(seen);
        offsets.push(cols.len());
    }
    let values = cols.iter().map(|&item| 1.0 + (item % 5) as f32).collect();
    Csr::new(n_items as usize, offsets, cols, values)
}

fn learner(architecture: &dyn Architecture, training: &NnTraining, device: &OpenDevice) -> NnLearner {
    NnLearner::new(&train(), architecture, training, 4, device).expect("a learner")
}

/// Reads arrays of a learner's saved state.
fn state(learner: &NnLearner, names: &[&str]) -> Vec<Vec<f32>> {
    let dir = tempfile::tempdir().expect("a directory");
    learner.save_state(dir.path()).expect("saved");
    let file = TensorFile::open(&dir.path().join("learner.safetensors")).expect("a file");
    names.iter().map(|name| file.get::<f32>(name).expect("an array").1).collect()
}

/// How much each weight moves in one step of plain SGD, which is the gradient by it, on a device.
fn gradients(architecture: &dyn Architecture, clip_norm: Option<f32>, device: &OpenDevice) -> Vec<Vec<f32>> {
    let training = NnTraining {
        optimizer: Optimizer::Sgd,
        learning_rate: 1.0,
        batch_size: 1 << 20,
        clip_norm,
        ..NnTraining::default()
    };
    let names = names(architecture);
    let mut learner = learner(architecture, &training, device);
    let before = state(&learner, &names);
    learner.epoch(&Silent).expect("an epoch");
    let minus = |(before, after): (Vec<f32>, Vec<f32>)| {
        before.iter().zip(after).map(|(before, after)| before - after).collect()
    };
    before.into_iter().zip(state(&learner, &names)).map(minus).collect()
}

fn names(architecture: &dyn Architecture) -> Vec<&'static str> {
    architecture.weight_shapes(SHAPE).into_iter().map(|(name, _)| name).collect()
}

fn size(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |size, value| size.max(value.abs()))
}

/// Asserts that the gradients by each weight differ by at most 1e-4 of the largest by it. Those that should be 0, such
/// as that by the bias of scores that are only compared, are measured by a hundredth of the largest of all.
fn assert_near(architecture: &dyn Architecture, ours: &[Vec<f32>], theirs: &[Vec<f32>]) {
    let largest = theirs.iter().map(|values| size(values)).fold(0.0, f32::max);
    assert!(largest > 0.0 && largest.is_finite(), "{architecture:?}: {largest}");
    for ((name, ours), theirs) in names(architecture).iter().zip(ours).zip(theirs) {
        let apart = ours.iter().zip(theirs).fold(0.0f32, |apart, (a, b)| apart.max((a - b).abs()));
        let size = size(theirs).max(0.01 * largest);
        assert!(apart <= 1e-4 * size, "{architecture:?} {name}: {apart} apart at {size}");
    }
}

/// Every network with every loss, with widths that are no whole vectors.
fn architectures() -> Vec<Box<dyn Architecture>> {
    let of_loss = |loss| -> [Box<dyn Architecture>; 6] {
        let init_std = 0.3;
        let mlp = MlpConfig { dim: 8, init_std, loss, ..MlpConfig::default() };
        let neumf = NeumfConfig { dim: 6, init_std, loss, ..NeumfConfig::default() };
        [
            Box::new(MfConfig { dim: 10, reg: 0.01, loss, init_std, ..MfConfig::default() }),
            Box::new(NcfSpec::from(&GmfConfig { dim: 7, init_std, loss, ..GmfConfig::default() })),
            Box::new(NcfSpec::from(&MlpConfig {
                layers: vec![30, 21, 13],
                user_dim: Some(18),
                classes: 2,
                ..mlp.clone()
            })),
            Box::new(NcfSpec::from(&MlpConfig { layers: vec![16, 9], dropout: 0.3, ..mlp })),
            Box::new(NcfSpec::from(&NeumfConfig { dropout: 0.2, negatives: 7, ..neumf.clone() })),
            Box::new(NcfSpec::from(&NeumfConfig { layers: vec![32, 70, 24, 20, 16, 5], ..neumf })),
        ]
    };
    [Loss::Bce, Loss::Bpr, Loss::Softmax, Loss::Mse].into_iter().flat_map(of_loss).collect()
}

#[test]
fn gradients_are_those_of_the_host() {
    let Some(gpu) = gpu("gradients_are_those_of_the_host") else { return };
    for architecture in architectures() {
        let [ours, theirs] = [&gpu, &cpu()].map(|device| gradients(&*architecture, None, device));
        assert_near(&*architecture, &ours, &theirs);
    }
}

#[test]
fn clipped_gradients_are_those_of_the_host() {
    let Some(gpu) = gpu("clipped_gradients_are_those_of_the_host") else { return };
    // Of each loss the first network, of ratings all.
    for architecture in architectures().into_iter().step_by(6).chain(architectures().into_iter().skip(18)) {
        let whole = gradients(&*architecture, None, &cpu());
        let norm = whole.iter().flatten().map(|value| value * value).sum::<f32>().sqrt();
        for most in [norm / 3.0, norm * 2.0] {
            let [ours, theirs] = [&gpu, &cpu()].map(|device| gradients(&*architecture, Some(most), device));
            assert_near(&*architecture, &ours, &theirs);
        }
    }
}

/// Ways to learn, each with something that the others lack. Adam divides a gradient by its own size, rounding errors
/// included, so that its steps are short here: long ones drift apart on any two machines.
fn trainings() -> Vec<NnTraining> {
    let schedule = Schedule { kind: ScheduleKind::Cosine, epochs: 4.0, floor: 0.1, warmup: 0.5 };
    let small = NnTraining { batch_size: 300, learning_rate: 0.001, ..NnTraining::default() };
    vec![
        NnTraining { weight_decay: 0.1, schedule: Some(schedule), ..small.clone() },
        NnTraining {
            embedding_update: EmbeddingUpdate::Lazy,
            weight_decay: 0.1,
            batch_size: 150,
            ..small.clone()
        },
        NnTraining {
            optimizer: Optimizer::Adagrad,
            learning_rate: 0.01,
            clip_norm: Some(0.05),
            ..small.clone()
        },
        NnTraining { optimizer: Optimizer::Sgd, learning_rate: 0.5, weight_decay: 0.01, ..small },
    ]
}

#[test]
fn losses_of_three_epochs_are_those_of_the_host_and_a_step_launches_little_and_transfers_nothing() {
    let Some(gpu) = gpu("losses_of_three_epochs") else { return };
    for (number, architecture) in architectures().into_iter().enumerate() {
        let trainings = trainings();
        let training = &trainings[number % trainings.len()];
        let losses = |device: &OpenDevice| {
            let mut learner = learner(&*architecture, training, device);
            let before = learner.traffic().ok().map(|traffic| traffic.transfers);
            let losses: Vec<f64> =
                (0..3).map(|_| learner.epoch(&Silent).expect("an epoch").total.expect("a loss")).collect();
            if let (Some(before), Ok(after)) = (before, learner.traffic()) {
                let of_step = after.launches / after.steps;
                assert!(of_step <= 25, "{architecture:?}: {of_step} launches a step");
                // Before an epoch its draws, after it the losses and the weights; no epoch here lasts so long that the loss
                // is read in it more than a few times.
                let transfers = after.transfers - before;
                assert!((9..100).contains(&transfers), "{architecture:?}: {transfers} transfers");
            }
            losses
        };
        let (ours, theirs) = (losses(&gpu), losses(&cpu()));
        for (epoch, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let apart = (ours - theirs).abs() / theirs.abs();
            assert!(apart <= 1e-4, "{architecture:?}, {training:?}, epoch {epoch}: {ours} and {theirs}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_bits_and_a_resumed_run_goes_on_with_them() {
    let Some(gpu) = gpu("a_seed_gives_the_same_bits_and_a_resumed_run_goes_on_with_them") else { return };
    for (architecture, training) in architectures().into_iter().zip(trainings().into_iter().cycle()).take(8) {
        let mut names: Vec<String> = names(&*architecture).into_iter().map(str::to_owned).collect();
        for number in 0..training.optimizer.n_states() {
            names.extend(self::names(&*architecture).iter().map(|name| format!("optimizer_{number}.{name}")));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let trained = |epochs: usize| {
            let mut learner = learner(&*architecture, &training, &gpu);
            assert!(learner.traffic().is_ok());
            (0..epochs).for_each(|_| drop(learner.epoch(&Silent).expect("an epoch")));
            learner
        };
        let bits = |learner: &NnLearner| -> Vec<Vec<u32>> {
            let values = state(learner, &names);
            values.iter().map(|values| values.iter().map(|value| value.to_bits()).collect()).collect()
        };
        let whole = bits(&trained(3));
        assert_eq!(whole, bits(&trained(3)), "{architecture:?}");
        // Steps that are launched kernel by kernel, as for their times, are those that the device replays.
        let mut plain = trained(0);
        plain.measure_kernels();
        (0..3).for_each(|_| drop(plain.epoch(&Silent).expect("an epoch")));
        assert!(plain.kernel_times().contains_key("update"), "{:?}", plain.kernel_times());
        assert_eq!(whole, bits(&plain), "{architecture:?}, launched one by one");
        let dir = tempfile::tempdir().expect("a directory");
        trained(2).save_state(dir.path()).expect("saved");
        let mut resumed = trained(0);
        resumed.load_state(dir.path()).expect("loaded");
        resumed.epoch(&Silent).expect("an epoch");
        assert_eq!(whole, bits(&resumed), "{architecture:?}, resumed");
    }
}

/// Long tables, of which a batch touches little: rows of several blocks are listed.
fn sparse_train() -> Csr {
    let (n_users, n_items) = (3_000, 2_500u32);
    let offsets = (0..=n_users).map(|user| 3 * user).collect();
    let items = |user: u32| {
        let mut items = [0, 1, 2].map(|k| (user * 37 + k * 811 + user * user % 13) % n_items);
        items.sort_unstable();
        items
    };
    let cols: Vec<u32> = (0..n_users as u32).flat_map(items).collect();
    Csr::new(n_items as usize, offsets, cols.clone(), vec![1.0; cols.len()])
}

#[test]
fn long_tables_are_updated_by_the_rows_that_a_batch_touches() {
    let Some(gpu) = gpu("long_tables_are_updated_by_the_rows_that_a_batch_touches") else { return };
    let train = sparse_train();
    let mf = MfConfig { dim: 10, reg: 0.01, init_std: 0.3, ..MfConfig::default() };
    let neumf = NcfSpec::from(&NeumfConfig { dim: 6, init_std: 0.3, ..NeumfConfig::default() });
    let sgd = NnTraining {
        optimizer: Optimizer::Sgd,
        learning_rate: 0.5,
        batch_size: 400,
        ..NnTraining::default()
    };
    let adam =
        NnTraining { batch_size: 400, weight_decay: 0.1, clip_norm: Some(0.02), ..NnTraining::default() };
    for (architecture, names) in [
        (&mf as &dyn Architecture, ["user_embedding", "item_embedding", "user_bias", "item_bias"]),
        (&neumf, ["user_gmf", "item_gmf", "user_mlp", "item_mlp"]),
    ] {
        for training in [&sgd, &adam] {
            let trained = |device: &OpenDevice| {
                let mut learner =
                    NnLearner::new(&train, architecture, training, 4, device).expect("a learner");
                let losses =
                    [(); 2].map(|()| learner.epoch(&Silent).expect("an epoch").total.expect("a loss"));
                (losses, state(&learner, &names))
            };
            let ((ours, our_tables), (theirs, their_tables)) = (trained(&gpu), trained(&cpu()));
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert!((ours - theirs).abs() <= 1e-4 * theirs, "{architecture:?}: {ours} and {theirs}");
            }
            for ((name, ours), theirs) in names.iter().zip(our_tables).zip(their_tables) {
                let apart = ours.iter().zip(&theirs).fold(0.0f32, |apart, (a, b)| apart.max((a - b).abs()));
                let size = size(&theirs);
                assert!(
                    apart <= 1e-3 * size,
                    "{architecture:?} {training:?} {name}: {apart} apart at {size}"
                );
            }
        }
    }
}

#[test]
fn what_the_kernels_do_not_take_goes_the_portable_way_and_says_so() {
    let Some(gpu) = gpu("what_the_kernels_do_not_take_goes_the_portable_way_and_says_so") else { return };
    let layers = vec![16, 12, 10, 8, 8, 6, 4];
    let deep = NcfSpec::from(&MlpConfig { layers, init_std: 0.3, ..MlpConfig::default() });
    let training = NnTraining { batch_size: 1000, ..NnTraining::default() };
    let mut learner = learner(&deep, &training, &gpu);
    assert_eq!(learner.traffic().expect_err("too deep"), "6 hidden layers, where the kernels take 5");
    let ours = learner.epoch(&Silent).expect("an epoch").total.expect("a loss");
    let mut host = self::learner(&deep, &training, &cpu());
    assert_eq!(host.traffic().expect_err("the host"), "the device does not run them");
    let theirs = host.epoch(&Silent).expect("an epoch").total.expect("a loss");
    assert!((ours - theirs).abs() <= 1e-4 * theirs, "{ours} and {theirs}");
    let shallow = NcfSpec::from(&GmfConfig { dim: 8, ..GmfConfig::default() });
    let portable = self::learner(&shallow, &training, &gpu).without_kernels();
    assert_eq!(portable.traffic().expect_err("not wanted"), "they were not asked for");
}
