//! The public keys of an issuer (JWKS), of a file or an address, kept up to date by a thread of its own.
//!
//! A file is read again when it changes. An address is asked every hour, and when a token names a key that is not known, which
//! counts once in 30 s, as anybody can send such tokens. What cannot be fetched, or has no key, leaves the keys before in use.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::config::OidcConfig;
use crate::{Error, Result};

/// The algorithms that tokens are signed by: none with a secret that is shared, and none that is no signature.
pub const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often an address is asked.
const HOUR: Duration = Duration::from_secs(3600);

/// How soon an address is asked again that did not answer, and how often unknown keys are asked for.
const AGAIN: Duration = Duration::from_secs(30);

/// How long an address may take to answer.
const ANSWERS: Duration = Duration::from_secs(10);

/// How long a token whose key is unknown waits for the keys.
const WAITS: Duration = Duration::from_secs(5);

/// The largest JWKS, in bytes.
const LARGEST: u64 = 1 << 20;

/// The fewest bytes of the modulus of an RSA key (RFC 7518, section 3.3).
const RSA_BYTES: usize = 256;

/// A key, and what it is for.
#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// The keys of an issuer.
pub struct Keys {
    shared: Arc<Shared>,
    /// Asks the thread to look now; without it the thread ends.
    ask: Sender<()>,
}

struct Shared {
    jwks: String,
    is_remote: bool,
    now: Mutex<Now>,
    /// Counts the sets of keys.
    generation: AtomicU64,
    /// Told when the address has answered, or did not.
    looked: watch::Sender<()>,
}

#[derive(Default)]
struct Now {
    keys: Vec<Key>,
    /// What they were read from.
    text: String,
    trouble: Option<String>,
    /// When an unknown key was asked for last.
    asked: Option<Instant>,
    /// Whether a look is under way.
    is_looking: bool,
}

impl Keys {
    /// Reads the keys of a file; those of an address are asked for meanwhile.
    ///
    /// # Errors
    /// When the file has none, or the thread cannot be started.
    pub fn open(config: &OidcConfig) -> Result<Self> {
        let is_remote = config.is_remote();
        let mut now = Now { is_looking: is_remote, ..Now::default() };
        if is_remote {
            now.trouble = Some("no key is known yet".to_owned());
        } else {
            now.text = read_file(&config.jwks).map_err(|error| wrong(&config.jwks, &error))?;
            now.keys = read(&now.text).map_err(|error| wrong(&config.jwks, &error))?;
        }
        let shared = Arc::new(Shared {
            jwks: config.jwks.clone(),
            is_remote,
            now: Mutex::new(now),
            generation: AtomicU64::new(0),
            looked: watch::Sender::default(),
        });
        let (ask, asked) = channel();
        let of_thread = Arc::clone(&shared);
        let spawned = thread::Builder::new().name("jwks".into()).spawn(move || of_thread.follow(&asked));
        spawned.map_err(|source| Error::Http { action: "start a thread".into(), source })?;
        Ok(Self { shared, ask })
    }

    /// Returns why the keys are not as they are published.
    pub fn trouble(&self) -> Option<String> {
        self.shared.now().trouble.clone()
    }

    /// Returns the number of the set of keys, which is another when a key is.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Returns the key of an id for an algorithm, with the number of its set. A token may leave the id out where only one key is
    /// for its algorithm.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<(DecodingKey, u64)> {
        let now = self.shared.now();
        let mut fit = now
            .keys
            .iter()
            .filter(|key| key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id));
        let found = fit.next()?;
        if id.is_none() && fit.next().is_some() {
            return None;
        }
        Some((found.key.clone(), self.generation()))
    }

    /// Waits until the keys were looked for again, if they are now, or have not been for an unknown key just now.
    pub async fn renew(&self) {
        let mut looked = {
            let mut now = self.shared.now();
            if !now.is_looking {
                if now.asked.is_some_and(|asked| self.shared.is_remote && asked.elapsed() < AGAIN) {
                    return;
                }
                now.asked = Some(Instant::now());
                now.is_looking = true;
                if self.ask.send(()).is_err() {
                    return;
                }
            }
            self.shared.looked.subscribe()
        };
        // Whoever waited too long finds the keys as they are.
        drop(timeout(WAITS, looked.changed()).await);
    }
}

impl Shared {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the keys up to date until nobody needs them.
    fn follow(&self, asked: &Receiver<()>) {
        let agent = agent();
        let mut stamp = None;
        let mut waits = if self.is_remote { Duration::ZERO } else { LOOK };
        loop {
            match asked.recv_timeout(waits) {
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            }
            if self.is_remote {
                waits = if self.take(fetch(&agent, &self.jwks)) { HOUR } else { AGAIN };
            } else {
                let found = look_at(&self.jwks);
                if found.is_none() || found != stamp {
                    stamp = found;
                    self.take(read_file(&self.jwks));
                }
            }
            self.now().is_looking = false;
            self.looked.send_replace(());
        }
    }

