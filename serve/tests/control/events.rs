//! What happened to requests over HTTP: searched, looked at, and written down who looked.

use burnrec_serve::http::tokens::Role;
use burnrec_serve::provenance::{erase_user, user_events};
use serde_json::{Value, json};

use crate::bench::{Bench, START};

/// Starts the service with an index and with tokens for requests as well.
fn start(bench: &mut Bench) {
    let more = format!(
        "http.tokens = {:?}\nprovenance.dir = {:?}\nprovenance.input_bytes = 100",
        bench.path("tokens.toml"),
        bench.path("index")
    );
    bench.start(START, &more);
}

fn ask(bench: &Bench, kind: &str, body: &str) -> (u16, Value) {
    let token = format!("Authorization: Bearer {}\r\n", bench.token(Role::Score));
    let (status, _, answer) = bench.service().ask("POST", &format!("/v1/{kind}"), &token, body);
    (status, serde_json::from_str(&answer).expect("JSON"))
}

fn events(bench: &Bench, query: &str) -> Vec<Value> {
    let (status, page) = bench.call("GET", &format!("/v1/events?{query}"), "");
    assert_eq!(status, 200, "{query}: {page}");
    page["events"].as_array().expect("events").clone()
}

#[test]
fn each_request_is_found_by_what_is_known_of_it() {
    let mut bench = Bench::new();
    let (status, none) = bench.call("GET", "/v1/events", "");
    assert_eq!((status, &none["error"]["reason"]), (404, &json!("no-index")));
    start(&mut bench);
    let before = burnrec_data::calendar::unix_ms();
    assert_eq!(ask(&bench, "score", r#"{"id":"a1","user":7,"items":[101,102]}"#).0, 200);
    assert_eq!(ask(&bench, "score", r#"{"id":"a2","user":7,"items":[101,"nothing"]}"#).0, 404);
    let (_, best) = ask(&bench, "recommend", r#"{"user":8,"k":3}"#);
    assert_eq!(ask(&bench, "event", r#"{"user":7,"item":103}"#).0, 200);
    assert_eq!(ask(&bench, "score", "no JSON").0, 400);
    let long = format!(r#"{{"user":9,"items":[{}101]}}"#, "101,".repeat(50));
    assert_eq!(ask(&bench, "score", &long).0, 200);

    let all = events(&bench, "");
    let of = |all: &[Value], key: &str| all.iter().map(|of| of[key].clone()).collect::<Vec<Value>>();
    assert_eq!(of(&all, "type"), ["score", "", "event", "recommend", "score", "score"], "the newest first");
    assert_eq!(of(&all, "outcome"), ["replied", "rejected", "replied", "replied", "rejected", "replied"]);
    assert_eq!(of(&all, "reason"), ["", "not-json", "", "", "unknown-item", ""]);
    let first = &all[5];
    let hash = first["model"]["hash"].as_str().expect("a hash");
    assert_eq!(first["model"], json!({ "name": "main", "version": "als", "hash": hash, "data": "0" }));
    assert_eq!((&first["config"], &first["attempts"], &first["by"]), (&json!(1), &json!(1), &json!("score")));
    assert_eq!((&first["replay"], &first["unconfirmed"]), (&Value::Null, &json!(false)));
    assert_eq!(first["input"]["value"], json!({ "id": "a1", "user": 7, "items": [101, 102] }));
    assert!(
        first["at_ms"].as_i64().is_some_and(|at| at >= before) && first["latency_us"].is_u64(),
        "{first}"
    );
    assert!(all[0]["input"]["value"].as_str().is_some_and(|text| text.len() == 100), "{}", all[0]);

    let count = |query: &str| events(&bench, query).len();
    let item = &best["items"][0]["item"];
    assert!(events(&bench, &format!("item={item}")).iter().any(|of| of["type"] == "recommend"), "{best}");
    assert_eq!([count("user=7"), count("user=8"), count("user=77"), count("item=103")], [3, 1, 0, 1]);
    assert_eq!([count("id=a2"), count("user=7&outcome=rejected"), count("reason=not-json")], [1, 1, 1]);
    assert_eq!([count("model=main"), count("model=other"), count(&format!("model={hash}"))], [3, 0, 3]);
    assert_eq!(
        [count(&format!("from={before}")), count(&format!("to={before}")), count("type=event")],
        [6, 0, 1]
    );
    assert_eq!(
        [count("from=2001-01-01T00:00:00Z&limit=2"), count("source=http"), count("input=false")],
        [2, 6, 6]
    );
    assert!(events(&bench, "user=7&input=false").iter().all(|of| of["input"].is_null()));
    let (_, page) = bench.call("GET", "/v1/events?limit=4", "");
    let rest = events(&bench, &format!("limit=4&cursor={}", page["cursor"].as_str().expect("a cursor")));
    assert_eq!(of(&rest, "source"), of(&all[4..], "source"));

    let source = first["source"].as_str().expect("a source");
    let (status, one) = bench.call("GET", &format!("/v1/events/{source}"), "");
    assert_eq!((status, &one["events"]), (200, &json!([first])));
    for (path, status, reason) in [
        ("/v1/events/http/-1/1", 404, "no-event"),
        ("/v1/events/../../etc/passwd", 400, "bad-request"),
        ("/v1/events?from=soon", 400, "bad-request"),
        ("/v1/events?usr=7", 400, "bad-request"),
        ("/v1/replays/7", 404, "no-replay"),
    ] {
        let (found, answer) = bench.call("GET", path, "");
        assert_eq!((found, &answer["error"]["reason"]), (status, &json!(reason)), "{path}: {answer}");
    }
    let (status, refused) = bench.call("POST", &format!("/v1/replay?source={source}"), "");
    assert!(status == 400 && refused.to_string().contains("[kafka]"), "{refused}");
    assert_eq!(bench.call("GET", "/v1/replays", "").1, json!([]));

    // All is there after a restart.
    start(&mut bench);
    assert_eq!(of(&events(&bench, ""), "source"), of(&all, "source"));
    assert_eq!(ask(&bench, "score", r#"{"user":8,"items":[101]}"#).0, 200);
    assert_eq!(events(&bench, "user=8").len(), 2);

    // Who is erased is not found any more, while the service runs.
    let (dir, user) = (bench.path("index"), burnrec_data::Id::Int(7));
    assert_eq!(user_events(&dir, user).expect("an index").len(), 3);
    assert_eq!(ask(&bench, "score", r#"{"user":7,"items":[101]}"#).0, 200);
    assert!(erase_user(&dir, user).expect("an index") >= 3);
    assert_eq!((events(&bench, "user=7").len(), events(&bench, "").len()), (0, 4));
    let (_, status) = bench.call("GET", "/v1/status", "");
    assert!(status["provenance"]["bytes"].as_u64().is_some_and(|bytes| bytes > 100), "{status}");
    let token = format!("Authorization: Bearer {}\r\n", bench.token(Role::Observe));
    let (_, _, metrics) = bench.service().ask("GET", "/metrics", &token, "");
    assert!(metrics.contains("burnrec_provenance_missed_events_total 0"), "{metrics}");
}

#[test]
fn who_looks_needs_to_operate_and_is_written_down() {
    let mut bench = Bench::new();
    start(&mut bench);
    for (role, token) in &bench.tokens {
        let may = [Role::Operate, Role::Admin].contains(role);
        for path in ["/v1/events?user=4711", "/v1/replays"] {
            let status = bench.call_by(token, "GET", path, "", "").0;
            assert_eq!(status, if may { 200 } else { 403 }, "{path} by {role:?}");
        }
        let status = bench.call_by(token, "POST", "/v1/replay?source=a/0/1", "", "").0;
        assert_eq!(status, if may { 400 } else { 403 }, "a replay by {role:?}");
    }
    let (_, audit) = bench.call("GET", "/v1/audit?last=1000", "");
    let text = audit.to_string();
    assert!(text.contains("GET /v1/events?user=…") && !text.contains("4711"), "{text}");
    let looked = |line: &&Value| line["by"] == "operate" && line["call"] == "GET /v1/events?user=…";
    assert_eq!(audit.as_array().expect("lines").iter().filter(looked).count(), 1);
}
