//! The names in a client's certificate.

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::x509::X509Ref;

/// What an entry may name.
const EXPECTED: &str = "one of URI=…, DNS=…, email=… (subject alternative names) or CN=…";

/// A certificate that a client brought and the handshake found good.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// Its names as entries have them; the alternative names first.
    pub names: Vec<String>,
    /// When it expires, in Unix seconds.
    pub expires: i64,
}

impl Certificate {
    /// Reads the names of a certificate.
    ///
    /// # Errors
    /// When its time of expiry cannot be read.
    pub fn of(certificate: &X509Ref) -> Result<Self, ErrorStack> {
        let alternative = certificate.subject_alt_names();
        let alternative = alternative.iter().flatten().filter_map(|name| {
            let uri = name.uri().map(|uri| format!("URI={uri}"));
            let dns = || name.dnsname().map(|dns| format!("DNS={}", dns.to_ascii_lowercase()));
            let email = || name.email().map(|email| format!("email={email}"));
            uri.or_else(dns).or_else(email)
        });
        // The bytes as they stand: a name that goes on after a 0 is another name.
        let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).filter_map(|entry| {
            let text = std::str::from_utf8(entry.data().as_slice()).ok()?;
            Some(format!("CN={text}"))
        });
        let names = alternative.chain(common).collect();
        let left = Asn1Time::from_unix(0)?.diff(certificate.not_after())?;
        let expires = i64::from(left.days) * 86_400 + i64::from(left.secs);
        Ok(Self { names, expires })
    }
}

/// Reads the name of an entry.
///
/// # Errors
/// What is expected.
pub(super) fn parse(text: &str) -> Result<String, &'static str> {
    let (kind, name) = text.split_once('=').ok_or(EXPECTED)?;
    match kind {
        _ if name.is_empty() => Err(EXPECTED),
        "CN" | "URI" | "email" => Ok(text.to_owned()),
        "DNS" => Ok(format!("DNS={}", name.to_ascii_lowercase())),
        _ => Err(EXPECTED),
    }
}
