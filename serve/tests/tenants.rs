//! Tenants over HTTP: each gets its own models, histories and quota, whatever the others do.

mod common;
#[path = "common/running.rs"]
mod running;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use burnrec_serve::http::tokens::{Role, issue};
use burnrec_serve::served::Served;
use common::{config, try_config};
use running::{Running, parts, request};
use serde_json::Value;
use tempfile::TempDir;

const SCORE: &str = r#"{"user":7,"items":[101,102]}"#;

const MODELS: &str =
    "models.main.run = \"RUN\"\nmodels.other.run = \"OTHER\"\nhttp.listen = \"127.0.0.1:0\"\n";

const ROUTES: &str = "[[routes]]\ntenant = \"acme\"\nmodels = { main = 1 }\n\
                      [[routes]]\ntenant = \"globex\"\nmodels = { other = 1 }\n";

/// A service with two tenants and a token for an application of each, and one for somebody else.
struct Bench {
    service: Running,
    tokens: [String; 3],
    _folder: TempDir,
}

const ACME: usize = 0;
const GLOBEX: usize = 1;
const NOBODY: usize = 2;

impl Bench {
    fn new(acme: &str, more: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let path: PathBuf = folder.path().join("tokens.toml");
        let token = |name: &str| issue(&path, name, &[Role::Score, Role::Observe], None).expect("a token");
        let tokens = ["acme-app", "globex-app", "nobody"].map(token);
        let tenants = format!(
            "[tenants.acme]\nidentities = [\"acme-app\"]\n{acme}\n[tenants.globex]\nidentities = [\"globex-app\"]\n"
        );
        let text = format!("{MODELS}http.tokens = {path:?}\n{more}\n{tenants}{ROUTES}");
        Self { service: Running::new(config(&text)), tokens, _folder: folder }
    }

    fn headers(&self, who: usize) -> String {
        format!("Authorization: Bearer {}\r\n", self.tokens[who])
    }

    fn ask(&self, who: usize, path: &str, more: &str, body: &str) -> (u16, String, Value) {
        let (status, head, body) =
            self.service.ask("POST", path, &format!("{}{more}", self.headers(who)), body);
        (
            status,
            head.to_lowercase(),
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")),
        )
    }

    fn score(&self, who: usize) -> (u16, Value) {
        let (status, _, body) = self.ask(who, "/v1/score", "", SCORE);
        (status, body)
    }

    /// Returns what the service says of a tenant.
    fn shown(&self, tenant: &str) -> Value {
        let (_, _, flow) = self.service.ask("GET", "/flow", &self.headers(ACME), "");
        let flow: Value = serde_json::from_str(&flow).unwrap();
        flow["tenants"].as_array().unwrap().iter().find(|of| of["tenant"] == tenant).unwrap().clone()
    }
}

fn reason(answer: &Value) -> &str {
    answer["error"]["reason"].as_str().unwrap_or_default()
}

#[test]
fn who_asks_gets_the_models_of_the_own_tenant_and_no_header_changes_that() {
    let bench = Bench::new("", "");
    for more in
        ["", "tenant: globex\r\n", "X-Tenant: globex\r\nburnrec-tenant: globex\r\n", "Host: globex-app\r\n"]
    {
        for (who, model) in [(ACME, "main"), (GLOBEX, "other")] {
            let (status, _, reply) = bench.ask(who, "/v1/score?tenant=globex", more, SCORE);
            assert_eq!((status, &reply["model"]), (200, &model.into()), "{more}");
        }
        for path in ["/v1/score", "/v1/recommend", "/v1/similar", "/v1/event"] {
            let (status, _, refusal) = bench.ask(NOBODY, path, more, SCORE);
            assert_eq!((status, reason(&refusal)), (403, "no-tenant"), "{path} {more}");
        }
    }
    assert_eq!(bench.service.ask("POST", "/v1/score", "", SCORE).0, 401);
    // Where a route is of no tenant, it is for those who are of none, and for them alone.
    let bench = Bench::new("", "[models.third]\nrun = \"OTHER\"\n[[routes]]\nmodels = { third = 1 }\n");
    for (who, model) in [(NOBODY, "third"), (ACME, "main"), (GLOBEX, "other")] {
        assert_eq!(bench.score(who).1["model"], model);
    }
}

#[test]
fn one_token_for_all_is_of_no_tenant() {
    let tenants = "http.token = \"t\"\n[tenants.acme]\n[tenants.globex]\n";
    let service = Running::new(config(&format!("{MODELS}{tenants}{ROUTES}")));
    let (status, _, body) = service.ask("POST", "/v1/score", "Authorization: Bearer t\r\n", SCORE);
    assert!(status == 403 && body.contains("no-tenant"), "{body}");
    let twice = "[tenants.acme]\nidentities = [\"a\"]\n[tenants.globex]\nidentities = [\"a\"]\n";
    let error = try_config(&format!("{MODELS}{twice}{ROUTES}")).unwrap_err().to_string();
    assert!(error.contains("tenants.globex.identities"), "{error}");
}

