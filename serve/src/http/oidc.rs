//! Tokens (JWT) of an OpenID Connect provider: signed by a key that it publishes, for this service, in their time.
//!
//! ```text
//! a token ─► known by its hash? ─► else its header: which algorithm, which key? ─► keys ─► signature ─► claims ─► name, roles
//!                                                                               │
//!                                      a file or an address, asked by a thread of its own (`keys`)
//! ```

mod keys;
mod signature;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::bearer::{Bearer, Kind};
use crate::Result;
use crate::clock::{Clock, SystemClock};
use crate::config::{OidcConfig, Role};
use keys::Keys;

/// How many tokens are known to be good at least; twice as many at most.
const KNOWN: usize = 10_000;

/// The largest token, in bytes.
const LARGEST: usize = 16 << 10;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 200;

/// What a token must be signed by.
const NO_JWT: &str = "found no JWT that is signed by RS256, PS256, ES256 or EdDSA";

/// The tokens of one issuer.
pub(super) struct Oidc {
    config: OidcConfig,
    keys: Keys,
    known: Mutex<KnownTokens>,
}

impl Oidc {
    /// Reads the keys of a file; those of an address are asked for meanwhile.
    ///
    /// # Errors
    /// When the file has none.
    pub fn open(config: &OidcConfig) -> Result<Self> {
        signature::install();
        let keys = Keys::open(config)?;
        Ok(Self { config: config.clone(), keys, known: Mutex::default() })
    }

    /// Returns why the keys are not taken up as they are published.
    pub fn trouble(&self) -> Option<String> {
        self.keys.trouble()
    }

    /// Returns whose token it is.
    ///
    /// # Errors
    /// Why it is refused, without a word of the token.
    pub async fn bearer(&self, token: &str) -> Result<Arc<Bearer>, &'static str> {
        if token.len() > LARGEST {
            return Err("found a token over the limit of 16 KiB");
        }
        let hash = openssl::sha::sha256(token.as_bytes());
        if let Some(bearer) = self.known().find(&hash, self.keys.generation(), now()) {
            return Ok(bearer);
        }
        let header = decode_header(token).map_err(|_| NO_JWT)?;
        if !keys::ALGORITHMS.contains(&header.alg) {
            return Err(NO_JWT);
        }
        let found = match self.keys.find(header.kid.as_deref(), header.alg) {
            None => {
                self.keys.renew().await;
                self.keys.find(header.kid.as_deref(), header.alg)
            }
            found => found,
        };
        let (key, generation) =
            found.ok_or("found no key of the issuer that its header names, with its algorithm")?;
        let checked = decode::<Map<String, Value>>(token, &key, &self.validation(header.alg));
        let claims = checked.map_err(|error| why(error.kind()))?.claims;
        let bearer = Arc::new(Bearer {
            name: self.name(&claims)?,
            kind: Kind::Oidc,
            roles: roles(&claims, &self.config.roles_claim, &self.config.roles),
        });
        // It was checked that there is one.
        let expires = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        let expires = (expires as i64).saturating_add_unsigned(self.config.leeway_s);
        self.known().add(hash, Checked { bearer: Arc::clone(&bearer), expires, generation });
        Ok(bearer)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, KnownTokens> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn validation(&self, algorithm: jsonwebtoken::Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.config.leeway_s;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        validation
    }

    fn name(&self, claims: &Map<String, Value>) -> Result<String, &'static str> {
        let name = claims.get(&self.config.name_claim).and_then(Value::as_str).unwrap_or_default();
        match name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            true => Err("found no name of up to 200 bytes in the claim http.oidc.name_claim"),
            false => Ok(name.to_owned()),
        }
    }
}

fn now() -> i64 {
    SystemClock.unix_ms() / 1000
}

/// Returns what a claim with roles lets do.
fn roles(
    claims: &Map<String, Value>,
    claim: &str,
    of: &std::collections::BTreeMap<String, Vec<Role>>,
) -> Vec<Role> {
    // A name with dots may be the claim's own: those that are not registered are often addresses.
    let found = claims.get(claim).or_else(|| {
        let mut parts = claim.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |within, part| within.get(part))
    });
    let values: Vec<&str> = match found {
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut roles: Vec<Role> =
        values.into_iter().filter_map(|value| of.get(value)).flatten().copied().collect();
    roles.sort_unstable();
    roles.dedup();
    roles
}

