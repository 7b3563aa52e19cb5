//! Clients with certificates.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use burnrec_serve::Service;
use burnrec_serve::http::tokens::{Role, grant, issue, revoke};
use serde_json::Value;

use crate::bench::{Bench, SCORE, START};
use crate::common::try_config;
use crate::job_server::Jobs;
use crate::pki::{Ca, Identity, Says, ask, connect};
use crate::running::{parts, request};

/// A service and its control with certificates, and CAs that sign those of clients.
struct Guarded {
    bench: Bench,
    ca: Ca,
    other: Ca,
}

impl Guarded {
    fn new(more: &str) -> Self {
        let mut guarded = Self { bench: Bench::new(), ca: Ca::new("acme"), other: Ca::new("acme") };
        let (folder, server) = (guarded.bench.path(""), Says::cn("localhost"));
        guarded.other.sign(Says { is_for_clients: false, ..server }).write(&folder, "server");
        std::fs::write(folder.join("clients.pem"), guarded.ca.certificate.to_pem().unwrap()).unwrap();
        guarded.ca.revoke(&folder, &[], &folder.join("crl.pem"));
        let tokens = guarded.path("tokens.toml");
        grant(&tokens, "nightly", "URI=spiffe://acme/nightly", &[Role::Score], None).unwrap();
        grant(&tokens, "ops", "DNS=ops.example", &[Role::Operate], None).unwrap();
        grant(&tokens, "anna", "CN=anna", &[Role::Admin], None).unwrap();
        guarded.bench.start(START, &guarded.settings(more));
        guarded
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.path(name)
    }

    fn settings(&self, more: &str) -> String {
        let of = |listener: &str| {
            format!(
                "{listener}.tls_certificate = {:?}\n{listener}.tls_key = {:?}\n{listener}.client_ca = {:?}\n{}\n",
                self.path("server.pem"),
                self.path("server-key.pem"),
                self.path("clients.pem"),
                more.replace("HTTP", listener).replace("CRL", &self.path("crl.pem").display().to_string())
            )
        };
        format!("http.tokens = {:?}\n{}{}", self.path("tokens.toml"), of("http"), of("control.http"))
    }

    fn at(&self) -> SocketAddr {
        self.bench.service().address
    }

    fn control(&self) -> SocketAddr {
        self.bench.service().control.unwrap()
    }
}

/// Asks, and returns the status and the body.
#[track_caller]
fn status(at: SocketAddr, identity: Option<&Identity>, request: &str) -> (u16, String) {
    let (status, _, body) = parts(&ask(at, identity, request).unwrap());
    (status, body)
}

fn score(headers: &str) -> String {
    request("POST", "/v1/score", headers, SCORE)
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
    }
}

#[test]
fn a_certificate_says_who_calls_and_its_entry_what_that_may() {
    let guarded = Guarded::new("");
    let (at, control) = (guarded.at(), guarded.control());
    let uri = guarded.ca.sign(Says { alternative: Some("URI=spiffe://acme/nightly"), ..Says::cn("x") });
    let dns = guarded.ca.sign(Says { alternative: Some("DNS=Ops.Example"), ..Says::cn("x") });
    let anna = guarded.ca.sign(Says::cn("anna"));
    let stranger = guarded.ca.sign(Says { alternative: Some("email=anna@acme.example"), ..Says::cn("Anna") });
    let pause = request("POST", "/v1/pause", "", "");
    for (identity, scores, pauses) in
        [(&uri, 200, 403), (&dns, 403, 200), (&anna, 200, 200), (&stranger, 401, 401)]
    {
        assert_eq!(status(control, Some(identity), &pause).0, pauses);
        assert_eq!(status(control, Some(&anna), &request("POST", "/v1/resume", "", "")).0, 200);
        assert_eq!(status(at, Some(identity), &score("")).0, scores);
    }
    // Without a certificate a token counts as before, and beside one it is the token that counts.
    assert_eq!(status(at, None, &score("")).0, 401);
    let header = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let token = header(guarded.bench.token(Role::Score));
    assert_eq!(status(at, None, &score(&token)).0, 200);
    assert_eq!(status(at, Some(&dns), &score(&token)).0, 200);
    assert_eq!(status(at, Some(&anna), &score(&header("burnrec_none"))).0, 401);
    // A browser shows its certificate whichever page asks.
    for (origin, expected) in [("https://localhost", 200), ("https://evil.example", 403), ("null", 403)] {
        assert_eq!(status(at, Some(&anna), &score(&format!("Origin: {origin}\r\n"))).0, expected, "{origin}");
    }
    // The log and the metrics say who it was, and how that was shown.
    let (_, audit) = status(control, Some(&anna), &request("GET", "/v1/audit?last=1000", "", ""));
    let audit: Vec<Value> = serde_json::from_str(&audit).unwrap();
    let has = |by: &str, status: u16| {
        let is = |line: &&Value| {
            line["by"] == by
                && line["kind"] == "certificate"
                && line["call"] == "POST /v1/pause"
                && line["status"] == status
        };
        audit.iter().any(|line| is(&line))
    };
    assert!(has("ops", 200) && has("anna", 200) && has("nightly", 403), "{audit:?}");
    let (_, metrics) = status(at, Some(&anna), &request("GET", "/metrics", "", ""));
    let calls = |of: &str| {
        metrics.lines().any(|line| line.starts_with(&format!("burnrec_http_calls_total{{{of}}} ")))
    };
    assert!(
        calls("kind=\"certificate\",name=\"nightly\"") && calls("kind=\"token\",name=\"score\""),
        "{metrics}"
    );
    // An entry that is gone lets nobody in any more, on a connection that is open too.
    let mut open = connect(at, Some(&uri)).unwrap();
    let kept = score("").replace("Connection: close\r\n", "");
    let mut on_it = || {
        let mut answer = [0; 4096];
        open.write_all(kept.as_bytes()).unwrap();
        let n = open.read(&mut answer).unwrap();
        parts(std::str::from_utf8(&answer[..n]).unwrap()).0
    };
    assert_eq!(on_it(), 200);
    revoke(&guarded.path("tokens.toml"), "nightly").unwrap();
    until("its holder is known no more", || on_it() == 401);
}

