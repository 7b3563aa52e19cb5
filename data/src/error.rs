//! The errors of this crate, from a ratings file to a split.

use std::path::{Path, PathBuf};

/// An error that names the file, the line or field, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}{}: found {found}, expected {expected}", path.display(), line.map(|n| format!(":{n}")).unwrap_or_default())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where one is to blame.
        line: Option<u64>,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A file needs a feature of this crate that this build leaves out.
    #[error(
        "{}: built without the feature `{feature}`, which this file needs; build with it, or use a text file such as .csv",
        path.display()
    )]
    NotBuilt {
        /// The file.
        path: PathBuf,
        /// The feature of this crate.
        feature: &'static str,
    },
    /// [`Stop`](crate::Stop) asked to stop.
    #[error("stopped")]
    Stopped,
    /// A download failed, or does not have the expected content.
    #[error("{url}: found {found}, expected {expected}")]
    Download {
        /// The address.
        url: String,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The data cannot satisfy a setting.
    #[error("{setting}: found {found}, expected {expected}")]
    Setting {
        /// The setting.
        setting: String,
        /// Its value, or what the data has.
        found: String,
        /// What was expected.
        expected: String,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns a function for `map_err` on a file operation.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source }
    }

    /// Returns the error of a file that, as a whole, does not hold what it should.
    pub fn malformed(path: impl AsRef<Path>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.as_ref().to_owned(),
            line: None,
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// Returns the error of a setting that the data cannot satisfy.
    pub fn setting(
        setting: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Setting { setting: setting.into(), found: found.into(), expected: expected.into() }
    }
}

/// Returns bytes of a file as an error message cites them: as quoted text, cut after 80 bytes.
pub(crate) fn cite(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
    let more = if bytes.len() > 80 { " ..." } else { "" };
    format!("{:?}{more}", text.trim_end_matches('\r'))
}
