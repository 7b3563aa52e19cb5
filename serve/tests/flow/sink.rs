//! Replies that the sink does not take: the receipts of their events say how these ended.

use std::collections::BTreeSet;

use burnrec_serve::outbox::To;
use serde_json::json;

use crate::bench::{Bench, FIRST, score};
use crate::twin::Rules;

/// Returns a bench with three requests, of which the reply to the second is too large for its topic.
fn bench(guarantee: &str, settings: &str, brokers_refuse: bool) -> Bench {
    let too_large = |offset| BTreeSet::from([(FIRST, offset)]);
    let fill = |rules: Rules| {
        let bench = Bench::new(guarantee, settings, rules);
        (1..=3).for_each(|user| bench.score(FIRST, user));
        bench
    };
    // The offset of the second request follows from the seed.
    let second = fill(Rules::default()).cluster.requests()[1].1.offset;
    fill(Rules { too_large: too_large(second), brokers_refuse, ..Rules::default() })
}

#[test]
fn a_reply_that_is_not_taken_is_rejected_and_its_receipt_says_so() {
    for guarantee in ["exactly-once", "at-least-once"] {
        for brokers_refuse in [false, true] {
            let bench = bench(guarantee, "flow.batch_events = 3", brokers_refuse);
            bench.run().unwrap();
            let context = format!("{guarantee}, brokers refuse: {brokers_refuse}");
            let users: BTreeSet<i64> = bench.replied().into_iter().collect();
            assert_eq!(users, [1, 3].into(), "{context}");
            let rejects = bench.records(To::Rejects);
            assert_eq!(rejects[0].text(), score(2), "{context}");
            assert!(rejects[0].header("burnrec-reason").unwrap().starts_with("not-taken: too large"));
            assert_eq!(rejects[0].header("burnrec-stage"), Some("sink"));
            let receipts = bench.receipts();
            let of = |word: &str| receipts.iter().filter(|(found, _)| found == word).count();
            assert_eq!((of("rejected"), of("dropped")), (rejects.len(), 0), "{context}");
            assert_eq!(of("replied"), bench.replied().len(), "{context}");
            if guarantee == "exactly-once" {
                assert_eq!((rejects.len(), receipts.len()), (1, 3), "{context}");
            }
        }
    }
}

#[test]
fn a_reply_that_is_not_taken_can_be_dropped() {
    let bench = bench("exactly-once", "failures.sink.then = \"drop\"", false);
    bench.run().unwrap();
    assert_eq!((bench.replied(), bench.records(To::Rejects).len()), (vec![1, 3], 0));
    let words: Vec<String> = bench.receipts().into_iter().map(|(word, _)| word).collect();
    assert_eq!(words, ["replied", "dropped", "replied"]);
}

#[test]
fn a_reply_that_is_not_taken_can_stop_the_service() {
    let bench = bench("exactly-once", "failures.sink.then = \"stop\"", false);
    let error = bench.run().unwrap_err().to_string();
    assert!(error.contains("failures.sink.then") && error.contains("too large"), "{error}");
    assert!(bench.replied().iter().all(|user| *user == 1));
}

#[test]
fn an_event_that_is_not_taken_leaves_no_trace() {
    for guarantee in ["exactly-once", "at-least-once"] {
        for brokers_refuse in [false, true] {
            // The refused event is between two others of its user, in one batch with them and alone.
            for batch_events in [1, 4] {
                let fill = |rules: Rules| {
                    let bench = Bench::new(guarantee, &format!("flow.batch_events = {batch_events}"), rules);
                    for item in [101, 102, 103] {
                        let text = format!(r#"{{"type":"event","user":7,"item":{item}}}"#);
                        bench.put(FIRST, 7, &text, &[]);
                    }
                    bench
                };
                let second = fill(Rules::default()).cluster.requests()[1].1.offset;
                let too_large = BTreeSet::from([(FIRST, second)]);
                let bench = fill(Rules { too_large, brokers_refuse, ..Rules::default() });
                bench.run().unwrap();
                let context =
                    format!("{guarantee}, brokers refuse: {brokers_refuse}, batches of {batch_events}");
                let replies = bench.records(To::Replies);
                assert!(replies.iter().all(|reply| reply.offset != second), "{context}");
                assert_eq!(replies.last().unwrap().json()["history"], 2, "{context}");
                let rejects = bench.records(To::Rejects);
                assert!(rejects.iter().all(|reject| reject.offset == second), "{context}: {rejects:?}");
                let state = bench.records(To::State);
                let kept = &state.last().unwrap().json()["events"];
                assert_eq!(*kept, json!([[101, 1.0], [103, 1.0]]), "{context}");
                if guarantee == "exactly-once" {
                    assert_eq!((replies.len(), rejects.len(), state.len()), (2, 1, 2), "{context}");
                }
            }
        }
    }
}

#[test]
fn a_shadow_reply_that_is_not_taken_is_only_left_out() {
    let routes = "[[routes]]\nmodels = { main = 1 }\nshadow = \"other\"";
    let fill = |rules: Rules| {
        let bench = Bench::new("exactly-once", routes, rules);
        bench.score(FIRST, 1);
        bench
    };
    let offset = fill(Rules::default()).cluster.requests()[0].1.offset;
    let rules = Rules { too_large_shadows: BTreeSet::from([(FIRST, offset)]), ..Rules::default() };
    let bench = fill(rules);
    bench.run().unwrap();
    let count = |to| bench.records(to).len();
    assert_eq!((count(To::Replies), count(To::Shadow), count(To::Rejects)), (1, 0, 0));
}

#[test]
fn a_reply_says_what_a_history_lost() {
    let bench = Bench::new("exactly-once", "limits.history = 2", Rules::default());
    for item in [101, 102, 103] {
        bench.put(FIRST, 7, &format!(r#"{{"type":"event","user":7,"item":{item}}}"#), &[]);
    }
    bench.run().unwrap();
    let replies: Vec<_> = bench.records(To::Replies).iter().map(|reply| reply.json()).collect();
    assert!(replies[1].get("forgotten").is_none() && replies[2]["forgotten"] == 1, "{replies:?}");
    assert_eq!(replies[2]["history"], 2);
    let state = bench.records(To::State);
    assert_eq!(state.last().unwrap().json()["events"], json!([[102, 1.0], [103, 1.0]]));
}
