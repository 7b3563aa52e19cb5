//! Versions of the config.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use burnrec_serve::Service;
use burnrec_serve::http::tokens::Role;
use serde_json::{Value, json};

use crate::bench::{Bench, SCORE, START};
use crate::common::{self, config};

#[test]
fn a_change_is_a_version_to_be_looked_at_compared_and_rolled_back() {
    let bench = Bench::new();
    assert_eq!((bench.version(), bench.model()), (1, "main".into()));
    let canary = START.replace("main = 1, other = 0", "main = 0, other = 3");
    let (status, checked) = bench.call("PUT", "/v1/config?check=true", &canary);
    assert_eq!(
        (status, &checked["version"], checked["changes"].as_array().unwrap().len()),
        (200, &json!(1), 2)
    );
    assert_eq!((bench.version(), bench.model()), (1, "main".into()), "a check changes nothing");
    let (status, put) = bench.call("PUT", "/v1/config?note=canary", &canary);
    let changes = json!([
        { "field": "routes[0].models.main", "from": 1.0, "to": 0.0 },
        { "field": "routes[0].models.other", "from": 0.0, "to": 3.0 },
    ]);
    assert_eq!((status, &put), (200, &json!({ "version": 2, "changes": changes })));
    assert_eq!((bench.version(), bench.model()), (2, "other".into()));
    assert_eq!(bench.put(&canary), 2, "what changes nothing is no version");
    let (_, config) = bench.call("GET", "/v1/config", "");
    assert_eq!(config["routes"][0]["models"], json!({ "main": 0.0, "other": 3.0 }));
    let (_, before) = bench.call("GET", "/v1/config?version=1", "");
    assert_eq!(before["routes"][0]["models"], json!({ "main": 1.0, "other": 0.0 }));

    let (status, rolled) = bench.call("POST", "/v1/rollback", "");
    assert_eq!((status, &rolled["version"], bench.model()), (200, &json!(3), "main".into()));
    let (status, again) = bench.call("POST", "/v1/rollback?to=2", "");
    assert_eq!((status, &again["version"], bench.model()), (200, &json!(4), "other".into()));
    let (status, none) = bench.call("POST", "/v1/rollback?to=9", "");
    assert_eq!((status, &none["error"]["reason"]), (404, &json!("no-version")));
    let (_, diff) = bench.call("GET", "/v1/diff?from=1&to=4", "");
    assert_eq!(diff["changes"], changes);
    assert_eq!(bench.call("GET", "/v1/diff?from=2&to=4", "").1["changes"], json!([]));

    // What GET gives, PUT takes, as JSON and for the version that it was.
    let (json, admin) = ("Content-Type: application/json\r\n", bench.token(Role::Admin));
    let mut wish = before.clone();
    wish["flow"]["batch_events"] = json!(7);
    let stale = format!("{json}If-Match: \"3\"\r\n");
    let (status, late) = bench.call_by(admin, "PUT", "/v1/config", &stale, &wish.to_string());
    assert_eq!((status, &late["error"]["reason"]), (409, &json!("conflict")), "{late}");
    let fresh = format!("{json}If-Match: \"4\"\r\n");
    let (status, taken) = bench.call_by(admin, "PUT", "/v1/config", &fresh, &wish.to_string());
    assert_eq!((status, &taken["version"]), (200, &json!(5)), "{taken}");

    let (_, all) = bench.call("GET", "/v1/versions", "");
    let of = |key: &str| all.as_array().unwrap().iter().map(|of| of[key].clone()).collect::<Vec<Value>>();
    assert_eq!(of("act"), ["start", "put", "rollback", "rollback", "put"]);
    assert_eq!(of("by"), ["config file", "admin", "admin", "admin", "admin"]);
    assert_eq!(of("note"), ["", "canary", "", "", ""]);
    assert_eq!(of("answers"), [false, false, false, false, true]);
    assert!(of("at").iter().all(|at| at.as_str().is_some_and(|at| at.ends_with('Z') && at.len() == 20)));
    assert_eq!(of("changes")[1], changes);
    let (_, metrics) = bench.service().get("/metrics");
    assert!(
        metrics.contains("\nburnrec_config_version 5\n")
            && metrics.contains("\nburnrec_config_newest_version 5\n")
    );
}

