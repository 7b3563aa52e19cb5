//! The device of a run. `--device auto` takes what is fastest for the model, the data and the machine: before a run
//! starts, a part of its rows is trained on the CPU for a moment and, if that may pay, on the graphics card.
//!
//! The choice errs by little. The moment on the CPU is at most a twentieth of the run. A card that shares the
//! processor's memory often loses, so a trial on it is made only where it costs at most a tenth of the time of the CPU.
//! A discrete card is tried as soon as the CPU would need longer than the trial, most of which the run needs anyway:
//! the card is then open and its kernels are compiled. Where there is no card, nothing is measured. A trial changes
//! nothing in the run, whose draws follow from its seed alone.

mod trial;

use std::panic::{AssertUnwindSafe, catch_unwind};

use burnrec_data::Prepared;
use burnrec_models::device::{self, Card, OpenDevice};
use burnrec_models::{Compute, DeviceChoice, Error as ModelError, Progress};
use serde::{Deserialize, Serialize};

pub use trial::{Trial, Work};

use crate::{Result, TrainConfig};

/// The seconds of a trial on a card: to open it and to compile the kernels, with the epochs of the trial.
pub const TRIAL_SECONDS: f64 = 2.0;

/// How many times as long as a trial the CPU has to need, so that a trial which the card loses costs a tenth.
const TIMES_A_TRIAL: f64 = 10.0;

/// The device of a run, and why `auto` took it.
pub struct ChosenDevice {
    /// The device.
    pub device: OpenDevice,
    /// Why it was taken, where `auto` chose; `None` for a device that was asked for by name and for models that are
    /// trained on the host.
    pub auto: Option<AutoDevice>,
}

/// Why `auto` took a device, in the record of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutoDevice {
    /// The seconds that the run was estimated to take on the CPU ([`Trial::seconds`]), where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// The same on the graphics card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_seconds: Option<f64>,
    /// The reason in words, such as `estimated 3.1 s, the CPU 140 s`.
    pub reason: String,
}

/// What is known of the card when the CPU's seconds are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CardFacts {
    /// It was not tried.
    Untried {
        /// Whether it is a discrete card ([`Card::discrete`]).
        discrete: bool,
    },
    /// It was tried.
    Tried {
        /// The seconds that the run was estimated to take on it.
        seconds: f64,
    },
}

/// What follows from the estimates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The CPU is taken.
    Cpu,
    /// The card is tried.
    Try,
    /// The card is taken.
    Card,
}

/// Decides by the seconds that the CPU was estimated to need, infinite where it cannot train the model, and by what is
/// known of the card.
pub fn verdict(cpu_seconds: f64, card: CardFacts) -> Verdict {
    match card {
        CardFacts::Untried { discrete } => {
            let least = if discrete { TRIAL_SECONDS } else { TIMES_A_TRIAL * TRIAL_SECONDS };
            if cpu_seconds > least { Verdict::Try } else { Verdict::Cpu }
        }
        CardFacts::Tried { seconds } if seconds < cpu_seconds => Verdict::Card,
        CardFacts::Tried { .. } => Verdict::Cpu,
    }
}

/// Opens the device to train a config on: the one asked for; by `auto` the one that is fastest for `work` on this data,
/// and the CPU for models that are trained on the host. `made_on` names the device of the checkpoint that the run
/// resumes from: a card or the CPU is then kept without a trial.
///
/// # Errors
/// When a device that is asked for by name cannot be had, or is a GPU and the model is trained on the CPU alone; and
/// when `progress` says to stop.
pub fn choose(
    config: &TrainConfig,
    choice: DeviceChoice,
    data: &Prepared,
    work: Work,
    made_on: Option<&str>,
    progress: &dyn Progress,
) -> Result<ChosenDevice> {
    if choice != DeviceChoice::Auto || config.trainer.trains_on() != Compute::Device {
        return Ok(ChosenDevice { device: config.open_device(choice)?, auto: None });
    }
    match (device::card(), made_on) {
        (None, _) => {
            Ok(chosen(device::open(DeviceChoice::Cpu)?, [None; 2], "as there is no graphics card".into()))
        }
        (Some(card), Some(made_on)) => as_before(card, made_on),
        (Some(card), None) => {
            let trial = Trial::new(config, data, work, progress);
            fastest(card, &mut |device| trial.seconds(device))
        }
    }
}

