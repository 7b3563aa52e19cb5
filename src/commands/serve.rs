//! `serve`: the scoring service, until a signal stops it.

use std::io::IsTerminal;

use anyhow::Result;
use burnrec::serve::Service;
use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, Serve};
use crate::interrupt;
use crate::layers::given;
use crate::show;

pub fn run(args: Serve) -> Result<()> {
    let format = args.server.log;
    log(format)?;
    let tell = teller(format);
    let mut set = args.server.settings.set;
    set.extend(args.from.map(|from| format!("kafka.from={from}")));
    let config = given(&set)?.serve_config(&args.server.config)?;
    let service = Service::open(config)?;
    let (scheme, address) = service.address();
    for served in service.engine.models.set().values() {
        let (n_users, n_items) =
            (served.recommender.users.vocab().len(), served.recommender.items.vocab().len());
        tell(&format!(
            "model {}: {} {}, {n_users} users, {n_items} items",
            served.label(),
            served.recommender.kind(),
            served.version
        ));
    }
    tell(&show::device(&service.engine.models.device(), None));
    interrupt::install_telling(tell)?;
    if let Some((scheme, address)) = service.control_address() {
        tell(&format!("controlled on {scheme}://{address}"));
    }
    tell(&format!("serving on {scheme}://{address}; Ctrl-C stops"));
    Ok(service.run(&interrupt::asked)?)
}

/// Returns what tells the user something, as a line or as a log entry.
pub fn teller(format: LogFormat) -> fn(&str) {
    match format {
        LogFormat::Text => |text| eprintln!("{text}"),
        LogFormat::Json => |text| tracing::info!("{text}"),
    }
}

/// Logs go to stderr, in colour if that is a terminal; `RUST_LOG` says how much.
pub fn log(format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let stderr = std::io::stderr;
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(stderr);
    let begun = match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    begun.map_err(|error| anyhow::anyhow!("cannot log: {error}"))
}