#[test]
fn a_wrong_part_refuses_the_whole() {
    let bench = Bench::new();
    let offers = bench.path("offers.csv");
    std::fs::write(&offers, "item,offer,least\n101,a,x\n").unwrap();
    // Each would also let the other model answer.
    let base = START.replace("main = 1, other = 0", "main = 0, other = 1");
    for (part, status, field) in [
        ("[flow]\nbatch_events = 0", 422, "flow.batch_events"),
        ("[flow]\norder = \"by-mood\"", 422, "order"),
        ("[limits]\nhistory = 0", 422, "limits.history"),
        ("[failures.score]\nthen = \"pray\"", 422, "then"),
        ("[[routes]]\nmodels = { none = 1 }", 422, "routes[1].models"),
        ("[[routes]]\nmodels = { main = -1 }", 422, "routes[1].models.main"),
        ("[[routes]]\ntopic = \"t\"\nmodels = { main = 1 }", 422, "routes[1].topic"),
        ("[models.third]\nrun = \"nowhere\"", 422, "nowhere"),
        ("[output]\ncsv = \"user,offer\"", 422, "output.csv"),
        ("[table]\npath = \"nowhere.csv\"", 422, "nowhere.csv"),
        (&format!("[table]\npath = {offers:?}\nthreshold = \"least\""), 422, "table.threshold"),
        ("[http]\nscoring_requests = 3", 422, "http.scoring_requests: found 3, expected 8 as"),
        ("[control]\ndir = \"elsewhere\"", 422, "control.dir"),
        ("[kafka]\nbootstrap = \"b\"\nrequests = [\"q\"]\nreplies = \"r\"\nrejects = \"x\"", 422, "kafka"),
        ("[flo]\nbatch_events = 1", 422, "flo"),
        ("no toml", 422, "config"),
    ] {
        let (found, answer) = bench.call("PUT", "/v1/config", &format!("{base}{part}"));
        let text = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(found == status && text.contains(field), "{part}: {found}: {answer}");
        assert_eq!((bench.version(), bench.model()), (1, "main".into()), "{part}");
    }
    let large = format!("{base}# {}", "x".repeat(2 << 20));
    assert_eq!(bench.call("PUT", "/v1/config", &large).0, 413);
    assert_eq!(bench.put(&base), 2, "the rest of it is right");
    assert_eq!(bench.model(), "other");
}

