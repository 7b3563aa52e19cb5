//! TLS 1.2 and 1.3, with a certificate that is read again when its files change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::X509;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::config::{HttpConfig, Secret};
use crate::{Error, Result};

/// The certificate with its key.
pub(super) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    password: Option<Secret>,
    /// What the files looked like when they were last read, and what came of it.
    now: Mutex<(Stamp, SslAcceptor)>,
}

/// The inode, size and time of change of both files.
type Stamp = [Option<(u64, u64, i64, i64)>; 2];

impl Tls {
    /// Reads the files that the config names, if it names them.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn open(config: &HttpConfig) -> Result<Option<Self>> {
        let (Some(certificate), Some(key)) = (&config.tls_certificate, &config.tls_key) else {
            return Ok(None);
        };
        let stamp = stamp(certificate, key);
        let made = acceptor(certificate, key, config.tls_password.as_ref())?;
        let (certificate, key) = (certificate.clone(), key.clone());
        let password = config.tls_password.clone();
        Ok(Some(Self { certificate, key, password, now: Mutex::new((stamp, made)) }))
    }

    /// Makes a connection of a socket.
    ///
    /// # Errors
    /// When the client's side of the handshake is wrong.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<SslStream<TcpStream>> {
        let made = Ssl::new(self.current().context()).and_then(|ssl| SslStream::new(ssl, stream));
        let mut stream = made.map_err(std::io::Error::other)?;
        Pin::new(&mut stream).accept().await.map_err(std::io::Error::other)?;
        Ok(stream)
    }

    /// Returns the acceptor of the files as they are now. Where they do not belong together, for example because only
    /// one of them is new yet, the one before stays.
    fn current(&self) -> SslAcceptor {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.certificate, &self.key);
        if now.0 != stamp {
            now.0 = stamp;
            match acceptor(&self.certificate, &self.key, self.password.as_ref()) {
                Ok(made) => {
                    tracing::info!(certificate = %self.certificate.display(), "a new certificate serves");
                    now.1 = made;
                }
                Err(error) => {
                    tracing::warn!(%error, "the new certificate is not taken up; the old one serves");
                }
            }
        }
        now.1.clone()
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let of = fs::metadata(path).ok()?;
        Some((of.ino(), of.len(), of.ctime(), of.ctime_nsec()))
    })
}

fn acceptor(certificate: &Path, key: &Path, password: Option<&Secret>) -> Result<SslAcceptor> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| Error::Http { action: format!("read {}", path.display()), source })
    };
    let (chain, secret) = (read(certificate)?, read(key)?);
    let bad = |field: &'static str, path: &Path, expected: &'static str| {
        let path = path.display().to_string();
        move |error: ErrorStack| Error::config(field, format!("{path}: {error}"), expected)
    };
    let expected = "the certificate's private key in PEM, and the password that it has in http.tls_password";
    // Without a password OpenSSL would ask the terminal for one.
    let password = password.map_or("", Secret::reveal).as_bytes();
    let secret = PKey::private_key_from_pem_passphrase(&secret, password);
    let secret = secret.map_err(bad("http.tls_key", key, expected))?;
    let make = || {
        let mut chain = X509::stack_from_pem(&chain)?.into_iter();
        let mut made = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        if let Some(own) = chain.next() {
            made.set_certificate(&own)?;
        }
        chain.try_for_each(|signer| made.add_extra_chain_cert(signer))?;
        made.set_private_key(&secret)?;
        made.check_private_key()?;
        Ok(made.build())
    };
    make().map_err(bad(
        "http.tls_certificate",
        certificate,
        "a certificate in PEM that http.tls_key belongs to",
    ))
}