#[test]
fn a_certificate_that_is_not_good_gets_no_connection() {
    let guarded = Guarded::new("");
    let good = Says::cn("anna");
    let wrong = [
        ("of another CA of the same name", guarded.other.sign(good)),
        ("expired", guarded.ca.sign(Says { hours: (-2, -1), ..good })),
        ("not yet valid", guarded.ca.sign(Says { hours: (1, 2), ..good })),
        ("of a server", guarded.ca.sign(Says { is_for_clients: false, ..good })),
        ("signed by itself", Ca::new("anna").into()),
    ];
    let of = request("GET", "/v1/status", "", "");
    for at in [guarded.at(), guarded.control()] {
        for (what, identity) in &wrong {
            assert!(ask(at, Some(identity), &of).is_err(), "{what}");
        }
    }
    assert_eq!(status(guarded.control(), Some(&guarded.ca.sign(good)), &of).0, 200);
    // Where one is required, nothing is answered without it.
    let required = Guarded::new("HTTP.client_certificates = \"required\"");
    let live = request("GET", "/health/live", "", "");
    assert!(ask(required.at(), None, &live).is_err() && ask(required.control(), None, &of).is_err());
    let token = format!("Authorization: Bearer {}\r\n", required.bench.token(Role::Score));
    assert!(ask(required.at(), None, &score(&token)).is_err());
    let anna = required.ca.sign(good);
    assert_eq!(status(required.at(), Some(&anna), &live).0, 200);
    assert_eq!(status(required.at(), Some(&anna), &score("")).0, 200);
}

