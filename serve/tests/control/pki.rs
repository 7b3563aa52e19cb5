//! Certificates that a test makes, and a client that brings them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder, X509NameRef};

pub struct Ca {
    pub certificate: X509,
    key: PKey<Private>,
}

/// A certificate with its key.
pub struct Identity {
    pub certificate: X509,
    pub key: PKey<Private>,
}

/// What a certificate says.
#[derive(Clone, Copy)]
pub struct Says<'a> {
    pub cn: &'a str,
    /// `URI=`, `DNS=` or `email=`.
    pub alternative: Option<&'a str>,
    /// From when to when it is valid, in hours from now.
    pub hours: (i64, i64),
    pub is_for_clients: bool,
    pub serial: u32,
}

impl<'a> Says<'a> {
    pub fn cn(cn: &'a str) -> Self {
        Self { cn, alternative: None, hours: (-1, 24), is_for_clients: true, serial: 1 }
    }
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn name(cn: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("O", "acme").unwrap();
    name.append_entry_by_text("CN", cn).unwrap();
    name.build()
}

fn builder(subject: &X509Name, issuer: &X509NameRef, key: &PKey<Private>, says: &Says<'_>) -> X509Builder {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let at = |hours: i64| Asn1Time::from_unix(now + 3600 * hours).unwrap();
    let mut made = X509Builder::new().unwrap();
    made.set_version(2).unwrap();
    made.set_serial_number(&BigNum::from_u32(says.serial).unwrap().to_asn1_integer().unwrap()).unwrap();
    made.set_subject_name(subject).unwrap();
    made.set_issuer_name(issuer).unwrap();
    made.set_not_before(&at(says.hours.0)).unwrap();
    made.set_not_after(&at(says.hours.1)).unwrap();
    made.set_pubkey(key).unwrap();
    made
}

impl Ca {
    pub fn new(cn: &str) -> Self {
        let (key, name) = (key(), name(cn));
        let mut made = builder(&name, &name, &key, &Says::cn(cn));
        made.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        made.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: made.build(), key }
    }

    pub fn sign(&self, says: Says<'_>) -> Identity {
        let key = key();
        let mut made = builder(&name(says.cn), self.certificate.subject_name(), &key, &says);
        let mut purpose = ExtendedKeyUsage::new();
        if says.is_for_clients {
            purpose.client_auth()
        } else {
            purpose.server_auth()
        };
        made.append_extension(purpose.build().unwrap()).unwrap();
        if let Some((kind, text)) = says.alternative.and_then(|text| text.split_once('=')) {
            let mut alternative = SubjectAlternativeName::new();
            match kind {
                "URI" => alternative.uri(text),
                "DNS" => alternative.dns(text),
                _ => alternative.email(text),
            };
            let built = alternative.build(&made.x509v3_context(Some(&self.certificate), None)).unwrap();
            made.append_extension(built).unwrap();
        }
        made.sign(&self.key, MessageDigest::sha256()).unwrap();
        Identity { certificate: made.build(), key }
    }

    /// Writes the list of revoked certificates, whole, as what renews it does.
    pub fn revoke(&self, folder: &Path, serials: &[u32], list: &Path) {
        let write = |name: &str, text: &[u8]| std::fs::write(folder.join(name), text).unwrap();
        let lines =
            serials.iter().map(|at| format!("R\t400101000000Z\t260101000000Z\t{at:02X}\tunknown\t/CN=x\n"));
        write("index", lines.collect::<String>().as_bytes());
        write("ca.cnf", b"[ca]\ndefault_ca = own\n[own]\ndatabase = index\ndefault_md = sha256\n");
        write("ca-only.pem", &self.certificate.to_pem().unwrap());
        write("ca-only-key.pem", &self.key.private_key_to_pem_pkcs8().unwrap());
        let line = "ca -config ca.cnf -gencrl -keyfile ca-only-key.pem -cert ca-only.pem -crldays 1 -out crl-next.pem";
        let ran =
            Command::new("openssl").args(line.split(' ')).current_dir(folder).output().expect("openssl");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        std::fs::rename(folder.join("crl-next.pem"), list).unwrap();
    }
}

impl From<Ca> for Identity {
    fn from(ca: Ca) -> Self {
        Self { certificate: ca.certificate, key: ca.key }
    }
}

impl Identity {
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), self.certificate.to_pem().unwrap()).unwrap();
        let key = self.key.private_key_to_pem_pkcs8().unwrap();
        std::fs::write(folder.join(format!("{name}-key.pem")), key).unwrap();
    }
}

/// Makes a connection; whether the certificate is taken the first answer says.
pub fn connect(at: SocketAddr, identity: Option<&Identity>) -> Result<SslStream<TcpStream>, String> {
    let mut made = SslConnector::builder(SslMethod::tls_client()).unwrap();
    made.set_verify(SslVerifyMode::NONE);
    if let Some(identity) = identity {
        made.set_certificate(&identity.certificate).unwrap();
        made.set_private_key(&identity.key).unwrap();
    }
    let stream = TcpStream::connect(at).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    made.build().connect("localhost", stream).map_err(|error| error.to_string())
}

/// Sends a request on a connection of its own; returns the answer, or why the handshake was refused.
pub fn ask(at: SocketAddr, identity: Option<&Identity>, request: &str) -> Result<String, String> {
    let mut stream = connect(at, identity)?;
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    match (read, answer.is_empty()) {
        (Err(error), true) => Err(error.to_string()),
        (_, true) => Err("no answer".to_owned()),
        _ => Ok(String::from_utf8(answer).unwrap()),
    }
}
