//! Vocabularies, matrices and titles as arrays of a file, for prepared data and saved models alike.
//!
//! Each takes a prefix, so that one file can hold several. Reading checks all that the types promise, so a
//! damaged file is an error and not a panic later on.

use crate::csr::Order;
use crate::tensors::{Tensor, TensorFile};
use crate::{Csr, Error, ItemIx, Lists, Result, Titles, Vocab};

/// Returns integer ids as `PREFIX.ids` `[n]`; string ids as `PREFIX.bytes` and `PREFIX.offsets` `[n + 1]`.
pub fn vocab_tensors(prefix: &str, vocab: &Vocab) -> Vec<(String, Tensor)> {
    match vocab {
        Vocab::Int(ids) => vec![(format!("{prefix}.ids"), Tensor::new(&[ids.len()], ids.iter().copied()))],
        Vocab::Str { bytes, offsets } => string_tensors(prefix, bytes.as_bytes(), offsets),
    }
}

/// Reads what [`vocab_tensors`] made.
///
/// # Errors
/// When the arrays are not there, or the ids do not ascend or are not UTF-8.
pub fn read_vocab(file: &TensorFile, prefix: &str) -> Result<Vocab> {
    let vocab = if file.has(&format!("{prefix}.ids")) {
        Vocab::Int(file.column::<i64>(&format!("{prefix}.ids"))?)
    } else {
        let (bytes, offsets) = read_strings(file, prefix)?;
        Vocab::Str { bytes, offsets }
    };
    check(file, prefix, vocab.ascends(), "ids that do not ascend", "ascending ids")?;
    Ok(vocab)
}

/// Returns titles as `PREFIX.bytes` and `PREFIX.offsets` `[n + 1]`.
pub fn titles_tensors(prefix: &str, titles: &Titles) -> Vec<(String, Tensor)> {
    let mut offsets = vec![0u64];
    let mut bytes = Vec::with_capacity(titles.0.iter().map(String::len).sum());
    for title in &titles.0 {
        bytes.extend_from_slice(title.as_bytes());
        offsets.push(bytes.len() as u64);
    }
    string_tensors(prefix, &bytes, &offsets)
}

/// Reads what [`titles_tensors`] made.
///
/// # Errors
/// When the arrays are not there or a title is not UTF-8.
pub fn read_titles(file: &TensorFile, prefix: &str) -> Result<Titles> {
    let (bytes, offsets) = read_strings(file, prefix)?;
    let title = |ends: &[u64]| bytes[ends[0] as usize..ends[1] as usize].to_owned();
    Ok(Titles(offsets.windows(2).map(title).collect()))
}

/// Returns a matrix as `PREFIX.n_cols` `[1]`, `PREFIX.offsets` `[n_rows + 1]`, `PREFIX.cols` and `PREFIX.values`
/// `[nnz]`; if its rows have an order, as `PREFIX.ages` and, with times, `PREFIX.times` `[nnz]` as well.
pub fn csr_tensors(prefix: &str, matrix: &Csr) -> Vec<(String, Tensor)> {
    let offsets = Tensor::new(&[matrix.offsets().len()], matrix.offsets().iter().map(|&at| at as u64));
    let shape = [matrix.nnz()];
    let ages = matrix.order().map(|order| Tensor::new(&shape, order.ages.iter().copied()));
    let times = matrix.order().and_then(|order| order.times.as_ref());
    let times = times.map(|times| Tensor::new(&shape, times.iter().copied()));
    let mut tensors = vec![
        (format!("{prefix}.n_cols"), Tensor::new(&[1], [matrix.n_cols() as u64])),
        (format!("{prefix}.offsets"), offsets),
        (format!("{prefix}.cols"), Tensor::new(&shape, matrix.cols().iter().copied())),
        (format!("{prefix}.values"), Tensor::new(&shape, matrix.values().iter().copied())),
    ];
    tensors.extend(ages.map(|ages| (format!("{prefix}.ages"), ages)));
    tensors.extend(times.map(|times| (format!("{prefix}.times"), times)));
    tensors
}

