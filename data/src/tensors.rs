//! Named arrays in a safetensors file: the one binary format of prepared data and of saved models.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::write::write_file;
use crate::{Error, Result};

/// An element type that a file can hold.
pub trait Element: Copy + 'static {
    /// The name of the type in the file format.
    const DTYPE: Dtype;
    /// Reads a value from its little-endian bytes.
    fn read(bytes: &[u8]) -> Self;
    /// Appends its little-endian bytes.
    fn write(self, out: &mut Vec<u8>);
}

macro_rules! element {
    ($($type:ty => $dtype:ident),*) => {$(
        impl Element for $type {
            const DTYPE: Dtype = Dtype::$dtype;
            fn read(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("the caller cuts pieces of this size"))
            }
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
element!(u8 => U8, u32 => U32, u64 => U64, i64 => I64, f32 => F32);

/// An array to be written.
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    /// Builds an array from values in row-major order.
    ///
    /// # Panics
    /// When `shape` does not hold as many elements as there are values.
    pub fn new<T: Element>(shape: &[usize], values: impl IntoIterator<Item = T>) -> Self {
        let mut bytes = Vec::with_capacity(shape.iter().product::<usize>() * size_of::<T>());
        values.into_iter().for_each(|value| value.write(&mut bytes));
        assert_eq!(bytes.len(), shape.iter().product::<usize>() * size_of::<T>(), "values fill the shape");
        Self { dtype: T::DTYPE, shape: shape.to_vec(), bytes }
    }

    /// Returns the values, row-major; `None` where they are of another type.
    pub fn values<T: Element>(&self) -> Option<Vec<T>> {
        let read = || self.bytes.chunks_exact(size_of::<T>()).map(T::read).collect();
        (self.dtype == T::DTYPE).then(read)
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the array has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the array without an index of its first axis; `None` where it has no such index.
    pub fn without_row(&self, row: usize) -> Option<Self> {
        let (&rows, width) = (self.shape.first()?, self.shape[1..].iter().product::<usize>());
        let size = width * self.bytes.len() / self.len().max(1);
        if row >= rows {
            return None;
        }
        let mut shape = self.shape.clone();
        shape[0] -= 1;
        let bytes = [&self.bytes[..row * size], &self.bytes[(row + 1) * size..]].concat();
        Some(Self { dtype: self.dtype, shape, bytes })
    }

    /// Returns the values, row-major, as little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes the arrays to `path`: whole, or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write<S: AsRef<str>>(path: &Path, tensors: &[(S, Tensor)]) -> Result<()> {
    write_with(path, tensors, &[])
}

/// Does the same as [`write()`], with texts by name in the file's `__metadata__`, in this order.
///
/// # Errors
/// As [`write()`].
pub fn write_with<S: AsRef<str>>(
    path: &Path,
    tensors: &[(S, Tensor)],
    metadata: &[(&str, &str)],
) -> Result<()> {
    let views: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_ref(), tensor)).collect();
    let bytes = safetensors::serialize(views, None)
        .map_err(|error| Error::malformed(path, error.to_string(), "arrays that can be saved"))?;
    write_file(path, &with_metadata(bytes, metadata))
}

/// Puts texts by name in front of the arrays in the header of a file without metadata. `safetensors` itself takes them as a
/// map, whose order and with it the bytes of the file would be others each time.
fn with_metadata(bytes: Vec<u8>, metadata: &[(&str, &str)]) -> Vec<u8> {
    if metadata.is_empty() {
        return bytes;
    }
    let (length, rest) = bytes.split_at(8);
    let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
    let (header, values) = rest.split_at(length);
    let texts: serde_json::Map<_, _> =
        metadata.iter().map(|&(name, text)| (name.to_owned(), text.into())).collect();
    let mut written = format!("{{\"__metadata__\":{}", serde_json::Value::from(texts)).into_bytes();
    let arrays = header.strip_prefix(b"{").unwrap_or(header).trim_ascii_end();
    if arrays != b"}" {
        written.push(b',');
    }
    written.extend_from_slice(arrays);
    // The format pads the header with blanks, so that the arrays are aligned.
    written.resize(written.len().next_multiple_of(8), b' ');
    let length = (written.len() as u64).to_le_bytes();
    [&length, written.as_slice(), values].concat()
}

/// A file of named arrays, read whole.
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl TensorFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is not a whole safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        SafeTensors::deserialize(&bytes)
            .map_err(|error| Error::malformed(path, error.to_string(), "a whole safetensors file"))?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// Returns the path of the file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is an array of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors().tensor(name).is_ok()
    }

    /// Returns a text of the file's metadata.
    pub fn metadata(&self, name: &str) -> Option<String> {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).expect("checked when the file was opened");
        header.metadata().as_ref()?.get(name).cloned()
    }

    /// Returns the names of the arrays, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tensors().names().into_iter().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Returns an array as it stands.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let tensors = self.tensors();
        let view = tensors.tensor(name).map_err(|_| self.lacks(name))?;
        Ok(Tensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() })
    }

    /// Returns the shape and the values, row-major, of an array.
    ///
    /// # Errors
    /// When there is no such array, or one of another element type.
    pub fn get<T: Element>(&self, name: &str) -> Result<(Vec<usize>, Vec<T>)> {
        let tensors = self.tensors();
        let view = tensors.tensor(name).map_err(|_| self.lacks(name))?;
        if view.dtype() != T::DTYPE {
            let found = format!("{name:?} of type {:?}", view.dtype());
            return Err(Error::malformed(&self.path, found, format!("type {:?}", T::DTYPE)));
        }
        let values = view.data().chunks_exact(size_of::<T>()).map(T::read).collect();
        Ok((view.shape().to_vec(), values))
    }

    /// Returns the values of an array with one axis.
    ///
    /// # Errors
    /// Those of [`TensorFile::get`], and when the array has another number of axes.
    pub fn column<T: Element>(&self, name: &str) -> Result<Vec<T>> {
        let (shape, values) = self.get(name)?;
        if shape.len() != 1 {
            return Err(Error::malformed(&self.path, format!("{name:?} of shape {shape:?}"), "one axis"));
        }
        Ok(values)
    }

    fn lacks(&self, name: &str) -> Error {
        Error::malformed(&self.path, format!("arrays {:?}", self.names()), format!("an array {name:?}"))
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("checked when the file was opened")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_back_and_moves_no_array() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let arrays = || [("a", Tensor::new(&[3], [1u8, 2, 3])), ("b", Tensor::new(&[1, 2], [0.5f32, -1.0]))];
        for metadata in [&[("format", "x \"1\""), ("model", "é")][..], &[("model", "m")], &[]] {
            write_with(&path, &arrays(), metadata).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let file = TensorFile::open(&path).unwrap();
            assert_eq!(file.column::<u8>("a").unwrap(), [1, 2, 3]);
            assert_eq!(file.get::<f32>("b").unwrap(), (vec![1, 2], vec![0.5, -1.0]));
            for &(name, text) in metadata {
                assert_eq!(file.metadata(name).as_deref(), Some(text));
            }
            assert_eq!(file.metadata("none"), None);
            assert_eq!(bytes.len() % 4, (3 + 8) % 4, "the header is padded");
            write_with(&path, &arrays(), metadata).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "the same each time");
        }
        write_with::<&str>(&path, &[], &[("format", "x")]).unwrap();
        assert_eq!(TensorFile::open(&path).unwrap().metadata("format").as_deref(), Some("x"));
    }
}
