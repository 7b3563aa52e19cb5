//! Directories are written and read again. `python/tests/interchange/` holds both to Spark itself.

use std::collections::BTreeMap;
use std::path::Path;

use burnrec::data::table::{TableColumn, write_table};
use burnrec::data::{ItemIx, Vocab};
use burnrec::interchange::spark::{SparkAls, default_settings, import, write_spark_als};
use burnrec::models::als::Feedback;
use burnrec::{AlsConfig, Dataset, Query, Recommender};
use serde_json::{Value, json};

use crate::{ratings, small, small_of};

const ALS: &str = "model = 'als'\ndim = 4\nepochs = 2";
const MF: &str = "model = 'mf'\ndim = 4\nepochs = 2";

/// Returns the lists of all users, by id, as ids of items with scores.
fn lists(run: &Recommender, query: &Query) -> BTreeMap<String, Vec<(String, f32)>> {
    let users = run.trained().users();
    let item = |&(item, score): &(ItemIx, f32)| (run.items.vocab().id(item.0).to_string(), score);
    let all = run.top_rows(users, query).expect("lists");
    let all = all.iter().map(|list| list.iter().map(item).collect());
    users.iter().map(|user| run.users.vocab().id(user.0).to_string()).zip(all).collect()
}

/// Checks that two runs have the same users and scores, and the same items but where scores tie within a rounding.
fn recommend_alike(a: &Recommender, b: &Recommender, query: &Query) {
    let (a, b) = (lists(a, query), lists(b, query));
    assert!(!a.is_empty() && a.keys().eq(b.keys()));
    let (mut same, mut all) = (0, 0);
    for ((user, ours), theirs) in a.iter().zip(b.values()) {
        assert_eq!(ours.len(), theirs.len());
        for ((item, score), (other, found)) in ours.iter().zip(theirs) {
            assert!(
                (score - found).abs() <= 1e-5 * score.abs().max(1.0),
                "{score} and {found} of user {user}"
            );
            same += usize::from(item == other);
            all += 1;
        }
    }
    assert!(same * 1000 >= all * 995, "{same} of {all} items are in the same place");
}

fn metadata(dir: &Path) -> Value {
    let text = std::fs::read_to_string(dir.join("metadata/part-00000")).expect("metadata");
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn what_is_written_recommends_the_same_when_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, config, rank) in [
        ("als", ALS, 4),
        ("mf", MF, 6),
        ("biases", "model = 'als'\ndim = 4\nepochs = 2\nfeedback = 'explicit'\nbiases = true", 6),
    ] {
        let (run, dir) = (small(config), folder.path().join(name));
        let written = write_spark_als(&run, &dir).expect("a directory");
        assert_eq!((written.rank, written.renumbered.len()), (rank, 0));
        let line = metadata(&dir);
        assert_eq!((&line["rank"], &line["uid"]), (&json!(rank), &json!(written.uid)));
        assert_eq!(written.uid.contains("_rank4_plus_2_for_biases_"), rank == 6, "{}", written.uid);
        let read = import(&dir, default_settings(), None).expect("a model");
        assert_eq!((read.kind(), read.trained().users().len()), ("als", written.n_users));
        recommend_alike(&run, &read, &Query::top(40).include_seen());

        let saved = folder.path().join(format!("{name}-run"));
        read.save(&saved).expect("a run");
        recommend_alike(&run, &Recommender::open(&saved).expect("a run"), &Query::top(40).include_seen());
        assert!(write_spark_als(&run, &dir).is_err(), "what is there stays");
    }
}

#[test]
fn histories_and_titles_come_from_the_ratings() {
    let folder = tempfile::tempdir().expect("a folder");
    // Without valid and test rows, which the run knows as well.
    let (dir, all) = (folder.path().join("als"), ratings());
    let run = small(ALS);
    write_spark_als(&run, &dir).expect("a directory");
    let read = import(&dir, default_settings(), Some(&all)).expect("a model");
    assert_eq!(read.seen.nnz(), all.interactions.len());
    assert_eq!(read.data.name, all.name);
    let item = read.items.vocab().id(3).to_string();
    assert_eq!(read.title(read.item(&item).expect("known")), run.title(run.item(&item).expect("known")));
    let user = read.users.vocab().id(0).to_string();
    let had = read.seen.row(0).0.len();
    assert_eq!(read.recommend(&user, 40).expect("items").len(), read.items.vocab().len() - had);

    let few = Dataset { interactions: all.interactions.select(&[0]), ..all };
    let error = import(&dir, default_settings(), Some(&few)).err().expect("too few rows").to_string();
    assert!(error.starts_with("ratings: found no row of user"), "{error}");
}

