//! `export`: a model's factors with their ids, for programs that rank by dot products.

use anyhow::{Context, Result};
use burnrec::Recommender;
use burnrec::data::Vocab;
use burnrec::data::table::{TableColumn, write_table_with};
use burnrec::models::Factors;

use super::for_pairs;
use crate::cli::Export;
use crate::show;

pub fn run(args: Export) -> Result<()> {
    let run = Recommender::open_on(&args.run, for_pairs(args.device.choice, 0))?;
    let factors = run.model.factors();
    let Factors { users, items, dim, bias } = factors
        .with_context(|| format!("{}: {} has no factors to export", args.run.display(), run.kind()))?;
    let last = |element| if bias { element } else { "none: dot products need no bias" };
    let trained = run.trained();
    let known_users = trained.users().iter().map(|user| user.0).collect();
    let known_items = trained.items().iter().map(|item| item.0).collect();
    let write = |file: &str, name: &str, vocab: &Vocab, rows: Vec<u32>, all: &[f32], bias: &str| {
        let (path, n) = (args.out.join(file), rows.len());
        let vector = |&row: &u32| &all[row as usize * dim..(row as usize + 1) * dim];
        let values = rows.iter().flat_map(vector).copied().collect();
        let columns =
            [(name, TableColumn::Ids(vocab, rows)), ("factors", TableColumn::F32List { dim, values })];
        write_table_with(&path, &columns, &[("burnrec.model", run.kind()), ("burnrec.bias", bias)])?;
        show::say(format_args!("{}: {n} rows of {dim} factors", path.display()))?;
        anyhow::Ok(())
    };
    let of_users = last("the last element is 1");
    write("users.parquet", "user", run.users.vocab(), known_users, &users, of_users)?;
    let of_items = last("the last element is the item's bias");
    write("items.parquet", "item", run.items.vocab(), known_items, &items, of_items)?;
    Ok(())
}
