//! Named tokens and client certificates with roles, from a file that holds only the hashes of tokens:
//!
//! ```toml
//! [anna]
//! hash = "9f86d081…"                  # the SHA-256 of the token, in hex
//! roles = ["operate"]
//! expires = "2027-02-26T12:00:00Z"    # or never
//!
//! [nightly]
//! certificate = "URI=spiffe://acme/nightly"    # or DNS=…, email=…, CN=…
//! roles = ["score"]
//! ```
//!
//! A token is 32 random bytes, so that its plain hash cannot be inverted by guessing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use burnrec_data::calendar::date_time;
use burnrec_data::hash::hex;
use burnrec_data::write::{lock_file, write_file};
use serde::{Deserialize, Serialize};

use super::bearer::{Bearer, Kind};
use super::certificate;
use crate::clock::{Clock, SystemClock};
pub use crate::config::Role;
use crate::{Error, Result};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What all named tokens begin with, so that one that leaked is recognised, and none is taken for another kind of token.
pub(super) const PREFIX: &str = "burnrec_";

/// A token or a certificate by its name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    roles: Vec<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// Who is known, and until when in Unix seconds, by the hash of a token or the name in a certificate.
type Known = BTreeMap<(Kind, String), (Arc<Bearer>, Option<i64>)>;

/// What a file looked like: its inode, size and time of change.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The tokens and certificates of a file, which is read again when it changes.
pub struct Tokens {
    path: PathBuf,
    known: Mutex<(Instant, Stamp, Known)>,
    /// Why the file is not taken up as it stands.
    trouble: Mutex<Option<String>>,
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or an entry is wrong.
    pub fn open(path: &Path) -> Result<Self> {
        let stamp = stamp(path);
        let known = read_known(path)?;
        Ok(Self {
            path: path.to_owned(),
            known: Mutex::new((Instant::now(), stamp, known)),
            trouble: Mutex::default(),
        })
    }

    /// Returns why the file is not taken up as it stands, so that who was taken out of it is still known.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns who brings a token that is known and has not expired.
    pub fn bearer(&self, token: &str) -> Option<Arc<Bearer>> {
        self.find((Kind::Token, hashed(token.as_bytes())))
    }

    /// Returns whose certificate has one of these names: the first that is known and has not expired.
    pub fn holder(&self, names: &[String]) -> Option<Arc<Bearer>> {
        names.iter().find_map(|name| self.find((Kind::Certificate, name.clone())))
    }

    fn find(&self, by: (Kind, String)) -> Option<Arc<Bearer>> {
        let known = self.known();
        let (bearer, expires) = known.2.get(&by)?;
        let now = SystemClock.unix_ms() / 1000;
        expires.is_none_or(|expires| now < expires).then(|| Arc::clone(bearer))
    }

    /// Reads the file again if it has changed, and was not looked at just now.
    fn known(&self) -> MutexGuard<'_, (Instant, Stamp, Known)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0.elapsed() < LOOK {
            return known;
        }
        known.0 = Instant::now();
        let stamp = stamp(&self.path);
        if stamp != known.1 {
            known.1 = stamp;
            let read = read_known(&self.path);
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                read.as_ref().err().map(|error| format!("the tokens before stay known: {error}"));
            match read {
                Ok(new) => {
                    tracing::info!(path = %self.path.display(), tokens = new.len(), "new tokens are known");
                    known.2 = new;
                }
                Err(error) => {
                    tracing::error!(%error, "the tokens are not taken up; those before stay known");
                }
            }
        }
        known
    }
}

/// Returns the SHA-256 of bytes, in hex.
pub(crate) fn hashed(bytes: &[u8]) -> String {
    hex(&openssl::sha::sha256(bytes))
}

fn stamp(path: &Path) -> Stamp {
    let of = fs::metadata(path).ok()?;
    Some((of.ino(), of.len(), of.ctime(), of.ctime_nsec()))
}

fn read(path: &Path) -> Result<BTreeMap<String, Entry>> {
    let text = fs::read_to_string(path).map_err(burnrec_data::Error::io("read", path))?;
    let bad = |error: toml::de::Error| {
        let expected = "tables of hash or certificate, roles and expires";
        burnrec_data::Error::malformed(path, error.message().to_owned(), expected)
    };
    Ok(toml::from_str(&text).map_err(bad)?)
}

