//! Tests the report of made-up records: its figures follow from the records, and its three forms agree.
//!
//! `BURNREC_KEEP_REPORT=folder` keeps the report of two tasks in that folder, to look at.

#[path = "report/records.rs"]
mod records;

use std::path::Path;

use burnrec_bench::chart::escape;
use burnrec_bench::record::{CaseRecord, Records, Task, Tuned};
use burnrec_bench::report::{Report, Verdict};
use burnrec_train::metrics::Metric;
use burnrec_train::tune::Budget;
use records::{USERS, machine, records};
use serde_json::Value;

const BOTH: [Task; 2] = [Task::Ranking, Task::Rating];

fn report(records: &[Records]) -> Report {
    Report::of(records).unwrap()
}

/// Returns a cell of a table in `report.json`.
fn cell(json: &Value, part: usize, table: &str, row: &str, column: &str) -> Value {
    let tables = json["parts"][part]["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|it| it["tables"].as_array().unwrap());
    let table =
        tables.into_iter().find(|it| it["title"] == table).unwrap_or_else(|| panic!("no table {table}"));
    let at = table["columns"].as_array().unwrap().iter().position(|name| name == column);
    let at = at.unwrap_or_else(|| panic!("no column {column} in {}", table["columns"]));
    let row = table["rows"].as_array().unwrap().iter().find(|it| it[0] == row).unwrap();
    row[at].clone()
}

fn close(found: &Value, expected: f64) {
    let found = found["value"].as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "found {found}, expected {expected}");
}

fn of<'a>(records: &'a Records, task: Task, case: &str) -> Vec<&'a CaseRecord> {
    records.cases.iter().filter(|it| it.task == task && it.case == case).collect()
}

#[test]
fn figures_are_those_of_the_records() {
    let records = records(&BOTH, &[1, 2]);
    let json: Value = serde_json::from_str(&report(std::slice::from_ref(&records)).json()).unwrap();
    let mean = |case: &str, of_case: &dyn Fn(&CaseRecord) -> f64| {
        let cases = of(&records, Task::Ranking, case);
        cases.iter().map(|case| of_case(case)).sum::<f64>() / cases.len() as f64
    };
    let ndcg = |case: &CaseRecord| case.test.value(Metric::Ndcg(10)).unwrap();
    close(&cell(&json, 0, "Scores and cost", "NeuMF", "NDCG@10 on test"), mean("neumf", &ndcg));
    // 81 seconds with 5 % more for seed 1 and 10 % more for seed 2.
    close(&cell(&json, 0, "Scores and cost", "NeuMF", "Fit, s"), 81.0 * 1.075);
    close(&cell(&json, 0, "Scores and cost", "NeuMF", "To the best epoch, s"), 81.0);
    close(&cell(&json, 0, "Scores and cost", "NeuMF", "Samples/s"), 21_000.0 * 22.0 / 81.0);
    close(&cell(&json, 0, "Scores and cost", "NeuMF", "Last loss"), 0.2 + 0.5 * (-22f64 / 5.0).exp());
    assert_eq!(cell(&json, 0, "Scores and cost", "NeuMF", "Fit, s")["text"], "87.1");
    close(&cell(&json, 0, "All metrics on test", "ALS", "Coverage@10"), 0.45);
    close(
        &cell(&json, 0, "Each model against ALS", "NeuMF", "Difference in NDCG@10"),
        mean("neumf", &ndcg) - mean("als", &ndcg),
    );
    close(&cell(&json, 0, "Each model against ALS", "NeuMF", "Times the training time"), 81.0 / 1.3);
    // A model with one seed is compared on that seed alone.
    let first = |case: &str| ndcg(of(&records, Task::Ranking, case)[0]);
    let odd = cell(&json, 0, "Each model against ALS", "Odd <&\"> model", "Difference in NDCG@10");
    close(&odd, first("odd") - first("als"));
    assert!(odd["low"].as_f64().unwrap() <= first("odd") - first("als"));
    close(&cell(&json, 1, "Scores and cost", "implicit ALS", "RMSE on test"), {
        let cases = of(&records, Task::Rating, "implicit-als");
        cases.iter().map(|case| case.test.value(Metric::Rmse).unwrap()).sum::<f64>() / 2.0
    });
}

