//! Releases: published, promoted, rolled back, pruned; and put in order after a crash at any point.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use burnrec_data::write::lock_dir;
use burnrec_models::saved::{erase_user, short_manifest_hash};
use burnrec_models::{Recommender, Silent};
use burnrec_train::releases::{Act, By, Releases};
use burnrec_train::run::run;
use common::runs::{config, cpu, leave_one_out};

const ME: By<'_> = By { name: "me", note: "" };

/// Saves a run of ALS of this `dim`, and returns its directory.
fn saved(folder: &Path, dim: usize) -> PathBuf {
    let (data, dir) = (leave_one_out(40, 30, 600, 1), folder.join(format!("run-{dim}")));
    let config = config(&format!("model = 'als'\ndim = {dim}\nepochs = 2"));
    let trained = run(&data, &config, &cpu(), None, &mut |_| Ok(()), &Silent).expect("a run");
    trained.recommender.save(&dir).expect("saved");
    dir
}

fn n_parameters(run: &Path) -> u64 {
    let run = Recommender::open(run).expect("a run");
    run.model.n_parameters()
}

#[test]
fn what_is_promoted_serves_and_a_rollback_goes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let runs = [2, 3, 4].map(|dim| saved(folder.path(), dim));
    let sizes = runs.each_ref().map(|run| n_parameters(run));
    let dir = folder.path().join("releases");
    let (releases, promoted) = (Releases::new(&dir), dir.join("promoted"));
    let numbers = runs.each_ref().map(|run| releases.publish(run, ME).expect("published"));
    assert_eq!((numbers, releases.promoted().expect("a log")), ([1, 2, 3], None));
    assert!(!promoted.exists());
    fs::remove_dir_all(&runs[0]).expect("removed"); // A release is a copy.
    for release in numbers {
        releases.promote(release, By { name: "you", note: "better" }).expect("promoted");
        assert_eq!(n_parameters(&promoted), sizes[release as usize - 1]);
    }
    assert_eq!(releases.rollback(ME).expect("rolled back"), 2);
    assert_eq!(n_parameters(&promoted), sizes[1]);
    releases.promote(3, ME).expect("promoted");
    assert_eq!([releases.rollback(ME).expect("back"), releases.rollback(ME).expect("back")], [2, 1]);
    let error = releases.rollback(ME).expect_err("the first one").to_string();
    assert!(error.contains("found none but the present one"), "{error}");
    let error = releases.promote(9, ME).expect_err("no such release").to_string();
    assert_eq!(error, "release: found 9, expected one of 1, 2, 3");

    let log = releases.log().expect("a log");
    let acts: Vec<(Act, u32)> = log.iter().map(|entry| (entry.act, entry.facts.release)).collect();
    let expected =
        [(1, Act::Publish), (2, Act::Publish), (3, Act::Publish)].map(|(release, act)| (act, release));
    assert_eq!(acts[..3], expected);
    assert_eq!(acts[6..8], [(Act::Rollback, 2), (Act::Promote, 3)]);
    assert_eq!((log[3].by.as_str(), log[3].note.as_str(), log[3].at.len()), ("you", "better", 20));
    assert!(log.iter().all(|entry| entry.facts.model == "als" && entry.facts.scores.len() > 3), "{log:?}");
}

#[test]
fn neither_what_serves_nor_what_a_rollback_would_serve_is_pruned() {
    let folder = tempfile::tempdir().expect("a folder");
    let (run, dir) = (saved(folder.path(), 2), folder.path().join("releases"));
    let releases = Releases::new(&dir);
    for _ in 0..6 {
        releases.publish(&run, ME).expect("published");
    }
    releases.promote(2, ME).and_then(|()| releases.promote(1, ME)).expect("promoted");
    assert_eq!(releases.prune(1, ME).expect("pruned"), [5, 4, 3]);
    let there: Vec<(u32, bool)> =
        releases.list().expect("a log").iter().map(|of| (of.published.facts.release, of.promoted)).collect();
    assert_eq!(there, [(1, true), (2, false), (6, false)]);
    for release in 1..=6 {
        assert_eq!(releases.path(release).is_dir(), [1, 2, 6].contains(&release), "{release}");
    }
    assert_eq!(releases.rollback(ME).expect("back"), 2);
    assert_eq!(releases.publish(&run, ME).expect("published"), 7, "no number is given twice");
}

