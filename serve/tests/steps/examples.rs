//! The worked examples of `examples/steps/`, over HTTP.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{ITEMS, item_id};
use crate::running::Running;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/steps").join(name)
}

/// The table of a step with a script.
fn step(name: &str, place: &str, file: &str, argument: impl std::fmt::Debug) -> String {
    format!(
        "[steps.{name}]\nplace = \"{place}\"\ncommand = [\"python3\", {:?}, {argument:?}]\n",
        script(file)
    )
}

/// A table of items with brands and categories.
fn items(folder: &TempDir) -> String {
    let row = |row: usize| {
        let category = ["Comedy", "Comedy|Drama", "War"][row % 3];
        format!("{},brand {},{category}\n", item_id(row), row % 4)
    };
    let rows: String = (0..ITEMS).map(row).collect();
    let path = folder.path().join("items.csv");
    std::fs::write(&path, format!("item,brand,category\n{rows}")).expect("a file");
    format!("[table]\npath = {path:?}\n")
}

fn list(reply: &Value) -> &[Value] {
    reply["items"].as_array().expect("items")
}

#[test]
fn a_lookup_adds_a_field_that_the_reply_carries() {
    let folder = TempDir::new().expect("a folder");
    let users = folder.path().join("users.csv");
    std::fs::write(&users, "user,segment\n7,regular\n").expect("a file");
    let service = Running::of(&step("segment", "before-score", "lookup.py", users));
    for (user, segment) in [(7, "regular"), (8, "new")] {
        let (status, reply) = service.post("/v1/score", &format!(r#"{{"user":{user},"items":[101]}}"#));
        assert_eq!((status, &reply["segment"]), (200, &json!(segment)));
        let (status, reply) = service.post("/v1/event", &format!(r#"{{"user":{user},"item":101}}"#));
        assert_eq!((status, &reply["segment"], &reply["history"]), (200, &json!(segment), &json!(1)));
    }
    let (_, metrics) = service.get("/metrics");
    assert!(metrics.contains("burnrec_step_seconds_count{step=\"segment\"} 4"), "{metrics}");
}

#[test]
fn a_brand_is_capped() {
    let folder = TempDir::new().expect("a folder");
    let table = items(&folder);
    let (plain, capped) = (
        Running::of(&table),
        Running::of(&format!("{table}{}", step("cap-brand", "after-score", "cap_brand.py", "2"))),
    );
    let ask = |service: &Running| service.post("/v1/recommend", r#"{"user":7,"k":20}"#).1;
    let (all, kept) = (ask(&plain), ask(&capped));
    let mut had: BTreeMap<&str, usize> = BTreeMap::new();
    let first_two: Vec<&Value> = list(&all)
        .iter()
        .filter(|item| {
            let n = had.entry(item["brand"].as_str().expect("a brand")).or_default();
            *n += 1;
            *n <= 2
        })
        .collect();
    assert!(had.values().any(|n| *n > 2), "{had:?} says nothing");
    assert_eq!(list(&kept).iter().collect::<Vec<_>>(), first_two);
}

#[test]
fn an_answer_is_made_diverse() {
    let folder = TempDir::new().expect("a folder");
    let table = items(&folder);
    let ask = |weight: &str| {
        let step = step("diversity", "after-score", "diversity.py", weight);
        let (status, reply) =
            Running::of(&format!("{table}{step}")).post("/v1/recommend", r#"{"user":7,"k":9}"#);
        assert_eq!(status, 200, "{reply}");
        list(&reply).to_vec()
    };
    let ranks = |items: &[Value]| items.iter().map(|item| item["rank"].as_i64().expect("a rank")).collect();
    let (by_score, diverse): (Vec<i64>, Vec<i64>) = (ranks(&ask("1")), ranks(&ask("0.5")));
    assert_eq!(by_score, (1..=9).collect::<Vec<_>>(), "weight 1 leaves the order");
    assert_ne!(diverse, by_score);
    assert_eq!(diverse[0], 1, "the best comes first");
    let mut all = diverse;
    all.sort_unstable();
    assert_eq!(all, by_score, "the same items");
    // Without regard to scores the first three have nothing in common with what came before, while there is such an item.
    let apart = ask("0");
    let of = |item: &Value| item["category"].as_str().expect("a category").to_owned();
    assert!(of(&apart[0]) != of(&apart[1]));
}

#[test]
fn filtered_refused_and_failed_requests_are_told_apart() {
    let code = "import json, os, sys
for line in sys.stdin:
    event = json.loads(line)
    number = event['line']
    print(json.dumps({
        1: {'line': number, 'filter': True},
        2: {'line': number, 'error': 'not today'},
        3: {'no': 'line'},
    }.get(event['user'], event)), flush=True)
    if event['user'] == 4: os._exit(0)
";
    let code = Value::from(code);
    let service = Running::of(&format!(
        "[steps.gate]\nplace = \"before-score\"\ncommand = [\"python3\", \"-c\", {code}]\n"
    ));
    let ask = |user: i64| service.post("/v1/score", &format!(r#"{{"user":{user},"items":[101]}}"#));
    assert_eq!(ask(1), (200, json!({ "filtered": "gate" })));
    let (status, refused) = ask(2);
    assert_eq!(
        (status, refused),
        (422, json!({ "error": { "stage": "gate", "reason": "refused", "message": "not today" } }))
    );
    let (status, bad) = ask(3);
    assert_eq!((status, &bad["error"]["reason"]), (500, &json!("not-a-line")));
    assert_eq!(ask(4).0, 200, "it answered before it died");
    // It may have died when this line was in its hands.
    let (status, fifth) = ask(5);
    assert!(status == 200 || fifth["error"]["reason"] == "died", "{fifth}");
    assert_eq!(ask(6).0, 200, "it was started again");
    let (_, metrics) = service.get("/metrics");
    for line in [
        "burnrec_ended_total{outcome=\"filtered\",of=\"step\",stage=\"gate\"} 1",
        "burnrec_ended_total{outcome=\"rejected\",of=\"refused\",stage=\"gate\"} 1",
        "burnrec_step_failures_total{step=\"gate\",reason=\"not-a-line\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}
