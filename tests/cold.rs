//! Users and items without a training row count as unknown, in every command.

mod common;

use std::path::{Path, PathBuf};

use common::{Folder, burnrec};

/// Ratings of users 1 to 6 for items 1 to 8; user 9 and item 77 are in test alone.
fn prepared(folder: &Folder) -> PathBuf {
    let mut base = String::new();
    for user in 1..=6 {
        for item in (1..=8).filter(|item| (user + item) % 3 != 0) {
            base += &format!("{user}\t{item}\t{}\t{item}\n", 1 + (user * item) % 5);
        }
    }
    folder.file("u1.base", base);
    folder.file("u1.test", "1\t2\t5\t9\n1\t77\t4\t9\n9\t1\t5\t9\n9\t8\t2\t9\n");
    let data = folder.path("data");
    burnrec("prepare {} --out {}", &[&folder.path("u1.base"), &data]).ok();
    data
}

fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name)
}

/// Returns the fields of a CSV file, line by line, without its head.
fn lines(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).expect("a file");
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn rows_without_training_count_as_unknown() {
    let folder = Folder::new();
    let data = prepared(&folder);
    let runs = [
        ("explicit", "als.toml", "--set dim=4 --set epochs=3 --set feedback=explicit"),
        ("implicit", "als.toml", "--set dim=4 --set epochs=3"),
        ("mf", "mf.toml", "--set dim=4 --set epochs=1 --device cpu"),
    ];
    let pairs = folder.file("pairs.csv", "user,item\n1,3\n1,77\n9,1\n9,77\n12,1\n2,2\n");
    for (name, file, settings) in runs {
        let run = folder.path(name);
        let line = format!("train {{}} --data {{}} --out {{}} {settings} --json");
        let record = burnrec(&line, &[&config(file), &data, &run]).json();

        let scored = folder.path(&format!("{name}-scored.csv"));
        let said = burnrec("score {} --pairs {} --out {}", &[&run, &pairs, &scored]).ok();
        assert!(said.contains("6 pairs, 4 of them with NaN"), "{said}");
        let scores: Vec<f64> =
            lines(&scored).iter().map(|line| line[2].parse().unwrap_or(f64::NAN)).collect();
        let is_there: Vec<bool> = scores.iter().map(|score| score.is_finite()).collect();
        assert_eq!(is_there, [true, false, false, false, false, true], "{name}: {scores:?}");

        let all = folder.path(&format!("{name}-all.csv"));
        let said = burnrec("recommend {} --all -k 99 --include-seen --out {}", &[&run, &all]).ok();
        assert!(
            said.contains("48 recommendations for 6 users, without 1 that have no training row"),
            "{said}"
        );
        let all = lines(&all);
        assert!(all.iter().all(|line| line[0] != "9" && line[2] != "77"), "{name}: {all:?}");

        burnrec("recommend {} --user 9", &[&run]).fails(&["user \"9\" has no training row", "6 users"]);
        burnrec("recommend {} --user 1 --only 77", &[&run]).fails(&["item \"77\" has no training row"]);
        burnrec("similar {} --item 77", &[&run]).fails(&["item \"77\" has no training row"]);
        let similar = burnrec("similar {} --item 3 -k 99 --json", &[&run]).json();
        assert_eq!(similar["items"].as_array().map(Vec::len), Some(7), "{name}: {similar}");

        let exported = folder.path(&format!("{name}-exported"));
        let said = burnrec("export {} --out {}", &[&run, &exported]).ok();
        assert!(said.contains("6 rows of") && said.contains("8 rows of"), "{said}");

        let again = burnrec("evaluate {} --json", &[&run]).json();
        assert_eq!(again, record["metrics"]["test"], "{name}");
    }
}

#[test]
fn a_user_without_training_rows_is_judged_by_popularity() {
    let folder = Folder::new();
    prepared(&folder);
    folder.file("u2.base", std::fs::read_to_string(folder.path("u1.base")).expect("a file"));
    folder.file("u2.test", "9\t1\t5\t9\n9\t8\t2\t9\n");
    let cold = folder.path("cold");
    burnrec("prepare {} --out {}", &[&folder.path("u2.base"), &cold]).ok();
    let metrics = |name: &str, file: &str, settings: &str| {
        let line = format!("train {{}} --data {{}} --out {{}} {settings} --json");
        burnrec(&line, &[&config(file), &cold, &folder.path(name)]).json()["metrics"]["test"].take()
    };
    let popularity: serde_json::Value = metrics("popularity", "popularity.toml", "");
    let als = metrics("als", "als.toml", "--set dim=4 --set epochs=2");
    assert!(popularity["ndcg@10"]["value"].as_f64() > Some(0.0), "{popularity}");
    assert_eq!(als, popularity);
}
