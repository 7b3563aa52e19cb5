//! `score`: a score for each pair of a file.

use anyhow::Result;
use burnrec::data::read::read_pairs;
use burnrec::data::table::{TableColumn, write_table};

use super::open;
use crate::cli::Score;
use crate::show;

pub fn run(args: Score) -> Result<()> {
    let pairs = read_pairs(&args.pairs)?;
    let recommender = open(&args.run, args.device.choice, pairs.users.len())?;
    let asked: Vec<(&String, &String)> = pairs.users.iter().zip(&pairs.items).collect();
    let scores = recommender.score(&asked);
    let n_unknown = scores.iter().filter(|score| score.is_none()).count();
    // A pair without a score keeps its line, with NaN for a score, so that both files match line by line.
    let column = scores.iter().map(|score| score.unwrap_or(f32::NAN)).collect();
    let n = scores.len();
    let columns = [
        ("user", TableColumn::Str(pairs.users)),
        ("item", TableColumn::Str(pairs.items)),
        (recommender.output.name(), TableColumn::F32(column)),
    ];
    write_table(&args.out, &columns)?;
    show::say(format_args!(
        "{}: {n} pairs, {n_unknown} of them with NaN for a score, as the user or the item is unknown or has no training rows",
        args.out.display(),
    ))?;
    Ok(())
}
