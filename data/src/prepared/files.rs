//! Saves and opens prepared data.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Prepared;
use super::manifest::{FORMAT, KIND, PreparedManifest};
use crate::hash::ColumnHash;
use crate::split::{Candidates, Holdout, Split, histories};
use crate::tensors::{Tensor, TensorFile, write};
use crate::vocab_file::{
    csr_tensors, lists_tensors, read_csr, read_lists, read_titles, read_vocab, titles_tensors, vocab_tensors,
};
use crate::write::{list_dir, write_file};
use crate::{Csr, Error, Interactions, ItemIx, Result, UserIx};

const MANIFEST: &str = "manifest.json";
const SPLIT: &str = "split.safetensors";
const VOCAB: &str = "vocab.safetensors";
const TITLES: &str = "titles.safetensors";
/// The prefix of the temporary directory in which a save writes its files.
const STAGING: &str = ".new-";

impl Prepared {
    /// Saves to a directory, which is made, or replaced where it holds prepared data already.
    ///
    /// # Errors
    /// When the directory holds anything else, or a file cannot be written; it is then left as it was.
    pub fn save(&self, dir: &Path) -> Result<()> {
        check_replaceable(dir)?;
        let existed = dir.exists();
        self.stage_and_swap(dir).inspect_err(|_| {
            if !existed {
                // The first error is the one to report; an empty directory left behind does no harm.
                let _ = fs::remove_dir(dir);
            }
        })
    }

    /// Writes all files to a temporary directory before it removes the old ones; the manifest is put in place last.
    fn stage_and_swap(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let staged =
            tempfile::Builder::new().prefix(STAGING).tempdir_in(dir).map_err(Error::io("write", dir))?;
        self.write_files(staged.path())?;
        for file in [MANIFEST, SPLIT, VOCAB, TITLES] {
            match fs::remove_file(dir.join(file)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("replace", dir.join(file))(error));
                }
                _ => {}
            }
        }
        let titles = self.titles.as_ref().map(|_| TITLES);
        for file in [SPLIT, VOCAB].into_iter().chain(titles).chain([MANIFEST]) {
            fs::rename(staged.path().join(file), dir.join(file))
                .map_err(Error::io("write", dir.join(file)))?;
        }
        Ok(())
    }

    fn write_files(&self, dir: &Path) -> Result<()> {
        let mut vocab = vocab_tensors("users", &self.users);
        vocab.extend(vocab_tensors("items", &self.items));
        write(&dir.join(VOCAB), &vocab)?;
        if let Some(titles) = &self.titles {
            write(&dir.join(TITLES), &titles_tensors("titles", titles))?;
        }
        let mut split = rows_tensors("train", &self.split.train);
        split.extend(rows_tensors("valid_rows", &self.split.valid_rows));
        split.extend(holdout_tensors("valid", &self.split.valid));
        split.extend(holdout_tensors("test", &self.split.test));
        write(&dir.join(SPLIT), &split)?;
        let manifest = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|error| Error::malformed(dir.join(MANIFEST), error.to_string(), "a manifest"))?;
        write_file(&dir.join(MANIFEST), &manifest)
    }

    /// Opens a directory that [`Prepared::save`] wrote, and checks it from end to end.
    ///
    /// # Errors
    /// When the directory has no manifest, one of another kind or format, or its files do not fit each other or
    /// the hash.
    pub fn open(dir: &Path) -> Result<Self> {
        let manifest = read_manifest(dir)?;
        let vocab = TensorFile::open(&dir.join(VOCAB))?;
        let (users, items) = (read_vocab(&vocab, "users")?, read_vocab(&vocab, "items")?);
        let titles = dir.join(TITLES);
        let titles = match titles.exists() {
            true => Some(read_titles(&TensorFile::open(&titles)?, "titles")?),
            false => None,
        };
        let split = read_split(&dir.join(SPLIT), users.len(), items.len())?;
        let (name, synthetic) = (manifest.name.clone(), manifest.synthetic);
        let prepared = Self { name, synthetic, users, items, titles, split, manifest };
        let PreparedManifest { hash, held_out_times, .. } = &prepared.manifest;
        let (found, found_times) = prepared.hashes();
        let differs = |what: &str, found: &str, expected: &str| {
            let expected = format!("{expected}, which its manifest has; prepare the data again");
            Err(Error::malformed(dir, format!("{what} with the hash {found}"), expected))
        };
        if found != *hash {
            return differs("contents", &found, hash);
        }
        if found_times != *held_out_times {
            let told = |hash: &Option<String>| hash.clone().unwrap_or("none".to_owned());
            return differs("times of held-out rows", &told(&found_times), &told(held_out_times));
        }
        Ok(prepared)
    }

    /// Writes the hashes of the data into its manifest.
    pub(super) fn set_hashes(&mut self) {
        (self.manifest.hash, self.manifest.held_out_times) = self.hashes();
    }

    /// Returns the hash of all ids, titles, rows and candidates, and apart from it that of the times of held-out rows, where
    /// these have any.
    fn hashes(&self) -> (String, Option<String>) {
        let (mut hash, mut of_times, mut have_times) = (ColumnHash::default(), ColumnHash::default(), false);
        for (name, vocab) in [("users", &self.users), ("items", &self.items)] {
            add_all(&mut hash, vocab_tensors(name, vocab));
        }
        if let Some(titles) = &self.titles {
            add_all(&mut hash, titles_tensors("titles", titles));
        }
        add_rows(&mut hash, "train", &self.split.train);
        add_rows(&mut hash, "valid_rows", &self.split.valid_rows);
        for (name, holdout) in [("valid", &self.split.valid), ("test", &self.split.test)] {
            let order = [format!("{name}.relevant.ages"), format!("{name}.relevant.times")];
            let tensors = holdout_tensors(name, holdout).into_iter();
            let (times, rest): (Vec<_>, Vec<_>) = tensors.partition(|(name, _)| order.contains(name));
            have_times |= !times.is_empty();
            add_all(&mut hash, rest);
            add_all(&mut of_times, times);
        }
        (hash.finish(), have_times.then(|| of_times.finish()))
    }
}

