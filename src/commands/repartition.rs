//! `repartition`: the users' histories moved to where their events come, after topics have got more partitions.

use anyhow::Result;
use burnrec::Progress;
use burnrec::serve::kafka::{Moved, repartition};
use serde_json::json;

use super::serve::log;
use crate::cli::Repartition;
use crate::layers::given;
use crate::progress::Bars;
use crate::show;

pub fn run(args: Repartition) -> Result<()> {
    log(args.server.log)?;
    let config = given(&args.server.settings.set)?.serve_config(&args.server.config)?;
    let bars = Bars::default();
    let moved = repartition(&config, &mut |is_first, users| {
        if is_first {
            bars.begin("moving histories", users as u64);
        }
        bars.advance(1);
    });
    bars.end();
    let Moved { users, moved, merged, waiting } = moved?;
    if waiting > 0 {
        eprintln!(
            "{waiting} events are not answered yet; those that were written before the topics grew are read where their \
             users' histories were, and counted as burnrec_events_elsewhere"
        );
    }
    if args.json {
        show::say(json!({ "users": users, "moved": moved, "merged": merged, "waiting": waiting }))?;
        return Ok(());
    }
    show::say(format!("{moved} of {users} histories moved, {merged} of them to one that was there"))?;
    Ok(())
}
