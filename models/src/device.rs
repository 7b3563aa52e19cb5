//! Which device Burn computes on, chosen by name and opened without surprises: asking for a GPU where there is none
//! is an error, never a panic and never a silent fall-back to the CPU.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use burn_dispatch::DispatchDevice;
use burn_dispatch::devices::{CubeDevice, WgpuDeviceKind};
use burn_tensor::{DeviceKind, DeviceType};

pub use burn_tensor::Device;

use crate::{Error, Result};

/// The device asked for: `auto`, `cpu`, `gpu` or `gpu:N`; and, in a program that was built with the feature of the name,
/// `cuda`, `cuda:N` or `ndarray`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A graphics card if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The adapter of this number, or else the first one, cards before software.
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
    /// Bytes of a graphics card's own memory, where it tells.
    pub card_memory: Option<u64>,
    /// What was taken, such as `cpu (flex, 8 threads)` or `gpu (llvmpipe, vulkan)`.
    pub name: String,
}

/// Whether tensors of a device are in the memory of the host.
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
        DeviceChoice::Auto => match adapters().iter().find(|adapter| !is_software(adapter)) {
            Some(card) => open_adapter(choice, card.clone()),
            None => Ok(cpu()),
        },
        DeviceChoice::Cuda(number) => cuda(choice, number),
        DeviceChoice::Ndarray => ndarray(choice),
        DeviceChoice::Gpu(number) => {
            let mut adapters = adapters();
            if number.is_none() {
                adapters.sort_by_key(is_software);
            }
            let n_found = adapters.len();
            match adapters.into_iter().nth(number.unwrap_or(0)) {
                Some(adapter) => open_adapter(choice, adapter),
                None if n_found == 0 => {
                    let why =
                        "found no graphics adapter, expected one with Vulkan, Metal or Direct3D 12; use cpu";
                    Err(Error::Device { asked: choice.to_string(), why: why.into() })
                }
                None => {
                    let why = format!("found {n_found} graphics adapters, expected a number below {n_found}");
                    Err(Error::Device { asked: choice.to_string(), why })
                }
            }
        }
    }
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

#[cfg(not(all(feature = "cuda", feature = "ndarray")))]
fn left_out(choice: DeviceChoice, feature: &str) -> Error {
    let why =
        format!("this program was built without it; build with `--features {feature}`, or use cpu or gpu");
    Error::Device { asked: choice.to_string(), why }
}

/// The adapters in the order of the graphics API, none of them opened.
fn adapters() -> Vec<DeviceKind> {
    let kind = |device: &Device| match device.as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Wgpu(device)) => match device.kind {
            WgpuDeviceKind::DiscreteGpu(n) => Some(DeviceKind::DiscreteGpu(n)),
            WgpuDeviceKind::IntegratedGpu(n) => Some(DeviceKind::IntegratedGpu(n)),
            WgpuDeviceKind::VirtualGpu(n) => Some(DeviceKind::VirtualGpu(n)),
            WgpuDeviceKind::Cpu => Some(DeviceKind::Cpu),
            // What OpenGL alone reaches: it lacks the compute shaders that Burn needs.
            _ => None,
        },
        _ => None,
    };
    Device::enumerate(DeviceType::Wgpu).iter().filter_map(kind).collect()
}

fn is_software(adapter: &DeviceKind) -> bool {
    *adapter == DeviceKind::Cpu
}

/// The adapters opened by this process: the runtime refuses to initialise one twice.
static OPENED: Mutex<Vec<(DeviceKind, OpenDevice)>> = Mutex::new(Vec::new());

fn open_adapter(choice: DeviceChoice, adapter: DeviceKind) -> Result<OpenDevice> {
    // A panic while the lock is held leaves at worst an adapter out of the list.
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, device)) = opened.iter().find(|(kind, _)| *kind == adapter) {
        return Ok(device.clone());
    }
    if cfg!(feature = "vulkan") && is_software(&adapter) {
        let why = "this program was built with `--features vulkan`, whose kernels crash software adapters such as \
                   Mesa's llvmpipe; use cpu, or build without it";
        return Err(Error::Device { asked: choice.to_string(), why: why.into() });
    }
    let (device, setup) = Device::wgpu_options()
        .device_kind(adapter.clone())
        .init_with_setup()
        .map_err(|error| Error::Device { asked: choice.to_string(), why: error.to_string() })?;
    let info = setup.adapter.get_info();
    let limits = setup.device.limits();
    let largest_buffer = Some(limits.max_buffer_size.min(limits.max_storage_buffer_binding_size));
    let name = format!("gpu ({}, {})", info.name, info.backend);
    let device = OpenDevice { device, largest_buffer, card_memory: card_memory(&setup.adapter), name };
    opened.push((adapter, device.clone()));
    Ok(device)
}

/// Bytes of the heaps that Vulkan calls local to the device.
#[cfg(any(target_os = "linux", target_os = "windows"))]
fn card_memory(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: what the two give is only asked about its memory while the adapter is borrowed, and nothing is destroyed.
    let memory = unsafe {
        let vulkan = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = vulkan.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(vulkan.raw_physical_device())
    };
    let local = |flags: u32| flags & 1 == 1; // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    let heaps = memory.memory_heaps_as_slice().iter();
    Some(heaps.filter(|heap| local(heap.flags.as_raw())).map(|heap| heap.size).sum())
}

/// Other graphics APIs are not asked.
#[cfg(not(any(target_os = "linux", target_os = "windows")))]
fn card_memory(_: &wgpu::Adapter) -> Option<u64> {
    None
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
