//! The kernels beside the host, on whatever graphics adapter there is, software included.

use burnrec_data::Csr;
use burnrec_data::tensors::TensorFile;
use burnrec_data::testing::skipped;
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::{GmfConfig, MlpConfig, NcfSpec, NeumfConfig};
use burnrec_models::nn::loss::Loss;
use burnrec_models::nn::network::Architecture;
use burnrec_models::nn::{NnLearner, NnTraining, Optimizer};
use burnrec_models::{DeviceChoice, Learner, Shape, Silent};

/// The first adapter, be it of software; `None`, said aloud, where there is none.
fn gpu(test: &str) -> Option<OpenDevice> {
    match device::open(DeviceChoice::Gpu(None)) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            skipped("gpu", &format!("{test}: {error}"));
            None
        }
    }
}

fn cpu() -> OpenDevice {
    device::open(DeviceChoice::Cpu).expect("the CPU")
}

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

/// The largest difference of two lists of values, beside the largest magnitude of the first.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let size = a.iter().fold(0.0f32, |size, value| size.max(value.abs()));
    a.iter().zip(b).fold(0.0f32, |apart, (a, b)| apart.max((a - b).abs())) / size.max(f32::MIN_POSITIVE)
}

/// How much each weight moves in one step of plain SGD, which is the gradient by it: that of the host and the kernels'.
fn gradients(
    architecture: &dyn Architecture,
    clip_norm: Option<f32>,
    gpu: &OpenDevice,
) -> Vec<(String, f32)> {
    let training = NnTraining {
        optimizer: Optimizer::Sgd,
        learning_rate: 1.0,
        batch_size: 1 << 20,
        clip_norm,
        ..NnTraining::default()
    };
    let names: Vec<&str> = architecture.weight_shapes(SHAPE).into_iter().map(|(name, _)| name).collect();
    let moved = |device: &OpenDevice| {
        let mut learner = learner(architecture, &training, device);
        let before = state(&learner, &names);
        learner.epoch(&Silent).expect("an epoch");
        let minus = |(before, after): (Vec<f32>, Vec<f32>)| {
            before.iter().zip(after).map(|(before, after)| before - after).collect::<Vec<f32>>()
        };
        before.into_iter().zip(state(&learner, &names)).map(minus).collect::<Vec<_>>()
    };
    let (ours, theirs) = (moved(gpu), moved(&cpu()));
    if std::env::var("DBG").is_ok() {
        for ((n, a), b) in names.iter().zip(&ours).zip(&theirs) {
            eprintln!("{n} ours {:?} theirs {:?}", &a[..8.min(a.len())], &b[..8.min(b.len())]);
        }
    }
    let apart =
        |((name, ours), theirs): ((&str, Vec<f32>), Vec<f32>)| (name.to_owned(), apart(&theirs, &ours));
    names.into_iter().zip(ours).zip(theirs).map(apart).collect()
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
        for (name, apart) in gradients(&*architecture, None, &gpu) {
            eprintln!("{} {name}: {apart}", architecture.config().kind());
        }
    }
}
