//! The table joined to replies by item, and its thresholds: the minimum scores of items.

use std::collections::HashMap;

use burnrec_data::Id;
use burnrec_data::read::ItemTable;
use serde_json::{Map, Value};

use crate::config::TableConfig;
use crate::{Error, Result};

/// A table of facts about items.
#[derive(Clone)]
pub struct Join {
    table: ItemTable,
    /// Rows of items with integer ids, to be found without making a text of the id.
    by_int: HashMap<i64, Row>,
    by_str: HashMap<String, Row>,
    /// Whether the table has a column of thresholds.
    pub filters: bool,
}

/// A row of the table.
#[derive(Clone)]
pub struct Row {
    /// Its cells as JSON members, each with a comma before it.
    pub json: String,
    /// Its cells.
    pub cells: Vec<String>,
    threshold: Option<f32>,
}

impl Row {
    /// Returns its columns.
    pub fn columns(&self) -> Map<String, Value> {
        let object = format!("{{{}}}", self.json.get(1..).unwrap_or_default());
        serde_json::from_str(&object).unwrap_or_default()
    }

    /// Makes the row of an item whose columns steps of one's own have seen; it has the cells of a table's columns.
    pub fn of_columns(columns: &Map<String, Value>, join: Option<&Join>) -> Self {
        let members = columns.iter().map(|(name, value)| format!(",{}:{value}", Value::from(name.as_str())));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let cells = join.into_iter().flat_map(Join::columns);
        let cells = cells.map(|name| columns.get(name).map(text).unwrap_or_default());
        Self { json: members.collect(), cells: cells.collect(), threshold: None }
    }
}

impl Join {
    /// Prepares a table for lookups by item.
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
            match Id::Str(item).canonical() {
                Id::Int(item) => drop(by_int.insert(item, row)),
                Id::Str(item) => drop(by_str.insert(item.to_owned(), row)),
            }
        }
        Ok(Self { table, by_int, by_str, filters: config.threshold.is_some() })
    }

    /// Returns the row of an item.
    pub fn row(&self, item: Id<'_>) -> Option<&Row> {
        match item.canonical() {
            Id::Int(item) => self.by_int.get(&item),
            Id::Str(item) => self.by_str.get(item),
        }
    }

    /// Returns whether an item with this score is in the reply. Without a score in the thresholds' scale it is there only if
    /// it has no threshold.
    pub fn passes(&self, row: Option<&Row>, score: Option<f32>) -> bool {
        let reaches = |least: f32| score.is_some_and(|score| score >= least);
        !self.filters || row.is_some_and(|row| row.threshold.is_none_or(reaches))
    }

    /// Returns the index of a column's cell in every row.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.table.column(name)
    }

    /// Returns the names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.table.columns
    }
}

#[cfg(test)]
mod tests {
    use burnrec_data::read::{ReadOptions, read, read_item_table};
    use burnrec_data::table::{TableColumn, write_table};
    use burnrec_data::{Index, Vocab};

    use super::*;
    use crate::ServeConfig;
    use crate::event::{HTTP, Home};
    use crate::message::WireId;
    use crate::settings::Routes;
    use crate::state::State;

