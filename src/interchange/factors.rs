//! A model's factors with their ids, for programs that rank by dot products.

use std::path::{Path, PathBuf};

use burnrec_data::Vocab;
use burnrec_data::table::{TableColumn, write_table_with};
use burnrec_models::{Error as ModelError, Factors, Recommender};

use crate::Result;

/// A file of factors that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorTable {
    /// Where it is.
    pub path: PathBuf,
    /// The number of its rows.
    pub rows: usize,
    /// The length of each row's vector.
    pub dim: usize,
}

/// Writes `users.parquet` and `items.parquet` into `dir`: the factors of all users and items that have training rows, beside
/// their outside ids. Their dot products rank a user's items as the model does; where the model has biases, an item's is the
/// last element of its vector, and 1 that of a user's, as `burnrec.bias` in the metadata of both says.
///
/// # Errors
/// When the model has no factors, or a file cannot be written.
pub fn write_factors(run: &Recommender, dir: impl AsRef<Path>) -> Result<[FactorTable; 2]> {
    let known = KnownFactors::of(run)?;
    let last = |element| if known.bias { element } else { "none: dot products need no bias" };
    let dim = known.dim;
    let write = |file: &str, name: &str, vocab: &Vocab, side: KnownSide, bias: &str| -> Result<FactorTable> {
        let (path, rows) = (dir.as_ref().join(file), side.rows.len());
        let columns = [
            (name, TableColumn::Ids(vocab, side.rows)),
            ("factors", TableColumn::F32List { dim, values: side.factors }),
        ];
        write_table_with(&path, &columns, &[("burnrec.model", run.kind()), ("burnrec.bias", bias)])?;
        Ok(FactorTable { path, rows, dim })
    };
    let of_users = last("the last element is 1");
    let of_items = last("the last element is the item's bias");
    Ok([
        write("users.parquet", "user", run.users.vocab(), known.users, of_users)?,
        write("items.parquet", "item", run.items.vocab(), known.items, of_items)?,
    ])
}

/// The factors of the users and items that have training rows.
pub(super) struct KnownFactors {
    pub users: KnownSide,
    pub items: KnownSide,
    pub dim: usize,
    /// Whether the last element of an item's vector is its bias, and that of a user's is 1.
    pub bias: bool,
    /// `[users]`: what the scores of a user's items have in common beside the dot products; empty where it is nothing.
    pub constants: Vec<f32>,
}

/// Those of the users, or of the items.
pub(super) struct KnownSide {
    /// The rows of the model, ascending.
    pub rows: Vec<u32>,
    /// `[rows, dim]`, row-major.
    pub factors: Vec<f32>,
}

impl KnownFactors {
    /// Takes them out of a run.
    ///
    /// # Errors
    /// When the model has no factors.
    pub fn of(run: &Recommender) -> Result<Self> {
        let unable = || ModelError::Unable { kind: run.kind(), lacks: "factors to export" };
        let Factors { users, items, dim, bias, constants } = run.model.factors().ok_or_else(unable)?;
        let trained = run.trained();
        let side = |rows: Vec<u32>, all: &[f32]| {
            let vector = |&row: &u32| &all[row as usize * dim..(row as usize + 1) * dim];
            KnownSide { factors: rows.iter().flat_map(vector).copied().collect(), rows }
        };
        let constant = |user: &burnrec_data::UserIx| constants.get(user.at()).copied();
        Ok(Self {
            constants: trained.users().iter().filter_map(constant).collect(),
            users: side(trained.users().iter().map(|user| user.0).collect(), &users),
            items: side(trained.items().iter().map(|item| item.0).collect(), &items),
            dim,
            bias,
        })
    }

    /// Returns factors whose dot products are the scores themselves: what a user's items have in common is one more element
    /// of the user's vector, and 1 one of an item's.
    pub fn exact(self) -> Self {
        if self.constants.is_empty() {
            return self;
        }
        let dim = self.dim;
        let longer = |side: KnownSide, last: &dyn Fn(usize) -> f32| {
            let vectors = side.factors.chunks_exact(dim).enumerate();
            let factors = vectors.flat_map(|(at, vector)| vector.iter().copied().chain([last(at)])).collect();
            KnownSide { rows: side.rows, factors }
        };
        Self {
            users: longer(self.users, &|at| self.constants[at]),
            items: longer(self.items, &|_| 1.0),
            dim: dim + 1,
            bias: self.bias,
            constants: Vec::new(),
        }
    }
}