#[test]
fn items_are_counted_by_hand() {
    let records = records(&[Task::Ranking], &[1, 2]);
    let json: Value = serde_json::from_str(&report(&[records]).json()).unwrap();
    // ALS: 3 hits of each of 51 items and 2 of 49 others, of 4 relevant each; each hit is shown three times, and each
    // item once more; two seeds.
    let (tp, shown) = (2 * (51 * 3 + 49 * 2), 2 * (3 * (51 * 3 + 49 * 2) + 300));
    let total = |column| cell(&json, 0, "Right and wrong decisions in total", "ALS", column);
    close(&total("tp"), tp.into());
    close(&total("fp"), (shown - tp).into());
    close(&total("fn"), (2 * 400 - tp).into());
    close(&total("Recall"), f64::from(tp) / 800.0);
    close(&total("Precision"), f64::from(tp) / f64::from(shown));
    close(&total("Recall, mean of items"), f64::from(tp) / 800.0);
    let items = &json["parts"][0]["items"];
    assert_eq!((items["k"].as_u64(), items["items"].as_array().unwrap().len()), (Some(10), 300));
    let als = items["models"].as_array().unwrap().iter().find(|it| it["model"] == "ALS").unwrap();
    assert_eq!((&als["tp"][0], &als["fp"][0], &als["fn"][0]), (&6.into(), &14.into(), &2.into()));
    assert_eq!(
        (&als["recall"][0], &als["precision"][0], &als["recall"][299]),
        (&0.75.into(), &0.3.into(), &Value::Null)
    );
    // Items 46 to 99 have 38 to 80 rows: 5 of them have 3 hits, 49 have 2. Items with fewer rows are never relevant.
    let table = "Recall@10 against the popularity of items";
    close(&cell(&json, 0, table, "ALS", "33–80 rows"), 113.0 / 216.0);
    assert!(cell(&json, 0, table, "ALS", "0–32 rows").is_null());
}

#[test]
fn sentences_are_plain_and_follow_from_the_tests() {
    let report = report(&[records(&BOTH, &[1, 2])]);
    let ranking = &report.sections[0];
    let find = |part: usize, model: &str| {
        report.sections[part].comparisons.iter().find(|one| one.model == model).unwrap()
    };
    let neumf = find(0, "NeuMF");
    assert_eq!(neumf.verdict, Verdict::Better);
    assert!(neumf.sentence.starts_with("NeuMF is better than ALS by ."), "{}", neumf.sentence);
    assert!(
        neumf.sentence.contains("after Holm's correction), at 62 times the training time."),
        "{}",
        neumf.sentence
    );
    assert_eq!(find(0, "Popularity").verdict, Verdict::Worse);
    let peer = find(0, "implicit ALS");
    assert_eq!(peer.verdict, Verdict::Open);
    assert!(
        peer.sentence
            .starts_with("No difference between implicit ALS and ALS can be shown in NDCG@10 (difference "),
        "{}",
        peer.sentence
    );
    assert!(
        peer.sentence.ends_with("; implicit ALS takes 3.0 times the training time."),
        "{}",
        peer.sentence
    );
    assert!(find(0, "Odd <&\"> model").sentence.ends_with("on 1 of 2 seeds."));
    assert!(ranking.comparisons.iter().all(|one| one.p > 0.0 && one.p_corrected >= one.p));
    assert!(
        ranking
            .warnings
            .iter()
            .any(|text| text.contains("Planned and not finished: Odd <&\"> model (seed 2), absent.")),
        "{:?}",
        ranking.warnings
    );
    assert!(ranking.warnings.iter().any(|text| text.contains("synthetic")));
    // For RMSE lower is better, and the sentence must say so.
    let neumf = find(1, "NeuMF");
    assert!(neumf.difference.value < 0.0 && neumf.verdict == Verdict::Better);
    assert!(neumf.sentence.contains("RMSE [."), "{}", neumf.sentence);
}

