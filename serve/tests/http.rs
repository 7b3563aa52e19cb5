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
        r#"burnrec_replies_total{model="main",version="als"} 5"#,
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
    for (method, path, status, reason) in [
        ("GET", "/v2/score", 404, "no-path"),
        ("POST", "/", 405, "other-method"),
        ("GET", "/v1/score", 405, "other-method"),
        ("DELETE", "/metrics", 405, "other-method"),
    ] {
        let (found, head, body) = service.ask(method, path, "", "");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((found, answer["error"]["reason"].as_str()), (status, Some(reason)), "{method} {path}");
        let head = head.to_lowercase();
        assert!(head.contains("content-type: application/json"), "{head}");
        assert_eq!(status == 405, head.contains("\nallow: "), "{head}");
    }
    // The first body is shorter than it says; the second is no HTTP.
    for damaged in
        ["POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n{", "\0\0\0\r\n\r\n"]
    {
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
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let header = format!("authorization: {scheme} open sesame\r\n");
            let (status, _, body) = service.ask("GET", path, &header, "");
            assert!(status == 200 && !body.contains("sesame"), "{path}: {status}, and no secret in {body}");
        }
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
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    let mut half = service.connect();
    half.write_all(b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{").unwrap();
    // One connection is idle and one in the middle of a request; both stay open until the service has ended.
    service.stop();
    drop((idle, half));
}

/// Sends `POST /v1/score` under a host's name, with more headers; returns the status and the reason of a refusal.
fn asked_as(service: &Running, host: &str, headers: &str) -> (u16, String) {
    let request = request("POST", "/v1/score", headers, SCORE).replace("Host: localhost\r\n", host);
    let (status, _, body) = service.send(&request);
    let answer: Value = serde_json::from_str(&body).unwrap();
    (status, answer["error"]["reason"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn no_page_of_another_site_speaks_to_a_service_without_a_token() {
    let service = Running::of("http.hosts = [\"Scores.example\"]");
    let port = service.address.port();
    let own = |host: &str| format!("Host: {host}:{port}\r\n");
    for host in
        ["127.0.0.1", "localhost", "LOCALHOST", "127.8.8.8", "[::1]", "app.localhost", "scores.example"]
    {
        assert_eq!(asked_as(&service, &own(host), "").0, 200, "{host}");
        let origin = format!("Origin: http://{host}:{port}\r\n");
        assert_eq!(asked_as(&service, &own(host), &origin).0, 200, "the service's own page at {host}");
    }
    let proxied = asked_as(&service, &own("127.0.0.1"), "Origin: https://scores.example\r\n");
    assert_eq!(proxied.0, 200, "its own page behind a proxy");
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "", "a b"] {
        let refusal = (403, "other-host".to_owned());
        assert_eq!(asked_as(&service, &own(host), ""), refusal, "{host:?}: DNS rebinding");
    }
    for origin in
        ["http://evil.example", "null", "http://127.0.0.1:1", "http://evil.example:80/127.0.0.1", ""]
    {
        let refusal = (403, "other-origin".to_owned());
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(asked_as(&service, &own("127.0.0.1"), &header), refusal, "{origin:?}: CSRF");
    }
    for (method, path) in
        [("POST", "/v1/event"), ("POST", "/-/reload"), ("GET", "/flow"), ("GET", "/metrics")]
    {
        let status = service.ask(method, path, "Origin: http://evil.example\r\n", "").0;
        assert_eq!(status, 403, "{path}");
    }
    assert_eq!(service.engine.state.n_users(), 0);
    // A token is what no other page has.
    let service = Running::of("http.token = \"t\"");
    let with_token = "Authorization: Bearer t\r\nOrigin: http://evil.example\r\n";
    assert_eq!(asked_as(&service, "Host: any.example\r\n", with_token).0, 200);
}

#[test]
fn a_client_may_not_keep_a_connection_waiting() {
    let service = Running::of("http.read_timeout_ms = 100");
    let part = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\n";
    let whole = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (sent, status) in [
        ("", None),
        ("POST /v1", None),
        (part, None),
        (&format!("{part}Content-Length: 9\r\n\r\n{{"), Some(408)),
        (&format!("{part}Transfer-Encoding: chunked\r\n\r\n5\r\n{{"), Some(408)),
        (whole, Some(200)),
    ] {
        let mut stream = service.connect();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the service closes the connection");
        assert_eq!((!answer.is_empty()).then(|| parts(&answer).0), status, "{sent:?}");
        assert!(status != Some(408) || answer.contains("too-slow"), "{answer}");
    }
}

#[test]
fn connections_have_a_bound_and_wait_for_a_place() {
    let service = Running::of("http.connections = 2\nhttp.read_timeout_ms = 60000");
    let live = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut head = [0; 12];
    let mut held: Vec<_> = (0..2).map(|_| service.connect()).collect();
    for stream in &mut held {
        stream.write_all(live.as_bytes()).unwrap();
        stream.read_exact(&mut head).unwrap();
    }
    let mut waiting = service.connect();
    waiting.write_all(live.as_bytes()).unwrap();
    waiting.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    assert!(waiting.read(&mut head).is_err(), "a third connection is answered");
    drop(held.pop());
    waiting.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    waiting.read_exact(&mut head).expect("its turn has come");
    assert_eq!(&head, b"HTTP/1.1 200");
}

/// Runs `openssl`; returns what it writes, or what it says on stderr if it fails.
fn try_openssl(folder: &Path, arguments: &str, input: &[u8]) -> Result<String, String> {
    let mut child = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the openssl command");
    // It may have ended without reading.
    drop(child.stdin.take().expect("a pipe").write_all(input));
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn openssl(folder: &Path, arguments: &str) -> String {
    try_openssl(folder, arguments, b"").unwrap_or_else(|error| panic!("{arguments}: {error}"))
}

#[test]
fn tls_answers_other_clients() {
    let folder = TempDir::new().expect("a temporary folder");
    let folder = folder.path();
    let make = |name: &str| {
        let of = "req -x509 -newkey rsa:2048 -days 1 -subj /CN=localhost -passout pass:hunter2";
        openssl(folder, &format!("{of} -keyout {name}-key.pem -out {name}.pem"));
    };
    make("old");
    make("new");
    for (from, to) in [("old.pem", "cert.pem"), ("old-key.pem", "key.pem")] {
        std::fs::copy(folder.join(from), folder.join(to)).unwrap();
    }
    let of = |certificate: &str, password: &str| {
        let (certificate, key) = (folder.join(certificate), folder.join("key.pem"));
        config(&format!(
            "models.main.run = \"RUN\"\nhttp.listen = \"127.0.0.1:0\"\nhttp.tls_certificate = {certificate:?}\n\
             http.tls_key = {key:?}\nhttp.tls_password = \"{password}\""
        ))
    };
    for (certificate, password, field) in [
        ("cert.pem", "open sesame", "http.tls_key"),
        ("new.pem", "hunter2", "http.tls_certificate"),
        ("key.pem", "hunter2", "http.tls_certificate"),
        ("none.pem", "hunter2", "none.pem"),
    ] {
        let Err(error) = Service::open(of(certificate, password)) else { panic!("{field} is taken") };
        let error = error.to_string();
        assert!(error.contains(field) && !error.contains("sesame") && !error.contains("hunter2"), "{error}");
    }
    let service = Running::new(of("cert.pem", "hunter2"));
    // A connection without a handshake delays no other.
    let silent = service.connect();
    let address = service.address;
    let ask = |ca: &str, version: &str| {
        let client =
            format!("s_client -quiet -connect {address} -CAfile {ca}.pem -verify_return_error -{version}");
        try_openssl(folder, &client, request("POST", "/v1/score", "", SCORE).as_bytes())
    };
    for version in ["tls1_2", "tls1_3"] {
        let (status, _, body) = parts(&ask("old", version).unwrap());
        assert!(status == 200 && body.contains("\"items\""), "{version}: {status}: {body}");
    }
    assert!(ask("old", "tls1_1").is_err() && ask("new", "tls1_3").is_err());
    let renew = |name: &str| {
        // By rename, as what renews certificates does.
        let from = if name == "cert.pem" { "new.pem" } else { "new-key.pem" };
        std::fs::copy(folder.join(from), folder.join("next")).unwrap();
        std::fs::rename(folder.join("next"), folder.join(name)).unwrap();
    };
    renew("cert.pem");
    assert!(ask("old", "tls1_3").is_ok(), "the old one serves until both files are new");
    renew("key.pem");
    assert!(ask("new", "tls1_3").is_ok() && ask("old", "tls1_3").is_err());
    let mut plain = service.connect();
    plain.write_all(request("GET", "/health/live", "", "").as_bytes()).unwrap();
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer));
    assert!(!String::from_utf8_lossy(&answer).contains("live"), "plain text is not answered");
    // The service stops although a handshake hangs.
    service.stop();
    drop(silent);
}
