//! The devices that tests compare.

use burnrec_data::testing::skipped;
use burnrec_models::DeviceChoice;
use burnrec_models::device::{self, OpenDevice};

/// The first adapter, be it of software; `None`, said aloud, where there is none.
pub fn gpu(test: &str) -> Option<OpenDevice> {
    match device::open(DeviceChoice::Gpu(None)) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            skipped("gpu", &format!("{test}: {error}"));
            None
        }
    }
}

/// The host.
pub fn cpu() -> OpenDevice {
    device::open(DeviceChoice::Cpu).expect("the CPU")
}
