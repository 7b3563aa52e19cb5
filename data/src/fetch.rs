//! Downloads a MovieLens dataset from GroupLens, or a mirror, into a cache folder.
//!
//! The archive is downloaded and unpacked in a temporary folder inside the cache, checked on the way, and renamed
//! to its place last, so that a dataset in the cache is whole.

mod unpack;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use md5::{Digest, Md5};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::{Error, Result, hash};
use unpack::unpack;

/// Where GroupLens keeps `NAME.zip` and, of most datasets, `NAME.zip.md5`.
pub const GROUPLENS: &str = "https://files.grouplens.org/datasets/movielens";

/// The datasets that can be fetched, each with the file that holds its ratings.
pub const DATASETS: [(&str, &str); 6] = [
    ("ml-100k", "u.data"),
    ("ml-1m", "ratings.dat"),
    ("ml-latest-small", "ratings.csv"),
    ("ml-20m", "ratings.csv"),
    ("ml-25m", "ratings.csv"),
    ("ml-32m", "ratings.csv"),
];

/// A dataset in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The folder that holds its files.
    pub path: PathBuf,
    /// How it was checked.
    pub checked: Checked,
}

/// How a download was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It was in the cache already.
    Cached,
    /// Its MD5 sum, in hex, is the one published beside it.
    Md5(String),
    /// No checksum is published beside it. Holds the MD5 sum of the download, in hex.
    NoChecksum(String),
}

/// Downloads the dataset `name` from `mirror` (by default [`GROUPLENS`]) and unpacks it to `cache/name`, unless it is
/// there already. `progress` is called with the bytes so far and in total, if known.
///
/// # Errors
/// When the name is not one of [`DATASETS`], the download fails, falls short or does not have the published
/// checksum, the archive is damaged or not of this dataset, or the cache cannot be written.
pub fn fetch(
    name: &str,
    mirror: Option<&str>,
    cache: &Path,
    progress: &dyn Fn(u64, Option<u64>),
) -> Result<Fetched> {
    let Some((_, ratings)) = DATASETS.iter().find(|(known, _)| *known == name) else {
        let names = DATASETS.map(|(known, _)| known).join(", ");
        return Err(Error::setting("dataset", format!("{name:?}"), format!("one of {names}")));
    };
    let path = cache.join(name);
    if path.join(ratings).is_file() {
        return Ok(Fetched { path, checked: Checked::Cached });
    }
    let url = format!("{}/{name}.zip", mirror.unwrap_or(GROUPLENS).trim_end_matches('/'));
    let agent = agent();
    let published = published_md5(&agent, &format!("{url}.md5"))?;
    fs::create_dir_all(cache).map_err(Error::io("create", cache))?;
    let work =
        tempfile::Builder::new().prefix(".fetch-").tempdir_in(cache).map_err(Error::io("write", cache))?;
    let archive = work.path().join("archive.zip");
    let found = download(&agent, &url, &archive, progress)?;
    let checked = match published {
        Some(md5) if md5 == found => Checked::Md5(found),
        Some(md5) => {
            return Err(Error::Download {
                url,
                found: format!("MD5 {found}"),
                expected: format!("MD5 {md5}"),
            });
        }
        None => Checked::NoChecksum(found),
    };
    let folder = unpack(&archive, &url, &work.path().join("unpacked"))?;
    if !folder.join(ratings).is_file() {
        let found = "an archive without that file".to_owned();
        return Err(Error::Download { url, found, expected: format!("an archive with {ratings}") });
    }
    match fs::rename(&folder, &path) {
        // Another process may have been faster; what it put there is whole.
        Err(_) if path.join(ratings).is_file() => {}
        renamed => renamed.map_err(Error::io("create", &path))?,
    }
    Ok(Fetched { path, checked })
}

fn agent() -> Agent {
    let tls =
        TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .build()
        .into()
}

/// Returns the checksum published at `url`; none where there is no such page.
fn published_md5(agent: &Agent, url: &str) -> Result<Option<String>> {
    let expected = "an MD5 sum of 32 hex digits";
    let text = match agent.get(url).call() {
        Ok(mut response) => {
            response.body_mut().read_to_string().map_err(|error| failed(url, &error, expected))?
        }
        Err(ureq::Error::StatusCode(404)) => return Ok(None),
        Err(error) => return Err(failed(url, &error, expected)),
    };
    // The page reads `SUM  NAME` or `MD5 (NAME) = SUM`.
    let sum = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.split_whitespace().find(sum) {
        Some(sum) => Ok(Some(sum.to_ascii_lowercase())),
        None => {
            let found = format!("{:?}", text.chars().take(80).collect::<String>());
            Err(Error::Download { url: url.to_owned(), found, expected: expected.to_owned() })
        }
    }
}

/// Downloads `url` to `path`; returns the MD5 sum of the bytes.
fn download(agent: &Agent, url: &str, path: &Path, progress: &dyn Fn(u64, Option<u64>)) -> Result<String> {
    let response = agent.get(url).call().map_err(|error| failed(url, &error, "a zip archive"))?;
    let total = response.body().content_length();
    let mut body = response.into_body().into_reader();
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    let (mut md5, mut done, mut block) = (Md5::new(), 0, vec![0; 1 << 16]);
    progress(0, total);
    let short = |done: u64, why: String| {
        let expected = total.map_or("the whole body".to_owned(), |total| format!("{total} bytes"));
        Error::Download { url: url.to_owned(), found: format!("{done} bytes{why}"), expected }
    };
    loop {
        let n = body.read(&mut block).map_err(|error| short(done, format!(", then {error}")))?;
        if n == 0 {
            break;
        }
        file.write_all(&block[..n]).map_err(Error::io("write", path))?;
        md5.update(&block[..n]);
        done += n as u64;
        progress(done, total);
    }
    if total.is_some_and(|total| total != done) {
        return Err(short(done, String::new()));
    }
    Ok(hash::hex(&md5.finalize()))
}

fn failed(url: &str, error: &ureq::Error, expected: &str) -> Error {
    let found = match error {
        ureq::Error::StatusCode(404) => "no such page (404)".to_owned(),
        ureq::Error::StatusCode(code) => format!("status {code}"),
        ureq::Error::HostNotFound => "no host of this name (is there a network?)".to_owned(),
        error => error.to_string(),
    };
    Error::Download { url: url.to_owned(), found, expected: expected.to_owned() }
}
