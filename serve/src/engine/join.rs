//! The table joined by item, and the least scores that stand in it.

use std::collections::HashMap;

use burnrec_data::Id;
use burnrec_data::read::ItemTable;

use crate::config::TableConfig;
use crate::{Error, Result};

/// A table of facts about items.
pub struct Join {
    table: ItemTable,
    /// Rows of items with integer ids, to be found without making a text of the id.
    by_int: HashMap<i64, Row>,
    by_str: HashMap<String, Row>,
    /// Whether there are least scores.
    pub filters: bool,
}

/// A row of the table.
pub struct Row {
    /// Its cells as JSON members, each with a comma before it.
    pub json: String,
    /// Its cells.
    pub cells: Vec<String>,
    threshold: Option<f32>,
}

impl Join {
    /// Joins a table as it was read.
    ///
    /// # Errors
    /// When a threshold is no number.
    pub fn new(table: ItemTable, config: &TableConfig) -> Result<Self> {
        let at = config.threshold.as_ref().and_then(|name| table.column(name));
        if let (Some(name), None) = (&config.threshold, at) {
            return Err(Error::config(
                "table.threshold",
                name,
                format!("one of {}", table.columns.join(", ")),
            ));
        }
        let (mut by_int, mut by_str) = (HashMap::new(), HashMap::new());
        for (item, cells) in &table.rows {
            let threshold = match at.map(|at| cells[at].trim()) {
                None | Some("") => None,
                Some(text) => {
                    Some(text.parse().ok().filter(|value: &f32| value.is_finite()).ok_or_else(|| {
                        let found = format!("{text:?} for item {item} in {}", config.path.display());
                        Error::config("table.threshold", found, "a number")
                    })?)
                }
            };
            let members = table.columns.iter().zip(cells).map(|(name, cell)| {
                let text = |text: &str| serde_json::to_string(text).expect("a text is JSON");
                let number =
                    cell.parse::<f64>().is_ok() && serde_json::from_str::<serde_json::Number>(cell).is_ok();
                format!(",{}:{}", text(name), if number { cell.clone() } else { text(cell) })
            });
            let row = Row { json: members.collect(), cells: cells.clone(), threshold };
            match item.parse::<i64>() {
                Ok(number) if number.to_string() == *item => drop(by_int.insert(number, row)),
                _ => drop(by_str.insert(item.clone(), row)),
            }
        }
        Ok(Self { table, by_int, by_str, filters: config.threshold.is_some() })
    }

    /// Returns the row of an item.
    pub fn row(&self, item: Id<'_>) -> Option<&Row> {
        match item {
            Id::Int(id) => self.by_int.get(&id),
            Id::Str(id) => match id.parse::<i64>() {
                Ok(number) if number.to_string() == id => self.by_int.get(&number),
                _ => self.by_str.get(id),
            },
        }
    }

    /// Returns whether an item with this score is in the reply.
    pub fn passes(&self, row: Option<&Row>, score: f32) -> bool {
        !self.filters || row.is_some_and(|row| row.threshold.is_none_or(|least| score >= least))
    }

    /// Returns the place of a column in every row.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.table.column(name)
    }

    /// Returns the names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.table.columns
    }
}
