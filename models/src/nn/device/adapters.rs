//! Graphics adapters, through wgpu.

use std::sync::{Mutex, OnceLock, PoisonError};

use burn_dispatch::DispatchDevice;
use burn_dispatch::devices::{CubeDevice, WgpuDeviceKind};
use burn_tensor::{Device, DeviceKind, DeviceType};

use super::{Card, DeviceChoice, OpenDevice};
use crate::{Error, Result};

/// Returns the first discrete graphics card, else the first other adapter that is not of software. Opens none.
pub fn card() -> Option<Card> {
    let card = |(number, adapter): (usize, &DeviceKind)| Card {
        choice: DeviceChoice::Gpu(Some(number)),
        discrete: matches!(adapter, DeviceKind::DiscreteGpu(_)),
    };
    let cards = adapters().iter().enumerate().filter(|(_, adapter)| !is_software(adapter)).map(card);
    cards.min_by_key(|card| !card.discrete)
}

/// Opens the adapter of this number; without a number the first one, graphics cards before software adapters.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub(super) fn adapter(choice: DeviceChoice, number: Option<usize>) -> Result<OpenDevice> {
    let mut adapters = adapters().to_vec();
    if number.is_none() {
        adapters.sort_by_key(is_software);
    }
    let n_found = adapters.len();
    match adapters.into_iter().nth(number.unwrap_or(0)) {
        Some(adapter) => open_adapter(choice, adapter),
        None if n_found == 0 => {
            let why = "found no graphics adapter, expected one with Vulkan, Metal or Direct3D 12; use cpu";
            Err(Error::Device { asked: choice.to_string(), why: why.into() })
        }
        None => {
            let why = format!("found {n_found} graphics adapters, expected a number below {n_found}");
            Err(Error::Device { asked: choice.to_string(), why })
        }
    }
}

/// Returns the adapters in the order of the graphics API, none of them opened. It is asked once in a process.
fn adapters() -> &'static [DeviceKind] {
    static FOUND: OnceLock<Vec<DeviceKind>> = OnceLock::new();
    FOUND.get_or_init(enumerated)
}

fn enumerated() -> Vec<DeviceKind> {
    let kind = |device: &Device| match device.as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Wgpu(device)) => match device.kind {
            WgpuDeviceKind::DiscreteGpu(n) => Some(DeviceKind::DiscreteGpu(n)),
            WgpuDeviceKind::IntegratedGpu(n) => Some(DeviceKind::IntegratedGpu(n)),
            WgpuDeviceKind::VirtualGpu(n) => Some(DeviceKind::VirtualGpu(n)),
            WgpuDeviceKind::Cpu => Some(DeviceKind::Cpu),
            // Adapters that only OpenGL reaches lack the compute shaders that Burn needs.
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

/// Returns the bytes of the heaps that Vulkan calls local to the device.
#[cfg(any(target_os = "linux", target_os = "windows"))]
fn card_memory(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: both raw handles are used only to query memory while the adapter is borrowed, and are not destroyed.
    let memory = unsafe {
        let vulkan = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = vulkan.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(vulkan.raw_physical_device())
    };
    let local = |flags: u32| flags & 1 == 1; // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    let heaps = memory.memory_heaps_as_slice().iter();
    Some(heaps.filter(|heap| local(heap.flags.as_raw())).map(|heap| heap.size).sum())
}

/// Returns `None`: the memory is not read from other graphics APIs.
#[cfg(not(any(target_os = "linux", target_os = "windows")))]
fn card_memory(_: &wgpu::Adapter) -> Option<u64> {
    None
}
