//! Which ways to log in at the brokers this build has.

use super::KafkaConfig;
use crate::{Error, Result};

/// Refuses Kerberos where this build is without it: librdkafka would say so in the log alone, and never connect.
///
/// # Errors
/// When GSSAPI is asked for, by name or because SASL is and librdkafka then takes it, and the build is without the feature `gssapi`.
pub(super) fn check_mechanism(config: &KafkaConfig) -> Result<()> {
    let of = |wanted: &str| config.librdkafka().find(|(key, _)| *key == wanted).map(|(_, value)| value);
    let named =
        ["sasl.mechanism", "sasl.mechanisms"].into_iter().find_map(|key| of(key).map(|value| (key, value)));
    let is_sasl =
        of("security.protocol").is_some_and(|protocol| protocol.to_ascii_lowercase().starts_with("sasl"));
    let (key, found) = match named {
        Some((key, value)) if value.trim().eq_ignore_ascii_case("gssapi") => (key, value),
        None if is_sasl => ("sasl.mechanism", "none, which means GSSAPI".to_owned()),
        _ => return Ok(()),
    };
    match cfg!(feature = "gssapi") {
        true => Ok(()),
        false => Err(Error::config(
            format!("kafka.librdkafka.{key}"),
            found,
            "another mechanism, such as SCRAM-SHA-512, or a program built with Kerberos: `cargo build --release --features \
             gssapi` where libsasl2-dev is installed",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kerberos_is_refused_by_a_build_without_it() {
        let check = |settings: &str| {
            let topics = "bootstrap = 'b'\nrequests = ['q']\nreplies = 'r'\nrejects = 'x'";
            let config: KafkaConfig = toml::from_str(&format!("{topics}\n[librdkafka]\n{settings}")).unwrap();
            config.validate().map_err(|error| error.to_string())
        };
        for other in [
            "",
            "security.protocol = 'ssl'",
            "security.protocol = 'sasl_ssl'\nsasl.mechanism = 'PLAIN'",
            "security.protocol = 'sasl_ssl'\nsasl.mechanisms = 'SCRAM-SHA-512'",
        ] {
            check(other).unwrap();
        }
        for (kerberos, found) in [
            ("sasl.mechanism = 'GSSAPI'", "sasl.mechanism: found GSSAPI"),
            ("\"sasl.mechanisms\" = 'gssapi'", "sasl.mechanisms: found gssapi"),
            ("security.protocol = 'SASL_PLAINTEXT'", "sasl.mechanism: found none"),
        ] {
            match (cfg!(feature = "gssapi"), check(kerberos)) {
                (true, found) => found.unwrap(),
                (false, found_error) => {
                    let error = found_error.unwrap_err();
                    assert!(error.contains(found) && error.contains("--features gssapi"), "{error}");
                }
            }
        }
    }
}
