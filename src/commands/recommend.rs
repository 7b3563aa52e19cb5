//! `recommend`: the best items for a user, or for all users.

use std::io::Write;

use anyhow::{Context, Result};
use burnrec_data::table::{TableColumn, write_table};
use burnrec_data::{ItemIx, UserIx};
use burnrec_models::checkpoint::{Manifest, Run};
use burnrec_models::topk::{Allowed, top_k};
use serde_json::json;

use super::{ids, open};
use crate::cli::Recommend;
use crate::show;

pub fn run(args: Recommend) -> Result<()> {
    let (run, manifest) = open(&args.run, args.device.choice)?;
    let mut allowed = Allowed::all(run.items.len());
    if let Some(only) = &args.only {
        allowed = allowed.only(&ids::items(&run, only)?);
    }
    if let Some(without) = &args.without {
        allowed = allowed.without(&ids::items(&run, without)?);
    }
    let best = |users: &[UserIx]| {
        let seen = |at: usize| if args.include_seen { &[] } else { run.seen.row(users[at].at()).0 };
        top_k(&*run.model, users, args.k as usize, seen, Some(&allowed))
    };
    if let Some(id) = &args.user {
        let user = ids::user(&run, id)?;
        if run.seen.row(user.at()).0.is_empty() {
            eprintln!("note: user {id} has no training rows; the model knows nothing of this user");
        }
        let best = best(&[user]).pop().unwrap_or_default();
        return print(&run, &manifest, id, &best, args.json);
    }
    let out = args.out.context("--all needs --out FILE")?;
    let users: Vec<UserIx> = (0..run.users.len() as u32).map(UserIx).collect();
    let best = best(&users);
    let rows =
        users.iter().zip(&best).flat_map(|(user, list)| list.iter().enumerate().map(move |at| (user, at)));
    let (mut of_user, mut rank, mut item, mut score) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (user, (at, &(best, logit))) in rows {
        of_user.push(user.0);
        rank.push(at as u32 + 1);
        item.push(best.0);
        score.push(manifest.output.score(logit));
    }
    let n = score.len();
    let columns = [
        ("user", TableColumn::Ids(&run.users, of_user)),
        ("rank", TableColumn::U32(rank)),
        ("item", TableColumn::Ids(&run.items, item)),
        (manifest.output.name(), TableColumn::F32(score)),
    ];
    write_table(&out, &columns)?;
    show::say(format_args!("{}: {n} recommendations for {} users", out.display(), users.len()))?;
    Ok(())
}

fn print(run: &Run, manifest: &Manifest, user: &str, best: &[(ItemIx, f32)], as_json: bool) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    if as_json {
        let items: Vec<_> = best
            .iter()
            .map(|&(item, logit)| {
                let score = manifest.output.score(logit);
                json!({ "item": run.items.id(item.0), "title": ids::title(&run.titles, item), "score": score })
            })
            .collect();
        let meaning = manifest.output.name();
        writeln!(stdout, "{}", json!({ "user": user, "score_is": meaning, "items": items }))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = best
        .iter()
        .enumerate()
        .map(|(at, &(item, logit))| {
            let score = format!("{:.4}", manifest.output.score(logit));
            vec![
                format!("{}", at + 1),
                run.items.id(item.0).to_string(),
                score,
                ids::title(&run.titles, item),
            ]
        })
        .collect();
    Ok(show::table(&mut stdout, &["rank", "item", manifest.output.name(), "title"], &rows)?)
}
