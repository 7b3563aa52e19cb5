//! Named tokens with roles, from a file that holds only their hashes:
//!
//! ```toml
//! [anna]
//! hash = "9f86d081…"                  # the SHA-256 of the token, in hex
//! roles = ["operate"]
//! expires = "2027-02-26T12:00:00Z"    # or never
//! ```
//!
//! A token is 32 random bytes, so that its plain hash cannot be inverted by guessing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use burnrec_data::calendar::date_time;
use burnrec_data::hash::hex;
use burnrec_data::write::write_file;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, SystemClock};
use crate::{Error, Result};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What all tokens begin with, so that one that leaked is recognised.
const PREFIX: &str = "burnrec_";

/// What a token lets its bearer do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Ask for scores and recommendations, and send events.
    Score,
    /// See metrics, health, the flow, and the versions of its config.
    Observe,
    /// Change the flow, and all that `observe` may.
    Operate,
    /// Everything: also what names files, and the audit log.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Score, Self::Observe, Self::Operate, Self::Admin];

    /// Returns its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Observe => "observe",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    fn includes(self, asked: Self) -> bool {
        self == asked || self == Self::Admin || (self == Self::Operate && asked == Self::Observe)
    }
}

/// A token by its name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    hash: String,
    roles: Vec<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// Who brought a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The token's name.
    pub name: String,
    roles: Vec<Role>,
    /// In Unix seconds.
    expires: Option<i64>,
}

impl Bearer {
    /// Returns whether a role is among those of the token, or included in one.
    pub fn may(&self, asked: Role) -> bool {
        self.roles.iter().any(|role| role.includes(asked))
    }

    /// Returns the words of the roles.
    pub fn roles(&self) -> String {
        self.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
    }
}

/// The tokens by the hashes of them.
type ByHash = BTreeMap<String, Arc<Bearer>>;

/// What a file looked like: its inode, size and time of change.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The tokens of a file, which is read again when it changes.
pub struct Tokens {
    path: PathBuf,
    known: Mutex<(Instant, Stamp, ByHash)>,
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
        let known = by_hash(path)?;
        Ok(Self {
            path: path.to_owned(),
            known: Mutex::new((Instant::now(), stamp, known)),
            trouble: Mutex::default(),
        })
    }

    /// Returns why the file is not taken up as it stands, so that tokens that were taken out of it are still known.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns who brings a token that is known and has not expired.
    pub fn bearer(&self, token: &str) -> Option<Arc<Bearer>> {
        let hash = hashed(token.as_bytes());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0.elapsed() >= LOOK {
            known.0 = Instant::now();
            let stamp = stamp(&self.path);
            if stamp != known.1 {
                known.1 = stamp;
                let read = by_hash(&self.path);
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
        }
        let bearer = known.2.get(&hash)?;
        let now = SystemClock.unix_ms() / 1000;
        bearer.expires.is_none_or(|expires| now < expires).then(|| Arc::clone(bearer))
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
        burnrec_data::Error::malformed(path, error.message().to_owned(), "tables of hash, roles and expires")
    };
    Ok(toml::from_str(&text).map_err(bad)?)
}

fn by_hash(path: &Path) -> Result<ByHash> {
    let wrong = |name: &str, key: &str, found: &str, expected: &str| {
        Error::config(format!("{}: {name}.{key}", path.display()), found, expected)
    };
    let mut all = ByHash::new();
    for (name, entry) in read(path)? {
        let is_hash = entry.hash.len() == 64 && entry.hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash {
            return Err(wrong(&name, "hash", "another text", "a SHA-256 in hex"));
        }
        if entry.roles.is_empty() {
            return Err(wrong(&name, "roles", "none", "at least one of score, observe, operate, admin"));
        }
        let expires = entry.expires.map(|text| {
            let moment = chrono::DateTime::parse_from_rfc3339(&text);
            let expected = "a moment such as 2027-02-26T12:00:00Z";
            moment.map(|moment| moment.timestamp()).map_err(|_| wrong(&name, "expires", &text, expected))
        });
        let bearer = Bearer { name: name.clone(), roles: entry.roles, expires: expires.transpose()? };
        if all.insert(entry.hash.to_ascii_lowercase(), Arc::new(bearer)).is_some() {
            return Err(wrong(&name, "hash", "that of another token", "each token once"));
        }
    }
    Ok(all)
}

/// Makes a token and adds it to a file, or puts it in place of the one of its name; returns the token, which is nowhere kept.
///
/// # Errors
/// When the name is none, or the file cannot be read or written.
pub fn issue(path: &Path, name: &str, roles: &[Role], days: Option<u32>) -> Result<String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
        let expected = "up to 64 letters, digits, - and _";
        return Err(Error::config("the token's name", format!("{name:?}"), expected));
    }
    let mut all = if path.exists() { read(path)? } else { BTreeMap::new() };
    let mut random = [0; 32];
    openssl::rand::rand_bytes(&mut random)
        .map_err(|source| Error::Http { action: "draw a token".into(), source: source.into() })?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let expires = days.map(|days| date_time(SystemClock.unix_ms() / 1000 + i64::from(days) * 86_400));
    let hash = hashed(token.as_bytes());
    all.insert(name.to_owned(), Entry { hash, roles: roles.to_vec(), expires });
    write(path, &all)?;
    Ok(token)
}

/// Removes a token from a file: within a second it lets nobody in any more.
///
/// # Errors
/// When there is none of the name, or the file cannot be read or written.
pub fn revoke(path: &Path, name: &str) -> Result<()> {
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
}