    /// Ids as messages have them, with the text that says which of them are the same.
    const IDS: [(&str, &str); 20] = [
        ("7", "7"),
        (r#""7""#, "7"),
        (r#""007""#, "007"),
        (r#""+7""#, "+7"),
        (r#"" 7""#, " 7"),
        (r#""7 ""#, "7 "),
        (r#""7.0""#, "7.0"),
        ("0", "0"),
        (r#""0""#, "0"),
        (r#""-0""#, "-0"),
        (r#""00""#, "00"),
        ("-3", "-3"),
        (r#""-3""#, "-3"),
        ("9223372036854775807", "9223372036854775807"),
        (r#""9223372036854775807""#, "9223372036854775807"),
        (r#""9223372036854775808""#, "9223372036854775808"),
        (r#""-9223372036854775809""#, "-9223372036854775809"),
        (r#""18446744073709551616""#, "18446744073709551616"),
        (r#""\u00e9""#, "\u{e9}"),
        (r#""e\u0301""#, "e\u{301}"),
    ];

    const HOME: Home = Home { worker: 0, part: HTTP };

    fn table_config(path: &std::path::Path) -> TableConfig {
        TableConfig { path: path.to_owned(), on: "item".into(), columns: Vec::new(), threshold: None }
    }

    #[test]
    fn reader_vocabulary_history_join_and_bucket_agree_which_ids_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let ids = IDS.map(|(json, _)| serde_json::from_str::<WireId<'_>>(json).unwrap());
        let texts = || IDS.iter().map(|(_, text)| text.to_string()).collect::<Vec<String>>();
        let names = || [("user", TableColumn::Str(texts())), ("item", TableColumn::Str(texts()))];
        write_table(&path("all.parquet"), &names()).unwrap();
        let all = read(&path("all.parquet"), &ReadOptions::default()).unwrap().dataset;
        write_table(&path("all.csv"), &names()).unwrap();
        let csv = read(&path("all.csv"), &ReadOptions::default()).unwrap().dataset;
        let names: Vec<String> = (0..64).map(|k| format!("m{k}")).collect();
        let models: String = names.iter().map(|name| format!("[models.{name}]\nrun = \"r\"\n")).collect();
        let weights: Vec<String> = names.iter().map(|name| format!("{name} = 1")).collect();
        let config = format!("{models}[[routes]]\nmodels = {{ {} }}", weights.join(", "));
        let routes = Routes::new(&ServeConfig::from_table(config.parse().unwrap()).unwrap());
        for (i, (_, text)) in IDS.iter().enumerate() {
            let state = State::default();
            state.push(HOME, &ids[i], (&WireId::Int(1), 1.0, 0), 0, 9);
            state.push(HOME, &WireId::Str("who".into()), (&ids[i], 1.0, 0), 0, 9);
            let one = [("item", TableColumn::Str(vec![text.to_string()])), ("x", TableColumn::U32(vec![1]))];
            write_table(&path("facts.parquet"), &one).unwrap();
            let facts = read_item_table(&path("facts.parquet"), "item", &[]).unwrap();
            let join = Join::new(facts, &table_config(&path("facts.parquet"))).unwrap();
            let strings = Vocab::from_strs([*text]);
            let integers = text.parse().ok().filter(|number: &i64| number.to_string() == *text);
            let integers = integers.map(|number| Vocab::from_ints(vec![number]));
            for (j, (json, other)) in IDS.iter().enumerate() {
                let (same, id) = (text == other, ids[j].id());
                let what = format!("{json} and an id with the text {text:?}");
                let read_same = all.interactions.users[i] == all.interactions.users[j];
                assert_eq!(read_same, same, "rows of a Parquet file: {what}");
                let row = all.interactions.items[i].0;
                assert_eq!(all.items.row(id) == Some(row), same, "vocabulary of a file: {what}");
                // A reader of text cuts the blanks around a field.
                let csv_same = csv.interactions.users[i] == csv.interactions.users[j];
                assert_eq!(csv_same, text.trim() == other.trim(), "rows of a CSV file: {what}");
                assert_eq!(strings.row(id).is_some(), same, "string vocabulary: {what}");
                assert_eq!(ids[i].id() == id, same, "ids themselves: {what}");
                if let Some(integers) = &integers {
                    assert_eq!(integers.row(id).is_some(), same, "integer vocabulary: {what}");
                    assert_eq!(Index::new(integers.clone()).row(id).is_some(), same, "its index: {what}");
                }
                assert_eq!(state.get(None, &ids[j], 0).is_some(), same, "history: {what}");
                let (length, undo) =
                    state.push(HOME, &WireId::Str("who".into()), (&ids[j], 1.0, 0), 0, 9).unwrap();
                assert_eq!(length == 1, same, "item of a history: {what}");
                state.undo(vec![undo]);
                assert_eq!(join.row(id).is_some(), same, "join: {what}");
                let buckets = [&ids[i], &ids[j]].map(|id| routes.all()[0].model(Some(id)));
                assert!(!same || buckets[0] == buckets[1], "A/B bucket: {what}");
            }
        }
        let buckets =
            ["7", "007", "+7", " 7"].map(|text| routes.all()[0].model(Some(&WireId::Str(text.into()))));
        assert!(buckets.iter().any(|bucket| *bucket != buckets[0]), "{buckets:?}");
        assert!(
            serde_json::from_str::<WireId<'_>>("9223372036854775808").is_err(),
            "no integer over 2^63 - 1"
        );
    }
}
