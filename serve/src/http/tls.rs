//! TLS 1.2 and 1.3, with a certificate, and the CAs and lists of revocation for those of clients, that are read again when their
//! files change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    Ssl, SslAcceptor, SslAcceptorBuilder, SslFiletype, SslMethod, SslOptions, SslSessionCacheMode,
    SslVerifyMode,
};
use openssl::x509::store::{X509Lookup, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Crl};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_openssl::SslStream;

use super::certificate::Certificate;
use crate::config::{ClientCertificates, HttpConfig, Secret};
use crate::{Error, Result};

/// The files of a config that has TLS.
pub(super) struct Tls {
    config: HttpConfig,
    /// What the files looked like when they were last read, and what came of it.
    now: Mutex<(Stamp, SslAcceptor)>,
    /// Told when other files are taken up.
    changed: watch::Sender<()>,
}

/// The inode, size and time of change of each file.
type Stamp = [Option<(u64, u64, i64, i64)>; 4];

/// A connection after the handshake.
pub(super) struct Accepted {
    pub stream: SslStream<TcpStream>,
    /// What the client brought.
    pub certificate: Option<Arc<Certificate>>,
    /// Told when the files by which the certificate was found good are others.
    pub changed: watch::Receiver<()>,
}

impl Tls {
    /// Reads the files that the config names, if it names them.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn open(config: &HttpConfig) -> Result<Option<Self>> {
        if config.tls_certificate.is_none() {
            return Ok(None);
        }
        let now = (stamp(config), acceptor(config)?);
        Ok(Some(Self { config: config.clone(), now: Mutex::new(now), changed: watch::Sender::default() }))
    }

    /// Makes a connection of a socket.
    ///
    /// # Errors
    /// When the client's side of the handshake is wrong.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<Accepted> {
        let (acceptor, changed) = self.current();
        let made = Ssl::new(acceptor.context()).and_then(|ssl| SslStream::new(ssl, stream));
        let mut stream = made.map_err(std::io::Error::other)?;
        Pin::new(&mut stream).accept().await.map_err(std::io::Error::other)?;
        // Without CAs nothing is asked for, and nothing that is brought counts.
        let brought = self.config.client_ca.as_ref().and_then(|_| stream.ssl().peer_certificate());
        let certificate = brought.map(|brought| Certificate::of(&brought)).transpose()?.map(Arc::new);
        Ok(Accepted { stream, certificate, changed })
    }

    /// Returns whether connections depend on files that change, beside the certificate that new ones are made with.
    pub fn asks_clients(&self) -> bool {
        self.config.client_ca.is_some()
    }

    /// Returns the acceptor of the files as they are now. Where they do not belong together, for example because only
    /// one of them is new yet, the one before stays.
    pub fn current(&self) -> (SslAcceptor, watch::Receiver<()>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.config);
        if now.0 != stamp {
            now.0 = stamp;
            match acceptor(&self.config) {
                Ok(made) => {
                    tracing::info!("the certificates of TLS are read again");
                    now.1 = made;
                    self.changed.send_replace(());
                }
                Err(error) => {
                    tracing::warn!(%error, "the new certificates are not taken up; the old ones serve");
                }
            }
        }
        (now.1.clone(), self.changed.subscribe())
    }
}

fn stamp(config: &HttpConfig) -> Stamp {
    [&config.tls_certificate, &config.tls_key, &config.client_ca, &config.client_crl].map(|path| {
        let of = fs::metadata(path.as_deref()?).ok()?;
        Some((of.ino(), of.len(), of.ctime(), of.ctime_nsec()))
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::Http { action: format!("read {}", path.display()), source })
}

/// Returns what `map_err` on what OpenSSL makes of a file takes.
fn bad(field: &'static str, path: &Path, expected: &'static str) -> impl Fn(ErrorStack) -> Error {
    let path = path.display().to_string();
    move |error| Error::config(field, format!("{path}: {error}"), expected)
}

fn acceptor(config: &HttpConfig) -> Result<SslAcceptor> {
    let (Some(certificate), Some(key)) = (&config.tls_certificate, &config.tls_key) else {
        // The config is checked before: there is none without the other.
        return Err(Error::config("http.tls_key", "none", "the certificate's key"));
    };
    let (chain, secret) = (read(certificate)?, read(key)?);
    let expected = "the certificate's private key in PEM, and the password that it has in http.tls_password";
    // Without a password OpenSSL would ask the terminal for one.
    let password = config.tls_password.as_ref().map_or("", Secret::reveal).as_bytes();
    let secret = PKey::private_key_from_pem_passphrase(&secret, password);
    let secret = secret.map_err(bad("http.tls_key", key, expected))?;
    let expected = "a certificate in PEM that http.tls_key belongs to";
    let mut made = of_server(&chain, &secret).map_err(bad("http.tls_certificate", certificate, expected))?;
    if let Some(ca) = &config.client_ca {
        let expected = "certificates of CAs in PEM";
        let all = X509::stack_from_pem(&read(ca)?).map_err(bad("http.client_ca", ca, expected))?;
        if all.is_empty() {
            return Err(Error::config("http.client_ca", ca.display(), expected));
        }
        let crl = config.client_crl.as_deref().map(check_crl).transpose()?;
        let is_required = config.client_certificates == Some(ClientCertificates::Required);
        check_clients(&mut made, &all, crl, is_required).map_err(bad("http.client_ca", ca, expected))?;
    }
    Ok(made.build())
}

fn of_server(chain: &[u8], secret: &PKey<Private>) -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut chain = X509::stack_from_pem(chain)?.into_iter();
    let mut made = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    if let Some(own) = chain.next() {
        made.set_certificate(&own)?;
    }
    chain.try_for_each(|signer| made.add_extra_chain_cert(signer))?;
    made.set_private_key(secret)?;
    made.check_private_key()?;
    Ok(made)
}

/// Lets the handshake refuse certificates of clients that are of another CA, of another purpose, revoked, or out of time.
fn check_clients(
    made: &mut SslAcceptorBuilder,
    all: &[X509],
    crl: Option<&Path>,
    is_required: bool,
) -> Result<(), ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for ca in all {
        store.add_cert(ca.clone())?;
        made.add_client_ca(ca)?;
    }
    if let Some(crl) = crl {
        store.add_lookup(X509Lookup::file())?.load_crl_file(crl, SslFiletype::PEM)?;
        store.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)?;
    }
    made.set_verify_cert_store(store.build())?;
    let required = SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    made.set_verify(SslVerifyMode::PEER | if is_required { required } else { SslVerifyMode::NONE });
    // A session that goes on would not look at the certificate again.
    made.set_session_cache_mode(SslSessionCacheMode::OFF);
    made.set_options(SslOptions::NO_TICKET);
    made.set_num_tickets(0)
}

/// Checks that a file has lists of revoked certificates, and says so where one is out of date: nobody is let in by it.
fn check_crl(path: &Path) -> Result<&Path> {
    const END: &str = "-----END X509 CRL-----";
    let expected = "lists of revoked certificates in PEM";
    let bad = bad("http.client_crl", path, expected);
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    if !text.contains(END) {
        return Err(Error::config("http.client_crl", path.display(), expected));
    }
    let now = Asn1Time::days_from_now(0).map_err(&bad)?;
    for list in text.split_inclusive(END).filter(|list| list.contains(END)) {
        let list = X509Crl::from_pem(list.as_bytes()).map_err(&bad)?;
        if list.next_update().is_some_and(|next| next < &*now) {
            tracing::error!(path = %path.display(), "a list of revoked certificates is out of date: no client of its CA is let in");
        }
    }
    Ok(path)
}
