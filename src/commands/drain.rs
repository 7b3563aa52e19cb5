//! `drain`: the events of the topics, added to files that training reads.

use anyhow::Result;
use burnrec::Progress;
use burnrec::serve::kafka::{Drained, drain};
use serde_json::json;

use super::serve::{log, teller};
use crate::cli::Drain;
use crate::interrupt;
use crate::layers::serve_config;
use crate::progress::Bars;
use crate::show;

pub fn run(args: Drain) -> Result<()> {
    log(args.serve.log)?;
    let config = serve_config(&args.serve.config, &args.serve.settings.set)?;
    interrupt::install_telling(teller(args.serve.log))?;
    let bars = Bars::default();
    let drained = drain(&config, &args.out, &bars);
    bars.end();
    let Drained { messages, events, undecodable, lost, in_all } = drained?;
    if lost > 0 {
        eprintln!("{lost} messages were deleted by their topic's retention before they were drained");
    }
    if undecodable > 0 {
        eprintln!("{undecodable} messages are no requests, and are left out");
    }
    let out = args.out.display();
    if bars.interrupted() {
        let how = format!("interrupted; {events} new events are in {out}, and the same command goes on");
        return Err(anyhow::Error::new(burnrec::models::Error::Interrupted).context(how));
    }
    if args.json {
        let all = json!({
            "messages": messages, "events": events, "undecodable": undecodable, "lost": lost, "in_all": in_all
        });
        show::say(all)?;
        return Ok(());
    }
    show::say(format!("{events} events of {messages} messages are new in {out}, which has {in_all}"))?;
    if in_all > 0 {
        show::say(format!("next: burnrec prepare {out} --split temporal --out DIR"))?;
    }
    Ok(())
}
