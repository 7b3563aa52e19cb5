//! Ids in JSON have the type that they have in the data, from the command line as from the service.

mod common;

use std::path::{Path, PathBuf};
use std::time::Instant;

use burnrec::data::Vocab;
use burnrec::data::read::{ReadOptions, read};
use burnrec::serve::engine::Reading;
use burnrec::serve::event::{Incoming, TopicPartition};
use burnrec::serve::outbox::Outbox;
use burnrec::serve::{Engine, ServeConfig};
use common::{Folder, burnrec};
use serde_json::{Value, json};

/// Users and items of two runs: numbers, and texts of which some look like numbers.
fn ids() -> [(&'static str, [Value; 4], [Value; 5]); 2] {
    let numbers = (
        "numbers",
        [json!(0), json!(-5), json!(7), json!(9_007_199_254_740_993_i64)],
        [json!(24), json!(-3), json!(0), json!(i64::MIN), json!(i64::MAX)],
    );
    let texts = (
        "texts",
        [json!("0"), json!("007"), json!("u,7"), json!("é")],
        [json!("24"), json!("9223372036854775808"), json!("-0"), json!("b"), json!("1.0")],
    );
    [numbers, texts]
}

fn text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// Trains a model on a row of each user and item but one each; returns its run directory.
fn run(folder: &Folder, name: &str, users: &[Value], items: &[Value]) -> PathBuf {
    let mut rows = "user\titem\ttime\n".to_owned();
    for (u, user) in users.iter().enumerate() {
        for (k, item) in items.iter().enumerate().filter(|(k, _)| *k != u) {
            rows += &format!("{}\t{}\t{}\n", text(user), text(item), (u + k) % 5);
        }
    }
    let file = folder.file(&format!("{name}.tsv"), rows);
    let (data, run) = (folder.path(&format!("{name}-data")), folder.path(&format!("{name}-run")));
    burnrec("prepare {} --out {}", &[&file, &data]).ok();
    let als = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/als.toml");
    burnrec("train {} --data {} --out {} --set dim=3 --set epochs=2", &[&als, &data, &run]).ok();
    run
}

/// Returns the service's reply to a request, by the engine in memory.
fn reply(engine: &Engine, request: &Value) -> Value {
    let (request, part, mut out) =
        (request.to_string(), TopicPartition { topic: 0, partition: 0 }, Outbox::default());
    let event = Incoming::new(Instant::now(), part, 0, None, Some(request.as_bytes()));
    engine.answer(&[event], Reading::default(), &mut Vec::new(), &mut out);
    let message = out.messages.first().expect("a message");
    serde_json::from_slice(out.value(message).expect("a value")).expect("JSON")
}

/// Returns the ids of the items of a reply, or of the output of a command.
fn items_of(answer: &Value) -> Vec<Value> {
    answer["items"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"))
        .iter()
        .map(|item| item["item"].clone())
        .collect()
}

#[test]
fn the_command_line_and_the_service_write_an_id_alike() {
    let folder = Folder::new();
    for (name, users, items) in ids() {
        let run = run(&folder, name, &users, &items);
        let settings = format!("models.main.run = {run:?}").parse().expect("TOML");
        let engine = Engine::open(&ServeConfig::from_table(settings).expect("a config")).expect("an engine");
        for user in &users {
            let line = format!("recommend {{}} --user {} --include-seen -k 5 --json", text(user));
            let ours = burnrec(&line, &[&run]).json();
            let request = json!({ "type": "recommend", "user": user, "k": 5, "include_seen": true });
            let theirs = reply(&engine, &request);
            assert_eq!((&ours["user"], &theirs["user"]), (user, user), "{name}");
            assert_eq!(items_of(&ours), items_of(&theirs), "{name}");
            assert!(items_of(&ours).iter().all(|item| items.contains(item)), "{ours}");
            let scored = reply(&engine, &json!({ "type": "score", "user": user, "items": items }));
            assert_eq!((&scored["user"], items_of(&scored)), (user, items.to_vec()), "{name}");
        }
        for item in &items {
            let ours = burnrec(&format!("similar {{}} --item {} -k 4 --json", text(item)), &[&run]).json();
            let theirs = reply(&engine, &json!({ "type": "similar", "item": item, "k": 4 }));
            assert_eq!((&ours["item"], &theirs["item"]), (item, item), "{name}");
            assert_eq!(items_of(&ours), items_of(&theirs), "{name}");
        }
    }
}

#[test]
fn tables_of_scores_and_recommendations_keep_the_type_of_an_id() {
    let folder = Folder::new();
    for (name, users, items) in ids() {
        let run = run(&folder, name, &users, &items);
        let pairs: String = users
            .iter()
            .zip(&items)
            .map(|(user, item)| format!("{}\t{}\n", text(user), text(item)))
            .collect();
        let pairs = folder.file(&format!("{name}-pairs.tsv"), format!("user\titem\n{pairs}"));
        let (scores, lists) = (folder.path("scores.parquet"), folder.path("lists.parquet"));
        burnrec("score {} --pairs {} --out {}", &[&run, &pairs, &scores]).ok();
        burnrec("recommend {} --all --include-seen --out {}", &[&run, &lists]).ok();
        for file in [scores, lists] {
            let dataset = read(&file, &ReadOptions::default()).expect("a table").dataset;
            for (vocab, ids) in [(&dataset.users, &users[..]), (&dataset.items, &items[..])] {
                assert_eq!(matches!(vocab, Vocab::Int(_)), name == "numbers", "{}", file.display());
                let found = (0..vocab.len() as u32).map(|row| json!(vocab.id(row)));
                assert!(found.clone().count() >= 4 && found.clone().all(|id| ids.contains(&id)), "{vocab:?}");
            }
        }
    }
    let numbers = folder.path("numbers-run");
    let pairs = folder.file("pairs.csv", "user,item\n0,24\nnobody,24\n");
    let scores = folder.path("scores.csv");
    burnrec("score {} --pairs {} --out {}", &[&numbers, &pairs, &scores]).ok();
    let text = std::fs::read_to_string(&scores).expect("a table");
    assert!(text.lines().nth(2).expect("a line").starts_with("nobody,24,NaN"), "{text}");
}

#[test]
fn lists_of_items_come_from_files_as_ratings_do() {
    let folder = Folder::new();
    let (name, users, items) = ids()[1].clone();
    let run = run(&folder, name, &users, &items);
    let line = "recommend {} --user u,7 --include-seen --json";
    for (file, list) in [
        ("ids.txt", "\u{feff}24\r\nb\r\n"),
        ("ids.csv", "item\n\"24\"\nb\n"),
        ("ids.tsv", "x\titem\n1\tb\n2\t24\n"),
    ] {
        let path = folder.file(file, list);
        let only = burnrec(&format!("{line} --only @{}", path.display()), &[&run]).json();
        let mut found = items_of(&only);
        found.sort_by_key(Value::to_string);
        assert_eq!(found, ["24", "b"], "{file}");
        let without = burnrec(&format!("{line} --without @{}", path.display()), &[&run]).json();
        assert!(items_of(&without).iter().all(|item| item != "24" && item != "b"), "{file}: {without}");
    }
    let none = folder.file("none.csv", "item\n24\n\"b\n");
    burnrec(&format!("{line} --only @{}", none.display()), &[&run]).fails(&["none.csv:3", "quote"]);
}
