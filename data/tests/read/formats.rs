//! Every format, as its makers write it.

use std::io::Write;

use burnrec_data::read::{Columns, Format, OnBadRow, Pairs, Quotes, ReadOptions, Reason, read, read_pairs};
use burnrec_data::split::GivenSplit;
use burnrec_data::{Id, ItemIx, Vocab};

use crate::{file, folder, shown, take};

#[test]
fn ml_100k_with_titles_in_latin_1() {
    let folder = folder(&[
        ("u.data", b"196\t242\t3\t881250949\n186\t302\t4\t891717742\n"),
        ("u.item", b"242|Kolya (1996)|24-Jan-1997||x|0\n302|Mis\xe9rables, Les (1995)|x||y|1\n7|Other|||\n"),
    ]);
    for path in [folder.path().to_owned(), folder.path().join("u.data")] {
        let outcome = take(&path);
        assert_eq!(outcome.summary.format, Format::Ml100k);
        assert_eq!(
            shown(&outcome.dataset, &outcome.dataset.interactions),
            ["196 242 3 881250949", "186 302 4 891717742"]
        );
        let titles = outcome.dataset.titles.unwrap();
        assert_eq!(titles.0, ["Kolya (1996)", "Mis\u{e9}rables, Les (1995)"]);
        assert_eq!(outcome.summary.files.len(), 2);
        assert_eq!(outcome.summary.files[0].bytes, 40);
        assert_eq!(
            outcome.summary.files[0].sha256,
            burnrec_data::hash::file(&folder.path().join("u.data")).unwrap()
        );
    }
}

#[test]
fn a_fold_brings_its_test_rows() {
    let folder = folder(&[
        ("d/u1.base", b"1\t10\t5\t1\n2\t20\t4\t2\n"),
        ("d/u1.test", b"3\t30\t1\t3\n1\t20\t2\t4\n"),
        ("d/u.item", b"30|Thirty|\n"),
    ]);
    for name in ["d/u1.base", "d/u1"] {
        let outcome = take(folder.path().join(name));
        let dataset = &outcome.dataset;
        assert_eq!(dataset.name, "d-u1");
        assert_eq!(shown(dataset, &dataset.interactions), ["1 10 5 1", "2 20 4 2"]);
        let Some(GivenSplit::Fold { test }) = &outcome.given else { panic!("a fold") };
        assert_eq!(shown(dataset, test), ["3 30 1 3", "1 20 2 4"]);
        assert_eq!(dataset.titles.as_ref().unwrap().get(ItemIx(2)), Some("Thirty"));
        assert_eq!(outcome.summary.rows, 4);
    }
}

#[test]
fn folders_of_a_split_bring_it() {
    let train: (&str, &[u8]) = ("d/split=train/part-0.csv", b"user,item,value\n1,10,5\n2,20,4\n");
    let valid: (&str, &[u8]) = ("d/split=valid/part-0.csv", b"user,item,value\n2,10,3\n");
    let test: (&str, &[u8]) = ("d/split=test/part-0.csv", b"user,item,value\n3,30,1\n1,20,2\n");
    let found = folder(&[test, train, valid]);
    let outcome = take(found.path().join("d"));
    let dataset = &outcome.dataset;
    assert_eq!(shown(dataset, &dataset.interactions), ["1 10 5 0", "2 20 4 0"]);
    let Some(GivenSplit::Parts { valid: held, test: rows }) = &outcome.given else { panic!("a split") };
    assert_eq!(shown(dataset, held), ["2 10 3 0"]);
    assert_eq!(shown(dataset, rows), ["3 30 1 0", "1 20 2 0"]);

    let elsewhere: (&str, &[u8]) = ("d/part-0.csv", b"user,item,value\n1,2,3\n");
    for some in [&[train, test][..], &[train, valid, test, elsewhere]] {
        let found = folder(some);
        let error = read(&found.path().join("d"), &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("split=train, split=valid, split=test and nowhere else"), "{error}");
    }
}