/// Takes the CPU or a card, whichever `seconds` estimates to be faster; it is asked for the CPU first, and for the card
/// only where a trial may pay. A card that cannot be opened or cannot train is not taken, and the reason says why.
///
/// # Errors
/// When `seconds` was interrupted.
pub fn fastest(card: Card, seconds: &mut dyn FnMut(&OpenDevice) -> Result<f64>) -> Result<ChosenDevice> {
    let cpu = device::open(DeviceChoice::Cpu)?;
    let (on_cpu, said) = match seconds(&cpu) {
        Ok(seconds) => (Some(seconds), format!("the CPU {}", told(seconds))),
        Err(error) if error.is_interrupted() => return Err(error),
        Err(error) => (None, format!("the CPU cannot: {error}")),
    };
    let estimated = on_cpu.map_or_else(|| said.clone(), |seconds| format!("estimated {}", told(seconds)));
    let (cpu_seconds, discrete) = (on_cpu.unwrap_or(f64::INFINITY), card.discrete);
    if verdict(cpu_seconds, CardFacts::Untried { discrete }) == Verdict::Cpu {
        return Ok(chosen(cpu, [on_cpu, None], format!("{estimated}; the card was not tried")));
    }
    Ok(match tried(card, seconds) {
        Err(error) if error.is_interrupted() => return Err(error),
        Err(error) => chosen(cpu, [on_cpu, None], format!("{estimated}; the card cannot: {error}")),
        Ok((device, seconds)) => match verdict(cpu_seconds, CardFacts::Tried { seconds }) {
            Verdict::Card => {
                chosen(device, [on_cpu, Some(seconds)], format!("estimated {}, {said}", told(seconds)))
            }
            _ => {
                let reason = format!("{estimated}, {} {}", device.name, told(seconds));
                chosen(cpu, [on_cpu, Some(seconds)], reason)
            }
        },
    })
}

/// Opens a card and estimates its seconds. A driver that panics, as some do when memory runs out, is an error.
fn tried(card: Card, seconds: &mut dyn FnMut(&OpenDevice) -> Result<f64>) -> Result<(OpenDevice, f64)> {
    let trial = || {
        let device = device::open(card.choice)?;
        let seconds = seconds(&device)?;
        Ok((device, seconds))
    };
    catch_unwind(AssertUnwindSafe(trial)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let why = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("its driver failed");
        Err(ModelError::Device { asked: card.choice.to_string(), why: why.to_owned() }.into())
    })
}

/// Opens the kind of device that a checkpoint was made on, or the CPU if the card cannot be opened.
fn as_before(card: Card, made_on: &str) -> Result<ChosenDevice> {
    let cpu = device::open(DeviceChoice::Cpu)?;
    if !made_on.starts_with("gpu") {
        return Ok(chosen(cpu, [None; 2], "as the checkpoint was made on it".into()));
    }
    Ok(match device::open(card.choice) {
        Ok(device) => chosen(device, [None; 2], "as the checkpoint was made on a card".into()),
        Err(error) => chosen(cpu, [None; 2], format!("as the card cannot be opened: {error}")),
    })
}

fn chosen(device: OpenDevice, [cpu_seconds, card_seconds]: [Option<f64>; 2], reason: String) -> ChosenDevice {
    ChosenDevice { device, auto: Some(AutoDevice { cpu_seconds, card_seconds, reason }) }
}