#[test]
fn how_settings_were_chosen_is_told() {
    let mut records = records(&[Task::Ranking], &[1, 2]);
    let none = "No settings were searched on this data";
    let warned = |records: &Records| report(std::slice::from_ref(records)).markdown().contains(none);
    assert!(warned(&records));
    for case in records.cases.iter_mut().filter(|case| case.case == "als") {
        case.tuned = Some(Tuned {
            budget: Budget { trials: 10, seconds: 300.0 },
            space: serde_json::json!({ "dim": [32, 64], "reg": { "low": 0.001, "high": 0.1, "scale": "log" } }),
            chosen: serde_json::json!({ "dim": 64, "reg": 0.01 * case.seed as f64 }),
            stood: Some(0.25),
            best: 0.5 + 0.25 * (case.seed - 1) as f64,
            trials: 10,
            stopped: 3,
            failed: 0,
            seconds: 12.0,
        });
    }
    assert!(!warned(&records));
    let made = report(std::slice::from_ref(&records));
    let json: Value = serde_json::from_str(&made.json()).unwrap();
    let of = |model: &str, column: &str| cell(&json, 0, "Settings", model, column);
    assert_eq!(of("ALS", "Searched"), "dim 32 or 64, reg 0.001 to 0.1");
    assert_eq!(of("ALS", "Chosen"), "seed 1: dim = 64, reg = 0.01; seed 2: dim = 64, reg = 0.02");
    close(&of("ALS", "Settings tried"), 20.0);
    close(&of("ALS", "Stopped early"), 6.0);
    close(&of("ALS", "Seconds"), 24.0);
    close(&of("ALS", "NDCG@10 on valid, as they stood"), 0.25);
    close(&of("ALS", "NDCG@10 on valid, chosen"), 0.625);
    assert_eq!((of("MF", "Searched"), of("MF", "Chosen")), ("nothing".into(), "as in the config".into()));
    assert!(made.markdown().contains("the same budget: 10 settings or 300 s, whichever came first"));
    // Those of each seed are listed.
    let settings = json["parts"][0]["settings"].as_array().unwrap();
    assert_eq!(settings.iter().filter(|one| one["model"] == "ALS").count(), 2);
    assert_eq!(settings.iter().filter(|one| one["model"] == "MF").count(), 1);
}

#[test]
fn what_reads_the_order_of_rows_says_so_wherever_it_is_named() {
    let mut records = records(&[Task::Ranking], &[1]);
    let warning = "Order-aware models are a class of their own";
    assert!(!report(std::slice::from_ref(&records)).markdown().contains(warning));
    records.cases.iter_mut().filter(|case| case.case == "gmf").for_each(|case| case.order_aware = true);
    let made = report(std::slice::from_ref(&records));
    assert!(made.markdown().contains(warning));
    let json: Value = serde_json::from_str(&made.json()).unwrap();
    assert!(cell(&json, 0, "Scores and cost", "GMF, order-aware", "NDCG@10 on test")["value"].is_number());
}

#[test]
fn what_is_no_better_than_popularity_is_told_first() {
    let mut records = records(&[Task::Ranking], &[1, 2]);
    let first = |records: &Records| report(std::slice::from_ref(records)).sections[0].sentences[0].clone();
    assert!(first(&records).contains("has the highest"), "{}", first(&records));
    for case in records.cases.iter_mut().filter(|case| case.case == "mlp") {
        case.test.metrics.get_mut(&Metric::Ndcg(10)).unwrap().value = 0.01;
        case.per_user.get_mut(&Metric::Ndcg(10)).unwrap().fill(0.01);
    }
    let told = first(&records);
    assert!(told.starts_with("No better than Popularity (.") && told.ends_with("is: MLP (.0100)."), "{told}");
}

