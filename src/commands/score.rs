//! `score`: a score for each pair of a file.

use anyhow::Result;
use burnrec_data::read::read_pairs;
use burnrec_data::table::{TableColumn, write_table};
use burnrec_data::{ItemIx, UserIx};

use super::open;
use crate::cli::Score;
use crate::show;

pub fn run(args: Score) -> Result<()> {
    let (run, manifest) = open(&args.run, args.device.choice)?;
    let pairs = read_pairs(&args.pairs)?;
    let known: Vec<Option<(UserIx, ItemIx)>> = pairs
        .users
        .iter()
        .zip(&pairs.items)
        .map(|(user, item)| Some((UserIx(run.users.find(user)?), ItemIx(run.items.find(item)?))))
        .collect();
    let (users, items): (Vec<UserIx>, Vec<ItemIx>) = known.iter().flatten().copied().unzip();
    let mut scores = vec![0.0; users.len()];
    run.model.score_pairs(&users, &items, &mut scores);
    let mut next = scores.into_iter();
    // A pair with an unknown id keeps its line, with no score, so that the files match line by line.
    let column: Vec<f32> = known
        .iter()
        .map(|pair| pair.and_then(|_| next.next()).map_or(f32::NAN, |logit| manifest.output.score(logit)))
        .collect();
    let n_unknown = known.iter().filter(|pair| pair.is_none()).count();
    let columns = [
        ("user", TableColumn::Str(pairs.users)),
        ("item", TableColumn::Str(pairs.items)),
        (manifest.output.name(), TableColumn::F32(column)),
    ];
    write_table(&args.out, &columns)?;
    show::say(format_args!(
        "{}: {} pairs, {n_unknown} of them with an unknown user or item and NaN for a score",
        args.out.display(),
        known.len()
    ))?;
    Ok(())
}
