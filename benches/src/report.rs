//! The report of a bench: a pure function of its records, as a page, as Markdown and as JSON.
//!
//! All sentences, tables and figures are made once ([`Report::of`]); the three forms show the same ones. The page needs
//! no network and no script.

mod buckets;
mod compare;
mod cost;
mod curves;
mod facts;
mod group;
mod html;
mod items;
mod markdown;
mod scores;
mod section;
mod table;
mod tuning;

use std::path::{Path, PathBuf};

use burnrec_data::write::write_file;
use burnrec_train::Result;
use serde::Serialize;
use serde_json::Value as Json;

pub use compare::{Comparison, Verdict};
pub use facts::{Setting, SplitFacts};
pub use items::{Items, ModelItems};
pub use section::{Block, ReportSection};
pub use table::{Cell, Table};

use crate::record::{FORMAT, Records};

/// A report: its tables, charts and sentences. As JSON it is `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The number of the format of the records.
    pub format: u32,
    /// The title, which names the data.
    pub title: String,
    /// The sections; only models of the same section are compared. `report.json` calls them `parts`.
    #[serde(rename = "parts")]
    pub sections: Vec<ReportSection>,
    /// The benches that it reports.
    pub benches: Vec<ReportedBench>,
}

/// A bench that the report was made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportedBench {
    /// The command.
    pub command: String,
    /// The resolved config.
    pub config: Json,
}

/// Where a report was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `report.html`.
    pub html: PathBuf,
    /// `report.md`.
    pub markdown: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
    /// `report.svg`, the first picture; none where no model is finished.
    pub picture: Option<PathBuf>,
}

impl Report {
    /// Makes the report of one bench or several. Cases are compared with those of the same task, metric and splits.
    ///
    /// # Errors
    /// When there is no finished case, or a case does not fit its split.
    pub fn of(records: &[Records]) -> Result<Self> {
        let groups = group::groups(records)?;
        let sections: Vec<ReportSection> = groups.iter().map(ReportSection::of).collect();
        let mut benches: Vec<ReportedBench> = Vec::new();
        for Records { bench, .. } in records {
            let bench = ReportedBench { command: bench.command.clone(), config: bench.config.clone() };
            if !benches.contains(&bench) {
                benches.push(bench);
            }
        }
        let mut names: Vec<&str> =
            groups.iter().flat_map(|group| &group.splits).map(|split| split.data.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        Ok(Self { format: FORMAT, title: format!("Recommenders on {}", names.join(", ")), sections, benches })
    }

    /// Returns the report as one HTML page that needs no other file.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// Returns the report as Markdown; its picture is `report.svg` beside it.
    pub fn markdown(&self) -> String {
        markdown::text(self)
    }

    /// Returns the report as JSON, with all figures.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a report has only string keys");
        text.push('\n');
        text
    }

    /// Returns the first picture, quality against training time, as an SVG file; none where no model is finished.
    pub fn picture(&self) -> Option<String> {
        self.sections.iter().find_map(|section| section.picture.as_ref()).map(crate::chart::Chart::file)
    }

    /// Writes `report.html`, `report.md`, `report.json` and `report.svg` into a folder, each as a whole.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn save(&self, dir: &Path) -> Result<Paths> {
        let write = |name: &str, text: String| -> Result<PathBuf> {
            let path = dir.join(name);
            write_file(&path, text.as_bytes())?;
            Ok(path)
        };
        let picture = self.picture().map(|picture| write("report.svg", picture)).transpose()?;
        Ok(Paths {
            json: write("report.json", self.json())?,
            markdown: write("report.md", self.markdown())?,
            html: write("report.html", self.html())?,
            picture,
        })
    }
}
