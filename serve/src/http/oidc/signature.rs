//! Signatures of JWTs, checked by OpenSSL, as TLS is (RFC 7518, sections 3.3 to 3.5; RFC 8037, section 3.1).

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Verifier as OpenSslVerifier};

/// The bytes of a signature by ES256: two numbers of 32.
const ES256_BYTES: usize = 64;

type Result<T, E = Error> = std::result::Result<T, E>;

/// Has `jsonwebtoken` check signatures by OpenSSL, unless the program that embeds the service has chosen another library for it.
pub fn install() {
    static OPENSSL: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    if CryptoProvider::try_get_default().is_none() {
        // An error means that another thread was faster.
        let _ = OPENSSL.install_default();
    }
}

/// A key for an algorithm.
struct Key {
    algorithm: Algorithm,
    key: PKey<Public>,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let key = match (algorithm, key.kind()) {
        (Algorithm::RS256 | Algorithm::PS256, DecodingKeyKind::RsaModulusExponent { n, e }) => rsa(n, e),
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => p256(point),
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(raw)) => {
            PKey::public_key_from_raw_bytes(raw, Id::ED25519)
        }
        _ => return Err(new_error(ErrorKind::InvalidAlgorithm)),
    };
    let key = key.map_err(|_| new_error(ErrorKind::InvalidKeyFormat))?;
    Ok(Box::new(Key { algorithm: *algorithm, key }))
}

fn rsa(n: &[u8], e: &[u8]) -> Result<PKey<Public>, ErrorStack> {
    PKey::from_rsa(Rsa::from_public_components(BigNum::from_slice(n)?, BigNum::from_slice(e)?)?)
}

fn p256(point: &[u8]) -> Result<PKey<Public>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let point = EcPoint::from_bytes(&group, point, &mut *BigNumContext::new()?)?;
    let key = EcKey::from_public_key(&group, &point)?;
    key.check_key()?;
    PKey::from_ec_key(key)
}

impl Key {
    fn is_right(&self, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        let sha256 = || OpenSslVerifier::new(MessageDigest::sha256(), &self.key);
        match self.algorithm {
            Algorithm::RS256 => sha256()?.verify_oneshot(signature, message),
            Algorithm::PS256 => {
                let mut pss = sha256()?;
                pss.set_rsa_padding(Padding::PKCS1_PSS)?;
                pss.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                pss.verify_oneshot(signature, message)
            }
            Algorithm::ES256 if signature.len() == ES256_BYTES => {
                let (r, s) = signature.split_at(ES256_BYTES / 2);
                let both = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
                sha256()?.verify_oneshot(&both.to_der()?, message)
            }
            Algorithm::EdDSA => {
                OpenSslVerifier::new_without_digest(&self.key)?.verify_oneshot(signature, message)
            }
            _ => Ok(false),
        }
    }
}

impl Verifier<Vec<u8>> for Key {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        // OpenSSL has errors, not a no, for signatures of another form.
        if self.is_right(message, signature).unwrap_or(false) { Ok(()) } else { Err(signature::Error::new()) }
    }
}

impl JwtVerifier for Key {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
