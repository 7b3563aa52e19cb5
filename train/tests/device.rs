//! What `auto` takes. A software adapter stands in for a graphics card: it is slower than the CPU, unless the estimates
//! are made up.

mod common;

use burnrec_data::Prepared;
use burnrec_data::testing::skipped;
use burnrec_models::device::{self, Card, OpenDevice, is_host};
use burnrec_models::{DeviceChoice, Silent};
use burnrec_train::TrainConfig;
use burnrec_train::device::{ChosenDevice, Trial, Work, choose, fastest};
use burnrec_train::run::run;
use common::runs::{config, leave_one_out};

const MF: &str = "model = 'mf'\ndim = 6\nepochs = 3\nbatch_size = 700\nlearning_rate = 0.02\nreg = 0.001";
const GMF: &str = "model = 'gmf'\ndim = 4\nepochs = 3\nbatch_size = 700\nlearning_rate = 0.01";
const GPU: DeviceChoice = DeviceChoice::Gpu(None);

fn data() -> Prepared {
    leave_one_out(120, 80, 3000, 3)
}

/// Returns the weights that a run gives, as bytes by name.
fn weights(data: &Prepared, config: &TrainConfig, device: &OpenDevice) -> Vec<(String, Vec<u8>)> {
    let trained = run(data, config, device, None, &mut |_| Ok(()), &Silent).expect("a run");
    let weights = trained.recommender.model.weights().into_iter();
    weights.map(|(name, tensor)| (name, tensor.bytes().to_vec())).collect()
}

/// Whether there is an adapter, and no card beside those of software.
fn only_software(test: &str) -> bool {
    let why = match (device::open(GPU), device::card()) {
        (Ok(_), None) => return true,
        (Ok(_), Some(_)) => "there is a card, and a software adapter is asked for".to_owned(),
        (Err(error), _) => error.to_string(),
    };
    skipped("gpu", &format!("{test}: {why}"));
    false
}

#[test]
fn nothing_is_measured_without_a_card_for_als_and_by_name() {
    let data = data();
    let chosen = |text: &str, choice| {
        let config = config(text);
        choose(&config, choice, &data, Work::of_run(&config), None, &Silent).expect("a device")
    };
    assert_eq!(chosen("model = 'als'", DeviceChoice::Auto).auto, None);
    assert_eq!(chosen(MF, DeviceChoice::Cpu).auto, None);
    if device::card().is_none() {
        let ChosenDevice { device, auto } = chosen(MF, DeviceChoice::Auto);
        let auto = auto.expect("a reason");
        assert!(is_host(&device.device), "{}", device.name);
        assert_eq!((auto.cpu_seconds, auto.card_seconds), (None, None));
        assert_eq!(auto.reason, "as there is no graphics card");
    }
}

#[test]
fn the_cpu_wins_over_a_software_adapter_and_a_small_run_does_not_try_it() {
    if !only_software("the_cpu_wins_over_a_software_adapter_and_a_small_run_does_not_try_it") {
        return;
    }
    let (data, config) = (data(), config(GMF));
    let taken = |discrete, epochs| {
        let work = Work { epochs, ..Work::of_run(&config) };
        let trial = Trial::new(&config, &data, work, &Silent);
        fastest(Card { choice: GPU, discrete }, &mut |device| trial.seconds(device)).expect("a device")
    };
    let ChosenDevice { device, auto } = taken(true, 1_000_000);
    let auto = auto.expect("a reason");
    assert!(is_host(&device.device), "{auto:?}");
    let (cpu, card) = (auto.cpu_seconds.expect("measured"), auto.card_seconds.expect("tried"));
    assert!(cpu > 2.0 && card > cpu, "{auto:?}");
    assert!(auto.reason.contains(" s, gpu ("), "{auto:?}");

    let ChosenDevice { device, auto } = taken(false, 3);
    let auto = auto.expect("a reason");
    assert!(is_host(&device.device) && auto.card_seconds.is_none(), "{auto:?}");
    assert!(auto.cpu_seconds.is_some() && auto.reason.ends_with("; the card was not tried"), "{auto:?}");
}

#[test]
fn a_run_after_a_trial_has_the_weights_of_the_device_by_name() {
    let data = data();
    for (text, choice) in [(MF, DeviceChoice::Cpu), (GMF, DeviceChoice::Cpu), (GMF, GPU)] {
        let config = config(text);
        let trial = Trial::new(&config, &data, Work::of_run(&config), &Silent);
        let named = match device::open(choice) {
            Ok(device) => device,
            Err(error) => {
                skipped(
                    "gpu",
                    &format!("a_run_after_a_trial_has_the_weights_of_the_device_by_name: {error}"),
                );
                return;
            }
        };
        let before = weights(&data, &config, &named);
        // Both are tried in fact, and then the seconds are made up for the one that is to be taken.
        let mut seconds = |device: &OpenDevice| {
            assert!(trial.seconds(device)? > 0.0);
            Ok(if is_host(&device.device) == is_host(&named.device) { 10.0 } else { 100.0 })
        };
        let taken = fastest(Card { choice: GPU, discrete: true }, &mut seconds).expect("a device");
        assert_eq!(taken.device.name, named.name);
        let reason = taken.auto.expect("a reason").reason;
        assert!(reason.starts_with("estimated 10 s, "), "{reason}");
        let same = weights(&data, &config, &taken.device) == before;
        assert!(same, "other weights: {text} on {}", named.name);
    }
}
