//! What has to hold before a pace means anything: a card learns what the CPU learns, the same each time, and without any
//! traffic in a step.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use burnrec_data::Csr;
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_data::tensors::TensorFile;
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::{GmfConfig, MlpConfig, NcfSpec, NeumfConfig};
use burnrec_models::nn::loss::Loss;
use burnrec_models::nn::network::Architecture;
use burnrec_models::nn::{NnLearner, NnTraining, Optimizer};
use burnrec_models::{DeviceChoice, Learner, Shape, Silent};

use super::Fallible;

/// The most that a loss of the card may differ from the CPU's, relatively.
const LOSS_APART: f64 = 1e-4;
/// The most that gradients may differ, to the largest of their weight. Those of tables are summed in fixed point, whose
/// steps are the coarser the more samples a row may have: here all are in one batch.
const GRADIENT_APART: f64 = 1e-3;
const MOST_LAUNCHES: f64 = 25.0;
/// The transfers of an epoch: its draws, the losses and the weights; losses once more for each half a second.
const TRANSFERS: usize = 3;

/// Checks every network with every loss, prints a line for each, and returns whether all hold. Those that are not begun by
/// `deadline` do not hold.
pub fn run(device: &OpenDevice, deadline: Instant) -> bool {
    let mut held = true;
    let train = match train() {
        Ok(train) => train,
        Err(error) => {
            println!("FAILED: {error}");
            return false;
        }
    };
    for (name, architecture) in architectures() {
        if Instant::now() > deadline {
            println!("FAILED {name}: not checked, as the time is over");
            held = false;
            continue;
        }
        let mut said = String::new();
        // CubeCL panics where a kernel does not compile.
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&*architecture, &train, device, &mut said)));
        let outcome = outcome.unwrap_or_else(|_| Err("it panicked".into()));
        match outcome {
            Ok(()) => println!("ok {name}: {said}"),
            Err(error) => {
                println!("FAILED {name}: {error} (so far: {said})");
                held = false;
            }
        }
    }
    held
}

fn train() -> Fallible<Csr> {
    let dataset = synth(&SynthConfig::new(300, 200, 3_000, 1))?;
    Ok(dataset.interactions.to_csr(dataset.users.len(), dataset.items.len()))
}

/// Every network, with two classes too, with every loss.
fn architectures() -> Vec<(String, Box<dyn Architecture>)> {
    let of_loss = |loss: Loss| -> [(String, Box<dyn Architecture>); 6] {
        let init_std = 0.1;
        let mlp = MlpConfig { dim: 8, init_std, loss, ..MlpConfig::default() };
        let neumf = NcfSpec::from(&NeumfConfig { dim: 8, init_std, loss, ..NeumfConfig::default() });
        let named = |name: &str| format!("{name} {}", loss_name(loss));
        [
            (named("mf"), Box::new(MfConfig { dim: 16, reg: 0.001, loss, ..MfConfig::default() })),
            (
                named("gmf"),
                Box::new(NcfSpec::from(&GmfConfig { dim: 8, init_std, loss, ..GmfConfig::default() })),
            ),
            (named("mlp"), Box::new(NcfSpec::from(&mlp))),
            (named("mlp, 2 classes,"), Box::new(NcfSpec::from(&MlpConfig { classes: 2, ..mlp }))),
            (named("neumf"), Box::new(neumf.clone())),
            (named("neumf, 2 classes,"), Box::new(NcfSpec { classes: 2, ..neumf })),
        ]
    };
    [Loss::Bce, Loss::Bpr, Loss::Softmax, Loss::Mse].into_iter().flat_map(of_loss).collect()
}

fn loss_name(loss: Loss) -> &'static str {
    match loss {
        Loss::Bce => "bce",
        Loss::Bpr => "bpr",
        Loss::Softmax => "softmax",
        Loss::Mse => "mse",
    }
}