    /// Takes up what was read; returns whether it could.
    fn take(&self, text: Result<String, String>) -> bool {
        let found = text.and_then(|text| Ok((read(&text)?, text)));
        let mut now = self.now();
        match found {
            Ok((keys, text)) => {
                if text != now.text {
                    tracing::info!(jwks = self.jwks, keys = keys.len(), "new keys of the issuer are known");
                    (now.keys, now.text) = (keys, text);
                    self.generation.fetch_add(1, Ordering::AcqRel);
                }
                now.trouble = None;
                true
            }
            Err(error) => {
                let kept =
                    if now.keys.is_empty() { "no key is known" } else { "the keys before stay in use" };
                let trouble = format!("{kept}: {error}");
                if now.trouble.as_ref() != Some(&trouble) {
                    tracing::error!(jwks = self.jwks, "{trouble}");
                }
                now.trouble = Some(trouble);
                false
            }
        }
    }
}

fn wrong(jwks: &str, error: &str) -> Error {
    Error::config(
        "http.oidc.jwks",
        format!("{jwks}: {error}"),
        "a file with the public keys of the issuer (JWKS)",
    )
}

/// Returns the inode, size and time of change of a file.
fn look_at(path: &str) -> Option<(u64, u64, i64, i64)> {
    let of = fs::metadata(path).ok()?;
    Some((of.ino(), of.len(), of.ctime(), of.ctime_nsec()))
}

fn read_file(path: &str) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!("found {size} bytes, expected at most {LARGEST}"));
    }
    fs::read_to_string(Path::new(path)).map_err(|error| error.to_string())
}

/// Returns a client that trusts the certificates that the system trusts, and follows no redirection to another address.
fn agent() -> Agent {
    let tls =
        TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder().tls_config(tls).timeout_global(Some(ANSWERS)).max_redirects(0).build().into()
}

fn fetch(agent: &Agent, address: &str) -> Result<String, String> {
    let mut answer = agent.get(address).call().map_err(|error| error.to_string())?;
    if answer.status() != 200 {
        return Err(format!("found the status {}, expected 200", answer.status().as_u16()));
    }
    let body = answer.body_mut().with_config().limit(LARGEST).read_to_string();
    body.map_err(|error| error.to_string())
}

/// Reads the keys that tokens may be signed by; others are passed over.
fn read(text: &str) -> Result<Vec<Key>, String> {
    let found: Value = serde_json::from_str(text).map_err(|_| "found no JSON, expected a JWKS".to_owned())?;
    let all = found["keys"].as_array().ok_or("found no list `keys`, expected a JWKS")?;
    let keys: Vec<Key> = all.iter().filter_map(key).collect();
    match keys.is_empty() {
        true => Err("found no key for RS256, PS256, ES256 or EdDSA, expected at least one".to_owned()),
        false => Ok(keys),
    }
}

fn key(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    // What a key is for follows from what it is, and is less where it says so: never from a token.
    let fit: &[Algorithm] = match (&jwk.algorithm, key.kind()) {
        (AlgorithmParameters::RSA(_), DecodingKeyKind::RsaModulusExponent { n, .. })
            if n.iter().skip_while(|byte| **byte == 0).count() >= RSA_BYTES =>
        {
            &[Algorithm::RS256, Algorithm::PS256]
        }
        (AlgorithmParameters::EllipticCurve(of), _) if of.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        (AlgorithmParameters::OctetKeyPair(of), _) if of.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let common = jwk.common;
    let is_for_signatures = common.public_key_use.is_none_or(|of| of == PublicKeyUse::Signature);
    let may = |algorithm: &&Algorithm| {
        common.key_algorithm.is_none_or(|of| of == KeyAlgorithm::from(**algorithm)) && is_for_signatures
    };
    let algorithms: Vec<Algorithm> = fit.iter().filter(may).copied().collect();
    (!algorithms.is_empty()).then_some(Key { id: common.key_id, algorithms, key })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_for_what_they_are_and_say() {
        // 256 bytes: the last character has bits for one byte alone.
        let n = "q".repeat(341) + "g";
        let rsa = |more: Value| {
            let mut key = json!({ "kty": "RSA", "kid": "a", "n": n, "e": "AQAB" });
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key
        };
        let of =
            |key: Value| read(&json!({ "keys": [key] }).to_string()).map(|keys| keys[0].algorithms.clone());
        assert_eq!(of(rsa(json!({}))).unwrap(), [Algorithm::RS256, Algorithm::PS256]);
        assert_eq!(of(rsa(json!({ "alg": "PS256", "use": "sig" }))).unwrap(), [Algorithm::PS256]);
        for useless in [
            rsa(json!({ "use": "enc" })),
            rsa(json!({ "alg": "RS512" })),
            rsa(json!({ "alg": "HS256" })),
            rsa(json!({ "alg": "RSA-OAEP" })),
            rsa(json!({ "n": "q".repeat(169) + "g" })),
            json!({ "kty": "oct", "k": "c2VjcmV0" }),
            json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }),
            json!({ "kty": "new" }),
            json!("key"),
        ] {
            assert!(of(useless.clone()).is_err_and(|error| error.contains("RS256")), "{useless}");
        }
        // What is of no use does not hide what is.
        let both = json!({ "keys": [{ "kty": "new" }, rsa(json!({}))] }).to_string();
        assert_eq!(read(&both).unwrap().len(), 1);
        for text in ["", "{}", "[]", "{\"keys\":{}}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
