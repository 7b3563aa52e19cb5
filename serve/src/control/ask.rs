//! What is asked for, and what it comes to.

use super::Change;
use crate::Error;
use crate::http::bearer::Bearer;

/// Why a change was not made.
pub enum Refusal {
    /// A part of it is wrong.
    Wrong(Error),
    /// It is based on another version than the newest, or another came first.
    Conflict(String),
    /// The caller may not do it.
    Forbidden(String),
    /// There is no such version.
    Missing(String),
    /// It is not known whether it was made.
    Unconfirmed(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

/// Who asks for a change, and why.
pub struct Asked<'a> {
    /// Who.
    pub by: &'a Bearer,
    /// Why, or nothing.
    pub note: String,
    /// The version that it is based on, if it must be the newest.
    pub base: Option<u64>,
    /// Whether it is only checked.
    pub check: bool,
}

/// What a change came to.
pub struct Outcome {
    /// The version that answers now; where it was only checked, or changes nothing, the one before.
    pub version: u64,
    /// What differs.
    pub changes: Vec<Change>,
}