#[test]
fn ml_1m_and_movie_tweetings_with_colons_in_titles() {
    let folder = folder(&[
        ("ratings.dat", b"1::0120735::9::1363245118\r\n2::2592910::3.5::1362901837\r\n"),
        (
            "movies.dat",
            "0120735::Mission: Impossible :: II::Action\n2592910::Amélie\n::x::\n"
                .replace("Amélie\n", "Amélie::Comedy\n")
                .as_bytes(),
        ),
    ]);
    let outcome = take(folder.path());
    assert_eq!(outcome.summary.format, Format::Ml1m);
    let dataset = outcome.dataset;
    assert_eq!(dataset.items, Vocab::from_strs(["0120735", "2592910"]));
    assert_eq!(dataset.users, Vocab::Int(vec![1, 2]));
    assert_eq!(dataset.titles.unwrap().0, ["Mission: Impossible :: II", "Amélie"]);
    assert_eq!(dataset.interactions.values, [9.0, 3.5]);
}

#[test]
fn ml_csv_with_quoted_titles_and_a_byte_order_mark() {
    let folder = folder(&[
        ("ratings.csv", b"\xef\xbb\xbfuserId,movieId,rating,timestamp\n1,2,4.0,964982703\n1,11,0.5,7\n"),
        ("movies.csv", b"movieId,title,genres\n11,\"American President, The \"\"x\"\" (1995)\",Drama\n2,Jumanji,Adventure\n"),
    ]);
    for path in [folder.path().to_owned(), folder.path().join("ratings.csv")] {
        let outcome = take(&path);
        assert_eq!(outcome.summary.format, Format::MlCsv);
        assert_eq!(outcome.summary.columns, ["userId", "movieId", "rating", "timestamp"]);
        assert_eq!(outcome.dataset.titles.unwrap().0, ["Jumanji", "American President, The \"x\" (1995)"]);
        assert_eq!(outcome.dataset.interactions.values, [4.0, 0.5]);
    }
}

#[test]
fn ncf_files_with_candidates_in_the_order_of_the_test_rows() {
    let folder = folder(&[
        ("ml.train.rating", b"0\t32\t4\t978824330\n1\t7\t3\t978824331\n"),
        ("ml.test.rating", b"0\t25\t5\t978824351\n1\t32\t5\t978300174\n"),
        ("ml.test.negative", b"(1,32)\t7\t99\t32\n(0,25)\t7\t25\t25\t5\n"),
    ]);
    for name in ["ml", "ml.train.rating", ""] {
        let outcome = take(folder.path().join(name));
        let dataset = &outcome.dataset;
        assert_eq!((outcome.summary.format, dataset.name.as_str()), (Format::Ncf, "ml"));
        assert_eq!(dataset.interactions.len(), 2);
        let Some(GivenSplit::Ncf { test, candidates }) = &outcome.given else { panic!("the paper's split") };
        assert_eq!(shown(dataset, test), ["0 25 5 978824351", "1 32 5 978300174"]);
        let ids = |row| candidates.row(row).iter().map(|item| dataset.items.id(item.0)).collect::<Vec<_>>();
        assert_eq!(ids(0), [Id::Int(7), Id::Int(5)]);
        assert_eq!(ids(1), [Id::Int(7), Id::Int(99)]);
        let dropped = &outcome.summary.dropped[0];
        assert_eq!((dropped.reason, dropped.rows), (Reason::CandidateIsTest, 3));
        assert!(dropped.example.contains("ml.test.negative:2: found the test item"), "{}", dropped.example);
        assert_eq!(outcome.summary.rows, 4);
    }
}

