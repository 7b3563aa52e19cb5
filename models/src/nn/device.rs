//! Which device Burn computes on, chosen by name and opened without surprises: asking for a GPU where there is none
//! is an error, never a panic and never a silent fall-back to the CPU.

#[cfg(feature = "gpu")]
mod adapters;

use std::fmt;
use std::str::FromStr;

use burn_dispatch::DispatchDevice;

pub use burn_tensor::Device;

use crate::{Error, Result};

/// The device asked for: `auto`, `cpu`, `gpu` or `gpu:N`; and, in a program that was built with the feature of the
/// name, `cuda`, `cuda:N` or `ndarray`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// Where a network is trained, whichever of a graphics card and the CPU is faster for it; where there is nothing to
    /// train, a card if there is one, else the CPU. Adapters of software are left out.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The graphics adapter of this number; without a number the first one, graphics cards before software adapters.
    Gpu(Option<usize>),
    /// The CUDA card of this number.
    Cuda(usize),
    /// The CPU by way of burn-ndarray.
    Ndarray,
}

/// A device ready for tensors.
#[derive(Clone, Debug)]
pub struct OpenDevice {
    /// The device, without autodiff.
    pub device: Device,
    /// Bytes of the largest buffer that a tensor can have there, where there is such a limit.
    pub largest_buffer: Option<u64>,
    /// Bytes of a graphics card's own memory, where the driver reports it.
    pub card_memory: Option<u64>,
    /// The name of the device, such as `cpu (flex, 8 threads)` or `gpu (llvmpipe, vulkan)`.
    pub name: String,
}

/// A graphics card, not opened yet; adapters of software are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// The choice that opens it.
    pub choice: DeviceChoice,
    /// Whether it has a processor and memory of its own, and is neither a part of the CPU nor virtual.
    pub discrete: bool,
}

/// Returns whether tensors of a device are in the memory of the host.
pub fn is_host(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// Opens the device asked for. Opening one again gives the same one.
///
/// # Errors
/// When a GPU is asked for and there is none, none of this number, or it cannot be opened.
pub fn open(choice: DeviceChoice) -> Result<OpenDevice> {
    match choice {
        DeviceChoice::Cpu => Ok(cpu()),
        DeviceChoice::Auto => card().map_or_else(|| Ok(cpu()), |card| open(card.choice)),
        DeviceChoice::Gpu(number) => adapter(choice, number),
        DeviceChoice::Cuda(number) => cuda(choice, number),
        DeviceChoice::Ndarray => ndarray(choice),
    }
}

#[cfg(feature = "gpu")]
use adapters::adapter;
#[cfg(feature = "gpu")]
pub use adapters::card;

/// Returns no graphics card, because the feature `gpu` is off.
#[cfg(not(feature = "gpu"))]
pub fn card() -> Option<Card> {
    None
}

#[cfg(not(feature = "gpu"))]
fn adapter(choice: DeviceChoice, _: Option<usize>) -> Result<OpenDevice> {
    Err(left_out(choice, "gpu"))
}

fn cpu() -> OpenDevice {
    let name = format!("cpu (flex, {} threads)", rayon::current_num_threads());
    OpenDevice { device: Device::flex(), largest_buffer: None, card_memory: None, name }
}

#[cfg(feature = "cuda")]
fn cuda(_: DeviceChoice, number: usize) -> Result<OpenDevice> {
    Ok(OpenDevice {
        device: Device::cuda(number),
        largest_buffer: None,
        card_memory: None,
        name: format!("gpu (cuda {number})"),
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(choice: DeviceChoice, _: usize) -> Result<OpenDevice> {
    Err(left_out(choice, "cuda"))
}

#[cfg(feature = "ndarray")]
fn ndarray(_: DeviceChoice) -> Result<OpenDevice> {
    #[expect(deprecated, reason = "who asks for it by name and feature wants to compare")]
    let device = Device::ndarray();
    Ok(OpenDevice { device, largest_buffer: None, card_memory: None, name: "cpu (ndarray)".into() })
}

#[cfg(not(feature = "ndarray"))]
fn ndarray(choice: DeviceChoice) -> Result<OpenDevice> {
    Err(left_out(choice, "ndarray"))
}

#[cfg(not(all(feature = "gpu", feature = "cuda", feature = "ndarray")))]
fn left_out(choice: DeviceChoice, feature: &str) -> Error {
    let why = format!(
        "this program was built without it; build with `--features {feature}`, or use another device, such as cpu"
    );
    Error::Device { asked: choice.to_string(), why }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.split_once(':').and_then(|(kind, number)| Some((kind, number.parse().ok()?)));
        match (text, number) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("gpu", _) => Ok(Self::Gpu(None)),
            ("cuda", _) => Ok(Self::Cuda(0)),
            ("ndarray", _) => Ok(Self::Ndarray),
            (_, Some(("gpu", number))) => Ok(Self::Gpu(Some(number))),
            (_, Some(("cuda", number))) => Ok(Self::Cuda(number)),
            _ => Err(Error::Device {
                asked: format!("{text:?}"),
                why:
                    "expected auto, cpu, gpu or gpu:N with the number of an adapter, cuda, cuda:N or ndarray"
                        .into(),
            }),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(number)) => write!(f, "gpu:{number}"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Ndarray => f.write_str("ndarray"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_as_they_are_written() {
        for text in ["auto", "cpu", "gpu", "gpu:3", "cuda:1", "ndarray"] {
            assert_eq!(text.parse::<DeviceChoice>().expect("a choice").to_string(), text);
        }
        for text in ["", "GPU", "gpu:", "gpu:-1", "gpu:x", "tpu:1"] {
            let error = text.parse::<DeviceChoice>().expect_err("no such device").to_string();
            assert!(error.contains("expected auto, cpu, gpu or gpu:N"), "{error}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_was_left_out_is_an_error_that_says_how_to_have_it() {
        let error = open(DeviceChoice::Cuda(0)).expect_err("left out").to_string();
        assert!(error.starts_with("device cuda:0: this program was built without it"), "{error}");
        assert!(error.contains("--features cuda"), "{error}");
    }

    #[cfg(feature = "gpu")]
    #[test]
    fn an_adapter_that_is_not_there_is_an_error() {
        let error = open(DeviceChoice::Gpu(Some(1000))).expect_err("no such adapter").to_string();
        assert!(error.starts_with("device gpu:1000: found "), "{error}");
    }

    #[test]
    fn auto_takes_a_device_and_says_which() {
        let taken = open(DeviceChoice::Auto).expect("there is always the CPU");
        assert!(taken.name.starts_with("cpu (flex, ") || taken.name.starts_with("gpu ("), "{}", taken.name);
        assert!(!taken.name.contains("llvmpipe"), "a software adapter is only taken when asked for");
    }
}
