//! Tokens for SASL OAUTHBEARER: read from a file that whoever issues them keeps fresh, and read again before long.
//!
//! `"sasl.oauthbearer.config" = "file=PATH"` says where. librdkafka asks for a token once a client is made and again at
//! four fifths of its lifetime, each time when the client is polled.

use std::error::Error as StdError;
use std::time::Duration;

use rdkafka::client::OAuthToken;

use crate::clock::{Clock, SystemClock};
use crate::config::KafkaConfig;
use crate::{Error, Result};

/// How long a token that was read counts. Its own lifetime may be longer or, where the file is late, shorter: the file
/// alone knows.
const LIFETIME: Duration = Duration::from_secs(60);

/// The setting that says where the token is.
const CONFIG: &str = "sasl.oauthbearer.config";

/// A token, or why there is none.
pub type Found = Result<OAuthToken, Box<dyn StdError>>;

/// Reads the token that the setting names.
///
/// # Errors
/// When the setting names no file, or the file holds no token.
pub fn read(config: Option<&str>) -> Found {
    let path = config.and_then(|text| text.trim().strip_prefix("file=")).filter(|path| !path.is_empty());
    let path = path.ok_or("expected file=PATH, the file with the token")?;
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{path}: expected one token of visible ASCII").into());
    }
    // The brokers take the user's name from the token; this one is for librdkafka's log.
    let (principal_name, lifetime_ms) =
        ("burnrec".into(), SystemClock.unix_ms() + LIFETIME.as_millis() as i64);
    Ok(OAuthToken { token: token.to_owned(), principal_name, lifetime_ms })
}

/// Checks that there is a token where the mechanism needs one.
///
/// # Errors
/// When there is none.
pub fn check(config: &KafkaConfig) -> Result<()> {
    let find = |names: &[&str]| config.librdkafka().find(|(key, _)| names.contains(key)).map(|found| found.1);
    let mechanism = find(&["sasl.mechanism", "sasl.mechanisms"]).unwrap_or_default();
    if !mechanism.eq_ignore_ascii_case("OAUTHBEARER") {
        return Ok(());
    }
    let field = |key: &str| format!("kafka.librdkafka.{key}");
    if let Some(method) = find(&["sasl.oauthbearer.method"]).filter(|method| method != "default") {
        let expected =
            format!("default: burnrec asks no issuer by itself; {CONFIG} = \"file=PATH\" names a token");
        return Err(Error::config(field("sasl.oauthbearer.method"), method, expected));
    }
    let setting = find(&[CONFIG]);
    match read(setting.as_deref()) {
        Ok(_) => Ok(()),
        Err(error) => {
            let found = if setting.is_some() { "no token" } else { "none" };
            Err(Error::config(field(CONFIG), found, format!("a file with a token ({error})")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the token with its lifetime, or the error.
    fn told(setting: Option<&str>) -> Result<(String, i64), String> {
        let found = read(setting).map_err(|error| error.to_string())?;
        Ok((found.token, found.lifetime_ms - SystemClock.unix_ms()))
    }

    fn config(settings: &str) -> KafkaConfig {
        let topics = "bootstrap = \"x\"\nrequests = [\"a\"]\nreplies = \"b\"\nrejects = \"c\"";
        toml::from_str(&format!("{topics}\n[librdkafka]\n{settings}")).unwrap()
    }

    #[test]
    fn a_token_is_read_again_each_time() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("token");
        let setting = format!("file={}", path.display());
        let told = || told(Some(&setting));
        assert!(told().unwrap_err().contains("token: No such file"));
        for token in ["abc.def-_~+/==", "another"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            let (found, left) = told().unwrap();
            assert!(found == token && (1..=60_000).contains(&left), "{left} ms left");
        }
        for bad in ["", " \n", "two tokens", "s\u{1}cret"] {
            std::fs::write(&path, bad).unwrap();
            let error = told().unwrap_err();
            assert!(error.contains("visible ASCII") && !error.contains("cret"), "{error}");
        }
        for bad in [None, Some(""), Some("file="), Some("principal=admin")] {
            assert!(super::tests::told(bad).unwrap_err().contains("file=PATH"), "{bad:?}");
        }
    }

    #[test]
    fn the_mechanism_needs_a_token() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("token");
        let with = |more: &str| config(&format!("\"sasl.mechanism\" = \"OAUTHBEARER\"\n{more}"));
        check(&config("\"sasl.mechanism\" = \"PLAIN\"")).unwrap();
        let error = check(&with("")).unwrap_err().to_string();
        assert!(error.contains(CONFIG) && error.contains("none") && error.contains("file=PATH"), "{error}");
        let named = format!("\"{CONFIG}\" = {:?}", format!("file={}", path.display()));
        assert!(check(&with(&named)).unwrap_err().to_string().contains("No such file"));
        std::fs::write(&path, "abc").unwrap();
        check(&with(&named)).unwrap();
        let error = check(&with("\"sasl.oauthbearer.method\" = \"oidc\"")).unwrap_err().to_string();
        assert!(error.contains("sasl.oauthbearer.method") && error.contains("oidc"), "{error}");
    }
}
