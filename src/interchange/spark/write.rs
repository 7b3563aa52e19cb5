//! Writes a model with factors as a directory of Spark's `ALSModel`.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use burnrec_data::hash::ColumnHash;
use burnrec_data::table::{TableColumn, write_table};
use burnrec_data::write::{write_file, write_folder};
use burnrec_data::{Id, Vocab};
use burnrec_models::Recommender;
use serde_json::json;

use super::super::factors::{KnownFactors, KnownSide};
use super::{CLASS, FEATURES, ID, ITEMS, METADATA, Side, USERS};
use crate::Result;

/// A directory that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenSparkAls {
    /// The model's name in Spark; it says so where the last two elements of the vectors stand for biases.
    pub uid: String,
    /// The length of the vectors.
    pub rank: usize,
    /// The number of users.
    pub n_users: usize,
    /// The number of items.
    pub n_items: usize,
    /// `user` and `item` where Spark gets numbers in place of their ids, as these are no integers of 32 bits.
    pub renumbered: Vec<&'static str>,
}

/// Writes the model as a directory of Spark's `ALSModel` whose scores are the model's: logits, before a probability or a
/// clipped rating is made of them. Users and items without training rows are left out.
///
/// A mean and biases are two more elements of the vectors: `[p, 1, mean + b_u]` and `[q, b_i, 1]`. Ids that are integers of 32
/// bits stay as they are; if one of a side is not, all of the side are numbered from 0, and `userIds/` or `itemIds/` says
/// which number is whose. The directory appears whole or not at all.
///
/// # Errors
/// When the model has no factors, `dir` is there and not empty, a file cannot be written, or this build is without the feature
/// `parquet`.
pub fn write_spark_als(run: &Recommender, dir: impl AsRef<Path>) -> Result<WrittenSparkAls> {
    let known = KnownFactors::of(run)?.exact();
    let rank = known.dim;
    let written = WrittenSparkAls {
        uid: uid(run.kind(), &known),
        rank,
        n_users: known.users.rows.len(),
        n_items: known.items.rows.len(),
        renumbered: Vec::new(),
    };
    let mut renumbered = Vec::new();
    write_folder(dir.as_ref(), |dir| -> Result<()> {
        for (side, vocab, known) in
            [(USERS, run.users.vocab(), known.users), (ITEMS, run.items.vocab(), known.items)]
        {
            if write_side(dir, side, vocab, known, rank)? {
                renumbered.push(side.name);
            }
        }
        let folder = dir.join(METADATA);
        write_file(&folder.join("_SUCCESS"), b"")?;
        let line = format!("{}\n", metadata(&written));
        Ok(write_file(&folder.join("part-00000"), line.as_bytes())?)
    })?;
    Ok(WrittenSparkAls { renumbered, ..written })
}

/// Returns the line that tells Spark what the directory holds. Its parameters have no defaults in `ALSModel`, so that all are
/// here.
fn metadata(model: &WrittenSparkAls) -> serde_json::Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    json!({
        "class": CLASS,
        "timestamp": now,
        // The oldest that reads this layout; later ones take it.
        "sparkVersion": "3.5.0",
        "uid": model.uid,
        "paramMap": {},
        "defaultParamMap": {
            "userCol": USERS.name,
            "itemCol": ITEMS.name,
            "predictionCol": "prediction",
            "coldStartStrategy": "nan",
            "blockSize": 4096,
        },
        "rank": model.rank,
    })
}

/// Returns a name that is the same for the same factors.
fn uid(kind: &str, known: &KnownFactors) -> String {
    let mut hash = ColumnHash::default();
    for (side, known) in [(USERS, &known.users), (ITEMS, &known.items)] {
        hash.add(side.factors, known.factors.iter().copied(), f32::to_le_bytes);
    }
    let hash = hash.finish();
    let biases = if known.bias { format!("_rank{}_plus_2_for_biases", known.dim - 2) } else { String::new() };
    format!("burnrec_{kind}{biases}_{}", &hash[..12])
}

/// Writes the factors of one side, and the outside ids where they are renumbered; returns whether they are.
fn write_side(dir: &Path, side: Side, vocab: &Vocab, known: KnownSide, dim: usize) -> Result<bool> {
    let KnownSide { rows, factors } = known;
    let small = |&row: &u32| match vocab.id(row).canonical() {
        Id::Int(id) => i32::try_from(id).ok(),
        Id::Str(_) => None,
    };
    let ids = rows.iter().map(small).collect::<Option<Vec<i32>>>();
    let renumbered = ids.is_none();
    let ids = ids.unwrap_or_else(|| (0..rows.len() as i32).collect());
    if renumbered {
        let columns = [(ID, TableColumn::I32(ids.clone())), (side.name, TableColumn::Ids(vocab, rows))];
        write_table(&dir.join(side.ids).join("part-00000.parquet"), &columns)?;
    }
    let columns = [(ID, TableColumn::I32(ids)), (FEATURES, TableColumn::F32List { dim, values: factors })];
    write_table(&dir.join(side.factors).join("part-00000.parquet"), &columns)?;
    Ok(renumbered)
}
