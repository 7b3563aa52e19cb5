//! Who may do what.

use burnrec_serve::Service;
use burnrec_serve::http::tokens::{Role, revoke};
use serde_json::Value;

use crate::bench::{Bench, SCORE, START};
use crate::common::try_config;
use crate::running::request;

#[test]
fn a_role_lets_do_what_it_says_and_all_else_is_written_down() {
    let bench = Bench::new();
    let other = START.replace("main = 1, other = 0", "main = 0, other = 1");
    let calls = [
        (Role::Observe, "GET", "/v1/status", ""),
        (Role::Observe, "GET", "/v1/config", ""),
        (Role::Observe, "GET", "/v1/versions", ""),
        (Role::Observe, "GET", "/v1/diff?from=1", ""),
        (Role::Operate, "POST", "/v1/pause", ""),
        (Role::Operate, "POST", "/v1/resume", ""),
        (Role::Operate, "POST", "/v1/reload", ""),
        (Role::Operate, "PUT", "/v1/config", &other),
        (Role::Operate, "POST", "/v1/rollback", ""),
        (Role::Admin, "GET", "/v1/audit", ""),
    ];
    let rank = |role: Role| Role::ALL.iter().position(|of| *of == role).unwrap();
    for (needed, method, path, body) in &calls {
        for strangers in ["", "Bearer", "Bearer nonsense", "Basic YWRtaW46"] {
            let headers = format!("Authorization: {strangers}\r\n");
            let (status, head, _) = bench.service().control(&request(method, path, &headers, body));
            assert!(
                status == 401 && head.to_lowercase().contains("www-authenticate: bearer"),
                "{path}: {head}"
            );
        }
        assert_eq!(bench.service().control(&request(method, path, "", body)).0, 401);
        for (role, token) in &bench.tokens {
            let status = bench.call_by(token, method, path, "", body).0;
            // `score` is for scores alone.
            let may = *role != Role::Score && rank(*role) >= rank(*needed);
            assert_eq!(status, if may { 200 } else { 403 }, "{method} {path} by {role:?}");
        }
    }
    // What names files, only an administrator changes.
    let third = format!("models.third.run = \"RUN\"\n{START}");
    let by = |role: Role, body: &str| bench.call_by(bench.token(role), "PUT", "/v1/config", "", body);
    let (status, refused) = by(Role::Operate, &third);
    assert!(status == 403 && refused.to_string().contains("models.third"), "{refused}");
    assert_eq!(by(Role::Admin, &third).0, 200);

    let (_, audit) = bench.call("GET", "/v1/audit?last=1000", "");
    let lines = audit.as_array().unwrap();
    let count = |is: &dyn Fn(&Value) -> bool| lines.iter().filter(|line| is(line)).count();
    let strangers = count(&|line| line["by"].is_null() && line["status"] == 401);
    assert_eq!(strangers, 5 * calls.len());
    assert_eq!(count(&|line| line["by"] == "score" && line["status"] == 403), calls.len());
    assert_eq!(count(&|line| line["by"] == "observe" && line["status"] == 403), 6);
    assert_eq!(count(&|line| line["by"] == "operate" && line["status"] == 403), 2);
    let put = lines.iter().find(|line| line["by"] == "operate" && line["call"] == "PUT /v1/config");
    assert_eq!((&put.unwrap()["status"], &put.unwrap()["text"]), (&Value::Null, &"asked".into()));
    let is_done =
        |line: &&Value| line["by"] == "operate" && line["call"] == "PUT /v1/config" && line["status"] == 200;
    let put = lines.iter().find(is_done).unwrap();
    assert!(put["text"].as_str().unwrap().contains("routes[0].models.other"), "{put}");
    assert_eq!(count(&|line| line["call"] == "GET /v1/status" && line["status"] == 200), 0);
    let text = std::fs::read_to_string(bench.path("control/audit.jsonl")).unwrap();
    assert!(bench.tokens.iter().all(|(_, token)| !text.contains(token.as_str())), "a token is in the log");
}

#[test]
fn named_tokens_guard_the_service_itself_as_well() {
    let mut bench = Bench::new();
    bench.start(START, &format!("http.tokens = {:?}", bench.path("tokens.toml")));
    let paths = [
        (Role::Score, "POST", "/v1/score", SCORE),
        (Role::Observe, "GET", "/metrics", ""),
        (Role::Observe, "GET", "/flow", ""),
        (Role::Observe, "GET", "/health/ready", ""),
        (Role::Operate, "POST", "/-/reload", ""),
    ];
    for (needed, method, path, body) in paths {
        let of = |headers: &str| bench.service().ask(method, path, headers, body).0;
        assert_eq!((of(""), of("Authorization: Bearer no\r\n")), (401, 401), "{path}");
        for (role, token) in &bench.tokens {
            let may = *role == needed
                || *role == Role::Admin
                || (*role == Role::Operate && needed == Role::Observe);
            let status = of(&format!("Authorization: Bearer {token}\r\n"));
            assert_eq!(status, if may { 200 } else { 403 }, "{path} by {role:?}");
        }
    }
    assert_eq!(bench.service().get("/health/live").0, 200);
    // What changes something is written down, and so is who may not.
    let (_, audit) = bench.call("GET", "/v1/audit?last=1000", "");
    let reloads = audit.as_array().unwrap().iter().filter(|line| line["call"] == "POST /-/reload");
    let of: Vec<_> =
        reloads.map(|line| (line["by"].as_str(), line["kind"].as_str(), line["status"].as_u64())).collect();
    for (by, statuses) in [
        (None, [Some(401), Some(401)]),
        (Some("observe"), [Some(403); 2]),
        (Some("operate"), [None, Some(200)]),
        (Some("admin"), [None, Some(200)]),
    ] {
        let kind = by.map(|_| "token");
        assert!(statuses.iter().all(|status| of.contains(&(by, kind, *status))), "{by:?}: {of:?}");
    }
    // A token that is revoked lets nobody in any more.
    let score = format!("Authorization: Bearer {}\r\n", bench.token(Role::Score));
    revoke(&bench.path("tokens.toml"), "score").unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while bench.service().ask("POST", "/v1/score", &score, SCORE).0 != 401 {
        assert!(std::time::Instant::now() < end, "it is still let in");
    }
    bench.service.take().expect("it runs").stop();
    for (text, field) in [
        (bench.text(START, "http.token = \"t\"\nhttp.tokens = \"f\""), "http.tokens"),
        (bench.text(START, "").replace("tokens.toml", "none.toml"), "none.toml"),
        (format!("{START}[control]\ndir = \"x\""), "control.http.tokens"),
        (bench.text(START, "control.topic = \"t\""), "control.topic"),
    ] {
        let error =
            try_config(&text).and_then(|config| Service::open(config).map(drop)).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}
