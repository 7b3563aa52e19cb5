//! The report as Markdown: sentences, tables and facts, and only the first chart.

use std::fmt::Write;

use super::Report;
use super::table::Table;

/// Writes a line to the text; writing to a string does not fail.
macro_rules! put {
    ($text:expr, $($what:tt)*) => { let _ = writeln!($text, $($what)*); };
}

/// Returns the text.
pub fn text(report: &Report) -> String {
    let mut text = format!("# {}\n", plain(&report.title));
    let mut pictured = false;
    for section in &report.sections {
        put!(text, "\n## {}\n", plain(&section.title));
        for sentence in &section.sentences {
            put!(text, "- {}", plain(sentence));
        }
        for warning in &section.warnings {
            put!(text, "- **{}**", plain(warning));
        }
        if let Some(picture) = section.picture.as_ref().filter(|_| !pictured) {
            put!(text, "\n![{}](report.svg)\n\n{}", plain(&picture.title), plain(&section.caption));
            pictured = true;
        }
        for block in section.blocks.iter().filter(|block| block.tables.iter().any(|table| !table.folded)) {
            put!(text, "\n### {}", plain(&block.title));
            for note in &block.notes {
                put!(text, "\n{}", plain(note));
            }
            for table in block.tables.iter().filter(|table| !table.folded) {
                self::table(&mut text, table, block.title != table.title);
            }
        }
    }
    put!(text, "\n## Commands\n");
    for bench in &report.benches {
        put!(text, "```sh\n{}\n```", bench.command);
    }
    put!(text, "\nreport.html has the charts, report.json all figures.");
    text
}

fn table(text: &mut String, table: &Table, titled: bool) {
    if titled {
        put!(text, "\n**{}**", plain(&table.title));
    }
    put!(text, "\n| {} |", table.columns.iter().map(|name| plain(name)).collect::<Vec<_>>().join(" | "));
    let rule = |column: usize| if table.is_numeric(column) { "---:" } else { "---" };
    put!(text, "| {} |", (0..table.columns.len()).map(rule).collect::<Vec<_>>().join(" | "));
    for row in &table.rows {
        put!(text, "| {} |", row.iter().map(|cell| plain(cell.shown())).collect::<Vec<_>>().join(" | "));
    }
    if let Some(note) = &table.note {
        put!(text, "\n{}", plain(note));
    }
}

/// Escapes the characters that have a meaning in Markdown.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => plain.push(' '),
            '|' | '<' | '*' | '_' | '`' | '\\' | '#' => plain.extend(['\\', c]),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_written_as_such() {
        assert_eq!(plain("a|b <c> *d*"), "a\\|b \\<c> \\*d\\*");
    }
}