/// Writes seconds with about two digits.
fn told(seconds: f64) -> String {
    match seconds {
        ..0.1 => format!("{seconds:.2} s"),
        ..9.95 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_follows_from_the_estimates() {
        let untried = |discrete| CardFacts::Untried { discrete };
        let tried = |seconds| CardFacts::Tried { seconds };
        for (cpu, card, expected) in [
            // A discrete card is tried where the CPU needs longer than the trial.
            (0.5, untried(true), Verdict::Cpu),
            (TRIAL_SECONDS, untried(true), Verdict::Cpu),
            (2.1, untried(true), Verdict::Try),
            (140.0, untried(true), Verdict::Try),
            // Another one where the trial costs at most a tenth of the CPU's time.
            (2.1, untried(false), Verdict::Cpu),
            (20.0, untried(false), Verdict::Cpu),
            (20.1, untried(false), Verdict::Try),
            // A model that the CPU cannot train.
            (f64::INFINITY, untried(false), Verdict::Try),
            (f64::INFINITY, tried(1e9), Verdict::Card),
            // What was tried is taken if it is faster; the CPU where both are alike.
            (140.0, tried(3.0), Verdict::Card),
            (3.0, tried(2.9), Verdict::Card),
            (3.0, tried(3.0), Verdict::Cpu),
            (30.0, tried(90.0), Verdict::Cpu),
        ] {
            assert_eq!(verdict(cpu, card), expected, "the CPU {cpu} s, {card:?}");
        }
    }

    #[test]
    fn a_trial_that_the_card_loses_costs_a_tenth_of_the_time_that_the_cpu_takes() {
        for tenths in 1..1000 {
            let cpu = f64::from(tenths) / 10.0;
            if verdict(cpu, CardFacts::Untried { discrete: false }) == Verdict::Try {
                assert!(TRIAL_SECONDS <= cpu / 10.0, "{cpu} s");
            }
        }
    }

    #[test]
    fn a_card_that_panics_or_is_not_there_leaves_the_cpu() {
        let card = Card { choice: DeviceChoice::Cpu, discrete: true };
        let mut calls = 0;
        let mut estimate = |_: &OpenDevice| {
            calls += 1;
            assert!(calls == 1, "out of memory");
            Ok(100.0)
        };
        let taken = fastest(card, &mut estimate).expect("the CPU");
        assert!(taken.device.name.starts_with("cpu (flex"), "{}", taken.device.name);
        let auto = taken.auto.expect("a reason");
        assert_eq!((auto.cpu_seconds, auto.card_seconds), (Some(100.0), None));
        assert!(auto.reason.starts_with("estimated 100 s; the card cannot: device cpu: "), "{}", auto.reason);
        assert!(auto.reason.contains("out of memory"), "{}", auto.reason);

        let card = Card { choice: DeviceChoice::Gpu(Some(1000)), discrete: true };
        let taken = fastest(card, &mut |_| Ok(3.25)).expect("the CPU");
        let reason = taken.auto.expect("a reason").reason;
        assert!(reason.starts_with("estimated 3.2 s; the card cannot: device gpu:1000: "), "{reason}");

        let mut stopped = |_: &OpenDevice| Err(ModelError::Interrupted.into());
        assert!(fastest(card, &mut stopped).err().expect("stopped").is_interrupted());
    }

    #[test]
    fn a_checkpoint_keeps_its_kind_of_device() {
        let card = Card { choice: DeviceChoice::Gpu(Some(1000)), discrete: true };
        let on = |made_on| {
            let ChosenDevice { device, auto } = as_before(card, made_on).expect("the CPU");
            (device.name, auto.expect("a reason").reason)
        };
        let (name, reason) = on("cpu (flex, 64 threads)");
        assert!(
            name.starts_with("cpu (flex") && reason == "as the checkpoint was made on it",
            "{name} {reason}"
        );
        if let Ok(adapter) = device::open(DeviceChoice::Gpu(None)) {
            let card = Card { choice: DeviceChoice::Gpu(None), discrete: true };
            let kept = as_before(card, "gpu (NVIDIA H200, vulkan)").expect("a card");
            assert_eq!(kept.device.name, adapter.name);
        }
        let (name, reason) = on("gpu (NVIDIA H200, vulkan)");
        assert!(
            name.starts_with("cpu (flex") && reason.starts_with("as the card cannot be opened"),
            "{reason}"
        );
    }
}
