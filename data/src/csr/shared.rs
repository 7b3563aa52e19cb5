//! The columns and values of a matrix: its own, or an array of another owner that is read where it lies.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// An array that something else owns, such as one of numpy.
pub type Foreign<T> = Arc<dyn AsRef<[T]> + Send + Sync>;

/// An array of a matrix: a vector, or one that something else owns and that is not copied.
#[derive(Clone)]
pub enum Shared<T> {
    /// Its own.
    Own(Vec<T>),
    /// One of another owner, which keeps it unchanged for as long as this lives.
    Of(Foreign<T>),
}

impl<T> Deref for Shared<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(values) => values,
            Self::Of(owner) => (**owner).as_ref(),
        }
    }
}

impl<T> From<Vec<T>> for Shared<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Own(values)
    }
}

impl<T> From<Foreign<T>> for Shared<T> {
    fn from(owner: Foreign<T>) -> Self {
        Self::Of(owner)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
