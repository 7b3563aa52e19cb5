//! `prepare`: from a ratings file to a saved split.

use std::path::Path;

use anyhow::{Result, bail};
use burnrec_data::filter::Filters;
use burnrec_data::Prepared;
use burnrec_data::read::{Columns, ReadOptions};
use burnrec_data::split::SplitConfig;

use crate::cli::{Cut, Input, Prepare, SplitKind};

pub fn run(args: Prepare) -> Result<()> {
    let (config, filters) = (split_config(&args.cut)?, filters(&args.cut));
    let prepared = Prepared::from_file(&args.ratings, &read_options(args.input), &filters, &config, args.cut.seed)?;
    prepared.save(&args.out)?;
    print!("{}", prepared.summary());
    println!("saved to {}", args.out.display());
    println!("next: burnrec train configs/als.toml --data {} --out {}", args.out.display(), run_dir().display());
    Ok(())
}

fn run_dir() -> &'static Path {
    Path::new("runs/als")
}

fn read_options(input: Input) -> ReadOptions {
    ReadOptions {
        format: input.format,
        name: input.name,
        on_bad_row: input.on_bad_row,
        columns: Columns {
            user: input.user_col,
            item: input.item_col,
            value: input.value_col,
            time: input.time_col,
        },
    }
}

fn filters(cut: &Cut) -> Filters {
    Filters { threshold: cut.threshold, min_user: cut.min_user, min_item: cut.min_item }
}

fn split_config(cut: &Cut) -> Result<SplitConfig> {
    Ok(match cut.split {
        SplitKind::LeaveOneOut => SplitConfig::LeaveOneOut { candidates: cut.candidates },
        SplitKind::Random => SplitConfig::Random { valid: cut.valid.unwrap_or(0.1), test: cut.test.unwrap_or(0.1) },
        SplitKind::KFold => SplitConfig::KFold { folds: cut.folds, fold: cut.fold },
        SplitKind::Temporal => SplitConfig::Temporal {
            valid_from: cut.valid_from.unwrap_or(0.8),
            test_from: cut.test_from.unwrap_or(0.9),
        },
        SplitKind::UserHoldout => {
            let (Some(valid), Some(test)) = (cut.valid, cut.test) else {
                bail!("--split user-holdout: found no --valid and --test, expected numbers of users");
            };
            SplitConfig::UserHoldout { valid_users: valid as u32, test_users: test as u32, fold_in: 0.8 }
        }
    })
}
