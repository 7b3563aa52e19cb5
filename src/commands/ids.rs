//! From the ids that a person types to the rows of a run, and back.

use anyhow::{Context, Result, bail};
use burnrec_data::{ItemIx, Titles, UserIx, Vocab};
use burnrec_models::checkpoint::Run;

/// The row of a user's id.
pub fn user(run: &Run, id: &str) -> Result<UserIx> {
    run.users.find(id).map(UserIx).with_context(|| unknown("user", id, &run.users))
}

/// The row of an item's id.
pub fn item(run: &Run, id: &str) -> Result<ItemIx> {
    run.items.find(id).map(ItemIx).with_context(|| unknown("item", id, &run.items))
}

/// The rows of a list of item ids: with commas between, or `@FILE` with one a line.
pub fn items(run: &Run, list: &str) -> Result<Vec<ItemIx>> {
    let text = match list.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?,
        None => list.replace(',', "\n"),
    };
    let ids = text.lines().map(str::trim).filter(|id| !id.is_empty());
    let rows = ids.map(|id| item(run, id)).collect::<Result<Vec<ItemIx>>>()?;
    if rows.is_empty() {
        bail!("{list}: found no item id, expected ids with commas between, or @FILE with one a line");
    }
    Ok(rows)
}

/// The title of an item, or nothing.
pub fn title(titles: &Option<Titles>, item: ItemIx) -> String {
    titles.as_ref().and_then(|titles| titles.get(item)).unwrap_or_default().to_owned()
}

fn unknown(what: &str, id: &str, vocab: &Vocab) -> String {
    let (first, last) = (vocab.id(0), vocab.id(vocab.len() as u32 - 1));
    format!("{what} {id:?} is not in the run, which has {} {what}s from {first} to {last}", vocab.len())
}
