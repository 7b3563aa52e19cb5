//! Lists of ids, pairs, titles and tables of items: all go through the reader that takes ratings.

use std::io::Write;
use std::path::Path;

use burnrec_data::read::{
    Columns, Pairs, ReadOptions, read, read_ids, read_item_table, read_pairs, read_titles,
};
use burnrec_data::{Result, Vocab};

use crate::{file, folder, skip};

/// Returns a text as files hold it: plain, compressed, with a byte order mark, and with other line ends.
fn as_files_hold(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    vec![
        ("", text.as_bytes().to_vec()),
        (".gz", gzip.finish().unwrap()),
        (".zst", zstd::encode_all(text.as_bytes(), 1).unwrap()),
        ("", format!("\u{feff}{text}").into_bytes()),
        ("", text.replace('\n', "\r\n").into_bytes()),
        ("", text.replace('\n', "\r").into_bytes()),
    ]
}

/// Asserts that a file is read alike in whatever way it holds its text, and that UTF-16 is named.
fn alike<T: PartialEq + std::fmt::Debug>(
    name: &str,
    text: &str,
    expected: &T,
    read: impl Fn(&Path) -> Result<T>,
) {
    for (end, bytes) in as_files_hold(text) {
        let (_folder, path) = file(&format!("{name}{end}"), &bytes);
        let found = read(&path).unwrap_or_else(|error| panic!("{name}{end}: {error}"));
        assert_eq!(&found, expected, "{name}{end} {:?}", String::from_utf8_lossy(&bytes));
    }
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (_folder, path) = file(name, &utf_16);
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("found text in UTF-16, expected UTF-8"), "{error}");
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn ids_one_a_line_or_in_a_column_of_items() {
    alike("ids.txt", "7\n a, b \n\n\"c\"\n007\n", &texts(&["7", "a, b", "\"c\"", "007"]), read_ids);
    alike("ids", "item\n7\n8", &texts(&["7", "8"]), read_ids);
    alike("ids.csv", "movieId\n\"a, \"\"b\"\"\"\n7\n", &texts(&["a, \"b\"", "7"]), read_ids);
    alike("ids.csv", "7\n8\n", &texts(&["7", "8"]), read_ids);
    alike("top.tsv", "score\tproductId\n1.5\t\"x\n2.5\ty\n", &texts(&["\"x", "y"]), read_ids);
}

#[cfg(feature = "parquet")]
#[test]
fn ids_of_a_parquet_file() {
    use burnrec_data::table::{TableColumn, write_table};
    let folder = folder(&[]);
    let path = folder.path().join("ids.parquet");
    let column = |name| (name, TableColumn::I64(vec![7, -8]));
    for columns in [vec![column("score"), column("item")], vec![column("anything")]] {
        write_table(&path, &columns).unwrap();
        assert_eq!(read_ids(&path).unwrap(), ["7", "-8"]);
    }
    write_table(&path, &[column("one"), column("two")]).unwrap();
    let error = read_ids(&path).unwrap_err().to_string();
    assert!(error.ends_with("found columns [\"one\", \"two\"], expected one column of item ids, or one with a usual name, such as \"item\""), "{error}");
}