#[test]
fn settings_and_models_change_without_a_restart() {
    let bench = Bench::new();
    let offers = bench.path("offers.csv");
    std::fs::write(&offers, "item,offer,least\n101,a,-99\n102,b,99\n").unwrap();
    let table =
        format!("[table]\npath = {offers:?}\nthreshold = \"least\"\ncolumns = [\"offer\", \"least\"]");
    assert_eq!(bench.put(&format!("{START}{table}")), 2);
    let items = || bench.service().post("/v1/score", SCORE).1["items"].clone();
    assert_eq!((items().as_array().unwrap().len(), &items()[0]["offer"]), (1, &json!("a")));
    // The file is read again with the next version, and its hash says that it is another.
    std::fs::write(&offers, "item,offer,least\n101,a,-99\n102,c,-99\n").unwrap();
    let (_, put) = bench.call("PUT", "/v1/config", &format!("{START}{table}"));
    assert_eq!((&put["version"], &put["changes"][0]["field"]), (&json!(3), &json!("table's file")), "{put}");
    assert_eq!(items()[1]["offer"], "c");
    // Limits hold for what is read over HTTP as well.
    assert_eq!(bench.put(&format!("{START}[limits]\nmessage_bytes = 20\nitems = 1")), 4);
    assert_eq!(bench.service().post("/v1/score", SCORE).0, 413);
    assert_eq!(bench.put(&format!("{START}[limits]\nitems = 1")), 5);
    assert_eq!(bench.service().post("/v1/score", SCORE).1["error"]["reason"], "too-many-items");
    assert_eq!(bench.put(&format!("{START}[unknown]\nuser = \"reject\"")), 6);
    assert_eq!(bench.service().post("/v1/score", r#"{"user":900,"items":[101]}"#).0, 404);
    // A model comes, and one goes.
    let third = bench.path("third");
    common::save(&third, Box::new(common::als(3)));
    let part = format!("models.third.run = {third:?}\nmodels.third.version = \"v3\"\n");
    assert_eq!(bench.put(&part), 7);
    assert_eq!(bench.service().post("/v1/score", SCORE).1["version"], "v3");
    let status = bench.call("GET", "/v1/status", "").1;
    assert_eq!(
        (&status["models"][0]["model"], &status["models"][0]["replies"]),
        (&json!("third"), &json!(1)),
        "{status}"
    );
    assert_eq!(status["models"].as_array().unwrap().len(), 1);
    // A model of a version to go back to may be gone by then: that is refused whole, too.
    assert_eq!(bench.put(START), 8);
    std::fs::remove_dir_all(&third).unwrap();
    let (status, refused) = bench.call("POST", "/v1/rollback?to=7", "");
    assert!(status == 422 && refused.to_string().contains("models.third"), "{refused}");
    assert_eq!((bench.version(), bench.model()), (8, "main".into()));
}

#[test]
fn a_paused_service_takes_nothing_new_until_it_is_resumed() {
    let mut bench = Bench::new();
    for (path, word) in [("/v1/pause", "paused"), ("/v1/drain", "draining")] {
        let (status, answer) = bench.call("POST", path, "");
        assert_eq!((status, &answer["changes"][0]["to"]), (200, &json!(word)), "{answer}");
        let (status, refusal) = bench.service().post("/v1/score", SCORE);
        assert_eq!((status, &refusal["error"]["reason"]), (503, &json!("paused")), "{refusal}");
        let (status, ready) = bench.service().get("/health/ready");
        assert!(status == 503 && ready.contains(word), "{ready}");
    }
    assert_eq!(bench.call("GET", "/v1/status", "").1["drained"], true);
    // A change and a rollback leave it paused, and so does a restart.
    bench.put(&START.replace("main = 1, other = 0", "main = 0, other = 1"));
    assert_eq!(bench.call("POST", "/v1/rollback", "").0, 200);
    bench.start(START, "");
    assert_eq!(bench.service().post("/v1/score", SCORE).0, 503);
    assert_eq!(bench.call("POST", "/v1/resume", "").0, 200);
    assert_eq!((bench.model(), bench.version()), ("main".into(), 6));
    assert_eq!(bench.service().get("/health/ready").0, 200);
}

#[test]
fn versions_survive_a_restart_and_a_file_that_changed_becomes_one() {
    let mut bench = Bench::new();
    let other = START.replace("main = 1, other = 0", "main = 0, other = 1");
    assert_eq!(bench.put(&other), 2);
    bench.start(START, "");
    assert_eq!((bench.version(), bench.model()), (2, "other".into()), "what was changed holds");
    let edited = format!("{START}[flow]\nbatch_events = 9");
    bench.start(&edited, "");
    assert_eq!((bench.version(), bench.model()), (3, "main".into()), "the file is another now");
    let (_, versions) = bench.call("GET", "/v1/versions", "");
    assert_eq!(
        (&versions[2]["by"], versions[2]["changes"].as_array().unwrap().len()),
        (&json!("config file"), 3)
    );
    bench.start(&edited, "");
    assert_eq!(bench.version(), 3);
    bench.start(START, "");
    assert_eq!((bench.version(), bench.model()), (3, "main".into()), "a file of before does not come back");
    // A line that a crash cut short was never a version.
    let log = bench.path("control/versions.jsonl");
    let text = std::fs::read_to_string(&log).unwrap();
    bench.service.take().unwrap().stop();
    std::fs::write(&log, format!("{text}{}", &text[..40])).unwrap();
    bench.start(START, "");
    assert_eq!((bench.version(), bench.put(&other)), (3, 4));
    // Two services never share a directory.
    let Err(error) = Service::open(config(&bench.text(START, ""))) else { panic!("it is opened twice") };
    assert!(error.to_string().contains("one at a time"), "{error}");
    // What is no log is named, with its line.
    bench.service.take().unwrap().stop();
    std::fs::write(&log, format!("{}\nnonsense\n", text.lines().next().unwrap())).unwrap();
    let Err(error) = Service::open(config(&bench.text(START, ""))) else { panic!("it is opened") };
    assert!(error.to_string().contains("versions.jsonl") && error.to_string().contains('2'), "{error}");
}

#[test]
fn no_request_is_lost_or_answered_by_two_versions_while_versions_come() {
    let bench = Bench::new();
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    // In the one version the answer has one item by a threshold, in the other both and no offer.
    let offers = bench.path("offers.csv");
    std::fs::write(&offers, "item,offer,least\n101,a,-99\n102,b,99\n").unwrap();
    let with_table = START.replace("main = 1, other = 0", "main = 0, other = 1")
        + &format!("[table]\npath = {offers:?}\nthreshold = \"least\"");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut seen = [0, 0];
                while !over.load(Ordering::Relaxed) || seen.contains(&0) {
                    let (status, reply) = bench.service().post("/v1/score", SCORE);
                    assert_eq!(status, 200, "{reply}");
                    let (n, offer) =
                        (reply["items"].as_array().unwrap().len(), !reply["items"][0]["offer"].is_null());
                    let is_second = reply["model"] == "other";
                    assert_eq!((n, offer), if is_second { (1, true) } else { (2, false) }, "{reply}");
                    seen[usize::from(is_second)] += 1;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for at in 0..40 {
            let before = answered.load(Ordering::Relaxed);
            assert_eq!(bench.put(if at % 2 == 0 { &with_table } else { START }), at + 2);
            while answered.load(Ordering::Relaxed) < before + 6 {
                std::thread::yield_now();
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let total: u64 = bench.service().engine.models.replies().iter().map(|(_, n)| n).sum();
    assert_eq!(total, answered.load(Ordering::Relaxed), "each reply is counted at one model");
}
