use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::read::{Dropped, FileRead, Format, Reason};
use crate::split::TimePoint;
use crate::synth::{SynthConfig, synth};
use crate::tensors::{Tensor, TensorFile, write};
use crate::{Interactions, ItemIx, UserIx};

fn build(config: SplitConfig, seed: u64) -> Prepared {
    let dataset = synth(&SynthConfig::new(50, 160, 1_200, 2)).unwrap();
    let read = ReadSummary {
        format: Format::Csv,
        columns: vec!["user".into(), "item".into()],
        files: vec![FileRead { path: "ratings.csv".into(), bytes: 7, sha256: "00ff".into() }],
        rows: 1,
        dropped: vec![Dropped { reason: Reason::Number, rows: 1, example: "ratings.csv:2: found x".into() }],
    };
    let filters = Filters { min_item: 3, ..Filters::default() };
    Prepared::build(dataset, None, Some(read), &filters, &config, seed).unwrap()
}

const LEAVE_ONE_OUT: SplitConfig = SplitConfig::LeaveOneOut { candidates: Some(9) };

fn open_error(dir: &Path) -> String {
    Prepared::open(dir).unwrap_err().to_string()
}

#[test]
fn what_is_saved_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    for config in [
        LEAVE_ONE_OUT,
        SplitConfig::Random { valid: 0.1, test: 0.1 },
        SplitConfig::Temporal { valid_from: TimePoint::Quantile(0.8), test_from: TimePoint::Quantile(0.9) },
        SplitConfig::UserHoldout { valid_users: 5, test_users: 6, fold_in: 0.8 },
    ] {
        let prepared = build(config, 3);
        // Each save replaces the one before.
        prepared.save(dir.path()).unwrap();
        assert_eq!(Prepared::open(dir.path()).unwrap(), prepared);
    }
    let mut untitled = build(LEAVE_ONE_OUT, 3);
    untitled.titles = None;
    untitled.set_hashes();
    untitled.save(dir.path()).unwrap();
    assert_eq!(Prepared::open(dir.path()).unwrap().titles, None, "no titles of an earlier save");
}

#[test]
fn string_ids_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut dataset = synth(&SynthConfig::new(30, 40, 300, 2)).unwrap();
    let names: Vec<String> = (0..30).map(|row| format!("{row:02} né")).collect();
    dataset.users = Vocab::from_strs(names.iter().map(String::as_str));
    let config = SplitConfig::LeaveOneOut { candidates: None };
    let prepared = Prepared::build(dataset, None, None, &Filters::default(), &config, 1).unwrap();
    prepared.save(dir.path()).unwrap();
    assert_eq!(Prepared::open(dir.path()).unwrap(), prepared);
}

#[test]
fn the_hash_tells_seeds_apart_and_repeats_itself() {
    let hash = |seed| build(LEAVE_ONE_OUT, seed).manifest.hash;
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn the_summary_says_what_was_dropped_and_why() {
    let text = build(LEAVE_ONE_OUT, 1).manifest.to_string();
    for part in
        ["synthetic", "rows  ", "density", "dates   2000-", "too few rows", "left without a row", "test    "]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn other_formats_and_other_directories_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open_error(&dir.path().join("none")).contains("found nothing, expected a directory that"));
    assert!(open_error(dir.path()).contains("no manifest.json"));
    build(LEAVE_ONE_OUT, 1).save(dir.path()).unwrap();
    let path = dir.path().join("manifest.json");
    let manifest = fs::read_to_string(&path).unwrap();
    let refused = |from: &str, to: &str, message: &str| {
        assert!(manifest.contains(from), "{from} in {manifest}");
        fs::write(&path, manifest.replace(from, to)).unwrap();
        let error = open_error(dir.path());
        assert!(error.contains(message), "{error}");
    };
    refused("\"format\": 1", "\"format\": 2", "found format 2, expected format 1");
    refused("burnrec prepared data", "burnrec model", "kind \"burnrec model\"");
    refused("\"seed\"", "\"sead\"", "sead");
    refused("{", "", "manifest.json: found");
    fs::write(&path, &manifest).unwrap();
    Prepared::open(dir.path()).unwrap();
}

#[test]
fn damaged_files_are_refused() {
    let prepared = build(LEAVE_ONE_OUT, 1);
    let dir = tempfile::tempdir().unwrap();
    for file in ["split.safetensors", "vocab.safetensors", "titles.safetensors"] {
        prepared.save(dir.path()).unwrap();
        let path = dir.path().join(file);
        let bytes = fs::read(&path).unwrap();
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, flipped).unwrap();
        Prepared::open(dir.path()).expect_err("a flipped bit");
        fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        assert!(open_error(dir.path()).contains("a whole safetensors file"), "{file}");
        fs::remove_file(&path).unwrap();
        Prepared::open(dir.path()).expect_err("a file less");
    }
}

