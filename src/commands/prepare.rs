//! `prepare`: from a ratings file to a saved split.

use std::io::Write;

use anyhow::{Result, bail};
use burnrec::data::Stop;
use burnrec::data::read::Columns;
use burnrec::data::split::TimePoint;
use burnrec::{Filters, PrepareOptions, ReadOptions, SplitConfig};

use crate::cli::{FilterAndSplit, Input, Prepare, SplitKind};
use crate::show;

pub fn run(args: Prepare) -> Result<()> {
    let (split, filters) = (split_config(&args.cut)?, filters(&args.cut));
    let options = PrepareOptions { read: read_options(args.input), filters, split, seed: args.cut.seed };
    let prepared = burnrec::prepare(&args.ratings, &options)?;
    prepared.save(&args.out)?;
    write!(std::io::stdout(), "{}", prepared.manifest)?;
    show::say(format_args!("saved to {}", args.out.display()))?;
    show::say(format_args!(
        "next: burnrec train configs/als.toml --data {} --out runs/als",
        args.out.display()
    ))?;
    Ok(())
}

fn read_options(input: Input) -> ReadOptions {
    ReadOptions {
        format: input.format,
        name: input.name,
        separator: input.separator,
        quotes: input.quotes,
        on_bad_row: input.on_bad_row,
        columns: Columns {
            user: input.user_col,
            item: input.item_col,
            value: input.value_col,
            time: input.time_col,
            title: input.title_col,
        },
        titles: input.titles,
        stop: Stop::default(),
    }
}

fn filters(cut: &FilterAndSplit) -> Filters {
    let FilterAndSplit { duplicates, positive_from, min_user, min_item, .. } = *cut;
    Filters { duplicates, positive_from, min_user, min_item }
}

fn split_config(cut: &FilterAndSplit) -> Result<Option<SplitConfig>> {
    refuse_idle_options(cut)?;
    let Some(kind) = cut.split else {
        return Ok(cut.candidates.map(|n| SplitConfig::LeaveOneOut { candidates: Some(n) }));
    };
    Ok(Some(match kind {
        SplitKind::LeaveOneOut => SplitConfig::LeaveOneOut { candidates: cut.candidates },
        SplitKind::Random => {
            SplitConfig::Random { valid: cut.valid.unwrap_or(0.1), test: cut.test.unwrap_or(0.1) }
        }
        SplitKind::KFold => SplitConfig::KFold { folds: cut.folds.unwrap_or(5), fold: cut.fold.unwrap_or(0) },
        SplitKind::Temporal => SplitConfig::Temporal {
            valid_from: cut.valid_from.unwrap_or(TimePoint::Quantile(0.8)),
            test_from: cut.test_from.unwrap_or(TimePoint::Quantile(0.9)),
        },
        SplitKind::UserHoldout => {
            let (Some(valid), Some(test)) = (cut.valid, cut.test) else {
                bail!("--split user-holdout: found no --valid and --test, expected numbers of users");
            };
            if valid.fract() != 0.0 || test.fract() != 0.0 || valid < 1.0 || test < 1.0 {
                bail!(
                    "--split user-holdout: found --valid {valid} and --test {test}, expected numbers of users"
                );
            }
            SplitConfig::UserHoldout { valid_users: valid as u32, test_users: test as u32, fold_in: 0.8 }
        }
    }))
}

/// Refuses options that the chosen split does not use: they are taken for a mistake, and not ignored.
fn refuse_idle_options(cut: &FilterAndSplit) -> Result<()> {
    use SplitKind::{KFold, LeaveOneOut, Random, Temporal, UserHoldout};
    let takes = |kinds: &[SplitKind]| cut.split.is_some_and(|kind| kinds.contains(&kind));
    let options = [
        (
            "--candidates",
            cut.candidates.is_some(),
            cut.split.is_none() || takes(&[LeaveOneOut]),
            "leave-one-out",
        ),
        ("--valid", cut.valid.is_some(), takes(&[Random, UserHoldout]), "random or user-holdout"),
        ("--test", cut.test.is_some(), takes(&[Random, UserHoldout]), "random or user-holdout"),
        ("--folds", cut.folds.is_some(), takes(&[KFold]), "k-fold"),
        ("--fold", cut.fold.is_some(), takes(&[KFold]), "k-fold"),
        ("--valid-from", cut.valid_from.is_some(), takes(&[Temporal]), "temporal"),
        ("--test-from", cut.test_from.is_some(), takes(&[Temporal]), "temporal"),
    ];
    match options.iter().find(|(_, given, taken, _)| *given && !taken) {
        Some((option, _, _, kinds)) => bail!("{option}: found another --split, expected --split {kinds}"),
        None => Ok(()),
    }
}
