//! What is done with events at which a stage fails, and with those that waited too long.

use burnrec_serve::outbox::To;

use crate::bench::{Bench, FIRST, score};
use crate::twin::{Rules, Stored};

const ALWAYS: usize = usize::MAX;

#[test]
fn a_penalised_event_is_passed_by_others() {
    let bench =
        Bench::new("exactly-once", "failures.score = { retries = 2, backoff_ms = 5 }", Rules::default());
    bench.fail_at(1, 4);
    (1..=3).for_each(|user| bench.score(FIRST, user));
    bench.run().unwrap();
    assert_eq!(bench.replied(), [2, 3, 1]);
    let once = || ("replied".to_owned(), 1);
    assert_eq!(bench.receipts(), [once(), once(), ("replied".to_owned(), 3)]);
}

#[test]
fn a_yielding_flow_keeps_the_order() {
    let settings = "failures.score = { retries = 2, backoff_ms = 5, pace = \"yield\" }";
    let bench = Bench::new("exactly-once", settings, Rules::default());
    bench.fail_at(2, 4);
    bench.put(FIRST, 50, r#"{"type":"event","user":50,"item":101}"#, &[]);
    (1..=3).for_each(|user| bench.score(FIRST, user));
    bench.put(FIRST, 50, r#"{"type":"event","user":50,"item":102}"#, &[]);
    bench.run().unwrap();
    assert_eq!(bench.replied(), [50, 1, 2, 3, 50]);
    let tries: Vec<u64> = bench.receipts().into_iter().map(|(_, attempts)| attempts).collect();
    assert_eq!(tries, [1, 1, 3, 1, 1]);
    let histories: Vec<_> =
        bench.records(To::Replies).iter().filter_map(|reply| reply.json()["history"].as_u64()).collect();
    assert_eq!(histories, [1, 2], "what came after and waited with it counts once");
}

#[test]
fn what_fails_for_good_goes_to_the_reject_topic() {
    let bench =
        Bench::new("exactly-once", "failures.score = { retries = 1, backoff_ms = 1 }", Rules::default());
    bench.fail_at(2, ALWAYS);
    (1..=2).for_each(|user| bench.put(FIRST, user, &score(user), &[("tenant", "acme")]));
    bench.run().unwrap();
    assert_eq!(bench.replied(), [1]);
    let rejects = bench.records(To::Rejects);
    assert_eq!((rejects.len(), rejects[0].text()), (1, score(2).as_str()));
    assert_eq!(rejects[0].key.as_deref(), Some(&b"2"[..]));
    let headers = [
        ("tenant", "acme"),
        ("burnrec-reason", "model-failed: no answer for UserIx(1)"),
        ("burnrec-stage", "score"),
        ("burnrec-attempts", "2"),
    ];
    headers.into_iter().for_each(|(name, value)| assert_eq!(rejects[0].header(name), Some(value)));
    let source = format!("first/0/{}", rejects[0].offset);
    assert_eq!(rejects[0].header("burnrec-source"), Some(source.as_str()));
    assert!(rejects[0].header("burnrec-model").is_some_and(|models| models.starts_with("main@0,other@")));
    assert_eq!(bench.receipts().last(), Some(&("rejected".to_owned(), 2)));
}

#[test]
fn what_fails_for_good_can_be_dropped() {
    let bench = Bench::new("exactly-once", "failures.score = { then = \"drop\" }", Rules::default());
    bench.fail_at(2, ALWAYS);
    (1..=3).for_each(|user| bench.score(FIRST, user));
    bench.run().unwrap();
    assert_eq!((bench.replied(), bench.records(To::Rejects).len()), (vec![1, 3], 0));
    assert_eq!(bench.receipts()[1], ("dropped".to_owned(), 1));
    let ends = bench.metrics.ends();
    let counts: Vec<_> = ends.iter().map(|(ended, n)| (ended.outcome, ended.of, *n)).collect();
    assert_eq!(counts, [("dropped", "model-failed", 1), ("replied", "score", 2)]);
}

#[test]
fn what_fails_for_good_can_stop_the_service_and_is_read_again() {
    let bench = Bench::new(
        "exactly-once",
        "flow.batch_events = 1\nfailures.score = { then = \"stop\" }",
        Rules::default(),
    );
    bench.fail_at(2, ALWAYS);
    (1..=3).for_each(|user| bench.score(FIRST, user));
    let error = bench.run().unwrap_err().to_string();
    assert!(
        error.contains("failures.score.then") && error.contains("first/0/") && error.contains("no answer"),
        "{error}"
    );
    assert!(!bench.replied().contains(&2) && !bench.replied().contains(&3));
    bench.fail_at(2, 0);
    bench.run().unwrap();
    assert_eq!(bench.replied(), [1, 2, 3]);
}

#[test]
fn events_that_waited_too_long_expire() {
    let bench = Bench::new("exactly-once", "flow.max_event_age_ms = 60000", Rules::default());
    bench.score(FIRST, 1);
    let old = Stored {
        offset: 0,
        key: None,
        payload: Some(score(2).into_bytes()),
        headers: Vec::new(),
        timestamp_ms: Some(bench.now_ms() - 120_000),
    };
    bench.cluster.put(FIRST, old);
    bench.run().unwrap();
    let rejects = bench.records(To::Rejects);
    assert_eq!((bench.replied(), rejects.len()), (vec![1], 1));
    assert_eq!((rejects[0].text(), rejects[0].header("burnrec-stage")), (score(2).as_str(), Some("queue")));
    assert!(rejects[0].header("burnrec-reason").unwrap().starts_with("expired: 12"));
    assert_eq!(bench.receipts()[1].0, "expired");
}
