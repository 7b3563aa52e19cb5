//! Steps in processes: the lines, and processes that answer late, wrongly or never, or die.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Answer, answer, answer_all};
use crate::engine;

/// Reads a line, lets `event` be its object, runs the body and writes the object.
const LOOP: &str = "import json, os, sys, time
for line in sys.stdin:
    event = json.loads(line)
BODY
    print(json.dumps(event), flush=True)
";

/// The table of a step with such a program.
fn python(name: &str, place: &str, body: &str, more: &str) -> String {
    let body: Vec<String> = body.lines().map(|line| format!("    {line}")).collect();
    program(name, place, &LOOP.replace("BODY", &body.join("\n")), more)
}

fn program(name: &str, place: &str, text: &str, more: &str) -> String {
    let program = Value::from(text);
    format!("[steps.{name}]\nplace = \"{place}\"\ncommand = [\"python3\", \"-c\", {program}]\n{more}\n")
}

fn score(user: i64) -> String {
    format!(r#"{{"type":"score","id":{user},"user":{user},"items":[101,102]}}"#)
}

fn scores(engine: &burnrec_serve::Engine, users: std::ops::RangeInclusive<i64>) -> Vec<Answer> {
    let requests: Vec<String> = users.map(score).collect();
    answer_all(engine, &requests.iter().map(|text| Some(text.as_bytes())).collect::<Vec<_>>())
}

fn reason(answer: &Answer) -> (&str, &str) {
    (answer.reject().stage.name(), answer.reject().reason)
}

#[test]
fn a_process_gets_the_lines_that_the_docs_show_and_its_answers_are_taken() {
    let keep = "event['seen'] = json.loads(line)\ndel event['seen']['line']";
    let before = python("before", "before-score", &keep.replace("seen", "asked"), "");
    let after = python("then", "after-score", &keep.replace("seen", "answered"), "");
    let engine = engine(&format!("output.titles = true\n{before}{after}"));
    let request = r#"{"type":"recommend","id":"x","user":"7","k":2,"only":[101,102,103]}"#;
    let reply = answer(&engine, request).json();
    let asked = json!({
        "type": "recommend", "id": "x", "user": "7", "k": 2, "only": [101, 102, 103], "without": [], "include_seen": false,
    });
    assert_eq!(reply["asked"], asked);
    let mut answered = reply["answered"].clone();
    assert_eq!(answered["k"], 2);
    let object = answered.as_object_mut().expect("an object");
    object.shift_remove("k").expect("k");
    let mut without = reply.clone();
    without.as_object_mut().expect("an object").shift_remove("answered");
    // The same but for the digits of an f32 in f64.
    assert_eq!(without["items"][0]["title"], answered["items"][0]["title"]);
    let score = |of: &Value| of["items"][1]["score"].as_f64().expect("a score") as f32;
    assert_eq!(score(&without), score(&answered));
    object_without_items(&mut answered);
    object_without_items(&mut without);
    assert_eq!(answered, without);
    let event = answer(&engine, r#"{"type":"event","user":7,"item":103,"value":2}"#).json();
    assert_eq!(event["asked"], json!({ "type": "event", "user": 7, "item": 103, "value": 2.0 }));
    assert!(event.get("answered").is_none());
}

fn object_without_items(of: &mut Value) {
    of.as_object_mut().expect("an object").shift_remove("items").expect("items");
}

#[test]
fn single_events_are_filtered_and_refused_and_bad_lines_are_rejected() {
    let body = "user = event.get('user')
number = event['line']
if user == 1: event = {'line': number, 'filter': True}
if user == 2: event = {'line': number, 'error': 'no such thing'}
if user == 3: event['items'][0] = {'item': 7, 'score': 1}
if user == 4: event['items'][0]['score'] = float('nan')
if user == 5: event['user'] = 6
if user == 6: event = ['no', 'object']
if user == 7: del event['items']
if user == 8: event['items'] = [101]
if user == 9: event['items'][0]['score'] = 'much'
if user == 10: event = {'line': number, 'error': 5}
if user == 11: event = {'line': number, 'filter': 0}
if user == 12: event['hash'] = 'other'
if user == 13: event['history'] = 1
if user == 14: event['items'][0]['score'] = 1e39";
    let engine = engine(&python("rough", "after-score", body, ""));
    let answers = scores(&engine, 1..=16);
    assert_eq!(answers[0].outcome, burnrec_serve::outbox::EventOutcome::FilteredBy("rough"));
    assert_eq!(answers[1].reject().to_string(), "refused: no such thing");
    let wrong = [
        (3, "unknown-item"),
        (4, "not-a-line"),
        (5, "changed"),
        (6, "not-a-line"),
        (7, "not-a-line"),
        (8, "not-a-line"),
        (9, "not-a-line"),
        (10, "not-a-line"),
        (11, "not-a-line"),
        (12, "changed"),
        (13, "taken-field"),
        (14, "not-finite"),
    ];
    for (user, wanted) in wrong {
        assert_eq!(reason(&answers[user - 1]), ("rough", wanted), "{user}: {}", answers[user - 1].reject());
    }
    for (at, user) in [(14, 15), (15, 16)] {
        assert_eq!(answers[at].json()["user"], user);
    }
}

#[test]
fn answers_come_in_any_order_from_several_processes_and_each_goes_to_its_event() {
    // It answers four events at a time, or those that it has when no more come.
    let text = "import json, os, select
left, held = b'', []
while True:
    more = select.select([0], [], [], 0.1)[0]
    if more:
        read = os.read(0, 65536)
        if not read: break
        *lines, left = (left + read).split(bytes([10]))
        held += map(json.loads, lines)
    if len(held) >= 4 or not more:
        for event in reversed(held):
            event['of'] = event['user']
            print(json.dumps(event), flush=True)
        held = []
";
    let more = "processes = 2\nlines = 4";
    let engine = engine(&program("turned", "before-score", text, more));
    for (answer, user) in scores(&engine, 1..=16).iter().zip(1..) {
        let reply = answer.json();
        assert_eq!((&reply["user"], &reply["of"]), (&json!(user), &json!(user)));
    }
}

#[test]
fn a_process_that_hangs_is_killed_with_its_children_and_the_others_are_answered() {
    let folder = TempDir::new().expect("a folder");
    let pids = folder.path().join("pids");
    let body = format!(
        "if event['user'] == 3:
    import subprocess
    child = subprocess.Popen(['sleep', '1000'])
    open({pids:?}, 'w').write(f'{{os.getpid()}} {{child.pid}}')
    child.wait()"
    );
    let engine = engine(&python("slow", "before-score", &body, "timeout_ms = 300"));
    assert_eq!(answer(&engine, score(1)).json()["user"], 1);
    let answers = scores(&engine, 1..=8);
    assert_eq!(reason(&answers[2]), ("slow", "timeout"), "{}", answers[2].reject());
    for at in [0, 1, 3, 4, 5, 6, 7] {
        assert_eq!(answers[at].scores().len(), 2, "{at}");
    }
    let pids = std::fs::read_to_string(pids).expect("it wrote them");
    for pid in pids.split(' ') {
        gone(pid);
    }
}

/// Waits until a process is no more than a zombie of another parent.
fn gone(pid: &str) {
    let begin = Instant::now();
    let lives = || {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    };
    while lives() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{pid} goes on");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_that_dies_fails_the_event_in_its_hands_alone_and_is_started_again() {
    let body = "if event['user'] % 5 == 0: os._exit(3)";
    let engine = engine(&python("mortal", "after-score", body, "processes = 2"));
    for (answer, user) in scores(&engine, 1..=20).iter().zip(1..) {
        match user % 5 {
            0 => {
                assert_eq!(reason(answer), ("mortal", "died"), "{user}");
                assert!(answer.reject().text.contains('3'), "{}", answer.reject());
            }
            _ => assert_eq!(answer.json()["user"], user),
        }
    }
    assert!(text(&engine).contains("burnrec_step_restarts_total{step=\"mortal\"} 4"), "{}", text(&engine));
}

fn text(engine: &burnrec_serve::Engine) -> String {
    let metrics = burnrec_serve::metrics::Metrics::default();
    metrics.text(burnrec_serve::metrics::Elsewhere::default(), engine.steps.metrics())
}

#[test]
fn where_no_process_stays_alive_all_events_fail() {
    let more = "timeout_ms = 200";
    let engine = engine(&program("dead", "before-score", "import sys; sys.exit(1)", more));
    let answers = scores(&engine, 1..=40);
    let reasons: Vec<&str> = answers.iter().map(|answer| reason(answer).1).collect();
    assert!(reasons.iter().all(|reason| ["died", "no-process"].contains(reason)), "{reasons:?}");
    assert_eq!(reasons.last(), Some(&"no-process"));
    let text = text(&engine);
    assert!(text.contains("burnrec_step_failures_total{step=\"dead\",reason=\"no-process\"}"), "{text}");
    assert!(
        text.contains("burnrec_step_seconds_count{step=\"dead\"} 1") && text.ends_with("# EOF\n"),
        "{text}"
    );
}

#[test]
fn large_lines_go_both_ways_and_floods_of_standard_error_do_not_block() {
    let body = "sys.stderr.write('x' * 3000 + '\\n' + 'noise\\n' * 20000)
event['large'] = 'y' * 300000";
    let engine = engine(&python("large", "before-score", body, ""));
    let items = vec!["101"; 10_000].join(",");
    let request = format!(r#"{{"type":"score","user":7,"items":[{items}]}}"#);
    let requests = vec![Some(request.as_bytes()); 8];
    for answer in answer_all(&engine, &requests) {
        let reply = answer.json();
        assert_eq!(reply["large"].as_str().map(str::len), Some(300_000));
        assert_eq!(reply["items"].as_array().map(Vec::len), Some(10_000));
    }
}

#[test]
fn many_threads_share_the_processes() {
    let more = "processes = 2";
    let engine = Arc::new(engine(&python("shared", "after-score", "event['pid'] = os.getpid()", more)));
    let pids: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=8)
            .map(|user| {
                let engine = &engine;
                scope.spawn(move || {
                    let replies = (0..20).map(|_| answer(engine, score(user)).json());
                    let of_user = |reply: Value| {
                        assert_eq!(reply["user"], user);
                        reply["pid"].clone()
                    };
                    replies.map(of_user).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut pids: Vec<String> = pids.iter().map(Value::to_string).collect();
    pids.sort();
    pids.dedup();
    assert!((1..=2).contains(&pids.len()), "{pids:?}");
    drop(engine);
    pids.iter().for_each(|pid| gone(pid));
}