fn read_known(path: &Path) -> Result<Known> {
    let mut all = Known::new();
    for (name, entry) in read(path)? {
        let wrong = |key: &str, found: &str, expected: &str| {
            Error::config(format!("{}: {name}.{key}", path.display()), found, expected)
        };
        let (key, by) = match (&entry.hash, &entry.certificate) {
            (Some(hash), None) if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                ("hash", (Kind::Token, hash.to_ascii_lowercase()))
            }
            (Some(_), None) => return Err(wrong("hash", "another text", "a SHA-256 in hex")),
            (None, Some(text)) => {
                let of = certificate::parse(text).map_err(|expected| wrong("certificate", text, expected))?;
                ("certificate", (Kind::Certificate, of))
            }
            (Some(_), Some(_)) => return Err(wrong("certificate", "a hash as well", "one of both")),
            (None, None) => return Err(wrong("hash", "none", "a hash or a certificate")),
        };
        if entry.roles.is_empty() {
            return Err(wrong("roles", "none", "at least one of score, observe, operate, admin"));
        }
        let expires = entry.expires.as_ref().map(|text| {
            let moment = chrono::DateTime::parse_from_rfc3339(text);
            let expected = "a moment such as 2027-02-26T12:00:00Z";
            moment.map(|moment| moment.timestamp()).map_err(|_| wrong("expires", text, expected))
        });
        let expires = expires.transpose()?;
        let bearer = Bearer { name: name.clone(), kind: by.0, roles: entry.roles.clone() };
        if all.insert(by, (Arc::new(bearer), expires)).is_some() {
            return Err(wrong(key, "that of another entry", "each once"));
        }
    }
    Ok(all)
}

/// Makes a token and adds it to a file, or puts it in place of the entry of its name; returns the token, which is nowhere kept.
///
/// # Errors
/// When the name is none, or the file cannot be read or written.
pub fn issue(path: &Path, name: &str, roles: &[Role], days: Option<u32>) -> Result<String> {
    let mut random = [0; 32];
    openssl::rand::rand_bytes(&mut random)
        .map_err(|source| Error::Http { action: "draw a token".into(), source: source.into() })?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let hash = Some(hashed(token.as_bytes()));
    add(path, name, Entry { hash, certificate: None, roles: roles.to_vec(), expires: end(days) })?;
    Ok(token)
}

/// Adds the name in client certificates to a file (`CN=…`, `URI=…`, `DNS=…` or `email=…`), or puts it in place of the entry of a name.
///
/// # Errors
/// When one of the names is none, or the file cannot be read or written.
pub fn grant(path: &Path, name: &str, of: &str, roles: &[Role], days: Option<u32>) -> Result<()> {
    let of =
        certificate::parse(of).map_err(|expected| Error::config("the certificate's name", of, expected))?;
    add(path, name, Entry { hash: None, certificate: Some(of), roles: roles.to_vec(), expires: end(days) })
}

/// Returns the moment that is a number of days from now.
fn end(days: Option<u32>) -> Option<String> {
    days.map(|days| date_time(SystemClock.unix_ms() / 1000 + i64::from(days) * 86_400))
}

fn add(path: &Path, name: &str, entry: Entry) -> Result<()> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
        let expected = "up to 64 letters, digits, - and _";
        return Err(Error::config("the token's name", format!("{name:?}"), expected));
    }
    let _alone = lock_file(path)?;
    let mut all = if path.exists() { read(path)? } else { BTreeMap::new() };
    all.insert(name.to_owned(), entry);
    write(path, &all)
}

/// Removes a token or a certificate from a file: within a second it lets nobody in any more.
///
/// # Errors
/// When there is none of the name, or the file cannot be read or written.
pub fn revoke(path: &Path, name: &str) -> Result<()> {
    let _alone = lock_file(path)?;
    let mut all = read(path)?;
    if all.remove(name).is_none() {
        let known: Vec<&str> = all.keys().map(String::as_str).collect();
        return Err(Error::config("the token's name", name, format!("one of {}", known.join(", "))));
    }
    write(path, &all)
}

