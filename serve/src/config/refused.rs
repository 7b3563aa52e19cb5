//! The error of a table that is no config.

use crate::Error;

/// Returns the error of a table that is no config. It names the key and the type found, but not the value, which may be
/// a secret.
pub(crate) fn refused(error: &toml::de::Error) -> Error {
    let text = error.to_string();
    let key = text.rsplit_once("\nin `").and_then(|(_, key)| key.trim_end().strip_suffix('`'));
    let message = error.message();
    let (found, expected) =
        message.rsplit_once(", expected ").unwrap_or((message, "the keys of configs/serve.toml"));
    let found = match found.starts_with("invalid ") {
        true => found.split(['`', '"']).next().unwrap_or_default().trim_end(),
        false => found,
    };
    Error::config(key.unwrap_or("config"), found, expected)
}
