//! The catalogue: the best unseen items of all users, beside PyTorch.

use std::time::Instant;

use burnrec_data::UserIx;
use burnrec_models::Learner;
use burnrec_models::device::OpenDevice;
use burnrec_models::topk::top_k;

use super::peer::{Peer, WAYS};
use super::{CASES, Fallible, Sizes, Tables};

/// Measures and prints how long the best 10 unseen items of all users take.
pub fn measure(
    sizes: &Sizes,
    tables: &Tables,
    peer: &mut Result<Peer, String>,
    device: &OpenDevice,
    notes: &mut Vec<String>,
) {
    const K: usize = 10;
    // The second network of the table.
    let case = &CASES[1];
    let row = format!("best {K} items of all users, {}, {}", tables.name, case.name(sizes.dim));
    let seconds = || -> Fallible<f64> {
        let model = case.task(sizes.dim, sizes.batches[0]).learner(&tables.train, device)?.model();
        let users: Vec<UserIx> = (0..tables.train.n_rows() as u32).map(UserIx).collect();
        let seen = |at: usize| tables.train.row(users[at].at()).0;
        let lists = || top_k(&*model, &users, K, seen, None);
        let _first = lists();
        let seconds = (0..3).map(|_| {
            let start = Instant::now();
            drop(lists());
            start.elapsed().as_secs_f64()
        });
        Ok(seconds.fold(f64::INFINITY, f64::min))
    };
    let ours = match seconds() {
        Ok(ours) => ours,
        Err(error) => return notes.push(format!("{row}: {error}")),
    };
    let left = || sizes.end.saturating_duration_since(Instant::now());
    let theirs = match peer {
        Ok(peer) => WAYS.map(|(way, name)| {
            let seconds = peer.catalog(way, K, left() / 2);
            seconds.inspect_err(|why| notes.push(format!("{row}: {name}: {why}"))).ok()
        }),
        Err(_) => [None; WAYS.len()],
    };
    let millis = |seconds: f64| format!("{:.1}", seconds * 1e3);
    let best = theirs.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let ratio = if best.is_finite() { format!("{:.1}", best / ours) } else { "-".into() };
    let theirs = WAYS
        .iter()
        .zip(theirs)
        .map(|((_, name), seconds)| format!("{name} {}", seconds.map_or("-".into(), millis)));
    let theirs: Vec<String> = theirs.collect();
    println!("\n{row}: {} ms; {}; times the best: {ratio}", millis(ours), theirs.join(", "));
}
