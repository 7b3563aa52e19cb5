//! Reads a directory of Spark's `ALSModel`, and makes a model of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burnrec_data::read::{IdVectors, read_text_columns, read_vectors};
use burnrec_data::{Csr, Dataset, Error as DataError, Id, ItemIx, Titles, UserIx, Vocab};
use burnrec_models::als::{AlsConfig, AlsModel, Convention, Weighting, Weights};
use burnrec_models::{DataFacts, Error as ModelError, Recommender};
use serde_json::{Value, json};

use super::{CLASS, FEATURES, ID, ITEMS, METADATA, PIPELINE, Side, USERS};
use crate::Result;

/// A directory that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct SparkAls {
    /// The model's name in Spark.
    pub uid: String,
    /// The version of Spark that wrote it.
    pub spark_version: String,
    /// The length of the vectors.
    pub rank: usize,
    /// The users' ids, ascending.
    pub users: Vocab,
    /// The items' ids, ascending.
    pub items: Vocab,
    /// `[users, rank]`, row-major.
    pub user_factors: Vec<f32>,
    /// `[items, rank]`, row-major.
    pub item_factors: Vec<f32>,
}

/// Returns the settings that Spark's `ALS` has where none is set: explicit feedback, `regParam = 0.1` by the number of rows,
/// predictions that are not clipped.
pub fn default_settings() -> AlsConfig {
    AlsConfig { convention: Convention::Spark, reg: 0.1, clip: false, ..AlsConfig::explicit() }
}

/// Makes a model of a directory of Spark's `ALSModel`, or of a `PipelineModel` with one among its stages.
///
/// The directory does not say how the factors were learned: `settings` do, whose `dim` is not read. New users are folded in by
/// them. Nor does it hold histories: with `ratings`, the rows that Spark learned from, what a user has had is not recommended
/// again, and items have their titles; without them, all items are recommended to everyone.
///
/// # Errors
/// When the directory is not one of an `ALSModel`, a file of it is damaged, the settings are none that go with such a model,
/// or a user or an item of the model is not in `ratings`.
pub fn import(dir: impl AsRef<Path>, settings: AlsConfig, ratings: Option<&Dataset>) -> Result<Recommender> {
    let SparkAls { uid, spark_version, rank, users, items, user_factors, item_factors } =
        SparkAls::read(dir.as_ref())?;
    let config = AlsConfig { dim: rank, ..settings };
    config.validate()?;
    if config.weighting != Weighting::None {
        let found = format!("{:?}", config.weighting).to_lowercase();
        return Err(ModelError::config("weighting", found, "none, as Spark's ALS has none").into());
    }
    if config.biases {
        return Err(ModelError::config("biases", true, "false, as Spark's ALS has none").into());
    }
    let weights = Weights::from_saved(Weighting::None, Vec::new());
    let model = AlsModel::new(config, Arc::new(user_factors), Arc::new(item_factors), weights);
    let seen = match ratings {
        Some(ratings) => histories(ratings, &users, &items)?,
        None => Csr::empty(users.len(), items.len()),
    };
    let titles = ratings.and_then(|ratings| titles(ratings, &items));
    let name = ratings.map_or_else(|| uid.clone(), |ratings| ratings.name.clone());
    let data = DataFacts { name, ..DataFacts::default() };
    let record = json!({ "imported": { "from": CLASS, "uid": uid, "spark_version": spark_version } });
    Ok(Recommender::new(Box::new(model), users, items, seen).with_titles(titles).with_record(data, record))
}

