//! Models that change while the service runs: a good one is taken up between two batches, a broken one is not.

mod common;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burnrec_models::{Model, Scorer};
use burnrec_serve::Engine;
use burnrec_serve::engine::Reading;
use burnrec_serve::event::Incoming;
use burnrec_serve::message::WireId;
use burnrec_serve::outbox::Outbox;
use burnrec_serve::served::Served;
use common::{answer, answer_all, config};
use tempfile::TempDir;

const GOOD: &str = r#"{"type":"score","user":7,"items":[101,102,103]}"#;

/// A function that breaks a directory.
type Damage<'a> = Box<dyn Fn() + 'a>;

/// Returns an engine that serves a model from a directory of its own.
fn serving(model: Box<dyn Model>) -> (Engine, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    common::save(&folder.path().join("run"), model);
    let text = format!("models.main.run = {:?}", folder.path().join("run"));
    (Engine::open(&config(&text)).expect("an engine"), folder)
}

#[test]
fn a_broken_directory_leaves_the_old_model_serving() {
    let (engine, folder) = serving(Box::new(common::als(3)));
    let run = folder.path().join("run");
    let manifest = run.join("manifest.json");
    let good = std::fs::read(&manifest).unwrap();
    let before = answer(&engine, GOOD).text().to_owned();
    assert!(engine.models.reload().is_empty(), "nothing has changed");
    let text = String::from_utf8(good.clone()).unwrap();
    let broken: [(&str, Damage<'_>); 5] = [
        ("manifest.json", Box::new(|| std::fs::write(&manifest, &good[..good.len() / 2]).unwrap())),
        (
            "format 9",
            Box::new(|| std::fs::write(&manifest, text.replace("\"format\": 1", "\"format\": 9")).unwrap()),
        ),
        ("SHA-256", Box::new(|| std::fs::write(common::weights(&run), b"x").unwrap())),
        ("no manifest.json", Box::new(|| std::fs::remove_file(&manifest).unwrap())),
        ("no manifest.json", Box::new(|| std::fs::remove_dir_all(&run).unwrap())),
    ];
    for (why, damage) in broken {
        // Damage in another file is noticed only when the manifest has changed as well.
        let touched = text.replace("\"drawn\"", "\"drawn again\"");
        if run.exists() {
            std::fs::write(&manifest, touched).unwrap();
        }
        damage();
        for _ in 0..2 {
            assert!(engine.models.reload().is_empty(), "{why}");
            let troubles = engine.models.troubles();
            assert!(troubles["main"].contains(why), "{troubles:?}, expected {why}");
            assert_eq!(answer(&engine, GOOD).text(), before);
        }
    }
    common::save(&run, Box::new(common::als(4)));
    assert_eq!(engine.models.reload(), ["main"]);
    assert!(engine.models.troubles().is_empty());
    let (old, new): (serde_json::Value, _) = (serde_json::from_str(&before).unwrap(), answer(&engine, GOOD));
    assert_ne!(old["hash"], new.json()["hash"]);
    let (fresh, _folder) = serving(Box::new(common::als(4)));
    assert_eq!(new.scores(), answer(&fresh, GOOD).scores());
}

#[test]
fn a_model_that_goes_takes_the_users_folded_into_it_along() {
    let (engine, _folder) = serving(Box::new(common::als(3)));
    answer(&engine, r#"{"type":"event","user":900,"item":101}"#);
    let number = || engine.models.set()["main"].number;
    let user = WireId::Int(900);
    let folded = |model: u64| engine.state.get(None, &user, model).expect("a history").1;
    let ask = r#"{"type":"score","user":900,"items":[101,102]}"#;
    let before = answer(&engine, ask).scores();
    let (old, history) = (number(), engine.state.get(None, &user, 0).expect("a history").0);
    let scorer = Arc::downgrade(&folded(old).expect("the user is folded in").scorer);

    let run = common::recommender(Box::new(common::als(4)));
    engine.models.take_up(Served::new("main", "next", "1".into(), run));
    assert!(scorer.upgrade().is_none(), "the old model's row is still there");
    // A batch that began before the swap may end after it.
    let late: Arc<dyn Scorer> = Arc::new(common::als(3));
    engine.state.keep(&user, &history, old, &late);
    assert_eq!((Arc::strong_count(&late), folded(old).is_none()), (1, true));
    assert_ne!(answer(&engine, ask).scores(), before);
    assert!(folded(number()).is_some(), "folded into the new one");
}

#[test]
fn replies_are_counted_for_the_versions_that_served_last() {
    let (engine, _folder) = serving(Box::new(common::als(3)));
    let take_up = |version: &str| {
        let run = common::recommender(Box::new(common::als(4)));
        engine.models.take_up(Served::new("main", version, version.into(), run));
    };
    let counts = || {
        let all = engine.models.replies().into_iter();
        all.map(|(of, n)| (of.version, n)).collect::<Vec<(String, u64)>>()
    };
    let ask = |n: usize| {
        for _ in 0..n {
            let mut outbox = Outbox::default();
            let event = Incoming::new(Instant::now(), common::PART, 0, None, Some(GOOD.as_bytes()));
            engine.answer(&[event.clone(), event], Reading::default(), &mut Vec::new(), &mut outbox);
            outbox.count_replies(&[1]);
        }
    };
    ask(3);
    for (at, version) in ["2", "3", "4", "5"].into_iter().enumerate() {
        take_up(version);
        ask(at + 1);
    }
    let of =
        |all: &[(&str, u64)]| all.iter().map(|(version, n)| ((*version).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(counts(), of(&[("2", 1), ("3", 2), ("4", 3), ("5", 4)]), "the first one is gone");
    take_up("3");
    ask(5);
    assert_eq!(counts(), of(&[("2", 1), ("4", 3), ("5", 4), ("3", 7)]), "one that comes back goes on");
}

#[test]
fn a_directory_is_read_only_when_it_has_changed() {
    let (engine, folder) = serving(Box::new(common::als(3)));
    let run = folder.path().join("run");
    let hash = || answer(&engine, GOOD).json()["hash"].clone();
    let before = hash();
    engine.models.look();
    assert_eq!(engine.models.look(), 0, "nothing has changed");
    let weights = common::weights(&run);
    let good = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, b"x").unwrap();
    std::fs::OpenOptions::new()
        .append(true)
        .open(run.join("manifest.json"))
        .unwrap()
        .write_all(b" ")
        .unwrap();
    assert_eq!(engine.models.look(), 1);
    assert!(engine.models.troubles()["main"].contains("SHA-256"));
    assert_eq!(engine.models.look(), 0, "a broken directory is not read again");
    assert!(engine.models.troubles().contains_key("main"));
    std::fs::write(&weights, good).unwrap();
    assert_eq!((engine.models.look(), engine.models.troubles().len()), (1, 0));
    assert_ne!(hash(), before, "the manifest is another");
}

#[test]
fn no_batch_is_answered_by_parts_of_two_models() {
    let (engine, _folder) = serving(Box::new(common::als(3)));
    let scores = |seed: u64| {
        let (engine, _folder) = serving(Box::new(common::als(seed)));
        answer(&engine, GOOD).scores()
    };
    let expected = [scores(3), scores(4)];
    let swap = |seed: u64| {
        let run = common::recommender(Box::new(common::als(seed)));
        engine.models.take_up(Served::new("main", "swapped", seed.to_string(), run));
    };
    swap(3);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                [4, 3].into_iter().for_each(swap);
            }
        });
        let mut of = [0, 0];
        for _ in 0..20_000 {
            let answers = answer_all(&engine, &[Some(GOOD.as_bytes()); 3]);
            let hash = answers[0].json()["hash"].clone();
            let model = usize::from(hash == "4");
            for answer in &answers {
                assert_eq!((&answer.json()["hash"], answer.scores()), (&hash, expected[model].clone()));
            }
            of[model] += 1;
            if of.iter().all(|n| *n > 100) {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(of.iter().all(|n| *n > 100), "each model answered batches: {of:?}");
    });
}
