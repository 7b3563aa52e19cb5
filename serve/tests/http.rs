//! The HTTP server, asked over plain sockets as any client would.

mod common;
#[path = "common/running.rs"]
mod running;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use burnrec_serve::Service;
use common::{config, try_config};
use running::{Running, parts, request};
use serde_json::Value;
use tempfile::TempDir;

const SCORE: &str = r#"{"user":7,"items":[101,102]}"#;

#[test]
fn all_requests_are_answered_and_counted() {
    let service = Running::of("");
    let (status, score) = service.post("/v1/score", SCORE);
    assert_eq!((status, score["items"].as_array().unwrap().len()), (200, 2));
    assert!(score.get("by").is_none() && score.get("source").is_none());
    let (status, list) = service.post("/v1/recommend", r#"{"user":7,"k":3,"id":"x"}"#);
    assert_eq!((status, list["items"].as_array().unwrap().len(), &list["id"]), (200, 3, &"x".into()));
    let (status, alike) = service.post("/v1/similar", r#"{"type":"similar","item":101,"k":2}"#);
    assert_eq!((status, alike["items"].as_array().unwrap().len()), (200, 2));
    for (item, length) in [(120, 1), (121, 2), (120, 2)] {
        let (status, event) = service.post("/v1/event", &format!(r#"{{"user":7,"item":{item}}}"#));
        assert_eq!((status, &event["history"]), (200, &length.into()));
    }
    let (_, after) = service.post("/v1/score", SCORE);
    assert_eq!(after["by"], "fold-in");
    assert_ne!(after["items"], score["items"], "the events count");
    let (_, other) = service.post("/v1/score", r#"{"user":8,"items":[101]}"#);
    assert!(other.get("by").is_none());
    service.post("/v1/score", "nonsense");

    let (status, metrics) = service.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        r#"burnrec_ended_total{outcome="replied",of="score",stage=""} 3"#,
        r#"burnrec_ended_total{outcome="replied",of="recommend",stage=""} 1"#,
        r#"burnrec_ended_total{outcome="replied",of="event",stage=""} 3"#,
        r#"burnrec_ended_total{outcome="rejected",of="not-json",stage="decode"} 1"#,
        r#"burnrec_http_requests_total{path="/v1/score",status="200"} 3"#,
        r#"burnrec_http_requests_total{path="/v1/score",status="400"} 1"#,
        "burnrec_users_with_history 1",
        "burnrec_http_seconds_count 9",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
    let (status, ready) = service.get("/health/ready");
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!((status, &ready["ready"]), (200, &true.into()));
    assert_eq!(service.get("/health/live"), (200, "live\n".into()));
    let (status, flow) = service.get("/flow");
    let flow: Value = serde_json::from_str(&flow).unwrap();
    assert_eq!((status, &flow["users"], &flow["kafka"]), (200, &1.into(), &Value::Null));
    assert_eq!((&flow["models"][0]["name"], &flow["models"][0]["items"]), (&"main".into(), &30.into()));
    assert_eq!(
        flow["http"]["requests"], 9,
        "who watches is not counted: neither /metrics nor /flow nor /health"
    );
    assert!(!metrics.contains("path=\"/metrics\""));
    let ends = flow["ended"].as_array().unwrap().iter();
    assert_eq!(ends.map(|end| end["count"].as_u64().unwrap()).sum::<u64>(), 9);
    let (status, head, _) = service.ask("GET", "/", "", "");
    assert!(status == 200 && head.contains("text/html"), "{head}");
    assert_eq!((service.get("/v2/score").0, service.get("/v1/score").0), (404, 405));
}

#[test]
fn errors_are_json_with_a_reason() {
    let service = Running::of("limits.message_bytes = 2000\nunknown.user = \"reject\"");
    let large = format!(r#"{{"user":7,"items":[{}101]}}"#, "101,".repeat(1000));
    for (path, body, status, reason) in [
        ("/v1/score", "{", 400, "not-json"),
        ("/v1/score", "", 400, "empty"),
        ("/v1/score", r#"{"user":7,"items":[]}"#, 400, "no-items"),
        ("/v1/score", r#"{"type":"event","user":7,"item":101}"#, 400, "not-a-request"),
        ("/v1/score", r#"{"user":900,"items":[101]}"#, 404, "unknown-user"),
        ("/v1/similar", r#"{"item":7,"k":2}"#, 404, "unknown-item"),
        ("/v1/recommend", r#"{"user":7,"k":1001}"#, 400, "bad-k"),
        ("/v1/event", r#"{"user":7,"item":101,"value":1e39}"#, 400, "not-finite"),
        ("/v1/score", &large, 413, "too-large"),
        ("/v1/event", &large, 413, "too-large"),
    ] {
        let (found, answer) = service.post(path, body);
        assert_eq!((found, answer["error"]["reason"].as_str()), (status, Some(reason)), "{path} {body:.50}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
        assert!(answer["error"]["stage"].is_string());
    }
    // The first body is shorter than it says; the second is no HTTP.
    for damaged in ["POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n{", "\0\0\0\r\n\r\n"] {
        let mut stream = service.connect();
        stream.write_all(damaged.as_bytes()).unwrap();
    }
    assert_eq!(service.post("/v1/score", SCORE).0, 200, "the service goes on");
}

#[test]
fn who_does_not_bring_the_token_is_not_let_in() {
    let service = Running::of("http.token = \"open sesame\"");
    for path in ["/metrics", "/flow", "/health/ready"] {
        for wrong in [
            "",
            "Authorization: Bearer open sesamy\r\n",
            "Authorization: Bearer \r\n",
            "Authorization: open sesame\r\n",
            "Authorization: Bearer open sesame2\r\n",
        ] {
            let (status, head, body) = service.ask("GET", path, wrong, "");
            assert!(
                status == 401 && head.to_lowercase().contains("www-authenticate: bearer"),
                "{path} {wrong}: {head}"
            );
            assert!(!body.contains("sesame"));
        }
        let (status, _, body) = service.ask("GET", path, "authorization: Bearer open sesame\r\n", "");
        assert!(status == 200 && !body.contains("sesame"), "{path}: {status}, and no secret in {body}");
    }
    for path in ["/v1/score", "/v1/recommend", "/v1/similar", "/v1/event", "/-/reload"] {
        assert_eq!(service.ask("POST", path, "", SCORE).0, 401, "{path}");
    }
    assert_eq!(service.ask("POST", "/v1/score", "Authorization: Bearer open sesame\r\n", SCORE).0, 200);
    assert_eq!(service.get("/health/live").0, 200);
}

#[test]
fn an_open_address_needs_a_secret() {
    let of = |http: &str| try_config(&format!("models.main.run = \"RUN\"\n{http}")).map(|_| ());
    for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80"] {
        let error = of(&format!("http.listen = \"{address}\"")).unwrap_err().to_string();
        assert!(error.contains("http.listen") && error.contains("http.token"), "{error}");
        of(&format!("http.listen = \"{address}\"\nhttp.token = \"x\"")).unwrap();
    }
    of("http.listen = \"[::1]:8080\"").unwrap();
    assert!(of("http.token = \" \"").unwrap_err().to_string().contains("http.token"));
}

#[test]
fn how_many_requests_are_scored_at_once_has_bounds() {
    for (n, is_good) in [("0", false), ("1", true), ("1000", true), ("1001", false)] {
        let config = try_config(&format!("models.main.run = \"RUN\"\nhttp.scoring_requests = {n}"));
        let error = config.err().map(|error| error.to_string());
        assert_eq!(error.is_none(), is_good, "{n}");
        assert!(error.is_none_or(|error| error.contains("http.scoring_requests: found")), "{n}");
    }
}

#[test]
fn a_new_model_is_taken_up_when_asked_and_a_broken_one_is_not() {
    let folder = TempDir::new().expect("a temporary folder");
    let run = folder.path().join("run");
    common::save(&run, Box::new(common::als(3)));
    let text = format!("models.main.run = {run:?}\nhttp.listen = \"127.0.0.1:0\"");
    let service = Running::new(config(&text));
    let hash = || service.post("/v1/score", SCORE).1["hash"].as_str().expect("a hash").to_owned();
    let before = hash();
    common::save(&run, Box::new(common::als(4)));
    let (status, taken) = service.post("/-/reload", "");
    // The service looks by itself as well, and may have been first.
    assert!(status == 200 && taken["warnings"].as_object().is_some_and(serde_json::Map::is_empty), "{taken}");
    let after = hash();
    assert_ne!(before, after);
    std::fs::write(run.join("manifest.json"), "{}").unwrap();
    let (status, taken) = service.post("/-/reload", "");
    assert_eq!((status, &taken["taken"]), (409, &Value::Array(Vec::new())));
    assert!(
        taken["warnings"]["models.main"].as_str().is_some_and(|why| why.contains("manifest.json")),
        "{taken}"
    );
    let (status, ready) = service.get("/health/ready");
    assert!(status == 200 && ready.contains("models.main"), "{ready}");
    assert_eq!(hash(), after, "the old one serves");
}

#[test]
fn a_stop_ends_whatever_clients_do() {
    let service = Running::of("");
    assert_eq!(service.post("/v1/score", SCORE).0, 200);
    service.stop();

    let service = Running::of("");
    let mut idle = service.connect();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    let mut half = service.connect();
    half.write_all(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").unwrap();
    // One connection is idle and one in the middle of a request; both stay open until the service has ended.
    service.stop();
    drop((idle, half));
}

/// Runs `openssl`; returns what it writes.
fn openssl(folder: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the openssl command");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn tls_answers_other_clients() {
    let folder = TempDir::new().expect("a temporary folder");
    let make = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 1 -subj /CN=localhost";
    openssl(folder.path(), &make.split(' ').collect::<Vec<_>>(), b"");
    let pack = "pkcs12 -export -inkey key.pem -in cert.pem -out identity.p12 -passout pass:secret";
    openssl(folder.path(), &pack.split(' ').collect::<Vec<_>>(), b"");
    let of = |password: &str| {
        let tls = folder.path().join("identity.p12");
        config(&format!(
            "models.main.run = \"RUN\"\nhttp = {{ listen = \"127.0.0.1:0\", tls = {tls:?}, tls_password = \"{password}\" }}"
        ))
    };
    let Err(error) = Service::open(of("wrong")) else { panic!("a wrong password is taken") };
    assert!(error.to_string().contains("http.tls") && !error.to_string().contains("wrong"), "{error}");
    let service = Running::new(of("secret"));
    // A connection without a handshake delays no other.
    let silent = service.connect();
    let address = service.address.to_string();
    let client = ["s_client", "-quiet", "-connect", &address, "-CAfile", "cert.pem", "-verify_return_error"];
    let output = openssl(folder.path(), &client, request("POST", "/v1/score", "", SCORE).as_bytes());
    let (status, _, body) = parts(&String::from_utf8_lossy(&output));
    assert!(status == 200 && body.contains("\"items\""), "{status}: {body}");
    let mut plain = service.connect();
    plain.write_all(request("GET", "/health/live", "", "").as_bytes()).unwrap();
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer));
    assert!(!String::from_utf8_lossy(&answer).contains("live"), "plain text is not answered");
    // The service stops although a handshake hangs.
    service.stop();
    drop(silent);
}
