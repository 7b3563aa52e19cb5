//! Opens saved runs to score with, on the device that suits the number of pairs.

use std::path::Path;

use anyhow::Result;
use burnrec::models::Compute;
use burnrec::{DeviceChoice, Recommender, device};

use crate::show;

/// The pairs that a network scores on the CPU in about the time in which a card is opened and its kernels are compiled.
const FEW_PAIRS: usize = 1 << 24;

/// Opens a saved run to score so many pairs, and says on stderr which device a network scores on: by `auto` few pairs are
/// scored on the CPU.
pub fn open(run: &Path, choice: DeviceChoice, n_pairs: usize) -> Result<Recommender> {
    let choice = for_pairs(choice, n_pairs);
    let recommender = Recommender::open_on(run, choice)?;
    if recommender.model.config().scores_on() == Compute::Device {
        // Opening a device again gives the same one.
        eprintln!("{}", show::device(&device::open(choice)?.name, None));
    }
    Ok(recommender)
}

/// Returns the device to score so many pairs on.
pub fn for_pairs(choice: DeviceChoice, n_pairs: usize) -> DeviceChoice {
    if choice == DeviceChoice::Auto && n_pairs < FEW_PAIRS { DeviceChoice::Cpu } else { choice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_scores_few_pairs_on_the_cpu() {
        let gpu = DeviceChoice::Gpu(None);
        assert_eq!(for_pairs(DeviceChoice::Auto, 3_000), DeviceChoice::Cpu);
        assert_eq!(for_pairs(DeviceChoice::Auto, 6_040 * 3_706), DeviceChoice::Auto);
        assert_eq!(for_pairs(gpu, 3_000), gpu);
    }
}