fn add_all(hash: &mut ColumnHash, tensors: Vec<(String, Tensor)>) {
    tensors.iter().for_each(|(name, tensor)| hash.add(name, tensor.bytes().iter(), |byte| [*byte]));
}

/// Adds rows to the hash without copying their millions of entries into tensors.
fn add_rows(hash: &mut ColumnHash, name: &str, rows: &Interactions) {
    hash.add(&format!("{name}.users"), rows.users.iter(), |user| user.0.to_le_bytes());
    hash.add(&format!("{name}.items"), rows.items.iter(), |item| item.0.to_le_bytes());
    hash.add(&format!("{name}.values"), rows.values.iter(), |value| value.to_le_bytes());
    hash.add(&format!("{name}.times"), rows.times.iter(), |time| time.to_le_bytes());
}

fn rows_tensors(prefix: &str, rows: &Interactions) -> Vec<(String, Tensor)> {
    let shape = [rows.len()];
    vec![
        (format!("{prefix}.users"), Tensor::new(&shape, rows.users.iter().map(|user| user.0))),
        (format!("{prefix}.items"), Tensor::new(&shape, rows.items.iter().map(|item| item.0))),
        (format!("{prefix}.values"), Tensor::new(&shape, rows.values.iter().copied())),
        (format!("{prefix}.times"), Tensor::new(&shape, rows.times.iter().copied())),
    ]
}

/// Returns the arrays of a holdout. The history is saved only where it is folded in; otherwise it is the users' rows in
/// training.
fn holdout_tensors(prefix: &str, holdout: &Holdout) -> Vec<(String, Tensor)> {
    let users = Tensor::new(&[holdout.len()], holdout.users.iter().map(|user| user.0));
    let mut tensors = vec![(format!("{prefix}.users"), users)];
    tensors.extend(csr_tensors(&format!("{prefix}.relevant"), &holdout.relevant));
    if holdout.fold_in {
        tensors.extend(csr_tensors(&format!("{prefix}.history"), &holdout.history));
    }
    if let Candidates::Drawn(lists) = &holdout.candidates {
        tensors.extend(lists_tensors(&format!("{prefix}.candidates"), lists));
    }
    tensors
}

fn read_split(path: &Path, n_users: usize, n_items: usize) -> Result<Split> {
    let file = TensorFile::open(path)?;
    let train = read_rows(&file, "train", n_users, n_items)?;
    let valid_rows = read_rows(&file, "valid_rows", n_users, n_items)?;
    let mut valid = read_holdout(&file, "valid", n_users, n_items)?;
    let mut test = read_holdout(&file, "test", n_users, n_items)?;
    // Frees the file's bytes before the histories are built: at 20 million rows that lowers the peak of memory.
    drop(file);
    if valid.fold_in != test.fold_in {
        return Err(Error::malformed(path, "a history in one holdout only", "one in both, or in none"));
    }
    if !valid.fold_in {
        let users = (&valid.users[..], &test.users[..]);
        (valid.history, test.history) = histories(&train, &valid_rows, users, n_users, n_items);
    }
    Ok(Split { train, valid_rows, valid, test })
}

