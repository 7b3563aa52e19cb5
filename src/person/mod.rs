//! What is held of one person, and its erasure: in the state of a service and its index of what happened, in events that were drained, in prepared data, and in
//! runs and releases. Each place is looked into, and written again without the user, by what owns it; here they are one list.
//!
//! ```no_run
//! use burnrec::data::Id;
//! use burnrec::person::{Eraser, Place, erase, held};
//!
//! # fn main() -> burnrec::Result<()> {
//! let places = [Place::Data("prepared/events".into()), Place::Releases("releases/als".into())];
//! for held in held(&places, Id::Int(7))?.iter().filter(|held| held.is_found()) {
//!     println!("{}: {}", held.name, held.told());
//! }
//! let erased = erase(&places, Id::Int(7), &Eraser::default())?;
//! assert!(erased.iter().all(|erased| !erased.after.is_found()));
//! # Ok(())
//! # }
//! ```

mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burnrec_data::{Id, Prepared, UserIx};
use burnrec_models::saved::{erase_user as erase_from_run, runs_of, user_in};
use burnrec_models::{Progress, Silent};
use burnrec_serve::ServeConfig;
use burnrec_serve::event_files::EventFiles;
use burnrec_serve::kafka::{erase_user_state, user_state};
use burnrec_serve::provenance::{erase_user, user_events};
use burnrec_train::releases::{By, Releases};
use serde_json::{Map, Value, json};

use crate::Result;

pub use report::{Erased, Held, Outcome};

/// A place that may hold something of a user.
#[derive(Clone)]
pub enum Place {
    /// The state topic of a service and its index of events, by the name and the settings of its config.
    State(PathBuf, Box<ServeConfig>),
    /// A directory of events that a drain writes.
    Events(PathBuf),
    /// A directory of prepared data.
    Data(PathBuf),
    /// A run directory; the runs that it takes its scores from are looked into as well.
    Run(PathBuf),
    /// A directory of releases, all of which are looked into.
    Releases(PathBuf),
}

/// How a user is erased.
pub struct Eraser<'a> {
    /// Who does it, for the logs of releases.
    pub by: &'a str,
    /// How long the service may take to confirm that it has erased a history.
    pub wait: Duration,
    /// What may stop the wait.
    pub progress: &'a dyn Progress,
}

impl Default for Eraser<'_> {
    fn default() -> Self {
        Self { by: "unknown", wait: Duration::from_secs(30), progress: &Silent }
    }
}

