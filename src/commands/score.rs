//! `score`: a score for each pair of a file.

use anyhow::Result;
use burnrec::data::read::read_pairs;
use burnrec::data::table::{TableColumn, write_table};
use burnrec::data::{Id, Vocab};

use super::opening::open;
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
        ("user", ids(pairs.users, recommender.users.vocab())),
        ("item", ids(pairs.items, recommender.items.vocab())),
        (recommender.output.name(), TableColumn::F32(column)),
    ];
    write_table(&args.out, &columns)?;
    show::say(format_args!(
        "{}: {n} pairs, {n_unknown} of them with NaN for a score, as the user or the item is unknown or has no training rows",
        args.out.display(),
    ))?;
    Ok(())
}

/// Returns ids as a column of the type that the run's ids have; where the run's are integers and one of these is none, as
/// texts.
fn ids(ids: Vec<String>, of_run: &Vocab) -> TableColumn<'static> {
    let integer = |id: &String| match Id::Str(id).canonical() {
        Id::Int(id) => Some(id),
        Id::Str(_) => None,
    };
    let integers = match of_run {
        Vocab::Int(_) => ids.iter().map(integer).collect::<Option<Vec<i64>>>(),
        Vocab::Str { .. } => None,
    };
    integers.map_or_else(|| TableColumn::Str(ids), TableColumn::I64)
}
