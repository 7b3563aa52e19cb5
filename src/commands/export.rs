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
    let sides: [(&str, &str, &Vocab, Vec<f32>, &str); 2] = [
        ("users.parquet", "user", run.users.vocab(), users, last("the last element is 1")),
        ("items.parquet", "item", run.items.vocab(), items, last("the last element is the item's bias")),
    ];
    for (file, name, vocab, values, bias) in sides {
        let path = args.out.join(file);
        let rows = (0..vocab.len() as u32).collect();
        let columns =
            [(name, TableColumn::Ids(vocab, rows)), ("factors", TableColumn::F32List { dim, values })];
        write_table_with(&path, &columns, &[("burnrec.model", run.kind()), ("burnrec.bias", bias)])?;
        show::say(format_args!("{}: {} rows of {dim} factors", path.display(), vocab.len()))?;
    }
    Ok(())
}
