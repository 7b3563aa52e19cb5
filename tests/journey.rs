//! Goes through all that a user does: synthetic ratings, a split, training, and every question to a model.

mod common;

use std::path::Path;

use common::{Folder, burnrec};
use polars::prelude::{ParquetReader, SerReader};

fn config(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name)
}

/// Prepares synthetic ratings, and returns the directory.
fn prepared(folder: &Folder) -> std::path::PathBuf {
    let (raw, data) = (folder.path("raw"), folder.path("data"));
    burnrec("synth --users 300 --items 200 --rows 9000 --out {}", &[&raw]).ok();
    let summary = burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    assert!(summary.contains("9,000") || summary.contains("9000"), "{summary}");
    assert!(summary.contains("synthetic"), "{summary}");
    data
}

#[test]
fn from_ratings_to_answers() {
    let folder = Folder::new();
    let data = prepared(&folder);
    let (run, als) = (folder.path("run"), config("als.toml"));
    let record =
        burnrec("train {} --data {} --out {} --set dim=16 --set epochs=4 --json", &[&als, &data, &run])
            .json();
    assert_eq!(record["model"], "als");
    assert_eq!(record["config"]["dim"], 16);
    let test = &record["metrics"]["test"]["ndcg@10"];
    assert!(
        test["low"].as_f64() <= test["value"].as_f64() && test["value"].as_f64() <= test["high"].as_f64()
    );
    assert!(
        record["fit_seconds"].as_f64() > Some(0.0) && record["peak_memory_bytes"].as_u64() > Some(1 << 20)
    );

    let lines = std::fs::read_to_string(run.join("record.jsonl")).expect("record.jsonl");
    assert!(lines.lines().count() >= 4, "{lines}");

    let again = burnrec("evaluate {} --json", &[&run]).json();
    assert_eq!(again, record["metrics"]["test"], "a saved model scores what the trained one did");

    let best = burnrec("recommend {} --user 7 -k 5 --json", &[&run]).json();
    let items = best["items"].as_array().expect("items");
    assert_eq!(items.len(), 5);
    assert!(items.iter().all(|item| !item["title"].as_str().expect("a title").is_empty()));
    let scores: Vec<f64> = items.iter().map(|item| item["score"].as_f64().expect("a score")).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");

    let first = items[0]["item"].as_i64().expect("an id");
    let line = format!("recommend {{}} --user 7 -k 3 --without {first} --json");
    let without = burnrec(&line, &[&run]).json();
    assert_eq!(without["items"][0]["item"], items[1]["item"]);
    let line = format!("recommend {{}} --user 7 -k 3 --only {first} --json");
    assert_eq!(burnrec(&line, &[&run]).json()["items"].as_array().map(Vec::len), Some(1));

    let similar = burnrec(&format!("similar {{}} --item {first} -k 4 --json"), &[&run]).json();
    assert_eq!(similar["items"].as_array().map(Vec::len), Some(4));
    assert!(similar["items"].as_array().expect("items").iter().all(|item| item["item"] != first));
}

#[test]
fn als_says_its_loss_and_starts_from_an_earlier_run() {
    let folder = Folder::new();
    let data = prepared(&folder);
    let (als, first, second) = (config("als.toml"), folder.path("first"), folder.path("second"));
    let train = "train {} --data {} --out {} --set dim=8 --set refit=false --set track_loss=true";
    burnrec(&format!("{train} --set epochs=8"), &[&als, &data, &first]).ok();
    let line = format!("{train} --set epochs=1 --set warm_start={}", first.display());
    burnrec(&line, &[&als, &data, &second]).ok();
    let losses = |run: &Path| -> Vec<f64> {
        let text = std::fs::read_to_string(run.join("record.jsonl")).expect("record.jsonl");
        let epochs = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        epochs
            .map(|epoch| {
                let parts = epoch["loss_parts"].as_object().expect("parts").values();
                let sum: f64 = parts.map(|part| part.as_f64().expect("a number")).sum();
                let loss = epoch["loss"].as_f64().expect("a loss");
                assert!((sum - loss).abs() <= 1e-6 * loss, "the parts make the whole");
                loss
            })
            .collect()
    };
    let (cold, warm) = (losses(&first), losses(&second));
    assert!(cold.is_sorted_by(|a, b| a >= b), "{cold:?}");
    assert!(warm[0] < cold[1], "{} after one warm epoch, {cold:?} cold", warm[0]);
    let wrong = format!("{train} --set dim=9 --set warm_start={}", first.display());
    burnrec(&wrong, &[&als, &data, &folder.path("third")]).fails(&["warm_start", "dim = 9"]);
    burnrec("check {} --set warm_start=x", &[&config("mf.toml")]).fails(&["warm_start", "als"]);
}

