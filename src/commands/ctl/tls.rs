//! The certificates by which `ctl` and a service know each other.

use std::path::Path;

use anyhow::{Context, Result, bail};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, parse_pem};

use crate::agent::Certificates;
use crate::cli::Ctl;

/// Reads the files that the command line names.
pub fn read(args: &Ctl) -> Result<Certificates> {
    let trusted = args.ca.as_deref().map(certificates).transpose()?;
    let own = match (&args.certificate, &args.key) {
        (Some(certificate), Some(file)) => {
            let text = bytes(file)?;
            let is_plain = String::from_utf8_lossy(&text).contains("-----BEGIN PRIVATE KEY-----");
            let Some(key) = PrivateKey::from_pem(&text).ok().filter(|_| is_plain) else {
                bail!(
                    "{}: found no such key, expected a private key without a password that begins with BEGIN PRIVATE KEY; \
                     `openssl pkey -in FILE` makes it of another",
                    file.display()
                );
            };
            Some(ClientCert::new_with_certs(&certificates(certificate)?, key))
        }
        _ => None,
    };
    Ok(Certificates { trusted: trusted.map(|all| RootCerts::new_with_certs(&all)), own })
}

fn bytes(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let text = bytes(file)?;
    let all = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    let all: Vec<_> = all.collect::<Result<_, _>>().with_context(|| file.display().to_string())?;
    if all.is_empty() {
        bail!("{}: found no certificate, expected at least one in PEM", file.display());
    }
    Ok(all)
}
