//! `recommend`: the best items for a user, or for all users.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burnrec::data::read::read_ids;
use burnrec::data::table::{TableColumn, write_table};
use burnrec::models::saved::{Manifest, manifest};
use burnrec::{Query, Recommender, ScoredItem, UserIx};
use serde_json::json;

use super::opening::open;
use crate::cli::Recommend;
use crate::show;

pub fn run(args: Recommend) -> Result<()> {
    let Manifest { n_users, n_items, .. } = manifest(&args.run)?;
    let n_pairs = if args.user.is_some() { n_items } else { n_users.saturating_mul(n_items) };
    let recommender = open(&args.run, args.device.choice, n_pairs)?;
    let query = Query {
        k: args.k as usize,
        include_seen: args.include_seen,
        only: args.only.as_deref().map(ids).transpose()?,
        without: args.without.as_deref().map(ids).transpose()?.unwrap_or_default(),
    };
    if let Some(id) = &args.user {
        let user = recommender.user(id)?;
        return print(&recommender, user, &recommender.recommend(id, query)?, args.json);
    }
    let out = args.out.context("--all needs --out FILE")?;
    let (users, items) = (recommender.users.vocab(), recommender.items.vocab());
    let all = recommender.trained().users();
    let lists = recommender.top_rows(all, &query)?;
    let rows =
        all.iter().zip(&lists).flat_map(|(user, list)| list.iter().enumerate().map(move |at| (user, at)));
    let (mut of_user, mut rank, mut item, mut score) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (user, (at, &(best, logit))) in rows {
        of_user.push(user.0);
        rank.push(at as u32 + 1);
        item.push(best.0);
        score.push(recommender.shown(logit));
    }
    let n = score.len();
    let columns = [
        ("user", TableColumn::Ids(users, of_user)),
        ("rank", TableColumn::U32(rank)),
        ("item", TableColumn::Ids(items, item)),
        (recommender.output.name(), TableColumn::F32(score)),
    ];
    write_table(&out, &columns)?;
    show::say(format_args!(
        "{}: {n} recommendations for {} users, without {} that have no training rows",
        out.display(),
        all.len(),
        users.len() - all.len()
    ))?;
    Ok(())
}

/// Returns the item ids of a list: separated by commas, or `@FILE`.
fn ids(list: &str) -> Result<Vec<String>> {
    if let Some(file) = list.strip_prefix('@') {
        return Ok(read_ids(Path::new(file))?);
    }
    let ids: Vec<String> =
        list.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect();
    if ids.is_empty() {
        bail!("{list:?}: found no item id, expected ids with commas between, or @FILE");
    }
    Ok(ids)
}

fn print(recommender: &Recommender, user: UserIx, best: &[ScoredItem], as_json: bool) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let meaning = recommender.output.name();
    if as_json {
        let items = show::json_items(recommender, best, "score")?;
        let user = recommender.users.vocab().id(user.0);
        writeln!(stdout, "{}", json!({ "user": user, "score_is": meaning, "items": items }))?;
        return Ok(());
    }
    Ok(show::table(&mut stdout, &["rank", "item", meaning, "title"], &show::items(best))?)
}
