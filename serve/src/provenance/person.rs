//! What the index of a service holds of one user, and the erasure of it, whether the service runs or not.

use std::path::Path;

use burnrec_data::Id;

use super::search::{Found, Query, search};
use super::store::Store;
use crate::Result;
use crate::clock::{Clock, SystemClock};

/// Returns the events of a user that the index in a directory has on disk, the newest first; none where there is no index.
///
/// # Errors
/// When it cannot be read.
pub fn user_events(dir: &Path, user: Id<'_>) -> Result<Vec<Found>> {
    let Some(store) = Store::find(dir)? else { return Ok(Vec::new()) };
    let (reading, mut next, mut all) =
        (store.read()?, Some(Query::of_user(store.ids.user(user))), Vec::new());
    while let Some(query) = next {
        let page = search(&reading, &query, i64::MIN)?;
        next = query.after(&page);
        all.extend(page.events);
    }
    Ok(all)
}

/// Erases a user's events from the index in a directory, and from what its service has in memory; returns how many were on disk.
///
/// # Errors
/// When it cannot be written; a part may be erased then, and the same call goes on with the rest.
pub fn erase_user(dir: &Path, user: Id<'_>) -> Result<usize> {
    let Some(store) = Store::find(dir)? else { return Ok(0) };
    store.erase(store.ids.user(user), SystemClock.unix_ms())
}