#[test]
fn all_tables_of_the_page_are_in_the_json() {
    let report = report(&[records(&BOTH, &[1, 2])]);
    let (html, json) = (report.html(), serde_json::from_str::<Value>(&report.json()).unwrap());
    let mut texts = Vec::new();
    collect(&json, &mut texts);
    let known: std::collections::HashSet<String> = texts.iter().map(|text| escape(text)).collect();
    let cells = html.split("<td").skip(1).chain(html.split("<th scope").skip(1));
    let mut n_cells = 0;
    for cell in cells {
        let text = cell.split_once('>').unwrap().1.split_once('<').unwrap().0;
        assert!(text == "–" || known.contains(text), "{text} is not in the JSON");
        n_cells += 1;
    }
    let hash = json["parts"][1]["splits"][0]["hash"].as_str().unwrap();
    assert!(hash.ends_with("rating") && !html.contains(hash) && html.contains(&hash[..12]));
    assert!(n_cells > 2000, "{n_cells}");
    for table in ["Scores and cost", "Speed and memory", "Machines", "Versions", "Data"] {
        assert!(html.contains(table) && known.contains(table), "{table}");
    }
}

fn collect(json: &Value, texts: &mut Vec<String>) {
    match json {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        Value::Object(table) => table.values().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

#[test]
fn a_time_that_is_too_short_is_said_to_be_so_and_gives_no_rate() {
    let mut records = records(&[Task::Ranking], &[1, 2]);
    for case in records.cases.iter_mut().filter(|case| case.case == "popularity") {
        case.fit_seconds = 4e-7;
        for epoch in &mut case.epochs {
            (epoch.seconds, epoch.samples_per_second) = (4e-7, 468e9);
        }
    }
    let report = report(&[records]);
    let json: Value = serde_json::from_str(&report.json()).unwrap();
    let shown = |table: &str, column: &str| cell(&json, 0, table, "Popularity", column);
    assert_eq!(shown("Scores and cost", "Fit, s")["text"], "< 0.001");
    assert_eq!(shown("Scores and cost", "To the best epoch, s")["text"], "< 0.001");
    for (table, column) in [
        ("Scores and cost", "Samples/s"),
        ("Speed and memory", "Samples/s"),
        ("Each model against ALS", "Times the training time"),
    ] {
        assert_eq!(shown(table, column), Value::Null, "{table}, {column}");
    }
    let popularity = report.sections[0].comparisons.iter().find(|one| one.model == "Popularity").unwrap();
    assert!(popularity.sentence.ends_with("after Holm's correction)."), "{}", popularity.sentence);
    let (html, markdown) = (report.html(), report.markdown());
    assert!(html.contains("in &lt; 0.001 s, 2 seeds"), "the picture says so too");
    assert!(![html, markdown].iter().any(|text| text.contains("468,000,000,000")));
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let report = report(&[records(&BOTH, &[1, 2])]);
    let (html, picture) = (report.html(), report.picture().unwrap());
    balanced(&html);
    balanced(&picture);
    for text in [&html, &report.markdown(), &report.json(), &picture] {
        for word in ["NaN", "inf ", "inf<", "inf\"", "Infinity"] {
            assert!(!text.contains(word), "{word}");
        }
    }
    for word in ["http", "src=", "url(", "@import", "<script", "<link"] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("Odd &lt;&amp;&quot;&gt; model") && !html.contains("Odd <&"));
    assert!(html.contains("a &lt;b&gt; &amp; \\&quot;c\\&quot;"), "settings are escaped");
    assert!(picture.starts_with("<svg xmlns=") && picture.contains("prefers-color-scheme"));
    let ids: Vec<&str> = html.split(" id=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    assert!(ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id)), "an id stands once");
    for link in html.split("href=\"#").skip(1).map(|rest| rest.split_once('"').unwrap().0) {
        assert!(ids.contains(&link), "{link} leads nowhere");
    }
}

/// Refuses tags that are not closed in the order they were opened, and stray signs.
fn balanced(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some((text, tag)) = rest.split_once('<') {
        assert!(open.last() == Some(&"style") || !text.contains('>'), "a stray > in {text}");
        let (tag, after) = tag.split_once('>').expect("a tag that ends");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        rest = after;
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        match tag {
            _ if tag.starts_with('!') || tag.ends_with('/') || name == "meta" => {}
            _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name)),
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let records = [records(&BOTH, &[1, 2])];
    let (one, two) = (report(&records), report(&records));
    assert!(one.html() == two.html() && one.json() == two.json() && one.markdown() == two.markdown());
    let dir = tempfile::tempdir().unwrap();
    let paths = one.save(dir.path()).unwrap();
    assert_eq!(std::fs::read_to_string(&paths.html).unwrap(), one.html());
    assert_eq!(std::fs::read_to_string(paths.picture.unwrap()).unwrap(), one.picture().unwrap());
    assert_eq!(paths.json, dir.path().join("report.json"));
    if let Some(folder) = std::env::var_os("BURNREC_KEEP_REPORT") {
        one.save(Path::new(&folder)).unwrap();
    }
}

#[test]
fn benches_of_the_same_splits_are_one_part_and_of_others_two() {
    let whole = records(&[Task::Ranking], &[1, 2]);
    let (mut ours, mut peers) = (whole.clone(), whole.clone());
    ours.cases.retain(|case| case.peer.is_none());
    peers.cases.retain(|case| case.peer.is_some());
    peers.cases.iter_mut().for_each(|case| case.machine = machine("Other CPU"));
    let merged = report(&[ours.clone(), peers]);
    assert_eq!(merged.sections.len(), 1);
    let peer = merged.sections[0].comparisons.iter().find(|one| one.model == "implicit ALS").unwrap();
    assert!(peer.sentence.contains("another machine"), "{}", peer.sentence);
    assert!(merged.sections[0].warnings.iter().any(|text| text.contains("2 different machines")));
    // A bench that is given twice counts once, and the seeds of two benches are merged.
    let twice = report(&[whole.clone(), whole.clone()]);
    assert!(twice == report(std::slice::from_ref(&whole)), "the same report");
    let (mut first, mut second) = (whole.clone(), whole.clone());
    first.cases.retain(|case| case.seed == 1);
    second.cases.retain(|case| case.seed == 2);
    assert!(report(&[first, second]).sections == twice.sections, "the same parts");
    let mut other = whole.clone();
    let hash = |hash: &str| format!("{hash}-other");
    other.splits.iter_mut().for_each(|split| split.data.hash = hash(&split.data.hash));
    other.cases.iter_mut().for_each(|case| case.data_hash = hash(&case.data_hash));
    assert_eq!(report(&[whole, other]).sections.len(), 2);
}

#[test]
fn a_bench_without_its_baseline_is_told_and_one_without_cases_refused() {
    let mut records = records(&[Task::Ranking], &[1]);
    records.cases.retain(|case| case.case != "als");
    let part = &report(std::slice::from_ref(&records)).sections[0];
    assert!(part.comparisons.is_empty());
    assert!(
        part.sentences.iter().any(|text| text.starts_with("Nothing is tested: als")),
        "{:?}",
        part.sentences
    );
    assert!(part.warnings.iter().any(|text| text.contains("als")));
    // One model alone, with nothing to compare it with.
    let mut alone = records.clone();
    alone.cases.retain(|case| case.case == "neumf");
    let alone = report(&[alone]);
    balanced(&alone.html());
    assert!(alone.sections[0].picture.is_some() && alone.html().contains("One seed (1)"));
    records.cases[0].per_user.get_mut(&Metric::Ndcg(10)).unwrap().truncate(USERS - 1);
    let error = Report::of(std::slice::from_ref(&records)).unwrap_err().to_string();
    assert!(error.contains("ndcg@10 of 399 users") && error.contains("400, as its split has"), "{error}");
    records.cases.clear();
    assert!(Report::of(&[records]).unwrap_err().to_string().contains("no finished case"));
    assert!(Report::of(&[]).is_err());
}