#[test]
fn a_crash_is_put_in_order_by_the_next_act() {
    let folder = tempfile::tempdir().expect("a folder");
    let (run, dir) = (saved(folder.path(), 2), folder.path().join("releases"));
    let (releases, log) = (Releases::new(&dir), dir.join("log.jsonl"));
    let link = || fs::read_link(dir.join("promoted")).expect("a link");
    for _ in 0..3 {
        releases.publish(&run, ME).expect("published");
    }
    releases.promote(1, ME).expect("promoted");
    let before = fs::read_to_string(&log).expect("a log");
    releases.promote(2, ME).expect("promoted");
    let after = fs::read_to_string(&log).expect("a log");

    // The log says that 2 is promoted, the link does not yet; a release is copied that no line of the log is of; and another
    // line was cut short.
    fs::remove_file(dir.join("promoted"))
        .and_then(|()| std::os::unix::fs::symlink("000001", dir.join("promoted")))
        .expect("a link");
    fs::create_dir(dir.join("000004")).expect("a folder");
    fs::write(&log, format!("{after}{}", &before[..40])).expect("a log");
    assert_eq!((releases.promoted().expect("a log"), link()), (Some(2), "000001".into()));
    releases.promote(3, ME).expect("promoted");
    assert_eq!((link(), dir.join("000004").exists()), ("000003".into(), false));
    assert!(fs::read_to_string(&log).expect("a log").starts_with(&after));
    assert_eq!(releases.rollback(ME).expect("back"), 2);
}

#[test]
fn nothing_else_is_taken_for_releases() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = saved(folder.path(), 2);
    let error = Releases::new(&run).publish(&run, ME).expect_err("a run").to_string();
    assert!(
        error.contains("found no log.jsonl in it, expected a directory of releases, or a new one"),
        "{error}"
    );
    let none = folder.path().join("none");
    let error = Releases::new(&none).promote(1, ME).expect_err("nothing").to_string();
    assert!(
        error.ends_with("none: found no log.jsonl, expected a directory of releases") && !none.exists(),
        "{error}"
    );
    let error = Releases::new(&none).publish(&none, ME).expect_err("no run").to_string();
    assert!(error.contains("no manifest.json") && !none.exists(), "{error}");

    let dir = folder.path().join("releases");
    Releases::new(&dir).publish(&run, ME).expect("published");
    let lock = lock_dir(&dir).expect("free");
    let error = Releases::new(&dir).promote(1, ME).expect_err("a lock").to_string();
    assert!(error.contains("another process that changes it"), "{error}");
    drop(lock);
    let log = dir.join("log.jsonl");
    let text = fs::read_to_string(&log).expect("a log");
    fs::write(&log, format!("{text}{{\"act\":\"burn\"}}\n")).expect("a log");
    let error = Releases::new(&dir).list().expect_err("no act").to_string();
    assert!(error.contains("log.jsonl:2: found "), "{error}");
}

#[test]
fn a_user_is_erased_from_all_releases_and_the_log_knows_their_new_hashes() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("releases");
    let (releases, promoted) = (Releases::new(&dir), dir.join("promoted"));
    let numbers = [2, 3].map(|dim| releases.publish(&saved(folder.path(), dim), ME).expect("published"));
    assert_eq!(numbers, [1, 2]);
    releases.promote(2, ME).expect("promoted");
    let run = Recommender::open(&promoted).expect("a run");
    let (user, other) = (run.users.vocab().id(5), run.users.vocab().id(6).to_string());
    let list = |run: &Recommender| run.recommend(&other, 10).expect("items");
    let hash = |release: u32| short_manifest_hash(&releases.path(release)).expect("a hash");
    let before = [1, 2].map(hash);

    // As a call leaves it that was stopped before it wrote into the log.
    assert!(erase_user(&releases.path(1), user).expect("erased"));
    assert_eq!(releases.erase(user, ME).expect("erased"), [2]);
    let after = Recommender::open(&promoted).expect("a run");
    assert_eq!((after.users.vocab().row(user), list(&after)), (None, list(&run)));
    let known: Vec<String> =
        releases.list().expect("a log").iter().map(|release| release.published.facts.hash.clone()).collect();
    assert_eq!(known, [1, 2].map(hash));
    assert!(known.iter().all(|hash| !before.contains(hash)));
    let acts: Vec<Act> = releases.log().expect("a log").iter().map(|entry| entry.act).collect();
    assert_eq!(acts[3..], [Act::Erase, Act::Erase]);
    assert_eq!(releases.erase(user, ME).expect("nothing to erase"), [0_u32; 0]);
    assert_eq!(releases.log().expect("a log").len(), acts.len());
    releases.promote(1, ME).expect("promoted");
    assert_eq!(releases.rollback(ME).expect("back"), 2);
}
