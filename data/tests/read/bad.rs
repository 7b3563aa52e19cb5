//! Every kind of bad input: an error that names the file and line, what was found and what was expected.

use burnrec_data::read::{Columns, Format, ReadOptions, Reason, read};

use crate::{file, folder, shown, skip};

/// Returns the error of reading a file with these bytes, without the folder's name.
fn error(name: &str, bytes: &[u8], format: Format) -> String {
    let (folder, path) = file(name, bytes);
    let error = read(&path, &ReadOptions { format, ..ReadOptions::default() }).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn a_missing_file() {
    for format in [Format::Auto, Format::Csv, Format::Parquet, Format::Ml1m, Format::Ncf, Format::Ml100k] {
        let options = ReadOptions { format, ..ReadOptions::default() };
        let error = read("no/such.file".as_ref(), &options).unwrap_err().to_string();
        assert!(error.starts_with("cannot read no/such.file"), "{format}: {error}");
        assert!(error.contains("No such file"), "{format}: {error}");
    }
}

#[test]
fn a_wrong_separator() {
    let found = error("ratings.dat", b"1\t2\t3\t4\n", Format::Ml1m);
    assert_eq!(found, r#"ratings.dat:1: found 1 field in "1\t2\t3\t4", expected 4 fields separated by "::""#);
    let found = error("r.csv", b"userId^movieId^rating\n1^2^3\n", Format::Auto);
    let expected = r#"expected a header with columns such as "user" and "item", or user, item, rating and time in this order"#;
    assert_eq!(found, format!(r#"r.csv: found a first line ["userId^movieId^rating"], {expected}"#));
    let found = error("r.txt", b"1^2^3\n", Format::Auto);
    assert_eq!(
        found,
        r#"r.txt: found a first line "1^2^3", expected fields separated by ",", a tab, ";", "|" or "::", a Parquet file, or a separator asked for"#
    );
}

#[test]
fn a_line_with_another_number_of_fields() {
    let found = error("u.data", b"1\t2\t3\t4\n1\t2\t3\n", Format::Auto);
    assert_eq!(found, r#"u.data:2: found 3 fields in "1\t2\t3", expected 4 fields separated by a tab"#);
}

#[test]
fn a_rating_that_is_no_finite_number() {
    let text = |rating: &str| format!("user,item,rating\n1,2,3\n\n1,3,{rating}\n");
    let found = |rating| error("r.csv", text(rating).as_bytes(), Format::Auto);
    assert_eq!(found("five"), r#"r.csv:4: found "five", expected a number as rating"#);
    assert_eq!(found(""), r#"r.csv:4: found "", expected a number as rating"#);
    for rating in ["NaN", "inf", "-Infinity", "1e39"] {
        assert_eq!(
            found(rating),
            format!(r#"r.csv:4: found "{rating}", expected a finite number as rating"#)
        );
    }
}

#[test]
fn a_time_and_ids_that_are_none() {
    let found = error("u.data", b"1\t2\t3\tnow\n", Format::Auto);
    assert_eq!(found, r#"u.data:1: found "now", expected Unix seconds or an ISO date as time"#);
    assert_eq!(
        error("u.data", b"\t2\t3\t4\n", Format::Auto),
        "u.data:1: found no user id, expected an id as user"
    );
    assert_eq!(
        error("u.data", b"1\t \t3\t4\n", Format::Auto),
        "u.data:1: found no item id, expected an id as item"
    );
    let found = error("u.data", b"1\t2\t3\t4\nJos\xe9\t2\t3\t4\n", Format::Auto);
    assert_eq!(found, "u.data:2: found \"Jos\u{fffd}\", expected UTF-8 as user id");
}

#[test]
fn an_unclosed_quote() {
    let found = error("r.csv", b"user,item\na,\"b\nc,d\n", Format::Auto);
    assert_eq!(
        found,
        r#"r.csv:2: found "a,\"b", expected in column 2 a quote that ends before a separator or the end of the line"#
    );
}

#[test]
fn a_quote_does_not_swallow_lines_and_an_id_has_a_bound() {
    let found = error("r.csv", b"user,item\nx,1\n\"a,1\nb,2\nc\",3\n", Format::Auto);
    assert!(
        found.starts_with("r.csv:3: found \"\\\"a,1\", expected in column 1 a quote that ends"),
        "{found}"
    );
    let mut long = b"user,item\n".to_vec();
    long.extend([b'x'; 5000]);
    long.extend(b",1\n");
    let found = error("r.csv", &long, Format::Auto);
    assert!(found.starts_with("r.csv:2: found 5000 bytes in column 1: \"xxx"), "{found}");
    assert!(found.ends_with("expected at most 4096 bytes in a field"), "{found}");
}

#[test]
fn text_in_utf_16_is_named() {
    let units = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    let little: Vec<u8> =
        units("\u{feff}user,item\n1,2\n").iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big: Vec<u8> = units("user,item\n1,2\n").iter().flat_map(|unit| unit.to_be_bytes()).collect();
    for text in [little, big] {
        let found = error("r.csv", &text, Format::Auto);
        assert_eq!(
            found,
            "r.csv: found text in UTF-16, expected UTF-8, as `iconv -f UTF-16 -t UTF-8` writes it"
        );
    }
}

#[test]
fn files_without_rows() {
    for (name, format) in [("r.csv", Format::Auto), ("u.data", Format::Ml100k), ("ratings.dat", Format::Ml1m)]
    {
        let found = error(name, b"", format);
        assert!(found.starts_with(&format!("{name}: found ")), "{found}");
    }
    let found = error("r.csv", b"user,item,rating\n", Format::Auto);
    assert_eq!(found, "r.csv: found no rating row, expected at least one rating row");
    assert_eq!(error("r.csv", b"\n\n", Format::Auto), "r.csv: found an empty file, expected lines of fields");
    let (_folder, path) = file("r.csv", b"user,item,rating\n1,2,x\n");
    let found = read(&path, &skip()).unwrap_err().to_string();
    assert!(
        found.ends_with("r.csv: found only bad rows, 1 of them, expected at least one rating row"),
        "{found}"
    );
}

#[test]
fn a_column_that_is_not_there() {
    let (_folder, path) = file("r.csv", b"user,item,rating\n1,2,3\n");
    let columns = Columns { item: Some("movie".into()), ..Columns::default() };
    let found = read(&path, &ReadOptions { columns, ..ReadOptions::default() }).unwrap_err().to_string();
    assert!(
        found.ends_with(r#"found 3 columns ["user", "item", "rating"], expected a column "movie""#),
        "{found}"
    );
    let columns = Columns { item: Some("movie".into()), ..Columns::default() };
    let options = ReadOptions { columns, format: Format::Ml1m, ..ReadOptions::default() };
    let found = read(&path, &options).unwrap_err().to_string();
    assert_eq!(
        found,
        "columns: found columns asked for, but format ml-1m, expected one of the formats ml-csv, csv, tsv and parquet"
    );
}

#[test]
fn a_directory_with_nothing_known_in_it() {
    let folder = folder(&[("a/notes.md", b"x"), ("empty/.keep", b"")]);
    let found = read(&folder.path().join("a"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(
        found.contains(r#"found files ["notes.md"], expected a format it knows: u.data (ml-100k)"#),
        "{found}"
    );
    let options = ReadOptions { format: Format::Ml1m, ..ReadOptions::default() };
    let found = read(&folder.path().join("a"), &options).unwrap_err().to_string();
    assert!(found.ends_with(r#"found files ["notes.md"], expected a file ratings.dat"#), "{found}");
}

#[test]
fn candidates_that_do_not_fit_the_test_rows() {
    let cases: [(&[u8], &str); 4] = [
        (
            b"(0,2)\t3\n(0,2)\t4\n",
            "ml.test.negative:2: found a second line of its user and item, expected one line per test row",
        ),
        (
            b"(9,2)\t3\n",
            "ml.test.negative: found no line for row 1 of the test file, expected one line per test row",
        ),
        (
            b"(0,2)\t3\n(1,2)\t3\n",
            "ml.test.negative:2: found a line of no test row, expected a user and item of the test file",
        ),
        (
            b"0,2\t3\n",
            "ml.test.negative:1: found \"0,2\\t3\", expected (user,item), a tab, and candidates with tabs between them",
        ),
    ];
    for (negative, expected) in cases {
        let folder = folder(&[
            ("ml.train.rating", b"0\t1\t4\t1\n"),
            ("ml.test.rating", b"0\t2\t4\t1\n"),
            ("ml.test.negative", negative),
        ]);
        let found = read(&folder.path().join("ml"), &ReadOptions::default()).unwrap_err().to_string();
        assert!(found.ends_with(expected), "{found}");
    }
}

#[test]
fn a_damaged_title() {
    let folder =
        folder(&[("ratings.csv", b"userId,movieId,rating\n1,2,3\n"), ("movies.csv", b"movieId,title\n2\n")]);
    let found = read(folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(found.ends_with("movies.csv:2: found \"2\", expected 2 fields separated by \",\""), "{found}");
}

#[test]
fn bad_rows_are_dropped_and_counted_by_reason() {
    let text = b"user,item,rating,time\n1,2,3,4\n1,2\n1,2,x,4\n,2,3,4\n5,6,NaN,4\n1,2,y,4\n1,2,3,t\n7,\"8\n9,\xff,1,4\n10,11,5,6";
    let (_folder, path) = file("r.csv", text);
    let outcome = read(&path, &skip()).unwrap();
    assert_eq!(shown(&outcome.dataset, &outcome.dataset.interactions), ["1 2 3 4", "10 11 5 6"]);
    assert_eq!(outcome.summary.rows, 10);
    let dropped: Vec<_> =
        outcome.summary.dropped.iter().map(|dropped| (dropped.reason, dropped.rows)).collect();
    let expected = [Reason::Fields, Reason::Quote, Reason::MissingId, Reason::Encoding];
    let expected = expected.map(|reason| (reason, 1)).into_iter();
    let expected: Vec<_> =
        expected.chain([(Reason::Number, 2), (Reason::NotFinite, 1), (Reason::Time, 1)]).collect();
    assert_eq!(dropped, expected);
    let example = &outcome.summary.dropped[4].example;
    assert!(example.ends_with("r.csv:4: found \"x\", expected a number as rating"), "{example}");
}