#[test]
fn columns_by_usual_names_by_name_and_by_number() {
    let (_folder, path) =
        file("x.csv", b"when,who,stars,what\n2020-01-02,\"a, b\",2,5000000000\n1970-01-01,c,3,-7\n");
    let columns = Columns {
        user: Some("who".into()),
        item: Some("what".into()),
        time: Some("when".into()),
        ..Columns::default()
    };
    let outcome = read(&path, &ReadOptions { columns, ..ReadOptions::default() }).unwrap();
    assert_eq!(outcome.summary.columns, ["who", "what", "stars", "when"]);
    let dataset = outcome.dataset;
    assert_eq!(shown(&dataset, &dataset.interactions), ["a, b 5000000000 2 1577923200", "c -7 3 0"]);

    let (_folder, path) = file("x.tsv", b"p\t9\tu1\nq\t8\tu2\n");
    let columns = Columns {
        user: Some("2".into()),
        item: Some("0".into()),
        value: Some("1".into()),
        ..Columns::default()
    };
    let dataset = read(&path, &ReadOptions { columns, ..ReadOptions::default() }).unwrap().dataset;
    assert_eq!(shown(&dataset, &dataset.interactions), ["u1 p 9 0", "u2 q 8 0"]);

    let (_folder, path) = file("plain.txt", b"u1,10\n u2 , 11 \n\n");
    let dataset = take(&path).dataset;
    assert_eq!(dataset.name, "plain");
    assert_eq!(shown(&dataset, &dataset.interactions), ["u1 10 1 0", "u2 11 1 0"]);
}

#[test]
fn part_files_of_a_directory_in_the_order_of_their_names() {
    let folder = folder(&[
        ("out/part-1.csv", b"item,user\n5,x\n"),
        ("out/part-0.csv", b"user,item,rating\n3,4,2\n"),
        ("out/part-2.csv", b""),
        ("out/_SUCCESS", b""),
        ("out/.part-0.csv.crc", b"junk"),
    ]);
    let outcome = take(folder.path().join("out"));
    assert_eq!((outcome.summary.format, outcome.dataset.name.as_str()), (Format::Csv, "out"));
    assert_eq!(shown(&outcome.dataset, &outcome.dataset.interactions), ["3 4 2 0", "x 5 1 0"]);
    assert_eq!(outcome.summary.files.len(), 3);
}

#[test]
fn titles_from_any_table() {
    let folder = folder(&[
        ("r.csv", b"user,item\n1,b\n1,a\n"),
        ("t.tsv", b"year\tname\tasin\n1999\tThe \"A\"\ta\n2000\t\"B\tb\n"),
    ]);
    let titles = Some(folder.path().join("t.tsv"));
    let options = ReadOptions { titles, ..ReadOptions::default() };
    let dataset = read(&folder.path().join("r.csv"), &options).unwrap().dataset;
    assert_eq!(dataset.titles.unwrap().0, ["The \"A\"", "\"B"]);
}

#[test]
fn pairs_of_the_first_two_columns_or_those_with_usual_names() {
    let cases: [(&str, &[u8]); 4] = [
        ("a.csv", b"1,x\n2,\"y, z\"\n"),
        ("b.csv", b"score,movieId,userId\n0.5,x,1\n.,\"y, z\",2\n"),
        ("c.tsv", b"1\tx\t5\n2\ty, z\t3\n"),
        ("d.dat", b"1::x::5\n2::y, z::3\n"),
    ];
    for (name, bytes) in cases {
        let (_folder, path) = file(name, bytes);
        let pairs = read_pairs(&path).unwrap();
        assert_eq!(pairs.users, ["1", "2"], "{name}");
        assert_eq!(pairs.items, ["x", "y, z"], "{name}");
    }
    let (_folder, path) = file("e.csv", b"user,item\n1\n");
    let error = read_pairs(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("e.csv:2: found 1 field in \"1\", expected 2 fields separated by \",\""),
        "{error}"
    );
}

/// Reads one file and returns its rows, with the format that was taken.
fn rows_of(name: &str, bytes: &[u8], options: &ReadOptions) -> (Format, Vec<String>) {
    let (_folder, path) = file(name, bytes);
    let outcome = read(&path, options).unwrap();
    (outcome.summary.format, shown(&outcome.dataset, &outcome.dataset.interactions))
}