fn read_rows(file: &TensorFile, prefix: &str, n_users: usize, n_items: usize) -> Result<Interactions> {
    let rows = Interactions {
        users: file.column(&format!("{prefix}.users"))?.into_iter().map(UserIx).collect(),
        items: file.column(&format!("{prefix}.items"))?.into_iter().map(ItemIx).collect(),
        values: file.column(&format!("{prefix}.values"))?,
        times: file.column(&format!("{prefix}.times"))?,
    };
    let same_length = [rows.items.len(), rows.values.len(), rows.times.len()] == [rows.len(); 3];
    let inside = rows.users.iter().all(|user| user.at() < n_users)
        && rows.items.iter().all(|item| item.at() < n_items);
    if !same_length || !inside || rows.values.iter().any(|value| !value.is_finite()) {
        let expected = "columns of one length, rows of the vocabularies, finite values";
        return Err(Error::malformed(
            file.path(),
            format!("columns that do not fit in {prefix:?}"),
            expected,
        ));
    }
    Ok(rows)
}

fn read_holdout(file: &TensorFile, prefix: &str, n_users: usize, n_items: usize) -> Result<Holdout> {
    let users: Vec<UserIx> = file.column(&format!("{prefix}.users"))?.into_iter().map(UserIx).collect();
    let relevant = read_csr(file, &format!("{prefix}.relevant"))?;
    let fold_in = file.has(&format!("{prefix}.history.cols"));
    let history = match fold_in {
        true => read_csr(file, &format!("{prefix}.history"))?,
        false => Csr::empty(users.len(), n_items),
    };
    let candidates = match file.has(&format!("{prefix}.candidates.items")) {
        true => Candidates::Drawn(read_lists(file, &format!("{prefix}.candidates"), n_items)?),
        false => Candidates::Unseen,
    };
    let ascending = users.is_sorted_by(|a, b| a < b) && users.last().is_none_or(|user| user.at() < n_users);
    let fits = |matrix: &Csr| (matrix.n_rows(), matrix.n_cols()) == (users.len(), n_items);
    let lists_fit = !matches!(&candidates, Candidates::Drawn(lists) if lists.len() != users.len());
    if !ascending || !fits(&relevant) || !fits(&history) || !lists_fit {
        let expected = "ascending users of the vocabulary, and one row for each in every array";
        return Err(Error::malformed(file.path(), format!("arrays that do not fit in {prefix:?}"), expected));
    }
    Ok(Holdout { users, relevant, history, candidates, fold_in })
}

fn read_manifest(dir: &Path) -> Result<PreparedManifest> {
    let path = dir.join(MANIFEST);
    let expected = "a directory that `burnrec prepare` wrote";
    if !dir.is_dir() {
        let found = if dir.exists() { "a file" } else { "nothing" };
        return Err(Error::malformed(dir, found, expected));
    }
    if !path.exists() {
        return Err(Error::malformed(dir, format!("no {MANIFEST}"), expected));
    }
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let malformed =
        |error: serde_json::Error| Error::malformed(&path, error.to_string(), "a manifest of prepared data");
    let manifest: Value = serde_json::from_slice(&bytes).map_err(malformed)?;
    // Kind and format come first: another format may have other fields.
    if manifest["kind"] != KIND {
        let found = format!("a manifest of kind {}", manifest["kind"]);
        return Err(Error::malformed(&path, found, format!("{KIND:?}: {expected}")));
    }
    if manifest["format"] != FORMAT {
        let found = format!("format {}", manifest["format"]);
        let expected = format!("format {FORMAT}; prepare the data again, or use the burnrec that wrote it");
        return Err(Error::malformed(&path, found, expected));
    }
    serde_json::from_value(manifest).map_err(malformed)
}

/// Refuses a directory with anything in it that a save would not have written.
fn check_replaceable(dir: &Path) -> Result<()> {
    let expected = "no directory, an empty one, or prepared data to replace";
    if !dir.exists() {
        return Ok(());
    }
    if !dir.is_dir() {
        return Err(Error::malformed(dir, "a file", expected));
    }
    for path in list_dir(dir)? {
        let name = path.file_name().unwrap_or_default();
        // A save that was killed leaves its staging directory, which is no reason to refuse the next one.
        let ours = [MANIFEST, SPLIT, VOCAB, TITLES].iter().any(|file| name == *file)
            || name.to_string_lossy().starts_with(STAGING);
        if !ours {
            return Err(Error::malformed(dir, format!("a directory with {name:?}"), expected));
        }
    }
    let path = dir.join(MANIFEST);
    if path.exists() {
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let kind = serde_json::from_slice::<Value>(&bytes).map(|manifest| manifest["kind"].clone());
        if kind.ok() != Some(Value::from(KIND)) {
            return Err(Error::malformed(dir, format!("a {MANIFEST} of another kind"), expected));
        }
    }
    Ok(())
}