/// Reads what [`csr_tensors`] made.
///
/// # Errors
/// When the arrays are not there, a row's columns do not ascend, do not fit or have a value that is not finite, or the
/// ages and times are not those of the rows.
pub fn read_csr(file: &TensorFile, prefix: &str) -> Result<Csr> {
    let n_cols = file.column::<u64>(&format!("{prefix}.n_cols"))?;
    check(file, prefix, n_cols.len() == 1, "several numbers of columns", "one")?;
    let n_cols = n_cols[0] as usize;
    let cols = file.column::<u32>(&format!("{prefix}.cols"))?;
    let values = file.column::<f32>(&format!("{prefix}.values"))?;
    let offsets = read_offsets(file, prefix, cols.len())?;
    check(file, prefix, cols.len() == values.len(), "columns without values", "one value per column")?;
    let fits = offsets.windows(2).all(|ends| {
        let cols = &cols[ends[0]..ends[1]];
        cols.is_sorted_by(|a, b| a < b) && cols.last().is_none_or(|&col| (col as usize) < n_cols)
    });
    check(file, prefix, fits, "columns out of order or range", "ascending columns below n_cols")?;
    let finite = values.iter().all(|value| value.is_finite());
    check(file, prefix, finite, "a value that is not finite", "finite values")?;
    let matrix = Csr::new(n_cols, offsets, cols, values);
    let (ages, times) = (format!("{prefix}.ages"), format!("{prefix}.times"));
    if !file.has(&ages) {
        return Ok(matrix);
    }
    let times = file.has(&times).then(|| file.column::<i64>(&times)).transpose()?;
    let order = Order { ages: file.column::<u32>(&ages)?, times };
    let expected = "ages that count each row from its newest entry, and as many times";
    check(file, prefix, matrix.takes(&order), "an order that does not fit", expected)?;
    Ok(matrix.with_order(order))
}

/// Returns lists as `PREFIX.offsets` `[n + 1]` and `PREFIX.items`.
pub fn lists_tensors(prefix: &str, lists: &Lists) -> Vec<(String, Tensor)> {
    let offsets = Tensor::new(&[lists.offsets().len()], lists.offsets().iter().map(|&at| at as u64));
    let items = Tensor::new(&[lists.items().len()], lists.items().iter().map(|item| item.0));
    vec![(format!("{prefix}.offsets"), offsets), (format!("{prefix}.items"), items)]
}

/// Reads what [`lists_tensors`] made.
///
/// # Errors
/// When the arrays are not there, or an item is not below `n_items`.
pub fn read_lists(file: &TensorFile, prefix: &str, n_items: usize) -> Result<Lists> {
    let items = file.column::<u32>(&format!("{prefix}.items"))?;
    let offsets = read_offsets(file, prefix, items.len())?;
    let fits = items.iter().all(|&item| (item as usize) < n_items);
    check(file, prefix, fits, "an item out of range", "items of the vocabulary")?;
    Ok(Lists::from_parts(offsets, items.into_iter().map(ItemIx).collect()))
}

fn string_tensors(prefix: &str, bytes: &[u8], offsets: &[u64]) -> Vec<(String, Tensor)> {
    vec![
        (format!("{prefix}.bytes"), Tensor::new(&[bytes.len()], bytes.iter().copied())),
        (format!("{prefix}.offsets"), Tensor::new(&[offsets.len()], offsets.iter().copied())),
    ]
}

fn read_strings(file: &TensorFile, prefix: &str) -> Result<(String, Vec<u64>)> {
    let bytes = file.column::<u8>(&format!("{prefix}.bytes"))?;
    let offsets = read_offsets(file, prefix, bytes.len())?;
    let expected = "UTF-8";
    let bytes = String::from_utf8(bytes)
        .map_err(|_| Error::malformed(file.path(), format!("{prefix:?} in another encoding"), expected))?;
    let whole = offsets.iter().all(|&at| bytes.is_char_boundary(at));
    check(file, prefix, whole, "an offset within a character", expected)?;
    Ok((bytes, offsets.into_iter().map(|at| at as u64).collect()))
}

/// Reads offsets that cut `len` entries into rows.
fn read_offsets(file: &TensorFile, prefix: &str, len: usize) -> Result<Vec<usize>> {
    let offsets = file.column::<u64>(&format!("{prefix}.offsets"))?;
    let fits = offsets.first() == Some(&0) && offsets.last() == Some(&(len as u64)) && offsets.is_sorted();
    check(
        file,
        prefix,
        fits,
        "offsets that do not fit",
        "offsets that ascend from 0 to the number of entries",
    )?;
    Ok(offsets.into_iter().map(|at| at as usize).collect())
}

