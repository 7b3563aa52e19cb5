//! Tenants and quotas that change while the service runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use burnrec_serve::http::tokens::Role;
use serde_json::{Value, json};

use crate::bench::{Bench, SCORE, START};

/// A config with one tenant, whose application has the token `score`.
fn tenants(quota: &str) -> String {
    let start = START.replace("[[routes]]", "[[routes]]\ntenant = \"acme\"");
    format!("{start}[tenants.acme]\nidentities = [\"score\"]\n{quota}\n")
}

fn service(quota: &str) -> Bench {
    let mut bench = Bench::new();
    let http = format!("http.tokens = {:?}", bench.path("tokens.toml"));
    bench.start(&tenants(quota), &http);
    bench
}

fn score(bench: &Bench, role: Role) -> (u16, String) {
    let headers = format!("Authorization: Bearer {}\r\n", bench.token(role));
    let (status, _, body) = bench.service().ask("POST", "/v1/score", &headers, SCORE);
    let answer: Value = serde_json::from_str(&body).unwrap();
    (status, answer["error"]["reason"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn quotas_change_while_it_runs_and_what_is_spent_stays_spent() {
    let bench = service("events_per_s = 0.001\nburst_s = 2000");
    let now = || score(&bench, Role::Score);
    let (passed, over) = ((200, String::new()), (429, "quota".to_owned()));
    assert_eq!([now(), now(), now()], [passed.clone(), passed.clone(), over.clone()]);
    // Another version, and the same quota: no new burst.
    bench.put(&format!("{}[flow]\nbatch_events = 7\n", tenants("events_per_s = 0.001\nburst_s = 2000")));
    assert_eq!(now(), over);
    bench.put(&tenants("events_per_s = 1000000"));
    assert_eq!([now(), now()], [passed.clone(), passed.clone()]);
    let (status, set) = bench.call("PUT", "/v1/config", &tenants("events_per_s = 0"));
    assert!(status == 422 && set.to_string().contains("tenants.acme.events_per_s"), "{set}");
    let (status, gone) =
        bench.call("PUT", "/v1/config", &tenants("").replace("[tenants.acme]", "[tenants.b]"));
    assert!(status == 422 && gone.to_string().contains("tenants.b"), "{gone}");
    assert_eq!(now(), passed, "what was refused changes nothing");
    let status = bench.call("GET", "/v1/status", "").1;
    let expected = json!({
        "tenant": "acme", "events": 7, "bytes": 5 * SCORE.len(), "throttled": 2, "waiting": 0, "waiting_bytes": 0,
        "ended": { "replied": 5, "rejected": 2 },
    });
    assert_eq!(status["tenants"], json!([expected]), "{status}");
    // An identity comes and goes, and so do the tenant and its series.
    assert_eq!(score(&bench, Role::Admin), (403, "no-tenant".to_owned()));
    bench.put(&tenants("").replace("\"score\"", "\"admin\""));
    assert_eq!((score(&bench, Role::Admin), now()), (passed.clone(), (403, "no-tenant".to_owned())));
    let metrics = || {
        let headers = format!("Authorization: Bearer {}\r\n", bench.token(Role::Observe));
        bench.service().ask("GET", "/metrics", &headers, "").2
    };
    assert!(metrics().contains("burnrec_tenant_events_total{tenant=\"acme\"} 8\n"), "{}", metrics());
    bench.put(START);
    assert_eq!((score(&bench, Role::Admin), now()), (passed.clone(), passed));
    assert!(!metrics().contains("{tenant="), "{}", metrics());
}

#[test]
fn no_request_is_lost_while_quotas_change() {
    let bench = service("");
    let (over, answered, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    match score(&bench, Role::Score) {
                        (200, _) => answered.fetch_add(1, Ordering::Relaxed),
                        (429, reason) if reason == "quota" => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other:?}"),
                    };
                }
            });
        }
        for at in 0..20 {
            let quota =
                ["events_per_s = 0.001", "events_per_s = 100000", "scoring_requests = 1", "weight = 9"]
                    [at % 4];
            let before = answered.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed);
            bench.put(&tenants(quota));
            while answered.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed) < before + 6 {
                std::thread::yield_now();
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let acme = bench.call("GET", "/v1/status", "").1["tenants"][0].clone();
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    assert!(answered > 20 && refused > 5, "{answered} answered, {refused} refused");
    assert_eq!(acme["events"], answered + refused, "{acme}");
    assert_eq!(
        (&acme["ended"]["replied"], &acme["throttled"]),
        (&answered.into(), &refused.into()),
        "{acme}"
    );
}