#[test]
fn ids_that_spark_does_not_take_are_numbered_and_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = |vocab: &Vocab| -> Vec<String> {
        (0..vocab.len() as u32).map(|row| format!("u{}", vocab.id(row))).collect()
    };
    let small = ratings();
    let users = text(&small.users);
    let long: Vec<i64> = (0..small.items.len() as i64).map(|row| row + 5_000_000_000).collect();
    let (users, items) = (Vocab::from_strs(users.iter().map(String::as_str)), Vocab::from_ints(long));
    let run = small_of(Dataset { users, items, ..small }, ALS);
    let dir = folder.path().join("als");
    let written = write_spark_als(&run, &dir).expect("a directory");
    assert_eq!(written.renumbered, ["user", "item"]);
    let read = SparkAls::read(&dir).expect("a model");
    assert_eq!((&read.users, &read.items), (run.users.vocab(), run.items.vocab()));
    recommend_alike(
        &run,
        &import(&dir, default_settings(), None).expect("a model"),
        &Query::top(40).include_seen(),
    );

    // Without the folder the numbers are the ids.
    std::fs::remove_dir_all(dir.join("userIds")).expect("removed");
    let numbers = Vocab::Int((0..written.n_users as i64).collect());
    assert_eq!(SparkAls::read(&dir).expect("a model").users, numbers);
    // A number without an id.
    let column = [("id", TableColumn::I32(vec![0])), ("item", TableColumn::Str(vec!["x".into()]))];
    write_table(&dir.join("itemIds/part-00000.parquet"), &column).expect("a file");
    let error = SparkAls::read(&dir).expect_err("a gap").to_string();
    assert!(error.contains("itemIds: found no item of number 1"), "{error}");
}

/// Writes a directory as Spark might, of two users and one item.
fn by_hand(dir: &Path, line: &str) {
    let folder = dir.join("metadata");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("_SUCCESS"), "").expect("a file");
    std::fs::write(folder.join(".part-00000.crc"), [7]).expect("a file");
    std::fs::write(folder.join("part-00000-x.txt"), line).expect("a file");
    let part = |file: &str, ids: Vec<i32>, values: Vec<f32>| {
        let columns = [("id", TableColumn::I32(ids)), ("features", TableColumn::F32List { dim: 2, values })];
        write_table(&dir.join(file), &columns).expect("a file");
    };
    part("userFactors/part-00001.parquet", vec![-3], vec![1.0, 2.0]);
    part("userFactors/part-00000.parquet", vec![7], vec![3.0, 4.0]);
    part("itemFactors/part-00000.parquet", vec![9], vec![5.0, 6.0]);
    std::fs::write(dir.join("itemFactors/_SUCCESS"), "").expect("a file");
}

const LINE: &str = r#"{"class":"org.apache.spark.ml.recommendation.ALSModel","sparkVersion":"4.0.1","uid":"ALS_1","paramMap":{},"defaultParamMap":{},"rank":2}"#;

#[test]
fn files_of_any_number_and_order_are_read_also_in_a_pipeline() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("stages/1_ALS_1");
    by_hand(&model, LINE);
    let read = SparkAls::read(&model).expect("a model");
    assert_eq!((read.uid.as_str(), read.spark_version.as_str(), read.rank), ("ALS_1", "4.0.1", 2));
    assert_eq!((read.users, read.user_factors), (Vocab::Int(vec![-3, 7]), vec![1.0, 2.0, 3.0, 4.0]));
    let error = SparkAls::read(folder.path()).expect_err("no metadata").to_string();
    assert!(error.contains("found no folder metadata"), "{error}");
    std::fs::create_dir_all(folder.path().join("metadata")).expect("a folder");
    std::fs::write(folder.path().join("metadata/part-0"), r#"{"class":"org.apache.spark.ml.PipelineModel"}"#)
        .expect("a file");
    let run = import(folder.path(), AlsConfig { feedback: Feedback::Implicit, ..default_settings() }, None)
        .expect("a model");
    assert_eq!(run.recommend(7, 1).expect("an item")[0].score, 3.0 * 5.0 + 4.0 * 6.0);
    assert!(run.fold_in(&[(9, 1.0)]).is_ok(), "new users are folded in");
}

#[test]
fn what_is_no_model_is_refused_with_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = |line: &str| {
        by_hand(folder.path(), line);
        import(folder.path(), default_settings(), None).err().expect("refused").to_string()
    };
    for (line, expected) in [
        (LINE.replace("ALSModel", "ALS"), "class \"org.apache.spark.ml.recommendation.ALS\""),
        (LINE.replace("\"rank\":2", "\"rank\":3"), "found 2 numbers in \"features\" of row 1, expected 3"),
        (LINE.replace("\"rank\":2", "\"rank\":0"), "found rank 0"),
        (LINE.replace(",\"rank\":2", ""), "found no \"rank\""),
        ("{".to_owned(), "expected a line of JSON"),
        (String::new(), "found no line of metadata"),
    ] {
        let error = error(&line);
        assert!(error.contains(expected), "{error}");
    }
    by_hand(folder.path(), LINE);
    let biased = AlsConfig { biases: true, ..default_settings() };
    assert!(import(folder.path(), biased, None).err().expect("refused").to_string().starts_with("biases"));
    let columns = [
        ("id", TableColumn::I32(vec![7])),
        ("features", TableColumn::F32List { dim: 2, values: vec![f32::NAN, 0.0] }),
    ];
    write_table(&folder.path().join("userFactors/part-00001.parquet"), &columns).expect("a file");
    assert!(
        SparkAls::read(folder.path())
            .expect_err("NaN")
            .to_string()
            .contains("found NaN in \"features\" of row 1")
    );
    let columns = [
        ("id", TableColumn::I32(vec![7])),
        ("features", TableColumn::F32List { dim: 2, values: vec![1.0, 0.0] }),
    ];
    write_table(&folder.path().join("userFactors/part-00001.parquet"), &columns).expect("a file");
    assert!(
        SparkAls::read(folder.path()).expect_err("a repeat").to_string().contains("found 2 rows of 1 users")
    );
}