#[test]
fn tables_in_and_out() {
    let folder = Folder::new();
    let data = prepared(&folder);
    let (run, als) = (folder.path("run"), config("als.toml"));
    burnrec("train {} --data {} --out {} --set dim=8 --set epochs=2", &[&als, &data, &run]).ok();

    let all = folder.path("all.parquet");
    burnrec("recommend {} --all -k 3 --out {}", &[&run, &all]).ok();
    let table = ParquetReader::new(std::fs::File::open(&all).expect("a file")).finish().expect("Parquet");
    assert_eq!(table.height(), 300 * 3);

    let best = burnrec("recommend {} --user 7 -k 1 --json", &[&run]).json();
    let item = best["items"][0]["item"].as_i64().expect("an id");
    let pairs = folder.file("pairs.csv", format!("user,item\n7,{item}\n7,no-such-item\n"));
    let scored = folder.path("scored.csv");
    let said = burnrec("score {} --pairs {} --out {}", &[&run, &pairs, &scored]).ok();
    assert!(said.contains("2 pairs, 1 of them"), "{said}");
    let text = std::fs::read_to_string(&scored).expect("scores");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let score: f64 = lines[1].rsplit(',').next().expect("a field").parse().expect("a score");
    assert!((score - best["items"][0]["score"].as_f64().expect("a score")).abs() < 1e-4);

    let exported = folder.path("exported");
    burnrec("export {} --out {}", &[&run, &exported]).ok();
    for (file, rows) in [("users.parquet", 300), ("items.parquet", 200)] {
        let file = std::fs::File::open(exported.join(file)).expect("a file");
        let table = ParquetReader::new(file).finish().expect("Parquet");
        assert_eq!((table.height(), table.width()), (rows, 2));
    }
    // Ranking by dot products is what `recommend` does; the models' own tests hold scores and factors of all families equal.
    let mf = folder.path("mf");
    burnrec(
        "train {} --data {} --out {} --set epochs=2 --set dim=8 --device cpu",
        &[&config("mf.toml"), &data, &mf],
    )
    .ok();
    burnrec("export {} --out {}", &[&mf, &exported]).ok();
    let file = std::fs::File::open(exported.join("items.parquet")).expect("a file");
    let mut reader = ParquetReader::new(file);
    let metadata = reader.get_metadata().expect("metadata").key_value_metadata().clone().expect("texts");
    let bias = metadata.iter().find(|entry| entry.key == "burnrec.bias").expect("a text on biases");
    assert_eq!(bias.value.as_deref(), Some("the last element is the item's bias"));
    let factors = |name: &str, id_column: &str, ids: Option<i64>| -> Vec<(i64, Vec<f32>)> {
        let table = ParquetReader::new(std::fs::File::open(exported.join(name)).expect("a file"));
        let table = table.finish().expect("Parquet");
        let of_row = table.column(id_column).expect("ids").i64().expect("integers").clone();
        let lists = table.column("factors").expect("factors").list().expect("lists").clone();
        let rows = (0..table.height()).map(|row| {
            let values = lists.get_as_series(row).expect("a list");
            let values = values.f32().expect("numbers").iter().map(|x| x.expect("a number")).collect();
            (of_row.get(row).expect("an id"), values)
        });
        rows.filter(|(id, _)| ids.is_none_or(|wanted| wanted == *id)).collect()
    };
    let user = factors("users.parquet", "user", Some(7)).remove(0).1;
    let mut items = factors("items.parquet", "item", None);
    assert_eq!((user.len(), user[8]), (9, 1.0));
    let dot = |item: &[f32]| user.iter().zip(item).map(|(a, b)| a * b).sum::<f32>();
    items.sort_by(|a, b| dot(&b.1).total_cmp(&dot(&a.1)));
    let best = burnrec("recommend {} --user 7 -k 10 --include-seen --json", &[&mf]).json();
    let best: Vec<i64> = best["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["item"].as_i64().expect("an id"))
        .collect();
    assert_eq!(best, items[..10].iter().map(|item| item.0).collect::<Vec<_>>());
}

#[test]
fn settings_and_completions() {
    let als = config("als.toml");
    let shown = burnrec("check {} --set dim=17", &[&als]).ok();
    assert!(shown.contains("dim = 17") && shown.contains("solver = "), "{shown}");
    assert!(burnrec("completions bash", &[]).ok().contains("recommend"));
    assert_eq!(burnrec("train", &[]).code, Some(2));
}

#[test]
fn every_split_trains_and_is_judged() {
    let folder = Folder::new();
    let (raw, als) = (folder.path("raw"), config("als.toml"));
    burnrec("synth --users 120 --items 150 --rows 5000 --out {}", &[&raw]).ok();
    let splits = [
        ("leave-one-out --candidates 20", "20 drawn candidates"),
        ("random --valid 0.1 --test 0.2", "full ranking"),
        ("k-fold --folds 4 --fold 3", "full ranking"),
        ("temporal --valid-from 0.7 --test-from 0.9", "full ranking"),
        ("user-holdout --valid 10 --test 20", "full ranking"),
    ];
    for (k, (split, protocol)) in splits.into_iter().enumerate() {
        let (data, run) = (folder.path(&format!("data{k}")), folder.path(&format!("run{k}")));
        burnrec(&format!("prepare {{}} --out {{}} --split {split}"), &[&raw, &data]).ok();
        let line = "train {} --data {} --out {} --set dim=8 --set epochs=2 --json";
        let record = burnrec(line, &[&als, &data, &run]).json();
        assert_eq!(record["metrics"]["test"]["protocol"], protocol, "{split}");
        assert!(record["metrics"]["test"]["ndcg@10"]["value"].as_f64() > Some(0.0), "{split}");
    }
    let (data, run) = (folder.path("data4"), folder.path("neumf"));
    let refused = burnrec("train {} --data {} --out {}", &[&config("neumf.toml"), &data, &run]);
    refused.fails(&["fold users in", "als"]);
}

#[test]
fn files_that_bring_their_own_test() {
    let folder = Folder::new();
    let (mut train, mut test, mut negatives) = (String::new(), String::new(), String::new());
    for user in 0..20 {
        for k in 0..15 {
            train += &format!("{user}\t{}\t5\t{k}\n", (user * 7 + k * 10) % 150);
        }
        let held = (user * 7 + 5) % 150;
        test += &format!("{user}\t{held}\t5\t9\n");
        negatives +=
            &format!("({user},{held})\t{}\t{}\t{held}\n", (user * 7 + 1) % 150, (user * 7 + 2) % 150);
    }
    folder.file("toy.train.rating", train);
    folder.file("toy.test.rating", test);
    folder.file("toy.test.negative", negatives);
    let (data, run) = (folder.path("data"), folder.path("run"));
    let said = burnrec("prepare {} --format ncf --out {}", &[&folder.path("toy"), &data]);
    assert!(said.ok().contains("20"), "the dropped candidates are counted");
    let popularity = config("popularity.toml");
    let record = burnrec("train {} --data {} --out {} --json", &[&popularity, &data, &run]).json();
    assert_eq!(record["metrics"]["test"]["users"], 20);
    assert_eq!(record["metrics"]["test"]["protocol"], "2 drawn candidates");

    folder.file("u1.base", "1\t1\t5\t1\n1\t2\t4\t2\n2\t1\t3\t3\n2\t2\t3\t4\n2\t3\t3\t5\n1\t4\t2\t6\n");
    folder.file("u1.test", "1\t3\t5\t1\n2\t4\t4\t2\n");
    let (data, run) = (folder.path("fold"), folder.path("fold-run"));
    burnrec("prepare {} --out {}", &[&folder.path("u1.base"), &data]).ok();
    let line = "train {} --data {} --out {} --set dim=2 --set feedback=explicit --json";
    let record = burnrec(line, &[&config("als.toml"), &data, &run]).json();
    assert!(record["metrics"]["test"]["rmse"]["value"].as_f64() > Some(0.0), "{record}");

    // All of test is of a user without a training row: no rating is judged, and the model is kept.
    folder.file("u1.test", "9\t1\t5\t1\n9\t2\t4\t2\n");
    let (data, run) = (folder.path("cold"), folder.path("cold-run"));
    burnrec("prepare {} --out {}", &[&folder.path("u1.base"), &data]).ok();
    let line = "train {} --data {} --out {} --set dim=2 --set feedback=explicit";
    let said = burnrec(line, &[&config("als.toml"), &data, &run]).ok();
    assert!(said.contains("no rating of test is judged: all 2 are of users or items without"), "{said}");
    burnrec("recommend {} --user 1 -k 1", &[&run]).ok();
}
