//! What values and repeated rows mean: `prepare` says it, and models of implicit feedback refuse negative values.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use burnrec::data::filter::ValueRange;
use burnrec::data::table::{TableColumn, write_table};
use burnrec::models::als::Convention;
use burnrec::models::nn::loss::Loss;
use burnrec::{
    AlsConfig, DeviceChoice, Duplicates, Filters, GmfConfig, MfConfig, MlpConfig, NeumfConfig,
    PopularityConfig, PrepareOptions, Prepared, TrainConfig, Training,
};
use common::{Folder, burnrec};

/// Rows of plays: user, item, count and time. Ann plays item 10 three times, twice at time 5; two counts are negative.
const PLAYS: [(i64, i64, f32, i64); 13] = [
    (1, 10, 4.0, 5),
    (1, 11, -2.0, 6),
    (1, 10, 7.0, 2),
    (1, 12, 3.0, 7),
    (1, 13, 2.0, 8),
    (1, 10, -0.5, 5),
    (2, 10, 1.0, 1),
    (2, 11, 2.0, 2),
    (2, 12, 3.0, 3),
    (2, 14, 4.0, 4),
    (3, 11, 5.0, 1),
    (3, 12, 6.0, 2),
    (3, 13, 7.0, 3),
];

/// Writes the rows to a file, CSV or Parquet by its name.
fn plays(path: &Path) {
    let columns = [
        ("user", TableColumn::I64(PLAYS.map(|row| row.0).to_vec())),
        ("item", TableColumn::I64(PLAYS.map(|row| row.1).to_vec())),
        ("plays", TableColumn::F32(PLAYS.map(|row| row.2).to_vec())),
        ("time", TableColumn::I64(PLAYS.map(|row| row.3).to_vec())),
    ];
    write_table(path, &columns).expect("a table");
}

fn prepared(path: &Path, duplicates: Duplicates, positive_from: Option<f32>) -> Prepared {
    let filters = Filters { duplicates, positive_from, ..Filters::default() };
    burnrec::prepare(path, &PrepareOptions { filters, ..PrepareOptions::default() }).expect("prepared")
}

/// Returns the value of each user and item, in whatever part of the split the row is.
fn values(data: &Prepared) -> BTreeMap<(String, String), f32> {
    let id = |user: u32, item: u32| (data.users.id(user).to_string(), data.items.id(item).to_string());
    let (split, mut values) = (&data.split, BTreeMap::new());
    for rows in [&split.train, &split.valid_rows] {
        for ((user, item), value) in rows.users.iter().zip(&rows.items).zip(&rows.values) {
            values.insert(id(user.0, item.0), *value);
        }
    }
    for (row, user) in split.test.users.iter().enumerate() {
        let (items, relevant) = split.test.relevant.row(row);
        values.extend(items.iter().zip(relevant).map(|(&item, &value)| (id(user.0, item), value)));
    }
    values
}

fn of(values: &BTreeMap<(String, String), f32>, user: &str, item: &str) -> Option<f32> {
    values.get(&(user.to_owned(), item.to_owned())).copied()
}

#[test]
fn repeated_rows_are_joined_by_the_rule_asked_for() {
    let folder = Folder::new();
    for name in ["plays.csv", "plays.parquet"] {
        let path = folder.path(name);
        plays(&path);
        for (rule, expected) in [
            (Duplicates::Last, -0.5),
            (Duplicates::First, 7.0),
            (Duplicates::Sum, 10.5),
            (Duplicates::Mean, 3.5),
            (Duplicates::Max, 7.0),
        ] {
            let data = prepared(&path, rule, None);
            let values = values(&data);
            assert_eq!(of(&values, "1", "10"), Some(expected), "{rule} of {name}");
            assert_eq!((values.len(), of(&values, "3", "12")), (11, Some(6.0)));
            assert_eq!((data.manifest.filtered.rows, data.manifest.filtered.repeated), (13, 2));
            let range = ValueRange { least: -2.0, greatest: 7.0, negative: 2 };
            assert_eq!(data.manifest.filtered.values, Some(range));
        }
    }
}