#[test]
fn a_list_of_ids_that_is_none_names_its_line() {
    let long = format!("7\n\n{}\n", "x".repeat(5000));
    for (name, text, expected) in [
        ("ids.txt", b"\n \n".as_slice(), "ids.txt: found an empty file, expected lines of fields"),
        ("ids.csv", b"item\n", "ids.csv: found no id, expected at least one item id"),
        ("ids.csv", b"7\n8,9\n", "ids.csv:2: found \"8,9\", expected 1 fields separated by \",\""),
        ("ids.csv", b"7\n\"8\n", "ids.csv:2: found \"\\\"8\", expected in column 1 a quote that ends"),
        ("ids.csv", b"user,item\n1,2\n1,\n", "ids.csv:3: found no item id, expected an id as item"),
        (
            "ids.csv",
            b"score,title\n1,2\n",
            "ids.csv: found columns [\"score\", \"title\"], expected one column of item ids",
        ),
        ("ids.txt", b"7\nJos\xe9\n", "ids.txt:2: found \"Jos\u{fffd}\", expected UTF-8 as item id"),
        ("ids.txt", long.as_bytes(), "ids.txt:3: found 5000 bytes in column 1: \"xxx"),
    ] {
        let (folder, path) = file(name, text);
        let error = read_ids(&path).unwrap_err().to_string();
        let error = error.replace(&format!("{}/", folder.path().display()), "");
        assert!(error.starts_with(expected), "{error}, expected {expected}");
    }
    let error = read_ids(Path::new("no/such.file")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read no/such.file"), "{error}");
}

#[test]
fn pairs() {
    let expected = Pairs { users: texts(&["u, 1", "2"]), items: texts(&["3", "4"]) };
    alike("pairs.csv", "item,user\n3,\"u, 1\"\n4,2\n", &expected, read_pairs);
    let expected = Pairs { users: texts(&["\"u", "2"]), items: texts(&["3", "4"]) };
    alike("pairs.tsv", "\"u\t3\n\n2\t4\n", &expected, read_pairs);
    let (_folder, path) = file("pairs.csv", b"user,item\n1,2\n3\n");
    let error = read_pairs(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("pairs.csv:3: found 1 field in \"3\", expected 2 fields separated by \",\""),
        "{error}"
    );
}

#[test]
fn titles_and_tables_of_items() {
    let items = Vocab::from_ints(vec![7, 8]);
    let titles = |path: &Path| Ok(read_titles(path, &items, &Columns::default())?.1.0);
    let expected = texts(&["Seven, \"VII\"", "Eight"]);
    alike("films.csv", "item;title\n8;Eight\n7;\"Seven, \"\"VII\"\"\"\n", &expected, titles);
    alike("films.tsv", "item\ttitle\n8\tEight\n7\tSeven, \"VII\"\n", &expected, titles);
    alike("movies.dat", "8::Eight::x\n7::Seven, \"VII\"::y\n", &expected, titles);
    alike("u.item", "8|Eight|x\n7|Seven, \"VII\"|y\n", &expected, titles);
    let offers = |path: &Path| {
        let table = read_item_table(path, "item", &[])?;
        Ok((table.columns.clone(), table.rows["7"].clone(), table.rows.len()))
    };
    let expected = (texts(&["offer", "reward"]), texts(&["ten, off", "1.50"]), 2);
    alike("offers.csv", "item,offer,reward\n7,\"ten, off\",1.50\n8,,\n", &expected, offers);
    alike("offers.tsv", "item\toffer\treward\n7\tten, off\t1.50\n8\t\t\n", &expected, offers);
}

#[test]
fn no_field_of_any_file_is_over_the_bound() {
    let (longest, longer) = ("x".repeat(4096), "x".repeat(4097));
    let expected = |line: u64, column: u64| {
        (format!(":{line}: found 4097 bytes in column {column}: "), "expected at most 4096 bytes in a field")
    };
    // A column that is not taken, in rows of plain numbers and in others.
    for row in ["1,2", "a,\"b\""] {
        let text = |field: &str| format!("user,item,review,rating\n{row},,5\n{row},{field},5\n");
        let (_folder, path) = file("r.csv", text(&longest).as_bytes());
        assert_eq!(read(&path, &ReadOptions::default()).unwrap().summary.rows, 2);
        for quoted in [longer.clone(), format!("\"{longer}\"")] {
            let (_folder, path) = file("r.csv", text(&quoted).as_bytes());
            let error = read(&path, &ReadOptions::default()).unwrap_err().to_string();
            let (start, end) = expected(3, 3);
            assert!(error.contains(&start) && error.ends_with(end), "{error}");
            let outcome = read(&path, &skip()).unwrap();
            assert_eq!((outcome.summary.rows, outcome.summary.dropped[0].rows), (2, 1));
        }
    }
    let header = format!("user,item,{longer}\n1,2,3\n");
    let cell = format!("item,title\n7,x\n8,{longer}\n");
    let items = Vocab::from_ints(vec![7, 8]);
    let (_folder, path) = file("x.csv", header.as_bytes());
    let of_header = [
        read(&path, &ReadOptions::default()).map(drop),
        read_pairs(&path).map(drop),
        read_ids(&path).map(drop),
    ];
    for error in of_header.map(|result| result.unwrap_err().to_string()) {
        assert!(error.contains(&expected(1, 3).0), "{error}");
    }
    let (_folder, path) = file("x.csv", cell.as_bytes());
    let of_cell = [
        read_titles(&path, &items, &Columns::default()).map(drop),
        read_item_table(&path, "item", &[]).map(drop),
        read_ids(&path).map(drop),
        read_pairs(&path).map(drop),
    ];
    for error in of_cell.map(|result| result.unwrap_err().to_string()) {
        assert!(error.contains(&expected(3, 2).0), "{error}");
    }
    for (name, text) in
        [("u.item", format!("7|x|y\n8|{longer}|y\n")), ("movies.dat", format!("7::x::y\n8::{longer}::y\n"))]
    {
        let (_folder, path) = file(name, text.as_bytes());
        let error = read_titles(&path, &items, &Columns::default()).unwrap_err().to_string();
        assert!(error.contains(&expected(2, 2).0), "{error}");
    }
    let ncf = folder(&[
        ("ml.train.rating", b"0\t1\t4\t1\n"),
        ("ml.test.rating", b"0\t2\t4\t1\n"),
        ("ml.test.negative", format!("(0,2)\t3\t{longer}\n").as_bytes()),
    ]);
    let error = read(&ncf.path().join("ml"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains(&expected(1, 3).0), "{error}");
}
