//! `export`: a model's factors with their ids, for other programs.

use anyhow::{Context, Result};
use burnrec::Recommender;
use burnrec::data::Vocab;
use burnrec::data::table::{TableColumn, write_table};
use burnrec::models::Vectors;

use super::for_pairs;
use crate::cli::Export;
use crate::show;

pub fn run(args: Export) -> Result<()> {
    let run = Recommender::open_on(&args.run, for_pairs(args.device.choice, 0))?;
    let missing = || format!("{}: {} has no factors to export", args.run.display(), run.kind());
    let sides: [(&str, &str, &Vocab, Option<Vectors<'_>>); 2] = [
        ("users.parquet", "user", run.users.vocab(), run.model.user_vectors()),
        ("items.parquet", "item", run.items.vocab(), run.model.item_vectors()),
    ];
    for (file, name, vocab, vectors) in sides {
        let vectors = vectors.with_context(missing)?;
        let path = args.out.join(file);
        let rows = (0..vocab.len() as u32).collect();
        let factors = TableColumn::F32List { dim: vectors.dim, values: vectors.values.to_vec() };
        write_table(&path, &[(name, TableColumn::Ids(vocab, rows)), ("factors", factors)])?;
        show::say(format_args!("{}: {} rows of {} factors", path.display(), vocab.len(), vectors.dim))?;
    }
    Ok(())
}
