//! Queues have bounds, waits are waits, and a stop is clean.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use burnrec_serve::clock::Clock;
use burnrec_serve::event::TopicPartition;

use crate::bench::{Bench, FIRST, SECOND, score};
use crate::common::USERS;
use crate::twin::{Act, Call, Rules};

/// Settings with which the flow waits for a while after a failed request, and goes on reading meanwhile.
const HOLD: &str = "failures.score = { retries = 1, backoff_ms = 100, pace = \"yield\" }";

#[test]
fn a_full_queue_holds_up_reading_until_half_of_it_is_gone_and_pauses_nothing() {
    let bench = Bench::new(
        "exactly-once",
        &format!("{HOLD}\n[flow]\nbatch_events = 4\nqueue_events = 10"),
        Rules::default(),
    );
    bench.fail_at(1, 2);
    (1..=30).for_each(|user| bench.score(FIRST, user));
    bench.run().unwrap();
    assert_eq!(bench.replied(), (1..=30).collect::<Vec<i64>>());
    let (mut waiting, mut is_full, mut fillings) = (0, false, 0);
    for call in bench.cluster.calls() {
        match call {
            Call::Sent(events) => waiting -= events.len(),
            Call::Received(n) => {
                assert!(!is_full || waiting < 5, "{waiting} waited when more was taken");
                waiting += n;
                is_full = waiting >= 10;
                fillings += usize::from(is_full);
            }
            Call::Paused { parts, .. } => panic!("{parts:?}: what is paused is fetched again"),
            _ => {}
        }
    }
    assert!(fillings > 0, "it was full");
}

#[test]
fn what_waits_is_shown_before_it_is_taken() {
    let bench = Bench::new("exactly-once", "flow.queue_events = 10", Rules::default());
    let (metrics, shown) = (Arc::clone(&bench.metrics), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&shown);
    bench.hook(move |_| noted.lock().unwrap().push(metrics.queue(0, 0).1));
    (1..=5).for_each(|user| bench.score(FIRST, user));
    bench.run().unwrap();
    let shown = shown.lock().unwrap();
    assert!(!shown.is_empty() && shown.iter().all(|events| *events > 0), "{shown:?}");
}

#[test]
fn a_worker_that_commits_nothing_is_stalled() {
    let limit = Duration::from_secs(10);
    for (then, is_late) in [("drop", false), ("stop", true)] {
        let settings = format!("failures.score = {{ then = \"{then}\" }}");
        let bench = Bench::new("exactly-once", &settings, Rules::default());
        bench.fail_at(2, usize::MAX);
        (1..=3).for_each(|user| bench.score(FIRST, user));
        assert_eq!(bench.run().is_err(), is_late);
        let now = bench.cluster.clock.now();
        assert!(bench.metrics.progress.late(now).is_empty(), "not yet");
        let late = bench.metrics.progress.late(now + limit + Duration::from_secs(3));
        assert_eq!(late.keys().copied().collect::<Vec<_>>(), if is_late { vec![0] } else { vec![] });
    }
}

#[test]
fn a_full_route_of_a_topic_pauses_that_topic_alone() {
    let routes = "[[routes]]\ntopic = \"first\"\nmodels = { main = 1 }\nqueue_events = 3";
    let bench = Bench::new(
        "exactly-once",
        &format!(
            "[flow]\nbatch_events = 4\n{routes}\n[failures.score]\nretries = 1\nbackoff_ms = 100\npace = \"yield\""
        ),
        Rules::default(),
    );
    bench.fail_at(1, 2);
    for user in 1..=20 {
        bench.score(FIRST, user);
        bench.score(SECOND, user);
    }
    bench.run().unwrap();
    let calls = bench.cluster.calls();
    let pauses: Vec<(Vec<TopicPartition>, usize)> = calls
        .iter()
        .filter_map(|call| match call {
            Call::Paused { parts, received, .. } => Some((parts.clone(), *received)),
            _ => None,
        })
        .collect();
    assert!(pauses.len() >= 2 && pauses.iter().all(|(parts, _)| parts == &[FIRST]), "{pauses:?}");
    assert!(pauses[1].1 > pauses[0].1, "the other topic is read on: {pauses:?}");
    assert_eq!(bench.replied().len(), 40);
}

#[test]
fn a_flow_that_waits_does_not_run_hot() {
    let bench = Bench::new("exactly-once", &format!("{HOLD}\n[flow]\nbatch_events = 2"), Rules::default());
    bench.fail_at(1, 2);
    (1..=4).for_each(|user| bench.score(FIRST, user));
    bench.run().unwrap();
    assert_eq!(bench.replied(), [1, 2, 3, 4]);
    let (looks, passed) = (bench.cluster.looks(), bench.cluster.clock.passed());
    assert!(passed >= Duration::from_millis(100), "the wait took {passed:?} of simulated time");
    assert!(looks < 20, "it looked {looks} times in {passed:?}");
}

#[test]
fn a_stop_finishes_what_was_read_and_no_more() {
    for guarantee in ["exactly-once", "at-least-once"] {
        // The flow would wait long for a full batch, and messages arrive only when the flow waits for them.
        let rules = Rules { script: vec![(3, Act::Stop)], delay: 1000, ..Rules::default() };
        let bench = Bench::new(guarantee, "flow = { batch_events = 1000, batch_ms = 60000 }", rules);
        (1..=USERS as i64).for_each(|user| bench.score(FIRST, user));
        bench.run().unwrap();
        let read = bench.cluster.received();
        assert!((1..USERS).contains(&read), "{guarantee}: {read} read");
        assert_eq!(bench.replied(), (1..=read as i64).collect::<Vec<_>>(), "{guarantee}");
        let last = bench.cluster.requests()[read - 1].1.offset;
        assert_eq!(bench.cluster.committed(FIRST), last + 1, "{guarantee}");
    }
}

#[test]
fn a_stop_is_heard_while_a_batch_waits_for_more() {
    let rules = Rules { script: vec![(8, Act::Stop)], ..Rules::default() };
    let bench = Bench::new("exactly-once", "flow = { batch_events = 1000, batch_ms = 60000 }", rules);
    bench.score(FIRST, 1);
    bench.run().unwrap();
    let passed = bench.cluster.clock.passed();
    assert!(passed < Duration::from_secs(1), "it took {passed:?} of simulated time");
    assert_eq!(bench.replied(), [1]);
}

#[test]
fn many_gaps_fit_into_the_metadata_of_a_commit() {
    for guarantee in ["exactly-once", "at-least-once"] {
        // While the first waits, all others are read; then every other one of them is answered first.
        let flow = "flow = { order = \"header:priority\", batch_events = 50, batch_ms = 0 }";
        let bench = Bench::new(guarantee, &format!("{flow}\n{HOLD}"), Rules::default());
        bench.fail_at(2, 2);
        bench.put(FIRST, 2, &score(2), &[("priority", "9")]);
        for at in 0..8000 {
            bench.put(FIRST, 1, &score(1), &[("priority", if at % 2 == 0 { "1" } else { "2" })]);
        }
        bench.run().unwrap();
        assert_eq!(bench.replied().len(), 8001, "{guarantee}");
        let committed = |call: &Call| match call {
            Call::Committed(positions) => {
                positions.iter().map(|(.., metadata)| metadata.len()).max().unwrap_or(0)
            }
            _ => 0,
        };
        let longest = bench.cluster.calls().iter().map(committed).max().unwrap_or(0);
        assert!(longest > 1000, "{guarantee}: the metadata had at most {longest} bytes");
    }
}