/// Checks one network; `said` gets what was found.
fn check(architecture: &dyn Architecture, train: &Csr, card: &OpenDevice, said: &mut String) -> Fallible<()> {
    let cpu = device::open(DeviceChoice::Cpu)?;
    let apart = gradients_apart(architecture, train, card, &cpu)?;
    let (name, most) =
        apart.iter().fold(
            ("", 0.0),
            |most, (name, apart)| {
                if *apart > most.1 || apart.is_nan() { (name, *apart) } else { most }
            },
        );
    write!(said, "gradients {most:.1e} apart ({name})")?;
    holds("gradients", most <= GRADIENT_APART)?;

    let adam = NnTraining { batch_size: 512, ..NnTraining::default() };
    let learner = |device| NnLearner::new(train, architecture, &adam, 4, device);
    let mut first = learner(card)?;
    let loss = loss_of_epoch(&mut first)?;
    let of_cpu = loss_of_epoch(&mut learner(&cpu)?)?;
    let apart = ((loss - of_cpu) / of_cpu).abs();
    write!(said, ", loss {loss:.5} and {of_cpu:.5}, {apart:.1e} apart")?;
    holds("losses", apart <= LOSS_APART)?;

    let before = first.traffic()?;
    let start = Instant::now();
    loss_of_epoch(&mut first)?;
    let half_seconds = (start.elapsed().as_secs_f64() / 0.5) as usize;
    let traffic = first.traffic()?;
    let launches = traffic.launches as f64 / traffic.steps as f64;
    let transfers = traffic.transfers - before.transfers;
    write!(said, ", {launches} launches a step, {transfers} transfers an epoch")?;
    holds("launches of a step", launches <= MOST_LAUNCHES)?;
    holds("transfers of an epoch", transfers <= TRANSFERS + half_seconds)?;

    let mut second = learner(card)?;
    loss_of_epoch(&mut second)?;
    loss_of_epoch(&mut second)?;
    holds("two runs, bit by bit,", state(&first)? == state(&second)?)?;
    said.push_str(", two runs equal");
    Ok(())
}

fn holds(what: &str, held: bool) -> Fallible<()> {
    if held { Ok(()) } else { Err(format!("{what} differ from what they have to be").into()) }
}

fn loss_of_epoch(learner: &mut NnLearner) -> Fallible<f64> {
    Ok(learner.epoch(&Silent)?.total.unwrap_or(f64::NAN))
}

/// The bytes of a saved state.
fn state(learner: &NnLearner) -> Fallible<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    learner.save_state(dir.path())?;
    Ok(std::fs::read(dir.path().join(STATE))?)
}

const STATE: &str = "learner.safetensors";

/// Returns for each weight how far its gradients are apart, to the largest of them. A step of plain SGD at rate 1 moves
/// weights by their gradients; all rows are in it.
fn gradients_apart(
    architecture: &dyn Architecture,
    train: &Csr,
    card: &OpenDevice,
    cpu: &OpenDevice,
) -> Fallible<Vec<(&'static str, f64)>> {
    let training = NnTraining {
        optimizer: Optimizer::Sgd,
        learning_rate: 1.0,
        batch_size: 1 << 20,
        ..NnTraining::default()
    };
    let shape = Shape { n_users: train.n_rows(), n_items: train.n_cols() };
    let names: Vec<&'static str> =
        architecture.weight_shapes(shape).into_iter().map(|(name, _)| name).collect();
    let moved = |device: &OpenDevice| -> Fallible<Vec<Vec<f32>>> {
        let mut learner = NnLearner::new(train, architecture, &training, 4, device)?;
        let before = weights(&learner, &names)?;
        loss_of_epoch(&mut learner)?;
        let after = weights(&learner, &names)?;
        let minus = |(a, b): (Vec<f32>, Vec<f32>)| a.iter().zip(b).map(|(a, b)| a - b).collect();
        Ok(before.into_iter().zip(after).map(minus).collect())
    };
    let (ours, theirs) = (moved(card)?, moved(cpu)?);
    let all = theirs.iter().map(|values| largest(values)).fold(0.0, f32::max);
    // A loss of differences of scores does not depend on what all scores of a user have in common: what is left of its
    // gradient is rounding.
    let of_differences = matches!(architecture.loss().0, Loss::Bpr | Loss::Softmax);
    let is_rounding = |name| of_differences && matches!(name, "user_bias" | "output_bias");
    let apart = |(name, (ours, theirs)): (&'static str, (Vec<f32>, Vec<f32>))| {
        let size = if is_rounding(name) { all } else { largest(&theirs) };
        let difference: Vec<f32> = ours.iter().zip(&theirs).map(|(a, b)| a - b).collect();
        (name, f64::from(largest(&difference) / size))
    };
    Ok(names.into_iter().zip(ours.into_iter().zip(theirs)).map(apart).collect())
}

fn weights(learner: &NnLearner, names: &[&str]) -> Fallible<Vec<Vec<f32>>> {
    let dir = tempfile::tempdir()?;
    learner.save_state(dir.path())?;
    let file = TensorFile::open(&dir.path().join(STATE))?;
    names.iter().map(|name| Ok(file.get::<f32>(name)?.1)).collect()
}

/// The largest magnitude; NaN where a value is.
fn largest(values: &[f32]) -> f32 {
    values
        .iter()
        .fold(0.0, |most, value| if most.is_nan() || value.abs() <= most { most } else { value.abs() })
}