#[test]
fn prepare_says_what_happens_to_values_and_repeats() {
    let folder = Folder::new();
    let (file, out) = (folder.path("plays.csv"), folder.path("out"));
    plays(&file);
    let said = burnrec("prepare {} --out {}", &[&file, &out]).ok();
    for line in [
        "values  -2 to 7, 2 of them negative\n",
        "refuse negative values; --positive-from says which rows are positives\n",
        "repeats 2 rows of a user and item that have another row; the last by time counts\n",
    ] {
        assert!(said.contains(line), "{line:?} in {said}");
    }
    let said = burnrec("prepare {} --out {} --duplicates mean --positive-from -1", &[&file, &out]).ok();
    for line in [
        "        from -1 on a row is a positive and its value is 1\ndropped 1 rows with a value below -1\n",
        "repeats 2 rows of a user and item that have another row; the mean of their values counts, at the last time\n",
        "        3 of 13 rows dropped in all\n",
    ] {
        assert!(said.contains(line), "{line:?} in {said}");
    }
    let path = out.join("manifest.json");
    let text = std::fs::read_to_string(&path).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(manifest["filters"]["duplicates"], "mean");
    assert_eq!(manifest["filters"]["positive_from"], -1.0);
    assert_eq!(manifest["filtered"]["values"]["negative"], 2);
    assert_eq!(manifest["filtered"]["not_positive"], 1);
    let opened = values(&Prepared::open(&out).expect("prepared data"));
    assert!(opened.len() == 10 && opened.values().all(|value| *value == 1.0), "{opened:?}");
    // As they were called before.
    let old =
        text.replace("\"positive_from\"", "\"threshold\"").replace("\"not_positive\"", "\"below_threshold\"");
    std::fs::write(&path, old).expect("written");
    assert_eq!(Prepared::open(&out).expect("prepared data").manifest.filters.positive_from, Some(-1.0));
    let refused = burnrec("prepare {} --out {} --duplicates least", &[&file, &out]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("last, first, sum, mean or max"), "{}", refused.stderr);
    let large = folder.file("large.csv", "user,item,plays\n1,10,3e38\n2,11,1\n1,10,3e38\n");
    burnrec("prepare {} --out {} --duplicates sum", &[&large, &out]).fails(&["user 1 and item 10", "inf"]);
}

fn train(data: &Prepared, config: impl Into<TrainConfig>) -> burnrec::Result<()> {
    let mut config = config.into();
    config.run.epochs = 1;
    Training::new(config).device(DeviceChoice::Cpu).run(data).map(drop)
}

#[test]
fn models_of_implicit_feedback_refuse_negative_values() {
    let folder = Folder::new();
    let path = folder.path("plays.csv");
    plays(&path);
    let data = prepared(&path, Duplicates::Sum, None);
    let configs = |data: &Prepared| {
        let losses = [Loss::Bce, Loss::Bpr, Loss::Softmax];
        let mut results = vec![
            ("popularity", train(data, PopularityConfig {})),
            ("als", train(data, AlsConfig::default())),
            ("gmf", train(data, GmfConfig::default())),
            ("mlp", train(data, MlpConfig::default())),
            ("neumf", train(data, NeumfConfig::default())),
        ];
        results.extend(losses.map(|loss| ("mf", train(data, MfConfig { loss, ..MfConfig::default() }))));
        results
    };
    for (kind, result) in configs(&data) {
        let error = result.expect_err(kind).to_string();
        let expected = format!(
            "model {kind}: found 1 rows with a negative value, the least -2, the first -2 of user 1 and item 11, \
             expected values of at least 0, as the model counts each row as a positive; prepare the data with \
             `--positive-from VALUE`, or train a model of ratings"
        );
        assert_eq!(error, expected);
    }
    for (kind, result) in configs(&prepared(&path, Duplicates::Sum, Some(0.0))) {
        result.unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[test]
fn negative_values_of_held_out_rows_are_refused_too() {
    let folder = Folder::new();
    let path = folder.file(
        "plays.csv",
        "user,item,plays,time\n1,10,1,1\n1,11,2,2\n1,12,-3,3\n2,10,1,1\n2,11,1,2\n2,13,-4,3\n",
    );
    let data = prepared(&path, Duplicates::Last, None);
    assert!(data.split.train.values.iter().chain(&data.split.valid_rows.values).all(|&value| value > 0.0));
    let error = train(&data, PopularityConfig {}).expect_err("refused").to_string();
    assert!(
        error
            .contains("found 2 rows with a negative value, the least -4, the first -3 of user 1 and item 12"),
        "{error}"
    );
}

#[test]
fn models_that_have_a_meaning_for_negative_values_take_them() {
    let folder = Folder::new();
    let mut text = "user,item,rating,time\n".to_owned();
    for (user, time) in (0..4).flat_map(|user| (0..5).map(move |time| (user, time))) {
        text += &format!("{user},{},{},{time}\n", (user + time) % 5, time - 2);
    }
    let data = prepared(&folder.file("ratings.csv", text), Duplicates::Last, None);
    train(&data, AlsConfig::explicit()).expect("ratings");
    train(&data, MfConfig { loss: Loss::Mse, ..MfConfig::default() }).expect("ratings");
    // They weigh a row by the size of its value; one that is not over 0 is no like.
    train(&data, AlsConfig::implicit(Convention::Implicit)).expect("weights");
    train(&data, AlsConfig::implicit(Convention::Spark)).expect("weights");
}