impl SparkAls {
    /// Reads a directory.
    ///
    /// # Errors
    /// As [`import`], but for what it says of settings and ratings.
    pub fn read(dir: &Path) -> Result<Self> {
        let (dir, metadata, path) = model_of(dir)?;
        let field = |name: &str, expected: &str| {
            let value = metadata.get(name).filter(|value| !value.is_null());
            value.ok_or_else(|| DataError::malformed(&path, format!("no {name:?}"), expected))
        };
        let rank = field("rank", "the length of the factors")?;
        let expected = "a number of at least 1 as rank";
        let rank = match rank.as_u64() {
            Some(rank) if rank > 0 => rank as usize,
            _ => return Err(DataError::malformed(&path, format!("rank {rank}"), expected).into()),
        };
        let text = |name: &str| -> Result<String> {
            let value = field(name, "a text")?;
            Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let (users, user_factors) = side(&dir, USERS, rank)?;
        let (items, item_factors) = side(&dir, ITEMS, rank)?;
        let (uid, spark_version) = (text("uid")?, text("sparkVersion")?);
        Ok(Self { uid, spark_version, rank, users, items, user_factors, item_factors })
    }
}

/// Returns the directory of the `ALSModel` that `dir` is or, as a `PipelineModel`, has, with its metadata and where they are.
fn model_of(dir: &Path) -> Result<(PathBuf, Value, PathBuf)> {
    let (metadata, path) = metadata_of(dir)?;
    let class = metadata.get("class").and_then(Value::as_str).unwrap_or_default().to_owned();
    match class.as_str() {
        CLASS => Ok((dir.to_owned(), metadata, path)),
        PIPELINE => {
            let mut found = Vec::new();
            for stage in visible(&dir.join("stages"))? {
                let (metadata, path) = metadata_of(&stage)?;
                let class = metadata.get("class").and_then(Value::as_str).unwrap_or_default().to_owned();
                if class == CLASS {
                    return Ok((stage, metadata, path));
                }
                found.push(class);
            }
            let expected = format!("a stage of class {CLASS}");
            Err(DataError::malformed(dir, format!("stages of classes {found:?}"), expected).into())
        }
        class => {
            let expected = format!("{CLASS}, or a PipelineModel with one");
            Err(DataError::malformed(path, format!("class {class:?}"), expected).into())
        }
    }
}

/// Returns the metadata of a directory that Spark wrote, and where they are.
fn metadata_of(dir: &Path) -> Result<(Value, PathBuf)> {
    let folder = dir.join(METADATA);
    if !folder.is_dir() {
        let expected = "a directory of a model that Spark saved, with metadata/";
        return Err(DataError::malformed(dir, "no folder metadata", expected).into());
    }
    for path in visible(&folder)? {
        let text = std::fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
        if let Some(line) = text.lines().find(|line| !line.trim().is_empty()) {
            let malformed = |error: serde_json::Error| {
                DataError::malformed(&path, error.to_string(), "a line of JSON, as Spark writes it")
            };
            return Ok((serde_json::from_str(line).map_err(malformed)?, path));
        }
    }
    Err(DataError::malformed(&folder, "no line of metadata", "a file with a line of JSON").into())
}

/// Returns what is in a folder but for what Spark passes over, sorted.
fn visible(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(DataError::io("read", folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(DataError::io("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with(['_', '.']) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Returns the Parquet files of a folder.
fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = visible(folder)?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    if files.is_empty() {
        return Err(DataError::malformed(folder, "no Parquet file", "at least one").into());
    }
    Ok(files)
}

/// Reads one side: its ids, ascending, and the factors in their order.
fn side(dir: &Path, side: Side, rank: usize) -> Result<(Vocab, Vec<f32>)> {
    let folder = dir.join(side.factors);
    let mut read = IdVectors::default();
    for path in parquet_files(&folder)? {
        let IdVectors { ids, values, .. } = read_vectors(&path, ID, FEATURES, rank)?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let found = format!("{} in {FEATURES:?} of row {}", values[at], at / rank + 1);
            return Err(DataError::malformed(&path, found, "finite numbers").into());
        }
        read.ids.extend(ids);
        read.values.extend(values);
    }
    let outside = outside_ids(dir, side, &read.ids)?;
    let vocab = match &outside {
        None => Vocab::from_ints(read.ids.clone()),
        Some(texts) => vocab_of(texts),
    };
    if vocab.len() != read.ids.len() {
        let found = format!("{} rows of {} {}s", read.ids.len(), vocab.len(), side.name);
        return Err(DataError::malformed(&folder, found, format!("one row of each {}", side.name)).into());
    }
    let mut factors = vec![0.0; read.values.len()];
    for (at, vector) in read.values.chunks_exact(rank).enumerate() {
        let id = outside.as_ref().map_or(Id::Int(read.ids[at]), |texts| Id::Str(&texts[at]));
        let row = vocab.row(id).expect("the vocabulary was made of these ids") as usize;
        factors[row * rank..(row + 1) * rank].copy_from_slice(vector);
    }
    Ok((vocab, factors))
}

/// Returns the outside ids of the numbers `ids`, where the directory has them.
fn outside_ids(dir: &Path, side: Side, ids: &[i64]) -> Result<Option<Vec<String>>> {
    let folder = dir.join(side.ids);
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut of_number = HashMap::new();
    for path in parquet_files(&folder)? {
        let columns = read_text_columns(&path, &[ID, side.name])?;
        let [numbers, outside] = <[Vec<String>; 2]>::try_from(columns).expect("two columns were asked for");
        of_number.extend(numbers.into_iter().zip(outside));
    }
    let id = |number: &i64| {
        let missing = || {
            let found = format!("no {} of number {number}", side.name);
            DataError::malformed(&folder, found, "one for each number in the factors")
        };
        of_number.remove(&number.to_string()).ok_or_else(missing)
    };
    Ok(Some(ids.iter().map(id).collect::<Result<_, _>>()?))
}

/// Returns the vocabulary of ids in any order: of integers where all are integers, else of texts.
fn vocab_of(ids: &[String]) -> Vocab {
    let integer = |id: &String| match Id::Str(id).canonical() {
        Id::Int(id) => Some(id),
        Id::Str(_) => None,
    };
    match ids.iter().map(integer).collect::<Option<Vec<i64>>>() {
        Some(ids) => Vocab::from_ints(ids),
        None => Vocab::from_strs(ids.iter().map(String::as_str)),
    }
}

/// Returns the histories of the model's users, `[users, items]`, in ratings.
fn histories(ratings: &Dataset, users: &Vocab, items: &Vocab) -> Result<Csr> {
    let rows = |from: &Vocab, to: &Vocab| -> Vec<Option<u32>> {
        (0..from.len() as u32).map(|row| to.row(from.id(row))).collect()
    };
    let (user_rows, item_rows) = (rows(&ratings.users, users), rows(&ratings.items, items));
    let (mut of_users, mut of_items, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let all = &ratings.interactions;
    for ((user, item), &value) in all.users.iter().zip(&all.items).zip(&all.values) {
        if let (Some(user), Some(item)) = (user_rows[user.at()], item_rows[item.at()]) {
            of_users.push(UserIx(user));
            of_items.push(ItemIx(item));
            values.push(value);
        }
    }
    let seen = Csr::from_rows(users.len(), items.len(), &of_users, &of_items, &values);
    let none = |matrix: &Csr| (0..matrix.n_rows()).find(|&row| matrix.row(row).0.is_empty());
    for (what, vocab, row) in [("user", users, none(&seen)), ("item", items, none(&seen.transpose()))] {
        if let Some(row) = row {
            let found = format!("no row of {what} {}", vocab.id(row as u32));
            let expected = "rows of every user and item of the model, those that it learned from";
            return Err(DataError::setting("ratings", found, expected).into());
        }
    }
    Ok(seen)
}

/// Returns the titles of the model's items, where the ratings have any.
fn titles(ratings: &Dataset, items: &Vocab) -> Option<Titles> {
    let titles = ratings.titles.as_ref()?;
    let title = |row: u32| {
        let found = ratings.items.row(items.id(row)).and_then(|row| titles.get(ItemIx(row)));
        found.unwrap_or_default().to_owned()
    };
    Some(Titles((0..items.len() as u32).map(title).collect()))
}