fn write(path: &Path, all: &BTreeMap<String, Entry>) -> Result<()> {
    let text = toml::to_string(all).expect("tables of texts are TOML");
    write_file(path, text.as_bytes())?;
    let own = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
    Ok(own.map_err(burnrec_data::Error::io("protect", path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_until_it_is_revoked_or_expires() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let anna = issue(&path, "anna", &[Role::Operate], Some(1)).unwrap();
        let job = issue(&path, "job", &[Role::Score, Role::Observe], None).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&anna) && !text.contains(&job) && anna.len() > 50, "{text}");
        let tokens = Tokens::open(&path).unwrap();
        let of = |token: &str| tokens.bearer(token).map(|bearer| bearer.name.clone());
        assert_eq!((of(&anna), of(&job)), (Some("anna".into()), Some("job".into())));
        for wrong in ["", "anna", &anna[1..], &format!("{anna}x"), &anna.to_uppercase()] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
        let may = |token: &str| {
            Role::ALL.into_iter().filter(|role| tokens.bearer(token).unwrap().may(*role)).collect::<Vec<_>>()
        };
        assert_eq!(may(&anna), [Role::Observe, Role::Operate]);
        assert_eq!(may(&job), [Role::Score, Role::Observe]);
        revoke(&path, "job").unwrap();
        assert!(revoke(&path, "job").unwrap_err().to_string().contains("one of anna"));
        // The file is read again as soon as it is looked at.
        tokens.known.lock().unwrap().0 -= LOOK;
        assert_eq!((of(&anna), of(&job)), (Some("anna".into()), None));
        let past = fs::read_to_string(&path).unwrap().replace("expires = \"20", "expires = \"10");
        fs::write(&path, &past).unwrap();
        tokens.known.lock().unwrap().0 -= LOOK;
        assert_eq!((of(&anna), tokens.trouble()), (None, None), "expired");
        fs::remove_file(&path).unwrap();
        tokens.known.lock().unwrap().0 -= LOOK;
        assert_eq!(of(&job), None);
        assert!(tokens.trouble().unwrap().contains("tokens.toml"), "a file that is gone is said");
        for (from, to, word) in [
            ("\"operate\"", "\"king\"", "king"),
            ("expires = \"10", "expires = \"x", "expires"),
            ("hash = \"", "hash = \"z", "hash"),
        ] {
            fs::write(&path, past.replace(from, to)).unwrap();
            let error = Tokens::open(&path).err().expect("it is refused").to_string();
            assert!(error.contains(word) && error.contains("tokens.toml"), "{error}");
        }
    }

    #[test]
    fn certificates_stand_beside_tokens_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let token = issue(&path, "anna", &[Role::Admin], None).unwrap();
        grant(&path, "nightly", "URI=spiffe://acme/nightly", &[Role::Score], None).unwrap();
        grant(&path, "web", "DNS=Web.example", &[Role::Observe], Some(1)).unwrap();
        let tokens = Tokens::open(&path).unwrap();
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            tokens.holder(&names).map(|bearer| (bearer.name.clone(), bearer.kind))
        };
        assert_eq!(of(&["CN=x", "DNS=web.example"]), Some(("web".into(), Kind::Certificate)));
        assert_eq!(of(&["URI=spiffe://acme/nightly"]), Some(("nightly".into(), Kind::Certificate)));
        // A name counts as what it is alone.
        assert_eq!(of(&["CN=spiffe://acme/nightly", "DNS=x.web.example", "CN=anna", ""]), None);
        assert_eq!(of(&[&format!("CN={}", hashed(token.as_bytes()))]), None);
        assert!(tokens.bearer("URI=spiffe://acme/nightly").is_none());
        for wrong in ["anna", "CN=", "OU=x", "=x"] {
            let error = grant(&path, "x", wrong, &[Role::Score], None).unwrap_err().to_string();
            assert!(error.contains("CN="), "{wrong}: {error}");
        }
        let text = fs::read_to_string(&path).unwrap();
        for (from, to, word) in [
            ("certificate = \"DNS=web.example\"", "", "web.hash"),
            (
                "certificate = \"DNS=web.example\"",
                "certificate = \"URI=spiffe://acme/nightly\"",
                "another entry",
            ),
            ("certificate = \"DNS=", "certificate = \"OU=", "web.certificate"),
            ("hash = ", "certificate = \"CN=a\"\nhash = ", "one of both"),
        ] {
            fs::write(&path, text.replace(from, to)).unwrap();
            let error = Tokens::open(&path).err().expect("it is refused").to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn of_two_changes_at_once_none_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        issue(&path, "gone", &[Role::Score], None).unwrap();
        std::thread::scope(|scope| {
            for at in 0..16 {
                let path = &path;
                scope.spawn(move || issue(path, &format!("token-{at}"), &[Role::Score], None).unwrap());
            }
            scope.spawn(|| revoke(&path, "gone").unwrap());
        });
        let all = read(&path).unwrap();
        assert!(all.len() == 16 && !all.contains_key("gone"), "{all:?}");
    }
}
