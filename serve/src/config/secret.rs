//! Texts that must not be shown.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What stands in place of a secret, wherever the config is shown.
pub(crate) const HIDDEN: &str = "(hidden)";

/// A password or a token, shown as `(hidden)`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns the text itself, for the one place that compares it or passes it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

/// Returns whether a setting of librdkafka may hold a secret. All of `sasl.` and `ssl.` count, misspelt names too, but
/// for those that are known to hold none.
pub(crate) fn is_secret(key: &str) -> bool {
    const OPEN: [&str; 6] = [
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.oauthbearer.method",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.endpoint.identification.algorithm",
    ];
    const WORDS: [&str; 6] = ["pass", "secret", "pem", "token", "oauth", "private"];
    let key = key.to_lowercase().replace('_', ".");
    let guarded = ["sasl.", "ssl."].iter().any(|start| key.starts_with(start));
    !OPEN.contains(&key.as_str()) && (guarded || WORDS.iter().any(|word| key.contains(word)))
}

#[cfg(test)]
mod tests {
    use toml::{Table, Value};

    use super::*;
    use crate::ServeConfig;

    const SECRET: &str = "4815162342";

    /// The keys that hold secrets; the last is misspelt.
    const KEYS: [&str; 11] = [
        "http.token",
        "http.tls_password",
        "kafka.librdkafka.\"sasl.password\"",
        "kafka.librdkafka.\"ssl.key.password\"",
        "kafka.librdkafka.\"ssl.keystore.password\"",
        "kafka.librdkafka.\"ssl.key.pem\"",
        "kafka.librdkafka.\"sasl.oauthbearer.config\"",
        "kafka.librdkafka.\"sasl.oauthbearer.client.secret\"",
        "kafka.librdkafka.\"sasl.oauthbearer.assertion.private.key.passphrase\"",
        "kafka.librdkafka.sasl.password",
        "kafka.librdkafka.\"sasl.pasword\"",
    ];

    fn read(line: &str) -> crate::Result<ServeConfig> {
        let text = format!(
            "models.main.run = 'run'\nkafka.bootstrap = 'b'\nkafka.requests = ['q']\nkafka.replies = 'r'\n\
             kafka.rejects = 'x'\n{line}"
        );
        ServeConfig::from_table(toml::from_str::<Table>(&text).expect("TOML"))
    }

    #[test]
    fn no_config_that_is_shown_holds_a_secret() {
        for key in KEYS {
            let config = read(&format!("{key} = '{SECRET}'")).unwrap();
            let shown = toml::to_string(&config).unwrap();
            assert!(shown.contains(HIDDEN), "{key}: {shown}");
            let value = Value::try_from(&config).unwrap().to_string();
            for text in [shown, value, format!("{config:?}")] {
                assert!(!text.contains(SECRET), "{key}: {text}");
            }
        }
        let open = read("kafka.librdkafka.\"linger.ms\" = 4815162342").unwrap();
        assert!(toml::to_string(&open).unwrap().contains(SECRET), "what is no secret is shown");
    }

    #[test]
    fn no_error_holds_a_secret() {
        let values = ["V", "[V]", "['V']", "{ x = V }", "{ x = 'V' }", "V.5", "[{ x = 'V' }]"];
        for (key, value) in KEYS.iter().flat_map(|key| values.map(|value| (key, value))) {
            let line = format!("{key} = {}", value.replace('V', SECRET));
            // A number is a setting of librdkafka, and a table there is a longer name.
            let Err(error) = read(&line) else {
                assert!(key.starts_with("kafka"), "{line} is taken");
                continue;
            };
            let error = error.to_string();
            assert!(!error.contains(SECRET), "{line}: {error}");
            let names_it =
                key.split('.').next_back().is_some_and(|last| error.contains(last.trim_matches('"')));
            assert!(names_it && error.contains("found"), "{line}: {error}");
        }
        for line in ["http", "kafka.librdkafka"].map(|key| format!("{key} = '{SECRET}, expected {SECRET}'")) {
            let error = read(&line).unwrap_err().to_string();
            assert!(!error.contains(SECRET), "{error}");
        }
    }
}
