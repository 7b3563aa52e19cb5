//! Arrays of numpy, read and written where they lie, by numpy's array interface
//! (<https://numpy.org/doc/stable/reference/arrays.interface.html>).

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict};

/// A number that an array may hold.
pub trait Number: Copy + Send + Sync + 'static {
    /// What the interface may call its type.
    const TYPES: &'static [&'static str];
    /// Its name in numpy.
    const NAME: &'static str;
}

impl Number for f32 {
    const TYPES: &'static [&'static str] = &["<f4"];
    const NAME: &'static str = "float32";
}

impl Number for f64 {
    const TYPES: &'static [&'static str] = &["<f8"];
    const NAME: &'static str = "float64";
}

impl Number for i32 {
    const TYPES: &'static [&'static str] = &["<i4"];
    const NAME: &'static str = "int32";
}

/// Also reads those of int32; what is negative there is over `i32::MAX` here.
impl Number for u32 {
    const TYPES: &'static [&'static str] = &["<u4", "<i4"];
    const NAME: &'static str = "int32";
}

impl Number for i64 {
    const TYPES: &'static [&'static str] = &["<i8"];
    const NAME: &'static str = "int64";
}

/// A contiguous array that Python owns. Python must not write to it while work goes on, as with every array that is given to
/// another thread.
pub struct Array<T> {
    /// Keeps the memory alive.
    _owner: Py<PyAny>,
    at: NonNull<T>,
    shape: Vec<usize>,
    writable: bool,
}

// SAFETY: the memory is plain numbers, which live as long as the owner does.
unsafe impl<T: Number> Send for Array<T> {}
// SAFETY: as above.
unsafe impl<T: Number> Sync for Array<T> {}

impl<T: Number> Array<T> {
    /// Takes an array; `name` is what messages call it.
    ///
    /// # Errors
    /// When it is no contiguous array of this type.
    pub fn of(array: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        let refused = |found: String| {
            PyTypeError::new_err(format!("{name}: found {found}, expected a contiguous array of {}", T::NAME))
        };
        let interface =
            array.getattr("__array_interface__").map_err(|_| refused(array.get_type().to_string()))?;
        let interface = interface.cast::<PyDict>()?;
        let get = |key: &str| interface.get_item(key)?.ok_or_else(|| refused(format!("no {key}")));
        let kind: String = get("typestr")?.extract()?;
        if !T::TYPES.contains(&kind.as_str()) {
            return Err(refused(format!("an array of {kind}")));
        }
        if interface.get_item("strides")?.is_some_and(|strides| !strides.is_none()) {
            return Err(refused("one with strides".to_owned()));
        }
        let (at, read_only): (usize, bool) = get("data")?.extract()?;
        let shape: Vec<usize> = get("shape")?.extract()?;
        let n: usize = shape.iter().product();
        let at = match NonNull::new(at as *mut T) {
            Some(at) if n > 0 => at,
            _ => NonNull::dangling(),
        };
        if !at.is_aligned() {
            return Err(refused("one that is not aligned".to_owned()));
        }
        Ok(Self { _owner: array.clone().unbind(), at, shape, writable: !read_only })
    }

    /// Returns the lengths of a matrix, `[rows, columns]`.
    ///
    /// # Errors
    /// When it is none.
    pub fn matrix(&self, name: &str) -> PyResult<[usize; 2]> {
        <[usize; 2]>::try_from(&self.shape[..]).map_err(|_| {
            PyValueError::new_err(format!("{name}: found shape {:?}, expected 2 dimensions", self.shape))
        })
    }

    /// Returns the values, row-major.
    pub fn values(&self) -> &[T] {
        // SAFETY: the interface says that so many numbers are there, and the owner keeps them.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.shape.iter().product()) }
    }
}

impl<T: Number> AsRef<[T]> for Array<T> {
    fn as_ref(&self) -> &[T] {
        self.values()
    }
}

/// An array that is written to.
pub struct ArrayMut<'py, T> {
    array: Array<T>,
    _held: PhantomData<Bound<'py, PyAny>>,
}

// SAFETY: as for the array; the marker only says for how long Python waits.
unsafe impl<T: Number> Send for ArrayMut<'_, T> {}

impl<'py, T: Number> ArrayMut<'py, T> {
    /// Takes an array of a shape to write to, which shares no memory with those of `others`.
    ///
    /// # Errors
    /// When it is no contiguous array of this type and shape, is read-only, or shares memory.
    pub fn of(
        array: &Bound<'py, PyAny>,
        name: &str,
        shape: [usize; 2],
        others: &[&Array<T>],
    ) -> PyResult<Self> {
        let array = Array::of(array, name)?;
        if array.shape != shape {
            let text = format!("{name}: found shape {:?}, expected {shape:?}", array.shape);
            return Err(PyValueError::new_err(text));
        }
        let ends = |array: &Array<T>| array.values().as_ptr_range();
        let own = ends(&array);
        if others.iter().map(|other| ends(other)).any(|other| own.start < other.end && other.start < own.end)
        {
            return Err(PyValueError::new_err(format!(
                "{name}: found memory that is read too, expected its own"
            )));
        }
        match array.writable {
            true => Ok(Self { array, _held: PhantomData }),
            false => Err(PyValueError::new_err(format!(
                "{name}: found a read-only array, expected one to write to"
            ))),
        }
    }

    /// Returns the values, row-major.
    pub fn values(&mut self) -> &mut [T] {
        // SAFETY: the interface says that so many numbers are there and may be written; the owner keeps them.
        unsafe { slice::from_raw_parts_mut(self.array.at.as_ptr(), self.array.shape.iter().product()) }
    }
}

/// Returns numbers as bytes, which numpy takes with `frombuffer`.
pub fn bytes<'py, T: Number>(py: Python<'py>, values: &[T]) -> Bound<'py, PyByteArray> {
    // SAFETY: plain numbers have no byte that is not theirs.
    let bytes = unsafe { slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
    PyByteArray::new(py, bytes)
}
