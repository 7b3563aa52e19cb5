//! `ctl events`, `event`, `replay` and `replays`: what happened, and once more.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use super::api::{Api, LOOK};
use super::values::{list, shown};
use crate::cli::{Again, Events, Note};
use crate::show;

impl Events {
    /// Returns what is asked for as the API takes it.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("user", &self.user),
            ("item", &self.item),
            ("id", &self.id),
            ("source", &self.source),
            ("from", &self.from),
            ("to", &self.to),
            ("type", &self.kind),
            ("outcome", &self.outcome),
            ("reason", &self.reason),
            ("model", &self.model),
            ("cursor", &self.cursor),
        ];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, text.clone()?)));
        let numbers = [("replay", self.replay), ("limit", Some(self.limit))];
        let numbers = numbers.into_iter().filter_map(|(key, n)| Some((key, n?.to_string())));
        texts.chain(numbers).chain([("input", self.input.to_string())]).collect()
    }
}

pub fn print_events(answer: &Value) -> Result<()> {
    let head = ["at", "source", "type", "outcome", "reason", "model", "µs", "tries", "config", "replay"];
    let with_input =
        list(&answer["events"]).iter().any(|of| !of["input"].is_null() || !of["input_missing"].is_null());
    let row = |of: &Value| {
        let model = &of["model"];
        let model = match model.is_null() {
            true => String::new(),
            false => {
                format!("{} {}@{}", shown(&model["name"]), shown(&model["version"]), shown(&model["hash"]))
            }
        };
        let unless_none = |value: &Value| if value.is_null() { String::new() } else { shown(value) };
        let mut cells = ["at", "source", "type", "outcome", "reason"].map(|key| shown(&of[key])).to_vec();
        cells.push(model);
        cells.extend(["latency_us", "attempts", "config", "replay"].map(|key| unless_none(&of[key])));
        if with_input {
            let input = &of["input"]["value"];
            cells.push(if input.is_null() { unless_none(&of["input_missing"]) } else { shown(input) });
        }
        cells
    };
    let rows: Vec<Vec<String>> = list(&answer["events"]).iter().map(row).collect();
    let head: Vec<&str> = head.into_iter().chain(with_input.then_some("input")).collect();
    show::table(&mut std::io::stdout().lock(), &head, &rows)?;
    if let Some(cursor) = answer["cursor"].as_str() {
        eprintln!("more with --cursor {cursor}");
    }
    Ok(())
}

pub fn print_replays(answer: &Value) -> Result<()> {
    let row = |of: &Value| {
        let ends = list(&of["ends"]).iter();
        let ends = ends.map(|end| format!("{} {}", shown(&end["count"]), shown(&end["outcome"])));
        let came_to = match of["error"].as_str() {
            Some(error) => error.to_owned(),
            None => ends.collect::<Vec<String>>().join(", "),
        };
        let mut cells = ["replay", "at", "by", "of", "state"].map(|key| shown(&of[key])).to_vec();
        cells.push(came_to);
        cells
    };
    let rows: Vec<Vec<String>> = match answer {
        Value::Array(all) => all.iter().map(row).collect(),
        one => vec![row(one)],
    };
    Ok(show::table(&mut std::io::stdout().lock(), &["replay", "at", "by", "of", "state", "events"], &rows)?)
}

impl Api {
    /// Begins a replay, and waits until it has ended.
    pub fn replay(&self, again: &Again) -> Result<Value> {
        let texts =
            [("source", &again.source), ("topic", &again.topic), ("from", &again.from), ("to", &again.to)];
        let query = texts.into_iter().filter_map(|(key, text)| Some((key, text.clone()?)));
        let mut answer = self.post("replay", query.collect(), &Note { note: again.note.note.clone() })?;
        let call = format!("replays/{}", answer["replay"]);
        let end = Instant::now() + Duration::from_secs(again.wait);
        while answer["state"] == "running" && Instant::now() < end {
            std::thread::sleep(LOOK);
            answer = self.get(&call, &[])?;
        }
        match answer["error"].as_str() {
            Some(error) => bail!("{error}"),
            None => Ok(answer),
        }
    }
}
