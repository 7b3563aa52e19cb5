//! Where ratings come from: `fetch` and `synth`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use burnrec::Progress;
use burnrec::data::fetch::{Checked, Fetched, fetch as download};
use burnrec::data::synth::{SynthConfig, synth as draw, write_movielens};

use crate::cli::{Fetch, Synth};
use crate::progress::Bars;
use crate::show;

pub fn fetch(args: Fetch) -> Result<()> {
    let cache = match args.cache {
        Some(cache) => cache,
        None => cache_dir().context("no HOME and no XDG_CACHE_HOME; name a folder with --cache")?,
    };
    let bars = Bars::default();
    let place = download(&args.name, args.mirror.as_deref(), &cache, &|done, total| {
        bars.bytes(&args.name, done, total)
    });
    bars.end();
    let Fetched { path, checked } = place?;
    match checked {
        Checked::Cached => eprintln!("in the cache already"),
        Checked::Md5(sum) => eprintln!("MD5 {sum}, as published"),
        Checked::NoChecksum(sum) => eprintln!("MD5 {sum}; no checksum is published to compare it with"),
    }
    show::say(format_args!("{}", path.display()))?;
    Ok(())
}

fn cache_dir() -> Option<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    Some(base.join("burnrec").join("data"))
}

pub fn synth(args: Synth) -> Result<()> {
    let config = match (&args.like, args.users, args.items, args.rows) {
        (Some(name), ..) => SynthConfig { seed: args.seed, ..SynthConfig::like(name)? },
        (None, Some(users), Some(items), Some(rows)) => SynthConfig::new(users, items, rows, args.seed),
        _ => bail!("found no size, expected --like, or --users, --items and --rows"),
    };
    let dataset = draw(&config)?;
    write_movielens(&dataset, &args.out)?;
    let (rows, users, items) = (dataset.interactions.len(), dataset.users.len(), dataset.items.len());
    show::say(format_args!(
        "{}: {rows} synthetic rows of {users} users and {items} items",
        args.out.display()
    ))?;
    Ok(())
}