#[test]
fn parts_that_do_not_fit_are_refused_before_they_are_used() {
    let prepared = build(LEAVE_ONE_OUT, 1);
    let dir = tempfile::tempdir().unwrap();
    let outside = vec![prepared.items.len() as u32; 9 * prepared.split.test.len()];
    let cases: Vec<(&str, Tensor, &str)> = vec![
        ("train.users", Tensor::new(&[1], [0u32]), "columns that do not fit"),
        ("valid.users", Tensor::new(&[2], [1u32, 0]), "arrays that do not fit"),
        ("test.candidates.items", Tensor::new(&[outside.len()], outside), "out of range"),
        ("test.relevant.n_cols", Tensor::new(&[1], [1u64 << 40]), "arrays that do not fit"),
        ("test.relevant.offsets", Tensor::new(&[2], [0u64, 1]), "offsets that do not fit"),
        ("test.relevant.values", Tensor::new(&[1], [0u32]), "type"),
    ];
    for (name, tensor, message) in cases {
        prepared.save(dir.path()).unwrap();
        let path = dir.path().join("split.safetensors");
        let file = TensorFile::open(&path).unwrap();
        let mut tensors = vec![(name.to_owned(), tensor)];
        for other in file.names().into_iter().filter(|other| other != name) {
            tensors.push(copy(&file, other));
        }
        write(&path, &tensors).unwrap();
        let error = open_error(dir.path());
        assert!(error.contains(message), "{name}: {error}");
    }
}

#[test]
fn held_out_rows_have_their_times_and_data_of_before_has_the_same_hash_without_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("split.safetensors");
    for config in [
        SplitConfig::Random { valid: 0.1, test: 0.1 },
        LEAVE_ONE_OUT,
        SplitConfig::KFold { folds: 5, fold: 0 },
    ] {
        let prepared = build(config, 3);
        let rows = synth(&SynthConfig::new(50, 160, 1_200, 2)).unwrap();
        for holdout in [&prepared.split.valid, &prepared.split.test] {
            for (at, user) in holdout.users.iter().enumerate() {
                let times = holdout.relevant.times(at).expect("times");
                for (item, time) in holdout.relevant.row(at).0.iter().zip(times) {
                    let (users, items) = (&prepared.users, &prepared.items);
                    let is_row = |row: &usize| {
                        let (of, to) = (rows.interactions.users[*row], rows.interactions.items[*row]);
                        rows.users.id(of.0) == users.id(user.0) && rows.items.id(to.0) == items.id(*item)
                    };
                    let mut found = (0..rows.interactions.len()).filter(is_row);
                    assert!(found.any(|row| rows.interactions.times[row] == *time));
                }
            }
        }
        // The files as they were before the times were kept.
        prepared.save(dir.path()).unwrap();
        let file = TensorFile::open(&path).unwrap();
        let is_new = |name: &String| name.ends_with("relevant.ages") || name.ends_with("relevant.times");
        let (new, old): (Vec<String>, Vec<String>) = file.names().into_iter().partition(is_new);
        assert_eq!(new.len(), 4);
        let tensors: Vec<(String, Tensor)> = old.into_iter().map(|name| copy(&file, name)).collect();
        write(&path, &tensors).unwrap();
        assert!(open_error(dir.path()).contains("times of held-out rows with the hash none"));
        let manifest = PreparedManifest { held_out_times: None, ..prepared.manifest.clone() };
        let manifest = serde_json::to_vec(&manifest).unwrap();
        assert!(!String::from_utf8_lossy(&manifest).contains("held_out_times"));
        fs::write(dir.path().join("manifest.json"), manifest).unwrap();
        let before = Prepared::open(dir.path()).unwrap();
        assert_eq!(before.manifest.hash, prepared.manifest.hash);
        assert_eq!(before.split.test.relevant.order(), None);
        assert_eq!(before.split.test.relevant.values(), prepared.split.test.relevant.values());
    }
}