/// One place, where a directory of releases is as many as it has releases.
enum Spot<'a> {
    State(&'a Path, &'a ServeConfig),
    Index(&'a Path),
    Events(&'a Path),
    Data(&'a Path),
    Run(PathBuf),
    Release(PathBuf),
}

/// Returns what places hold of a user, in their order, whether they hold something or not; a run that several of them name is looked
/// into once.
///
/// # Errors
/// When a place cannot be read, or is none of its kind.
pub fn held(places: &[Place], user: Id<'_>) -> Result<Vec<Held>> {
    spots(places)?.iter().map(|spot| spot.held(user)).collect()
}

/// Erases a user from places: writes a record without a value into the state topics, and everything else again without the user.
/// Returns what each place held before and holds afterwards. May be called again, also where an earlier call was stopped: it goes
/// on with what is left.
///
/// # Errors
/// When a place cannot be read or written; those before it are then without the user.
pub fn erase(places: &[Place], user: Id<'_>, eraser: &Eraser<'_>) -> Result<Vec<Erased>> {
    let spots = spots(places)?;
    let before = spots.iter().map(|spot| spot.held(user)).collect::<Result<Vec<Held>>>()?;
    for place in places {
        match place {
            Place::State(_, config) => {
                _ = erase_user_state(config, user, eraser.wait, eraser.progress)?;
                // Last: what is answered until the history is gone is in the index as well.
                if let Some(provenance) = &config.provenance {
                    _ = erase_user(&provenance.dir, user)?;
                }
            }
            Place::Events(dir) => _ = EventFiles::open_drained(dir)?.erase(user)?,
            Place::Data(dir) => {
                let data = Prepared::open(dir)?;
                if let Some(row) = data.users.row(user) {
                    data.without_user(UserIx(row))?.save(dir)?;
                }
            }
            Place::Run(dir) => _ = erase_from_run(dir, user)?,
            // The note would stay for good, and so names nobody.
            Place::Releases(dir) => {
                _ = Releases::new(dir).erase(user, By { name: eraser.by, note: "" })?;
            }
        }
    }
    let erased = |(spot, before): (&Spot<'_>, Held)| Ok(Erased { before, after: spot.held(user)? });
    spots.iter().zip(before).map(erased).collect()
}

/// Returns the topics of a service whose messages may be of a user: nothing is erased from them but by their retention.
pub fn topics_by_retention(config: &ServeConfig) -> Vec<String> {
    let Some(kafka) = &config.kafka else { return Vec::new() };
    let others = [&kafka.replies, &kafka.rejects].into_iter().chain(&kafka.receipts).chain(&kafka.shadow);
    kafka.requests.iter().chain(others).cloned().collect()
}

/// Takes places apart.
fn spots(places: &[Place]) -> Result<Vec<Spot<'_>>> {
    let (mut spots, mut known) = (Vec::new(), BTreeSet::new());
    for place in places {
        match place {
            Place::State(name, config) => {
                spots.push(Spot::State(name, config));
                spots.extend(config.provenance.as_ref().map(|provenance| Spot::Index(&provenance.dir)));
            }
            Place::Events(dir) => spots.push(Spot::Events(dir)),
            Place::Data(dir) => spots.push(Spot::Data(dir)),
            Place::Run(dir) => add_run(dir, Spot::Run, &mut known, &mut spots)?,
            Place::Releases(dir) => {
                let releases = Releases::new(dir);
                for release in releases.list()? {
                    let path = releases.path(release.published.facts.release);
                    add_run(&path, Spot::Release, &mut known, &mut spots)?;
                }
            }
        }
    }
    Ok(spots)
}

/// Adds a run, and those that it takes its scores from, which are not known yet.
fn add_run<'a>(
    dir: &Path,
    as_spot: fn(PathBuf) -> Spot<'a>,
    known: &mut BTreeSet<PathBuf>,
    spots: &mut Vec<Spot<'a>>,
) -> Result<()> {
    if known.insert(dir.canonicalize().unwrap_or_else(|_| dir.to_owned())) {
        spots.push(as_spot(dir.to_owned()));
        for run in runs_of(dir)? {
            add_run(&run, Spot::Run, known, spots)?;
        }
    }
    Ok(())
}

impl Spot<'_> {
    /// Returns what the place holds of a user.
    fn held(&self, user: Id<'_>) -> Result<Held> {
        let (mut parts, mut unconfirmed) = (Map::new(), false);
        let (place, name) = match self {
            Self::State(name, config) => {
                for of in user_state(config, user)? {
                    unconfirmed |= of.unconfirmed;
                    if !of.unconfirmed {
                        parts.insert(format!("{}/{}", of.topic, of.partition), json!(of.history));
                    }
                }
                ("state", name.display())
            }
            Self::Index(dir) => {
                let events = user_events(dir, user)?;
                if !events.is_empty() {
                    parts.insert("events".to_owned(), json!(events));
                }
                ("index", dir.display())
            }
            Self::Events(dir) => {
                let events = EventFiles::open_drained(dir)?.of_user(user)?;
                if !events.is_empty() {
                    parts.insert("events".to_owned(), json!(events));
                }
                ("events", dir.display())
            }
            Self::Data(dir) => {
                let data = Prepared::open(dir)?;
                let rows = data.users.row(user).map(|row| data.rows_of(UserIx(row)));
                parts.extend(rows.map(|rows| object(json!(rows))).unwrap_or_default());
                ("data", dir.display())
            }
            Self::Run(dir) | Self::Release(dir) => {
                let of_user = user_in(dir, user)?;
                parts.extend(of_user.map(|held| object(json!(held))).unwrap_or_default());
                (if matches!(self, Self::Run(_)) { "run" } else { "release" }, dir.display())
            }
        };
        Ok(Held { place, name: name.to_string(), parts, unconfirmed })
    }
}

/// Returns the fields of an object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}
