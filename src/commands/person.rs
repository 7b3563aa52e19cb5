//! `erase` and `export-user`: what is held of one person.

use std::time::Duration;

use anyhow::Result;
use burnrec::data::Id;
use burnrec::data::write::write_file;
use burnrec::person::{self, Erased, Eraser, Held, Outcome, Place};
use serde_json::{Value, json};

use super::serve::log;
use crate::cli::{Erase, ExportUser, Person};
use crate::interrupt;
use crate::layers::given;
use crate::progress::Bars;
use crate::show;

pub fn erase(args: Erase) -> Result<()> {
    let places = places(&args.person)?;
    let user = Id::Str(&args.person.user).canonical();
    if args.dry_run {
        let held = person::held(&places, user)?;
        let found = held.iter().filter(|held| held.is_found()).count();
        if args.json {
            let outcome = |held: &Held| if held.is_found() { "found" } else { Outcome::Nothing.name() };
            let rows = held.iter().map(|held| entry(held, outcome(held))).collect();
            return Ok(show::say(report(user, true, rows, found, &places))?);
        }
        table(held.iter().map(|held| (held, if held.is_found() { "found" } else { "" })))?;
        tell_topics(&places);
        return Ok(show::say(format!("{found} of {} places hold user {user}", held.len()))?);
    }
    interrupt::install()?;
    let bars = Bars::default();
    let wait = Duration::from_secs(args.wait_s);
    let erased = person::erase(&places, user, &Eraser { by: &args.by, wait, progress: &bars })?;
    let left = erased.iter().filter(|erased| erased.after.is_found()).count();
    if args.json {
        let rows = erased.iter().map(|erased| entry(&erased.before, erased.outcome().name())).collect();
        return Ok(show::say(report(user, false, rows, left, &places))?);
    }
    table(erased.iter().map(|erased| (&erased.before, erased.outcome().name())))?;
    tell_topics(&places);
    let is = |outcome: Outcome| move |erased: &&Erased| erased.outcome() == outcome;
    for Erased { before, .. } in erased.iter().filter(is(Outcome::Unconfirmed)) {
        eprintln!(
            "{}: gone from the state topic, but the service has not confirmed yet that it has forgotten the user; \
             run this again, and start the service if it does not run",
            before.name
        );
    }
    for Erased { before, .. } in erased.iter().filter(is(Outcome::Left)) {
        eprintln!("{}: the user has come back since; run this again", before.name);
    }
    show::say(match left {
        0 => format!("nothing is left of user {user} in {} places", erased.len()),
        _ => format!("{left} of {} places still hold user {user}", erased.len()),
    })?;
    Ok(())
}

pub fn export(args: ExportUser) -> Result<()> {
    let places = places(&args.person)?;
    let user = Id::Str(&args.person.user).canonical();
    let held = person::held(&places, user)?;
    let found = held.iter().filter(|held| held.is_found()).count();
    let all: Vec<Value> = held.iter().map(Held::to_json).collect();
    let text = serde_json::to_string_pretty(&json!({ "user": user, "places": all }))?;
    match &args.out {
        Some(out) => {
            write_file(out, text.as_bytes())?;
            let (n, out) = (held.len(), out.display());
            show::say(format!("{found} of {n} places hold user {user}; all that they hold is in {out}"))?;
        }
        None => show::say(text)?,
    }
    Ok(())
}

/// Returns the places that the command line names, with the configs of the services read.
fn places(args: &Person) -> Result<Vec<Place>> {
    log(args.log)?;
    let overrides = given(&args.settings.set)?;
    let mut all = Vec::new();
    for config in &args.places.service {
        all.push(Place::State(config.clone(), Box::new(overrides.serve_config(config)?)));
    }
    all.extend(args.places.events.iter().cloned().map(Place::Events));
    all.extend(args.places.data.iter().cloned().map(Place::Data));
    all.extend(args.places.run.iter().cloned().map(Place::Run));
    all.extend(args.places.releases.iter().cloned().map(Place::Releases));
    Ok(all)
}

fn entry(held: &Held, outcome: &str) -> Value {
    let Held { place, name, .. } = held;
    json!({ "place": place, "name": name, "found": held.is_found(), "holds": held.counts(), "outcome": outcome })
}

fn report(user: Id<'_>, dry_run: bool, rows: Vec<Value>, left: usize, places: &[Place]) -> Value {
    json!({ "user": user, "dry_run": dry_run, "places": rows, "left": left, "topics_by_retention": topics(places) })
}

fn table<'a>(rows: impl Iterator<Item = (&'a Held, &'a str)>) -> Result<()> {
    let row = |(held, outcome): (&Held, &str)| {
        [held.place, &held.name, &held.told(), outcome].map(str::to_owned).to_vec()
    };
    let rows: Vec<Vec<String>> = rows.map(row).collect();
    Ok(show::table(&mut std::io::stdout().lock(), &["place", "where", "held", "outcome"], &rows)?)
}

/// Returns the topics of the services, from which nothing is erased but by their retention.
fn topics(places: &[Place]) -> Vec<String> {
    let of = |place: &Place| match place {
        Place::State(_, config) => person::topics_by_retention(config),
        _ => Vec::new(),
    };
    let mut all: Vec<String> = places.iter().flat_map(of).collect();
    all.sort();
    all.dedup();
    all
}

fn tell_topics(places: &[Place]) {
    let topics = topics(places);
    if !topics.is_empty() {
        eprintln!(
            "messages of a user in {} stay until the retention of these topics; events there that are not drained yet come \
             with the next drain",
            topics.join(", ")
        );
    }
}
