//! Reading saved weights with their shape and values checked.

use burnrec_data::Error as DataError;
use burnrec_data::tensors::TensorFile;

use crate::Result;

/// Returns the values of an array of exactly this shape, row-major, all finite.
///
/// # Errors
/// When the array is not there, has another shape, or holds a value that is not finite.
pub fn matrix(weights: &TensorFile, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let (found, values) = weights.get::<f32>(name)?;
    if found != shape {
        let (found, expected) = (format!("{name:?} of shape {found:?}"), format!("shape {shape:?}"));
        return Err(DataError::malformed(weights.path(), found, expected).into());
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let found = format!("{} at element {at} of {name:?}", values[at]);
        return Err(DataError::malformed(weights.path(), found, "finite weights").into());
    }
    Ok(values)
}
