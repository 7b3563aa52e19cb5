//! Writes columns as CSV: names in the first line, quotes where RFC 4180 needs them and around an empty text.

use std::fs::File;
use std::io::{BufWriter, Result, Write};

use super::TableColumn;
use crate::Id;

/// Writes `rows` rows of the columns.
pub fn write(file: &mut File, rows: usize, columns: &[(&str, TableColumn)]) -> Result<()> {
    let mut out = BufWriter::new(file);
    for (place, (name, _)) in columns.iter().enumerate() {
        separate(place, &mut out)?;
        text(name, &mut out)?;
    }
    out.write_all(b"\n")?;
    for row in 0..rows {
        for (place, (_, column)) in columns.iter().enumerate() {
            separate(place, &mut out)?;
            field(column, row, &mut out)?;
        }
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn separate(place: usize, out: &mut impl Write) -> Result<()> {
    if place > 0 { out.write_all(b",") } else { Ok(()) }
}

fn field(column: &TableColumn, row: usize, out: &mut impl Write) -> Result<()> {
    match column {
        TableColumn::I64(values) => write!(out, "{}", values[row]),
        TableColumn::I32(values) => write!(out, "{}", values[row]),
        TableColumn::U32(values) => write!(out, "{}", values[row]),
        // The shortest text that reads back as the same number, `1e-7` and `0.5`.
        TableColumn::F32(values) if values[row].is_finite() => Ok(serde_json::to_writer(out, &values[row])?),
        TableColumn::F32(values) => write!(out, "{}", values[row]),
        TableColumn::Str(values) => text(&values[row], out),
        TableColumn::Ids(vocab, rows) => match vocab.id(rows[row]) {
            Id::Int(id) => write!(out, "{id}"),
            Id::Str(id) => text(id, out),
        },
        TableColumn::F32List { .. } => unreachable!("refused before a file is written"),
    }
}

fn text(text: &str, out: &mut impl Write) -> Result<()> {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vocab;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let ids = Vocab::from_strs(["007", "x,y"]);
        let columns = [
            ("user", TableColumn::I64(vec![i64::MIN, -1, 7, 8, 9, 10])),
            ("item", TableColumn::Ids(&ids, vec![1, 0, 0, 0, 0, 0])),
            (
                "the \"title\"",
                TableColumn::Str(["", "a\"b", " c ", "d\re", "é\nf", "g"].map(str::to_owned).to_vec()),
            ),
            ("score", TableColumn::F32(vec![0.5, -1.0, 3.0e7, 1e-7, 1e20, f32::NEG_INFINITY])),
            ("rank", TableColumn::U32(vec![1, 2, 3, 4, 5, 6])),
        ];
        crate::table::write_table(&path, &columns).unwrap();
        let expected = "user,item,\"the \"\"title\"\"\",score,rank\n\
                        -9223372036854775808,\"x,y\",\"\",0.5,1\n\
                        -1,007,\"a\"\"b\",-1.0,2\n\
                        7,007, c ,30000000.0,3\n\
                        8,007,\"d\re\",1e-7,4\n\
                        9,007,\"é\nf\",1e+20,5\n\
                        10,007,g,-inf,6\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
}
