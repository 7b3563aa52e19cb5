//! The memory that training will need, computed before anything is allocated.

use super::device::{OpenDevice, is_host};
use super::network::Architecture;
use super::training::NnTraining;
use crate::free_memory::{free_memory_bytes, told};
use crate::scorer::Shape;
use crate::{Error, Result};

/// The bytes of one value.
const F32: u64 = 4;

/// The memory that training will need, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// All weights.
    pub weights: u64,
    /// What the optimiser keeps beside them.
    pub optimizer: u64,
    /// The best model so far and the newest one, which is compared with it.
    pub kept: u64,
    /// The values between the layers of one batch, forward and back.
    pub batch: u64,
}

impl Needed {
    /// Computes it for a model of this shape, with batches of this many lookups of users and of items (`entries`).
    pub fn new(
        architecture: &dyn Architecture,
        shape: Shape,
        training: &NnTraining,
        entries: [usize; 2],
    ) -> Self {
        let n_values = |[rows, cols]: [usize; 2]| (rows as u64).saturating_mul(cols as u64);
        let shapes = architecture.weight_shapes(shape);
        let weights = shapes
            .iter()
            .fold(0u64, |sum, (_, shape)| sum.saturating_add(n_values(*shape)))
            .saturating_mul(F32);
        let [users, items] = entries.map(|entries| entries as u64);
        let widths = architecture.hidden_width() as u64;
        let tables = shapes.iter().filter(|(_, [rows, _])| *rows == shape.n_users || *rows == shape.n_items);
        let embedded: u64 = tables.map(|(_, [_, width])| *width as u64).sum();
        // Each hidden layer's output, its gradients and their product with the next layer; the tables' rows and their
        // gradients.
        let batch = F32 * (3 * items * widths + 2 * (users + items) * embedded + 8 * items);
        Self {
            weights,
            optimizer: weights.saturating_mul(training.optimizer.n_states() as u64),
            kept: weights.saturating_mul(2),
            batch,
        }
    }

    /// Returns all of it together.
    pub fn total(&self) -> u64 {
        [self.weights, self.optimizer, self.kept, self.batch].into_iter().fold(0, u64::saturating_add)
    }
}

/// Refuses to train what does not fit the memory of the device.
///
/// # Errors
/// When a weight is larger than the largest buffer of the device, or all together is more than the free memory of the
/// host, or than all that a card has, where that is known.
pub fn check(
    architecture: &dyn Architecture,
    shape: Shape,
    training: &NnTraining,
    entries: [usize; 2],
    device: &OpenDevice,
) -> Result<()> {
    let needed = Needed::new(architecture, shape, training, entries);
    check_needed(&architecture.weight_shapes(shape), needed, training, device)
}

/// Refuses the same for weights of these names and shapes that need so much.
///
/// # Errors
/// As [`check`].
pub fn check_needed(
    shapes: &[(&'static str, [usize; 2])],
    needed: Needed,
    training: &NnTraining,
    device: &OpenDevice,
) -> Result<()> {
    let free = if is_host(&device.device) { free_memory_bytes() } else { device.card_memory };
    fits(shapes, needed, training, device, free)
}

fn fits(
    shapes: &[(&'static str, [usize; 2])],
    needed: Needed,
    training: &NnTraining,
    device: &OpenDevice,
    free: Option<u64>,
) -> Result<()> {
    let most = device.largest_buffer.unwrap_or(u64::MAX);
    for &(name, [rows, cols]) in shapes {
        let bytes = (rows as u64).saturating_mul(cols as u64).saturating_mul(F32);
        if bytes > most {
            let found = format!("{rows} x {cols} numbers, {}", told(bytes));
            let expected = format!(
                "at most {}, the largest buffer of {}; lower dim or use --device cpu",
                told(most),
                device.name
            );
            return Err(Error::config(name, found, expected));
        }
    }
    match free {
        Some(free) if needed.total() > free => {
            let Needed { weights, optimizer, kept, batch } = needed;
            let found = format!("{} for {}", told(free), device.name);
            let expected = format!(
                "{}: {} for the weights, {} for {:?}, {} for the best and the newest model, {} for a batch; lower dim or batch_size",
                told(needed.total()),
                told(weights),
                told(optimizer),
                training.optimizer,
                told(kept),
                told(batch)
            );
            Err(Error::config("memory", found, expected))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::DeviceChoice;
    use crate::mf::MfConfig;
    use crate::ncf::{NcfSpec, NeumfConfig};
    use crate::nn::device::open;

    use super::*;

    const SHAPE: Shape = Shape { n_users: 1_000_000, n_items: 100_000 };

    fn refused(
        architecture: &dyn Architecture,
        largest_buffer: Option<u64>,
        free: Option<u64>,
    ) -> Option<String> {
        let device = OpenDevice { largest_buffer, ..open(DeviceChoice::Cpu).expect("the CPU") };
        let training = NnTraining::default();
        let needed = Needed::new(architecture, SHAPE, &training, [3_276, 16_384]);
        let shapes = architecture.weight_shapes(SHAPE);
        fits(&shapes, needed, &training, &device, free).err().map(|error| error.to_string())
    }

    #[test]
    fn a_table_that_no_buffer_holds_is_refused_by_name_and_size() {
        let mf = MfConfig { dim: 64, ..MfConfig::default() };
        let error = refused(&mf, Some(128 << 20), None).expect("256 MB in a buffer of 128");
        let start = "user_embedding: found 1000000 x 64 numbers, 244.1 MB, expected at most 128.0 MB, the largest buffer of";
        assert!(error.starts_with(start), "{error}");
        assert_eq!(refused(&mf, Some(256 << 20), None), None);
    }

    #[test]
    fn more_than_is_free_is_refused_with_its_parts() {
        let neumf = NcfSpec::from(&NeumfConfig { dim: 64, ..NeumfConfig::default() });
        let needed = Needed::new(&neumf, SHAPE, &NnTraining::default(), [3_276, 16_384]);
        // 192 values for each row of both sides, and a tower that is nothing beside them.
        assert!((needed.weights as f64 / (4.0 * 192.0 * 1.1e6) - 1.0).abs() < 0.01, "{needed:?}");
        assert_eq!((needed.optimizer, needed.kept), (2 * needed.weights, 2 * needed.weights));
        let error = refused(&neumf, None, Some(needed.total() - 1)).expect("a byte too much");
        assert!(error.starts_with("memory: found 4.0 GB for cpu"), "{error}");
        assert!(error.contains("for the weights, 1.6 GB for Adam"), "{error}");
        assert_eq!(refused(&neumf, None, Some(needed.total())), None);
    }

    #[test]
    fn sizes_beyond_counting_are_refused_and_no_panic() {
        let mf = MfConfig { dim: usize::MAX / 2, ..MfConfig::default() };
        assert!(refused(&mf, None, Some(1 << 40)).is_some());
    }
}