#[test]
fn a_certificate_that_is_revoked_loses_the_connection_that_it_has() {
    let guarded = Guarded::new("HTTP.client_crl = \"CRL\"");
    let (folder, list) = (guarded.path(""), guarded.path("crl.pem"));
    let at = guarded.at();
    let (lost, kept) = (
        guarded.ca.sign(Says { serial: 7, ..Says::cn("anna") }),
        guarded.ca.sign(Says { serial: 8, ..Says::cn("anna") }),
    );
    let mut open = connect(at, Some(&lost)).unwrap();
    open.write_all(score("").replace("Connection: close\r\n", "").as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let n = open.read(&mut answer).unwrap();
    assert_eq!(parts(std::str::from_utf8(&answer[..n]).unwrap()).0, 200);
    guarded.ca.revoke(&folder, &[7], &list);
    assert_eq!(open.read(&mut answer).unwrap_or(0), 0, "the connection ends");
    assert!(ask(at, Some(&lost), &score("")).is_err());
    assert_eq!(status(at, Some(&kept), &score("")).0, 200);
    // A list that is none leaves the one before in force.
    std::fs::write(&list, "nonsense").unwrap();
    assert!(ask(at, Some(&lost), &score("")).is_err());
    assert_eq!(status(at, Some(&kept), &score("")).0, 200);
    // Another CA comes, and the one before goes.
    guarded.other.revoke(&folder, &[], &list);
    std::fs::write(guarded.path("clients.pem"), guarded.other.certificate.to_pem().unwrap()).unwrap();
    let other = guarded.other.sign(Says::cn("anna"));
    until("the other CA counts", || ask(at, Some(&other), &score("")).is_ok());
    assert!(ask(at, Some(&kept), &score("")).is_err());
}

#[test]
fn jobs_are_submitted_and_ended_by_certificate_and_written_down() {
    let guarded = Guarded::new("");
    let settings = guarded.settings("");
    let of_http: String =
        settings.lines().filter(|line| line.starts_with("http.")).map(|line| format!("{line}\n")).collect();
    let jobs = Jobs::start(&guarded.path("jobs"), &of_http);
    let ops = guarded.ca.sign(Says { alternative: Some("DNS=ops.example"), ..Says::cn("x") });
    let nightly = guarded.ca.sign(Says { alternative: Some("URI=spiffe://acme/nightly"), ..Says::cn("x") });
    let submit = request("POST", "/batches", "", r#"{"file":"score","args":["--set","password=hunter2"]}"#);
    assert_eq!(status(jobs.address, Some(&ops), &submit).0, 201);
    assert_eq!(status(jobs.address, Some(&nightly), &submit).0, 403);
    assert_eq!(status(jobs.address, None, &submit).0, 401);
    assert!(ask(jobs.address, Some(&guarded.other.sign(Says::cn("anna"))), &submit).is_err());
    assert_eq!(status(jobs.address, Some(&ops), &request("GET", "/batches/0", "", "")).0, 404);
    let token = issue(&guarded.path("tokens.toml"), "night", &[Role::Operate], None).unwrap();
    let delete = |headers: &str| request("DELETE", "/batches/1", headers, "");
    let by_token = format!("Authorization: Bearer {token}\r\n");
    until("the token is known", || {
        status(jobs.address, None, &request("GET", "/batches", &by_token, "")).0 == 200
    });
    assert_eq!(status(jobs.address, None, &delete(&by_token)).0, 200);
    let text = std::fs::read_to_string(guarded.path("jobs/audit.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let has = |by: Option<(&str, &str)>, call: &str, status: Option<u16>, text: &str| {
        lines.iter().any(|line| {
            line["by"].as_str() == by.map(|by| by.0)
                && line["kind"].as_str() == by.map(|by| by.1)
                && line["call"] == call
                && line["status"].as_u64() == status.map(u64::from)
                && line["text"].as_str().is_some_and(|found| found.contains(text))
        })
    };
    let (ops, nightly) = (Some(("ops", "certificate")), Some(("nightly", "certificate")));
    assert!(
        has(ops, "POST /batches", None, "asked") && has(ops, "POST /batches", Some(201), "job 1: score"),
        "{text}"
    );
    assert!(
        has(nightly, "POST /batches", Some(403), "") && has(None, "POST /batches", Some(401), ""),
        "{text}"
    );
    assert!(has(Some(("night", "token")), "DELETE /batches/1", Some(200), "job 1"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains(&token), "{text}");
    assert!(!lines.iter().any(|line| line["call"] == "GET /batches" && line["status"] == 200), "{text}");
}

#[test]
fn keys_of_client_certificates_belong_together() {
    let guarded = Guarded::new("");
    let settings = guarded.settings("HTTP.client_crl = \"none.pem\"");
    let without = |key: &str, from: &str| -> String {
        from.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect()
    };
    std::fs::write(guarded.path("nonsense.pem"), "nonsense").unwrap();
    let sound = guarded.settings("");
    for (settings, field) in [
        (without("http.client_ca", &settings), "http.client_crl"),
        (without("http.tls", &sound), "http.client_ca"),
        (without("http.tokens", &sound), "http.tokens"),
        (settings.clone(), "none.pem"),
        (sound.replace("clients.pem", "nonsense.pem"), "http.client_ca"),
        (guarded.settings("HTTP.client_crl = \"CRL\"").replace("crl.pem", "nonsense.pem"), "http.client_crl"),
        (guarded.settings("HTTP.client_certificates = \"perhaps\""), "client_certificates"),
    ] {
        let text = guarded.bench.text(START, &settings).replace("/control", "/another");
        let error =
            try_config(&text).and_then(|config| Service::open(config).map(drop)).unwrap_err().to_string();
        assert!(error.contains(field), "{field}: {error}");
    }
}
