//! An OpenID Connect provider: keys, tokens, and a server of its keys.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://login.example/acme";

pub fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A key that signs tokens.
pub struct Key {
    pub id: &'static str,
    pub algorithm: &'static str,
    pub key: PKey<Private>,
}

impl Key {
    pub fn new(id: &'static str, algorithm: &'static str) -> Self {
        let key = match algorithm {
            "RS256" | "PS256" => PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
            "ES256" => {
                let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
                PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
            }
            _ => PKey::generate_ed25519().unwrap(),
        };
        Self { id, algorithm, key }
    }

    /// Returns the public key as it is published.
    pub fn jwk(&self) -> Value {
        match self.algorithm {
            "RS256" | "PS256" => {
                let rsa = self.key.rsa().unwrap();
                let (n, e) = (base64(&rsa.n().to_vec()), base64(&rsa.e().to_vec()));
                json!({ "kty": "RSA", "use": "sig", "kid": self.id, "n": n, "e": e })
            }
            "ES256" => {
                let key = self.key.ec_key().unwrap();
                let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
                let mut context = BigNumContext::new().unwrap();
                key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context).unwrap();
                let of = |number: &BigNum| base64(&number.to_vec_padded(32).unwrap());
                json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.id, "x": of(&x), "y": of(&y) })
            }
            _ => {
                let raw = base64(&self.key.raw_public_key().unwrap());
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": raw })
            }
        }
    }

    /// Signs bytes by this key's algorithm.
    pub fn signature(&self, message: &[u8]) -> Vec<u8> {
        if self.algorithm == "EdDSA" {
            return Signer::new_without_digest(&self.key).unwrap().sign_oneshot_to_vec(message).unwrap();
        }
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).unwrap();
        if self.algorithm == "PS256" {
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
        }
        let made = signer.sign_oneshot_to_vec(message).unwrap();
        if self.algorithm != "ES256" {
            return made;
        }
        let both = EcdsaSig::from_der(&made).unwrap();
        [both.r(), both.s()].map(|number| number.to_vec_padded(32).unwrap()).concat()
    }

    /// Returns a token with this key's header.
    pub fn token(&self, claims: &Value) -> String {
        signed(&json!({ "alg": self.algorithm, "typ": "JWT", "kid": self.id }), claims, |message| {
            self.signature(message)
        })
    }
}

pub fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = [header, claims].map(|part| base64(part.to_string().as_bytes())).join(".");
    let signature = base64(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

pub fn jwks(keys: &[&Key]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

/// Returns claims that are good, of somebody with a role.
pub fn claims(name: &str, role: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": ["other", "burnrec"], "exp": now() + 600, "nbf": now() - 5, "sub": name,
        "realm_access": { "roles": [role, "other"] },
    })
}

/// Serves keys over HTTP.
pub struct Provider {
    pub address: String,
    /// What is answered; nothing is an error.
    pub answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    pub fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/keys", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (shared, count) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                drop(stream.read(&mut [0; 4096]));
                let body = shared.lock().unwrap().clone();
                let status = if body.is_empty() { "503 Service Unavailable" } else { "200 OK" };
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                count.fetch_add(1, Ordering::Relaxed);
                drop(stream.write_all((head + &body).as_bytes()));
            }
        });
        Self { address, answer, asked }
    }

    pub fn publish(&self, keys: &[&Key]) {
        *self.answer.lock().unwrap() = jwks(keys);
    }

    /// Returns how often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}