#[test]
fn quotes_are_characters_with_tabs_and_what_is_asked_for_wins() {
    let text = b"user\titem\trating\nu1\t\"7\t5\nu2\t8\t4\nu3\t9\"\t3\n";
    let (_, rows) = rows_of("x.tsv", text, &ReadOptions::default());
    assert_eq!(rows, ["u1 \"7 5 0", "u2 8 4 0", "u3 9\" 3 0"]);
    let quoted = ReadOptions { quotes: Quotes::On, ..ReadOptions::default() };
    let (_, rows) = rows_of("x.tsv", b"user\titem\nu1\t\"a\tb\"\n", &quoted);
    assert_eq!(rows, ["u1 a\tb 1 0"]);
    let off = ReadOptions { quotes: Quotes::Off, ..ReadOptions::default() };
    let (_, rows) = rows_of("x.csv", b"user,item\nu1,\"a\n", &off);
    assert_eq!(rows, ["u1 \"a 1 0"]);
    let blanks = ReadOptions { separator: Some("blank".parse().unwrap()), ..ReadOptions::default() };
    let (_, rows) = rows_of("x.dat", b"1 2 5\n3 4\n", &ReadOptions { on_bad_row: OnBadRow::Skip, ..blanks });
    assert_eq!(rows, ["1 2 5 0"]);
    let (_folder, path) = file("u.data", b"1\t2\t3\t4\n");
    let error = read(&path, &off).unwrap_err().to_string();
    assert!(
        error.starts_with("separator: found a separator or quotes asked for, but format ml-100k"),
        "{error}"
    );
}

#[test]
fn separators_are_recognised() {
    for (name, text) in [
        ("x.csv", &b"userId;movieId;rating\n1;2;5\n3;4;2.5\n"[..]),
        ("x.txt", b"user|item|rating\r\n1|2|5\r\n3|4|2.5\r\n"),
        ("x.csv", b"user\titem\trating\n1\t2\t5\n3\t4\t2.5\n"),
        ("x.csv", b"\xef\xbb\xbfuser,item,rating\r1,2,5\r3,4,2.5\r"),
    ] {
        assert_eq!(rows_of(name, text, &ReadOptions::default()).1, ["1 2 5 0", "3 4 2.5 0"], "{name}");
    }
    let pairs = folder(&[("p.csv", b"item;user\n7;1\n")]);
    let Pairs { users, items } = read_pairs(&pairs.path().join("p.csv")).unwrap();
    assert_eq!((users[0].as_str(), items[0].as_str()), ("1", "7"));
}

#[test]
fn compressed_files_and_folders_of_partitions() {
    let gzip = |text: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(text).unwrap();
        out.finish().unwrap()
    };
    let ratings = b"userId,movieId,rating,timestamp\n1,2,4,7\n";
    let folder = folder(&[
        ("ml/ratings.csv.gz", &gzip(ratings)),
        ("ml/movies.csv.zst", &zstd::encode_all(&b"movieId,title\n2,Jumanji\n"[..], 1).unwrap()),
        ("hive/year=2001/part-0.csv.gz", &gzip(b"user,item\n1,2\n")),
        ("hive/year=2000/month=2/part-0.csv", b"user,item\n3,4\n"),
        ("hive/_temporary/part-9.csv", b"user,item\n5,6\n"),
        ("broken.csv.gz", &gzip(ratings)[..30]),
    ]);
    let outcome = take(folder.path().join("ml"));
    assert_eq!((outcome.summary.format, outcome.dataset.name.as_str()), (Format::MlCsv, "ml"));
    assert_eq!(outcome.dataset.titles.unwrap().0, ["Jumanji"]);
    let dataset = take(folder.path().join("hive")).dataset;
    assert_eq!(shown(&dataset, &dataset.interactions), ["3 4 1 0", "1 2 1 0"]);
    let error = read(&folder.path().join("broken.csv.gz"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("damaged gzip") && error.ends_with("expected a whole file"), "{error}");
}

#[test]
fn times_of_all_units_are_seconds() {
    let text = b"user,item,time\n1,2,978300760\n1,3,978300760123\n1,4,2000-12-31 23:12:40+01:00\n";
    let (_, rows) = rows_of("x.csv", text, &ReadOptions::default());
    assert_eq!(rows, ["1 2 1 978300760", "1 3 1 978300760", "1 4 1 978300760"]);
}
