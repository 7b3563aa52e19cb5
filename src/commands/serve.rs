//! `serve`: the scoring service, until a signal stops it.

use anyhow::Result;
use burnrec::serve::Service;
use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, Serve};
use crate::interrupt;
use crate::layers::serve_config;
use crate::show;

pub fn run(args: Serve) -> Result<()> {
    let mut set = args.serve.settings.set;
    set.extend(args.from.map(|from| format!("kafka.from={from}")));
    let config = serve_config(&args.serve.config, &set)?;
    log(args.serve.log)?;
    let service = Service::open(config)?;
    let (scheme, address) = service.address();
    for served in service.engine.models.set().values() {
        let (n_users, n_items) =
            (served.recommender.users.vocab().len(), served.recommender.items.vocab().len());
        eprintln!(
            "model {}: {} {}, {n_users} users, {n_items} items",
            served.label(),
            served.recommender.kind(),
            served.version
        );
    }
    eprintln!("{}", show::device(&service.engine.models.device(), None));
    eprintln!("serving on {scheme}://{address}; Ctrl-C stops");
    interrupt::install()?;
    Ok(service.run(&interrupt::asked)?)
}

/// Logs go to stderr; `RUST_LOG` says how much.
pub fn log(format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    begun.map_err(|error| anyhow::anyhow!("cannot log: {error}"))
}
