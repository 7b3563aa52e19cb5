//! Damaged bytes of every format: an answer or an error, never a panic.

use std::path::Path;

use burnrec_data::read::{ReadOptions, read, read_pairs};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::{folder, skip};

const FILES: [(&str, &[u8]); 11] = [
    ("k/u.data", b"196\t242\t3\t881250949\n186\t302\t4\t891717742\n22\t377\t1\t878887116\n"),
    ("k/u.item", b"242|Kolya (1996)|24-Jan-1997||x|0\n302|Mis\xe9rables|x||y|1\n"),
    ("f/u1.base", b"1\t10\t5\t1\n2\t20\t4\t2\n"),
    ("f/u1.test", b"3\t30\t1\t3\n1\t20\t2\t4\n"),
    ("m/ratings.dat", b"1::0120735::9::1363245118\n2::2592910::3.5::1362901837\n"),
    ("m/movies.dat", b"0120735::Mission: Impossible::Action\n2592910::x::y\n"),
    ("c/ratings.csv", b"userId,movieId,rating,timestamp\n1,2,4.0,964982703\n1,\"11\",0.5,2020-01-01\n"),
    ("c/movies.csv", b"movieId,title,genres\n11,\"President, The \"\"x\"\"\",Drama\n2,Jumanji,Adventure\n"),
    ("n/ml.train.rating", b"0\t32\t4\t978824330\n1\t7\t3\t978824331\n"),
    ("n/ml.test.rating", b"0\t25\t5\t978824351\n"),
    ("n/ml.test.negative", b"(0,25)\t7\t25\t5\n"),
];

/// Returns some bytes of a file changed, put in, taken out, doubled or cut off.
fn damage(bytes: &[u8], random: &mut Pcg64) -> Vec<u8> {
    const MARKS: &[u8] = b"\n\r\t\",:;|-.0N\x00\xff\xc3(";
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..=bytes.len());
        let mark = match random.random_range(0..3) {
            0 => (random.next_u32() & 255) as u8,
            _ => MARKS[random.random_range(0..MARKS.len())],
        };
        match random.random_range(0..6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..bytes.len().min(at + random.random_range(1..9)))),
            2 => bytes.insert(at, mark),
            3 => bytes.extend_from_within(at..),
            _ if at < bytes.len() => bytes[at] = mark,
            _ => bytes.push(mark),
        }
    }
    bytes
}

/// Puts a new file in the place of the old one, which some file systems do a hundred times faster than cutting the
/// old one off.
fn rewrite(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Damages one file after the other and reads its folder; returns how many readings succeeded and how many failed.
pub fn read_damaged(root: &Path, files: &[(String, Vec<u8>)], rounds: usize, seed: u64) -> (usize, usize) {
    let mut random = Pcg64::seed_from_u64(seed);
    let (mut good, mut bad) = (0, 0);
    for round in 0..rounds {
        let (name, bytes) = &files[round % files.len()];
        let path = root.join(name);
        rewrite(&path, &damage(bytes, &mut random));
        let options = if (round / files.len()).is_multiple_of(2) { ReadOptions::default() } else { skip() };
        let of = if name.starts_with("f/") { root.join("f/u1") } else { path.parent().unwrap().to_owned() };
        match (read(&of, &options), read(&path, &options), read_pairs(&path)) {
            (Ok(outcome), ..) => {
                let dataset = outcome.dataset;
                let rows = dataset.interactions;
                assert!(rows.users.iter().all(|user| user.at() < dataset.users.len()));
                assert!(rows.items.iter().all(|item| item.at() < dataset.items.len()));
                assert!(rows.values.iter().all(|value| value.is_finite()) && !rows.is_empty());
                good += 1;
            }
            (Err(error), ..) => {
                assert!(
                    error.to_string().contains("found ") || error.to_string().starts_with("cannot "),
                    "{error}"
                );
                bad += 1;
            }
        }
        rewrite(&path, bytes);
    }
    (good, bad)
}

#[test]
fn damaged_text_files_are_read_or_refused() {
    let folder = folder(&FILES);
    let files: Vec<_> = FILES.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect();
    let (good, bad) = read_damaged(folder.path(), &files, 11_000, 1);
    assert!(good > 2000 && bad > 2000, "{good} read, {bad} refused");
}
