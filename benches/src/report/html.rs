//! The report as one HTML page without scripts or external files, for light and dark screens and for paper.

use std::fmt::Write;

use super::section::{Block, ReportSection};
use super::table::{Cell, Table};
use super::{Report, ReportedBench};
use crate::chart::{Chart, STYLE, escape};

const PAGE: &str = include_str!("page.css");
/// A cell with a text shorter than this does not wrap.
const SHORT: usize = 20;

/// Returns the page.
pub fn page(report: &Report) -> String {
    let title = escape(&report.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}{PAGE}</style>\n</head>\n<body>\n<header><h1>{title}</h1></header>\n<main>\n"
    );
    for (at, section) in report.sections.iter().enumerate() {
        summary(&mut page, at, section);
    }
    contents(&mut page, report);
    for (at, section) in report.sections.iter().enumerate() {
        for (place, one) in section.blocks.iter().enumerate() {
            let several = if report.sections.len() > 1 { Some(section.title.as_str()) } else { None };
            block(&mut page, &format!("part-{at}-{place}"), one, several);
        }
    }
    commands(&mut page, report);
    page + "</main>\n</body>\n</html>\n"
}

/// Writes a line to the page; writing to a string does not fail.
macro_rules! put {
    ($page:expr, $($what:tt)*) => { let _ = writeln!($page, $($what)*); };
}

/// Writes the sentences and the picture of a section.
fn summary(page: &mut String, at: usize, section: &ReportSection) {
    put!(page, "<section id=\"part-{at}\">\n<h2>{}</h2>", escape(&section.title));
    if let Some((first, rest)) = section.sentences.split_first() {
        put!(page, "<p class=\"lead\">{}</p>", escape(first));
        list(page, " class=\"warnings\"", &section.warnings);
        if let Some(picture) = &section.picture {
            figure(page, picture, &section.caption);
        }
        list(page, "", rest);
    }
    put!(page, "</section>");
}

fn list(page: &mut String, class: &str, texts: &[String]) {
    if !texts.is_empty() {
        let items: Vec<String> = texts.iter().map(|text| format!("<li>{}</li>", escape(text))).collect();
        put!(page, "<ul{class}>{}</ul>", items.join(""));
    }
}

fn contents(page: &mut String, report: &Report) {
    put!(page, "<nav aria-label=\"Contents\">");
    for (at, section) in report.sections.iter().enumerate() {
        let link = |(place, block): (usize, &Block)| {
            format!("<a href=\"#part-{at}-{place}\">{}</a>", escape(&block.title))
        };
        let links: Vec<String> = section.blocks.iter().enumerate().map(link).collect();
        put!(page, "<p><a href=\"#part-{at}\">{}</a>: {}</p>", escape(&section.title), links.join(" · "));
    }
    put!(page, "<p><a href=\"#commands\">Commands and settings</a></p>\n</nav>");
}

fn block(page: &mut String, id: &str, block: &Block, section: Option<&str>) {
    let of = section.map_or(String::new(), |section| format!(" <small>{}</small>", escape(section)));
    put!(page, "<section id=\"{id}\">\n<h2>{}{of}</h2>", escape(&block.title));
    for note in &block.notes {
        put!(page, "<p>{}</p>", escape(note));
    }
    let (small, wide): (Vec<&Chart>, Vec<&Chart>) = block.charts.iter().partition(|chart| chart.is_small());
    for chart in wide {
        figure(page, chart, "");
    }
    if !small.is_empty() {
        put!(page, "<div class=\"grid-of-charts\">");
        for chart in small {
            figure(page, chart, "");
        }
        put!(page, "</div>");
    }
    for table in &block.tables {
        self::table(page, table, table.title != block.title);
    }
    put!(page, "</section>");
}

fn figure(page: &mut String, chart: &Chart, caption: &str) {
    let caption = if caption.is_empty() { String::new() } else { format!("<p>{}</p>", escape(caption)) };
    put!(
        page,
        "<figure><figcaption><b>{}</b>{caption}</figcaption><div class=\"scroll\">{}</div></figure>",
        escape(&chart.title),
        chart.svg()
    );
}

fn table(page: &mut String, table: &Table, titled: bool) {
    let title = escape(&table.title);
    let note =
        table.note.as_ref().map_or(String::new(), |note| format!("<p class=\"note\">{}</p>", escape(note)));
    if table.folded {
        put!(page, "<details><summary>{title}</summary>{note}");
    } else if titled {
        put!(page, "<h3>{title}</h3>{note}");
    } else {
        put!(page, "{note}");
    }
    put!(
        page,
        "<div class=\"scroll\" role=\"region\" aria-label=\"{title}\" tabindex=\"0\"><table>\n<thead><tr>"
    );
    for (column, name) in table.columns.iter().enumerate() {
        let class = if table.is_numeric(column) { " class=\"n\"" } else { "" };
        put!(page, "<th scope=\"col\"{class}>{}</th>", escape(name));
    }
    put!(page, "</tr></thead>\n<tbody>");
    for row in &table.rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let text = escape(cell.shown());
            let short = if cell.shown().chars().count() < SHORT { "short" } else { "long" };
            match (column, cell) {
                (0, _) => format!("<th scope=\"row\" class=\"{short}\">{text}</th>"),
                (_, Cell::Text(_)) => format!("<td class=\"{short}\">{text}</td>"),
                _ if table.is_numeric(column) => format!("<td class=\"n\">{text}</td>"),
                _ => format!("<td>{text}</td>"),
            }
        });
        put!(page, "<tr>{}</tr>", cells.collect::<String>());
    }
    put!(page, "</tbody></table></div>");
    if table.folded {
        put!(page, "</details>");
    }
}

fn commands(page: &mut String, report: &Report) {
    put!(page, "<section id=\"commands\">\n<h2>Commands and settings</h2>");
    for ReportedBench { command, config } in &report.benches {
        put!(page, "<pre>{}</pre>", escape(command));
        settings(page, "Its config", config);
    }
    for section in &report.sections {
        for setting in &section.settings {
            let title = format!("{}, {}: settings of seed {}", section.title, setting.model, setting.seed);
            settings(page, &title, &setting.config);
        }
    }
    put!(page, "</section>");
}

fn settings(page: &mut String, title: &str, config: &serde_json::Value) {
    // An indented value of JSON can always be written.
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    put!(page, "<details><summary>{}</summary><pre>{}</pre></details>", escape(title), escape(&text));
}
