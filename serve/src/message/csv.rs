//! One record of CSV, as RFC 4180 has it: a field in quotes may hold commas, line ends, and quotes written twice.

use std::borrow::Cow;

/// Splits a record into its fields. Line ends after it are dropped; blanks around a field are dropped, but for
/// those inside quotes.
///
/// # Errors
/// When a quote is not closed, something follows a closing quote, or there is more than one record; says what was found.
pub fn fields(record: &str) -> Result<Vec<Cow<'_, str>>, String> {
    let mut rest = record.trim_end_matches(['\r', '\n']);
    let mut fields = Vec::with_capacity(2);
    loop {
        let start = rest.trim_start_matches(BLANK);
        let (field, after) = match start.strip_prefix('"') {
            Some(quoted) => {
                let (field, after) = unquote(quoted)?;
                (field, after.trim_start_matches(BLANK))
            }
            None => {
                let end = start.find([',', '\r', '\n']).unwrap_or(start.len());
                (Cow::Borrowed(start[..end].trim_end_matches(BLANK)), &start[end..])
            }
        };
        fields.push(field);
        rest = match after.chars().next() {
            None => return Ok(fields),
            Some(',') => &after[1..],
            Some('\r' | '\n') => return Err("more than one line".into()),
            Some(found) => return Err(format!("{found:?} after a closing quote")),
        };
    }
}

/// What may stand around a field.
const BLANK: [char; 2] = [' ', '\t'];

/// Splits a field after its opening quote from what follows its closing one.
fn unquote(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let mut field = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or("a quote that is not closed")?;
        if field.is_empty() {
            field = Cow::Borrowed(&rest[..end]);
        } else {
            field.to_mut().push_str(&rest[..end]);
        }
        rest = &rest[end + 1..];
        let Some(more) = rest.strip_prefix('"') else { return Ok((field, rest)) };
        field.to_mut().push('"');
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_split_as_rfc_4180_says() {
        let cases: [(&str, &[&str]); 16] = [
            ("7,x", &["7", "x"]),
            ("7,x\n", &["7", "x"]),
            ("7,x\r\n\n", &["7", "x"]),
            ("\"7\",\"x\"", &["7", "x"]),
            ("\"a,b\",\"c\r\nd\"\r\n", &["a,b", "c\r\nd"]),
            ("\"a\"\"b\",\"\"\"\"", &["a\"b", "\""]),
            ("\"\"\"a\"\"\",\"b\"\"\"\"\"", &["\"a\"", "b\"\""]),
            (" 7\t, \"x\" ", &["7", "x"]),
            ("\" 7 \",x", &[" 7 ", "x"]),
            ("a b,ünï", &["a b", "ünï"]),
            ("a\"b,c", &["a\"b", "c"]),
            ("\"\",", &["", ""]),
            ("", &[""]),
            (",", &["", ""]),
            ("1,2,3", &["1", "2", "3"]),
            ("\"a\"\"\",b", &["a\"", "b"]),
        ];
        for (record, expected) in cases {
            assert_eq!(fields(record).unwrap(), expected, "{record:?}");
        }
        for (record, found) in [
            ("\"7,x", "a quote that is not closed"),
            ("7,\"x\"\"", "a quote that is not closed"),
            ("\"7\"8,x", "'8' after a closing quote"),
            ("7,8\n9,10", "more than one line"),
            ("7,\"8\"\r\n9,10", "more than one line"),
        ] {
            assert_eq!(fields(record).unwrap_err(), found, "{record:?}");
        }
    }
}