#[test]
fn times_of_held_out_rows_that_were_changed_are_refused() {
    let prepared = build(LEAVE_ONE_OUT, 3);
    let dir = tempfile::tempdir().unwrap();
    prepared.save(dir.path()).unwrap();
    let path = dir.path().join("split.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let name = "test.relevant.times".to_owned();
    let times = file.column::<i64>(&name).unwrap();
    let mut tensors: Vec<(String, Tensor)> =
        file.names().into_iter().filter(|other| *other != name).map(|name| copy(&file, name)).collect();
    tensors.push((name, Tensor::new(&[times.len()], times.iter().map(|time| time + 1))));
    write(&path, &tensors).unwrap();
    assert!(open_error(dir.path()).contains("times of held-out rows with the hash"));
}

fn copy(file: &TensorFile, name: String) -> (String, Tensor) {
    let tensor = if let Ok((shape, values)) = file.get::<u32>(&name) {
        Tensor::new(&shape, values)
    } else if let Ok((shape, values)) = file.get::<u64>(&name) {
        Tensor::new(&shape, values)
    } else if let Ok((shape, values)) = file.get::<i64>(&name) {
        Tensor::new(&shape, values)
    } else {
        let (shape, values) = file.get::<f32>(&name).unwrap();
        Tensor::new(&shape, values)
    };
    (name, tensor)
}

#[test]
fn a_directory_with_something_else_is_left_alone() {
    let prepared = build(LEAVE_ONE_OUT, 1);
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("thesis.tex");
    fs::write(&other, "years of work").unwrap();
    let error = prepared.save(dir.path()).unwrap_err().to_string();
    assert!(error.contains("thesis.tex"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(prepared.save(&other).unwrap_err().to_string().contains("found a file"));
    fs::remove_file(&other).unwrap();
    let model = "{\"kind\": \"burnrec model\", \"format\": 1}";
    fs::write(dir.path().join("manifest.json"), model).unwrap();
    assert!(prepared.save(dir.path()).unwrap_err().to_string().contains("of another kind"));
    assert_eq!(fs::read_to_string(dir.path().join("manifest.json")).unwrap(), model);
}

/// Fills the disk in a second process, which may write files of 8 blocks only.
#[test]
fn a_full_disk_is_a_clear_error_and_changes_nothing() {
    const DIR: &str = "BURNREC_TEST_FULL_DISK";
    if let Some(dir) = std::env::var_os(DIR) {
        for target in ["new", "old"] {
            let dir = Path::new(&dir).join(target);
            let error = build(LEAVE_ONE_OUT, 1).save(&dir).unwrap_err().to_string();
            assert!(error.contains("cannot write") && error.contains("split.safetensors"), "{error}");
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let old = build(LEAVE_ONE_OUT, 2);
    old.save(&dir.path().join("old")).unwrap();
    let child = Command::new("sh")
        .args(["-c", "ulimit -f 8; trap '' XFSZ; exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("prepared::tests::a_full_disk_is_a_clear_error_and_changes_nothing")
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
    assert!(!dir.path().join("new").exists());
    assert_eq!(Prepared::open(&dir.path().join("old")).unwrap(), old);
    assert_eq!(fs::read_dir(dir.path().join("old")).unwrap().count(), 4, "no file too many");
}

#[test]
fn files_with_a_test_need_the_given_protocol_and_no_filter() {
    let mut dataset = synth(&SynthConfig::new(50, 160, 1_200, 2)).unwrap();
    let mut test = Interactions::default();
    dataset.interactions.items[0] = ItemIx(0);
    test.push(UserIx(0), ItemIx(0), 3.0, 1);
    let build = |filters: &Filters, config: &SplitConfig| {
        let given = GivenSplit::Fold { test: test.clone() };
        Prepared::build(dataset.clone(), Some(given), None, filters, config, 1)
    };
    let given = SplitConfig::Given {};
    build(&Filters::default(), &given).unwrap();
    let error = |result: Result<Prepared>| result.unwrap_err().to_string();
    let filters = Filters { min_user: 2, ..Filters::default() };
    assert!(error(build(&filters, &given)).contains("as it stands"));
    assert!(error(build(&Filters::default(), &LEAVE_ONE_OUT)).contains("no --split"));
    let without = Prepared::build(dataset.clone(), None, None, &Filters::default(), &given, 1);
    assert!(error(without).contains("bring no test"));
}

#[test]
fn matrices_have_the_order_of_the_times_where_there_are_times() {
    let mut prepared = build(LEAVE_ONE_OUT, 3);
    let Split { train, valid_rows, .. } = prepared.split.clone();
    let [train, valid] = [&train, &valid_rows].map(|rows| prepared.matrix(rows, true));
    assert_eq!(prepared.matrix(&prepared.split.train, false).order(), None);
    let n_users = train.n_rows();
    let both = train.union(&valid, 0..n_users);
    for (row, user) in prepared.split.valid.users.iter().enumerate() {
        let history = both.history(user.at());
        let newest = history.last().unwrap().col;
        assert_eq!(
            newest,
            prepared.split.valid.relevant.row(row).0[0],
            "the row of valid is the newest of {user:?}"
        );
        assert_eq!(history[..history.len() - 1], train.history(user.at()));
    }
    prepared.split.train.times.fill(0);
    prepared.split.valid_rows.times.fill(0);
    assert_eq!(prepared.matrix(&prepared.split.train, true).order(), None, "no times");
}

#[test]
fn users_to_fold_in_have_histories_in_order() {
    let config = SplitConfig::UserHoldout { valid_users: 5, test_users: 6, fold_in: 0.8 };
    let dir = tempfile::tempdir().unwrap();
    build(config, 3).save(dir.path()).unwrap();
    let split = Prepared::open(dir.path()).unwrap().split;
    for holdout in [split.valid, split.test] {
        let times = |row| holdout.history.history(row).iter().map(|entry| entry.time).collect::<Vec<_>>();
        let mut rows = (0..holdout.len()).map(times);
        assert!(rows.all(|times| times.is_sorted() && times.iter().all(Option::is_some)));
    }
}
