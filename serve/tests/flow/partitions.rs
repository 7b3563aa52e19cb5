//! Partitions that go and come back while messages are on their way.

use std::collections::BTreeSet;

use burnrec_serve::outbox::To;

use crate::bench::{Bench, FIRST, score};
use crate::twin::{Act, Rules};

/// Requests of one partition.
const REQUESTS: usize = 40;

/// Runs a flow under the rules, and after a crash a second one; returns the offsets that were answered, the number of
/// replies, and what to say when a check fails.
fn answered(guarantee: &str, rules: Rules) -> (BTreeSet<i64>, usize, String) {
    let context = format!("{guarantee}, {rules:?}");
    let bench = Bench::new(guarantee, "flow = { batch_events = 3, batch_ms = 0 }", rules);
    (0..REQUESTS).for_each(|_| bench.put(FIRST, 1, &score(1), &[]));
    if let Err(error) = bench.run() {
        assert!(error.to_string().contains("a crash"), "{error}");
        bench.run().unwrap();
    }
    assert!(bench.cluster.is_done());
    let replies = bench.records(To::Replies);
    (replies.iter().map(|reply| reply.offset).collect(), replies.len(), context)
}

#[test]
fn what_arrives_late_is_not_taken_for_another() {
    // With at-least-once, batches arrive after the partition went and came back, and then all memory is lost.
    for rejoin in (5..45).step_by(4) {
        for crash in (rejoin + 1..rejoin + 40).step_by(3) {
            let script = vec![(rejoin, Act::Rejoin(FIRST)), (crash, Act::Crash)];
            let (offsets, _, context) =
                answered("at-least-once", Rules { delay: 5, slow: true, script, ..Rules::default() });
            assert_eq!(offsets.len(), REQUESTS, "{context}");
        }
    }
}

#[test]
fn a_partition_that_was_lost_and_comes_back_is_read_on() {
    for lose in 2..20 {
        for guarantee in ["exactly-once", "at-least-once"] {
            let script = vec![(lose, Act::Lose(FIRST))];
            let (offsets, n, context) = answered(guarantee, Rules { script, ..Rules::default() });
            assert_eq!(offsets.len(), REQUESTS, "{context}");
            assert!(n == REQUESTS || guarantee == "at-least-once", "{n} replies, {context}");
        }
    }
}

#[test]
fn who_is_fenced_ends_and_writes_nothing_more() {
    for fence in 2..20 {
        let rules = Rules { script: vec![(fence, Act::Fence)], ..Rules::default() };
        let bench = Bench::new("exactly-once", "flow = { batch_events = 3, batch_ms = 0 }", rules);
        (0..REQUESTS).for_each(|_| bench.put(FIRST, 1, &score(1), &[]));
        let Err(error) = bench.run() else { break };
        assert!(error.to_string().contains("fenced") && error.to_string().contains("\"a\""), "{error}");
        let looks = bench.cluster.looks();
        assert!((fence..fence + 3).contains(&looks), "fenced at look {fence}, it ended at {looks}");
        let before = bench.records(To::Replies).len();
        assert!(before < REQUESTS);
        bench.run().unwrap();
        assert_eq!(bench.records(To::Replies).len(), REQUESTS, "another answers the rest");
    }
}

#[test]
fn a_topic_that_is_made_anew_is_answered_from_its_beginning() {
    // 40 requests take more than 12 looks.
    for renew in 2..12 {
        for guarantee in ["exactly-once", "at-least-once"] {
            let script = vec![(renew, Act::Renew(FIRST))];
            let (offsets, n, context) = answered(guarantee, Rules { script, ..Rules::default() });
            // The offsets of the new topic are without gaps; replies to the old one may be there beside.
            let all = (0..REQUESTS as i64).all(|offset| offsets.contains(&offset));
            assert!(all && n >= REQUESTS, "{n} replies: {offsets:?}, {context}");
        }
    }
}

#[test]
fn the_lag_is_what_is_not_done_and_nothing_at_the_end() {
    for guarantee in ["exactly-once", "at-least-once"] {
        let rules = Rules { script: vec![(8, Act::Crash)], ..Rules::default() };
        let bench = Bench::new(guarantee, "flow = { batch_events = 1, batch_ms = 0 }", rules);
        (1..=30).for_each(|user| bench.score(FIRST, user));
        let lags = || {
            let of = |topic: &str| bench.metrics.lags().into_iter().find(|(of, _)| of.topic == topic);
            (of("first").map(|(_, lag)| lag), of("second").map(|(_, lag)| lag))
        };
        assert!(bench.run().unwrap_err().to_string().contains("a crash"));
        // Behind the last request there is a transaction's marker.
        let end = bench.cluster.requests().last().unwrap().1.offset + 2;
        let (left, (first, second)) = (end - bench.cluster.committed(FIRST), lags());
        // At least once, the last commit may be on its way.
        let late = i64::from(guarantee == "at-least-once");
        let first = first.expect("a lag");
        assert!((left - late..=left).contains(&first) && second == Some(0), "{guarantee}: {first} of {left}");
        assert!(bench.replied().len() < 30);
        bench.run().unwrap();
        assert_eq!(bench.replied().into_iter().collect::<BTreeSet<_>>().len(), 30, "{guarantee}");
        assert_eq!(lags(), (Some(0), Some(0)), "{guarantee}");
    }
}