/// Says why a token is refused.
fn why(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "it is of another issuer than http.oidc.issuer",
        ErrorKind::InvalidAudience => "it is for another audience than http.oidc.audience",
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::MissingRequiredClaim(_) => "it lacks one of the claims exp, iss and aud",
        ErrorKind::InvalidClaimFormat(_) => "one of its claims exp, nbf, iss and aud is of another type",
        _ => NO_JWT,
    }
}

/// A token that was found good.
struct Checked {
    bearer: Arc<Bearer>,
    /// In Unix seconds.
    expires: i64,
    /// That of the keys.
    generation: u64,
}

/// The tokens that were found good by their SHA-256, so that each is checked once. When there are many, those that were not
/// brought for long are forgotten.
#[derive(Default)]
struct KnownTokens {
    new: HashMap<[u8; 32], Checked>,
    old: HashMap<[u8; 32], Checked>,
}

impl KnownTokens {
    fn find(&mut self, hash: &[u8; 32], generation: u64, now: i64) -> Option<Arc<Bearer>> {
        if !self.new.contains_key(hash)
            && let Some(checked) = self.old.remove(hash)
        {
            self.add(*hash, checked);
        }
        let checked = self.new.get(hash)?;
        if checked.generation != generation || now > checked.expires {
            self.new.remove(hash);
            return None;
        }
        Some(Arc::clone(&checked.bearer))
    }

    fn add(&mut self, hash: [u8; 32], checked: Checked) {
        if self.new.len() >= KNOWN {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(hash, checked);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_a_claim_are_roles_by_the_map_alone() {
        let map = BTreeMap::from([
            ("ops".to_owned(), vec![Role::Operate, Role::Score]),
            ("viewers".to_owned(), vec![Role::Observe]),
        ]);
        let of = |claims: Value, claim: &str| roles(claims.as_object().unwrap(), claim, &map);
        assert_eq!(of(json!({ "roles": ["ops", "admin", 7] }), "roles"), [Role::Score, Role::Operate]);
        assert_eq!(of(json!({ "scope": "openid viewers" }), "scope"), [Role::Observe]);
        assert_eq!(
            of(json!({ "realm": { "roles": ["viewers", "viewers"] } }), "realm.roles"),
            [Role::Observe]
        );
        assert_eq!(of(json!({ "https://a.b/roles": ["ops"] }), "https://a.b/roles").len(), 2);
        for claims in [
            json!({}),
            json!({ "roles": { "ops": 1 } }),
            json!({ "roles": true }),
            json!({ "roles": "ops,viewers" }),
        ] {
            assert_eq!(of(claims, "roles"), []);
        }
    }

    #[test]
    fn known_tokens_are_bounded_and_end_with_their_time_and_their_keys() {
        let bearer = Arc::new(Bearer { name: "a".into(), kind: Kind::Oidc, roles: Vec::new() });
        let checked = |expires| Checked { bearer: Arc::clone(&bearer), expires, generation: 1 };
        let hash = |n: usize| openssl::sha::sha256(&n.to_le_bytes());
        let mut known = KnownTokens::default();
        known.add(hash(0), checked(10));
        assert!(known.find(&hash(0), 1, 10).is_some() && known.find(&hash(1), 1, 10).is_none());
        assert!(known.find(&hash(0), 2, 10).is_none(), "the keys are others");
        known.add(hash(0), checked(10));
        assert!(known.find(&hash(0), 1, 11).is_none(), "it has expired");
        for n in 0..5 * KNOWN {
            known.add(hash(n), checked(10));
            // One that is brought again and again stays known.
            assert!(known.find(&hash(0), 1, 10).is_some(), "{n}");
            assert!(known.new.len() <= KNOWN && known.old.len() <= KNOWN);
        }
        assert!(known.find(&hash(1), 1, 10).is_none());
    }
}
