//! The keys of `[http.oidc]`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Role;
use crate::{Error, Result};

/// The most seconds that clocks may differ by.
const MOST_LEEWAY: u64 = 600;

/// Bearer tokens (JWT) of an OpenID Connect provider, or of another issuer that publishes its keys as a JWKS.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// The issuer, exactly as the claim `iss` of its tokens has it.
    pub issuer: String,
    /// The audience that the claim `aud` of a token must have.
    pub audience: String,
    /// Where the issuer's public keys are: a file, which is read again when it changes, or an address that begins with `https://`.
    pub jwks: String,
    /// The claim with the caller's name.
    #[serde(default = "sub")]
    pub name_claim: String,
    /// The claim with the caller's roles or groups, a list or a text with spaces between; `a.b` is the claim `b` within `a`.
    #[serde(default = "roles")]
    pub roles_claim: String,
    /// What the values of that claim let do. Values that are not here let do nothing.
    pub roles: BTreeMap<String, Vec<Role>>,
    /// By how many seconds clocks may differ.
    #[serde(default = "minute")]
    pub leeway_s: u64,
}

fn sub() -> String {
    "sub".into()
}

fn roles() -> String {
    "roles".into()
}

fn minute() -> u64 {
    60
}

impl OidcConfig {
    /// Returns whether the keys are asked for over HTTP, and not read from a file.
    pub fn is_remote(&self) -> bool {
        self.jwks.contains("://")
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn validate(&self) -> Result<()> {
        let texts = [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("jwks", &self.jwks),
            ("name_claim", &self.name_claim),
            ("roles_claim", &self.roles_claim),
        ];
        if let Some((key, _)) = texts.into_iter().find(|(_, text)| text.trim().is_empty()) {
            return Err(Error::config(format!("http.oidc.{key}"), "an empty text", "a text"));
        }
        if self.is_remote() && !is_safe(&self.jwks) {
            let expected = "a file, or an address that begins with https:// and has no password; http:// only at loopback";
            return Err(Error::config("http.oidc.jwks", "another address", expected));
        }
        if self.roles.is_empty() {
            let expected = "what values of the claim let do, such as { ops = [\"operate\"] }";
            return Err(Error::config("http.oidc.roles", "none", expected));
        }
        if self.leeway_s > MOST_LEEWAY {
            return Err(Error::config(
                "http.oidc.leeway_s",
                self.leeway_s,
                format!("at most {MOST_LEEWAY} seconds"),
            ));
        }
        Ok(())
    }
}

/// Returns whether nobody on the way can put other keys in place of those at an address, and it shows no password.
fn is_safe(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !host.is_empty() && !authority.contains('@') && (scheme == "https" || (scheme == "http" && is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_a_way_that_nobody_else_writes_to() {
        for good in
            ["https://login.example/keys", "http://127.0.0.1:9/keys", "http://localhost/", "https://a:8443"]
        {
            assert!(is_safe(good), "{good}");
        }
        for bad in [
            "http://login.example/keys",
            "http://127.0.0.1.evil.example/",
            "http://localhost@evil.example/",
            "https://me:pass@login.example/",
            "ftp://login.example/",
            "https://",
            "HTTPS",
        ] {
            assert!(!is_safe(bad), "{bad}");
        }
    }
}