#[test]
fn a_tenants_histories_are_its_own() {
    let bench = Bench::new("", "");
    let by = |who: usize| bench.ask(who, "/v1/recommend", "", r#"{"user":900,"k":3}"#).2["by"].clone();
    assert_eq!((by(ACME), by(GLOBEX)), ("popularity".into(), "popularity".into()));
    let (status, _, reply) = bench.ask(ACME, "/v1/event", "", r#"{"user":900,"item":105}"#);
    assert_eq!((status, &reply["history"]), (200, &1.into()));
    assert_eq!(
        (by(ACME), by(GLOBEX)),
        ("fold-in".into(), "popularity".into()),
        "the same id of another tenant"
    );
    let (_, _, reply) = bench.ask(GLOBEX, "/v1/event", "", r#"{"user":900,"item":106}"#);
    assert_eq!(reply["history"], 1);
}

#[test]
fn who_is_over_the_quota_is_refused_before_the_body_and_others_are_not() {
    // A token each 1000 seconds, and three at the beginning.
    let bench = Bench::new("events_per_s = 0.001\nburst_s = 3000", "");
    for _ in 0..3 {
        assert_eq!(bench.score(ACME).0, 200);
    }
    for _ in 0..5 {
        let (status, head, refusal) = bench.ask(ACME, "/v1/score", "", SCORE);
        assert_eq!((status, reason(&refusal)), (429, "quota"), "{refusal}");
        let after: u64 = head.split("retry-after: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        assert!((980..=1000).contains(&after), "{head}");
        assert_eq!(bench.score(GLOBEX).0, 200);
    }
    // Nothing of the body is waited for.
    let mut stream = bench.service.connect();
    let head = request("POST", "/v1/score", &bench.headers(ACME), SCORE).replace(SCORE, "");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 429");
    let acme = bench.shown("acme");
    assert_eq!((&acme["events"], &acme["throttled"]), (&9.into(), &6.into()), "{acme}");
    assert_eq!((&acme["ended"]["replied"], &acme["ended"]["rejected"]), (&3.into(), &6.into()), "{acme}");
    assert_eq!(acme["bytes"], 3 * SCORE.len());
    let globex = bench.shown("globex");
    assert_eq!((&globex["events"], &globex["throttled"]), (&5.into(), &0.into()), "{globex}");
    let (_, _, metrics) = bench.service.ask("GET", "/metrics", &bench.headers(ACME), "");
    for line in [
        "burnrec_tenant_events_total{tenant=\"acme\"} 9",
        "burnrec_tenant_throttled_total{tenant=\"acme\"} 6",
        "burnrec_tenant_ended_total{tenant=\"acme\",outcome=\"rejected\"} 6",
        "burnrec_tenant_ended_total{tenant=\"globex\",outcome=\"replied\"} 5",
        "burnrec_tenant_queue_events{tenant=\"acme\"} 0",
    ] {
        assert!(metrics.contains(&format!("\n{line}\n")), "{line}: {metrics}");
    }
}

#[test]
fn bytes_are_paid_for_by_those_who_come_next() {
    let bench = Bench::new("bytes_per_s = 0.01\nburst_s = 500", "");
    assert_eq!(bench.score(ACME).0, 200);
    // 5 bytes were left for 28.
    let (status, head, refusal) = bench.ask(ACME, "/v1/score", "", SCORE);
    assert_eq!((status, reason(&refusal)), (429, "quota"));
    let after: u64 = head.split("retry-after: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    assert!((2380..=2400).contains(&after), "{head}");
    assert_eq!(bench.score(GLOBEX).0, 200);
}

#[test]
fn whose_requests_take_long_holds_up_nobody_else() {
    let bench = Bench::new("", "http.scoring_requests = 2\nhttp.scoring_wait_ms = 60000");
    // The model of one tenant answers when it is let.
    let (gate, asked) = (Arc::new((Mutex::new(false), Condvar::new())), Arc::new(AtomicUsize::new(0)));
    let (held, count) = (Arc::clone(&gate), Arc::clone(&asked));
    let hook = move |_: &[_]| {
        count.fetch_add(1, Ordering::SeqCst);
        drop(held.1.wait_while(held.0.lock().unwrap(), |open| !*open).unwrap());
    };
    let run = common::recommender(Box::new(common::Hooked::new(hook)));
    bench.service.engine.models.take_up(Served::new("main", "slow", "0".into(), run));
    let recommend = r#"{"user":7,"k":3}"#;
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = bench.service.connect();
            let text = request("POST", "/v1/recommend", &bench.headers(ACME), recommend);
            stream.write_all(text.as_bytes()).unwrap();
            stream
        })
        .collect();
    while asked.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    for _ in 0..20 {
        let (status, _, reply) = bench.ask(GLOBEX, "/v1/recommend", "", recommend);
        assert_eq!((status, &reply["model"]), (200, &"other".into()), "{reply}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one at once is its share of two");
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(parts(&answer).0, 200, "{answer}");
    }
}

#[test]
fn who_waits_too_long_for_the_own_share_is_over_the_quota() {
    let bench = Bench::new("scoring_requests = 1", "http.scoring_wait_ms = 50");
    let (held, hook) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
    let (lock, count) = (Arc::clone(&held), Arc::clone(&hook));
    let run = common::recommender(Box::new(common::Hooked::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        drop(lock.lock().unwrap());
    })));
    bench.service.engine.models.take_up(Served::new("main", "slow", "0".into(), run));
    let body = r#"{"user":7,"k":3}"#;
    let guard = held.lock().unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| bench.ask(ACME, "/v1/recommend", "", body).0);
        while hook.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let (status, head, refusal) = bench.ask(ACME, "/v1/recommend", "", body);
        assert_eq!((status, reason(&refusal)), (429, "quota"), "{refusal}");
        assert!(head.contains("retry-after: 1"), "{head}");
        drop(guard);
        assert_eq!(first.join().unwrap(), 200);
    });
}
