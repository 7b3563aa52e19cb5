//! `serve`: the scoring service, until a signal stops it.

use std::path::Path;

use anyhow::{Context, Result};
use burnrec_serve::{ServeConfig, Service};
use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, Serve};
use crate::interrupt;
use crate::layers::table;

pub fn run(args: Serve) -> Result<()> {
    let mut set = args.settings.set;
    set.extend(args.from.map(|from| format!("kafka.from={from}")));
    let config = config(&args.config, &set)?;
    log(args.log)?;
    let service = Service::open(config)?;
    let (scheme, address) = service.address();
    for served in service.engine.models.set().values() {
        let (n_users, n_items) = (served.users.vocab().len(), served.items.vocab().len());
        eprintln!(
            "model {}: {} {}, {n_users} users, {n_items} items",
            served.label(),
            served.kind,
            served.version
        );
    }
    eprintln!("serving on {scheme}://{address}; Ctrl-C stops");
    interrupt::install()?;
    Ok(service.run(&interrupt::asked)?)
}

/// The config of a file with the environment and `set` laid over it.
fn config(file: &Path, set: &[String]) -> Result<ServeConfig> {
    ServeConfig::from_table(table(file, set)?).with_context(|| file.display().to_string())
}

/// Logs go to stderr; `RUST_LOG` says how much.
fn log(format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    begun.map_err(|error| anyhow::anyhow!("cannot log: {error}"))
}