fn check(file: &TensorFile, prefix: &str, holds: bool, found: &str, expected: &str) -> Result<()> {
    let error = || Error::malformed(file.path(), format!("{found} in {prefix:?}"), expected);
    holds.then_some(()).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::write;

    fn written(tensors: &[(String, Tensor)]) -> TensorFile {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("arrays.safetensors");
        write(&path, tensors).unwrap();
        TensorFile::open(&path).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let ints = Vocab::from_ints(vec![5, -2, 1 << 40]);
        let strs = Vocab::from_strs(["é", "", "abc"]);
        let empty = Vocab::from_strs([]);
        let titles = Titles(vec!["Amber Harbour (1987)".into(), String::new(), "日本".into()]);
        let matrix = Csr::new(4, vec![0, 2, 2, 3], vec![0, 3, 1], vec![1.0, 2.0, 3.0]);
        let timed = matrix.clone().with_order(Order { ages: vec![1, 0, 0], times: Some(vec![4, 9, -1]) });
        let untimed = matrix.clone().with_order(Order { ages: vec![0, 1, 0], times: None });
        let mut lists = Lists::new();
        lists.push(&[ItemIx(2), ItemIx(1)]);
        lists.push(&[]);
        let mut tensors = vocab_tensors("ints", &ints);
        tensors.extend(vocab_tensors("strs", &strs));
        tensors.extend(vocab_tensors("empty", &empty));
        tensors.extend(titles_tensors("titles", &titles));
        tensors.extend(csr_tensors("matrix", &matrix));
        tensors.extend(csr_tensors("timed", &timed));
        tensors.extend(csr_tensors("untimed", &untimed));
        tensors.extend(lists_tensors("lists", &lists));
        let file = written(&tensors);
        assert_eq!(read_vocab(&file, "ints").unwrap(), ints);
        assert_eq!(read_vocab(&file, "strs").unwrap(), strs);
        assert_eq!(read_vocab(&file, "empty").unwrap(), empty);
        assert_eq!(read_titles(&file, "titles").unwrap(), titles);
        assert_eq!(read_csr(&file, "matrix").unwrap(), matrix);
        assert_eq!(read_csr(&file, "timed").unwrap(), timed);
        assert_eq!(read_csr(&file, "untimed").unwrap(), untimed);
        assert_eq!(read_lists(&file, "lists", 3).unwrap(), lists);
        assert!(read_lists(&file, "lists", 2).is_err());
        assert!(read_vocab(&file, "other").unwrap_err().to_string().contains("other.bytes"));
    }

    #[test]
    fn damaged_ids_are_refused() {
        let ints = [vec![1i64, 1], vec![2, 1]];
        for ids in ints {
            let file = written(&[("v.ids".into(), Tensor::new(&[2], ids))]);
            assert!(read_vocab(&file, "v").unwrap_err().to_string().contains("ids that do not ascend"));
        }
        let strs: [(&[u8], &[u64], &str); 6] = [
            (b"ba", &[0, 1, 2], "do not ascend"),
            (b"ab", &[0, 2, 1], "offsets"),
            (b"ab", &[0, 1, 3], "offsets"),
            (b"ab", &[], "offsets"),
            (b"a\xff", &[0, 2], "encoding"),
            ("é".as_bytes(), &[0, 1, 2], "within a character"),
        ];
        for (bytes, offsets, message) in strs {
            let error =
                read_vocab(&written(&string_tensors("v", bytes, offsets)), "v").unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn damaged_matrices_are_refused() {
        type Arrays<'a> = (u64, &'a [u64], &'a [u32], &'a [f32]);
        let cases: [Arrays; 5] = [
            (4, &[0, 2], &[1, 0], &[1.0, 1.0]),
            (4, &[0, 2], &[0, 4], &[1.0, 1.0]),
            (4, &[0, 1], &[0, 1], &[1.0, 1.0]),
            (4, &[0, 2], &[0, 1], &[1.0]),
            (4, &[0, 1], &[0], &[f32::NAN]),
        ];
        for (n_cols, offsets, cols, values) in cases {
            let file = written(&[
                ("m.n_cols".into(), Tensor::new(&[1], [n_cols])),
                ("m.offsets".into(), Tensor::new(&[offsets.len()], offsets.iter().copied())),
                ("m.cols".into(), Tensor::new(&[cols.len()], cols.iter().copied())),
                ("m.values".into(), Tensor::new(&[values.len()], values.iter().copied())),
            ]);
            assert!(read_csr(&file, "m").is_err(), "{offsets:?} {cols:?} {values:?}");
        }
        let mut tensors = csr_tensors("m", &Csr::new(4, vec![0, 2], vec![0, 3], vec![1.0, 2.0]));
        tensors.push(("m.ages".into(), Tensor::new(&[2], [0u32, 2])));
        let error = read_csr(&written(&tensors), "m").unwrap_err().to_string();
        assert!(error.contains("an order that does not fit"), "{error}");
    }
}
