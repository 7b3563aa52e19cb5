//! How many users' histories are kept, for how long, and what erases them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use burnrec_serve::outbox::{EventOutcome, To};
use burnrec_serve::{Engine, Kind};

use super::bench::{Bench, FIRST};
use super::clock::SimClock;
use super::common::{answer_http, config};
use super::twin::{Act, Faults, Rules};

#[test]
fn one_user_more_is_rejected_until_another_was_away_for_too_long() {
    let clock = Arc::new(SimClock::new());
    let config = config("models.main.run = \"RUN\"\nlimits.users = 2\nstate.ttl = \"40s\"");
    let engine = Engine::open(&config).expect("the config is whole").with_clock(clock.clone());
    let event = |user: i64| {
        let text = format!(r#"{{"user":{user},"item":101}}"#);
        let found = answer_http(&engine, Kind::Event, &text);
        match &found.outcome {
            EventOutcome::Replied(_) => Ok(found.json()["history"].as_i64()),
            _ => Err(found.reject().reason),
        }
    };
    assert_eq!((event(900), event(901)), (Ok(Some(1)), Ok(Some(1))));
    assert_eq!(event(902), Err("no-room"));
    clock.advance(Duration::from_secs(20));
    assert_eq!(event(901), Ok(Some(1)), "there is room for who is there");
    clock.advance(Duration::from_secs(21));
    engine.forget_the_absent();
    assert_eq!(
        (event(902), engine.state.n_users()),
        (Ok(Some(1)), 2),
        "user 900 was away for over forty seconds"
    );
    assert_eq!(event(900), Err("no-room"));
}

#[test]
fn who_is_erased_begins_anew_whatever_fails() {
    const KEY: &str = r#"["first",7]"#;
    for guarantee in ["exactly-once", "at-least-once"] {
        let mut histories = BTreeSet::new();
        for at in 0..40 {
            let act = |after: usize, act| (at + after, act);
            let script = match at % 4 {
                0 => vec![act(0, Act::Erase(FIRST, KEY))],
                1 => vec![act(0, Act::Erase(FIRST, KEY)), act(1, Act::Rejoin(FIRST))],
                2 => vec![act(0, Act::Erase(FIRST, KEY)), act(1, Act::Lose(FIRST))],
                _ => vec![act(0, Act::Erase(FIRST, KEY)), act(0, Act::Rejoin(FIRST))],
            };
            let faults = Faults { budget: 6, send: 0.1, commit: 0.2, rebuild: 0.4, ..Faults::default() };
            let rules = Rules { script, faults, delay: 1, ..Rules::default() };
            let bench = Bench::new(guarantee, "flow = { batch_events = 2, batch_ms = 0 }", rules);
            for item in 101..131 {
                bench.put(FIRST, 7, &format!(r#"{{"type":"event","user":7,"item":{item}}}"#), &[]);
            }
            bench.put(FIRST, 8, r#"{"type":"event","user":8,"item":101}"#, &[]);
            bench.run().unwrap();
            let context = format!("{guarantee} at look {at}");
            assert_eq!(bench.unconfirmed(), 0, "{context}");
            // The last record that anybody reads is what the replies said, and has no event of before the erasure.
            let state = bench.records(To::State);
            let last = |key: &str| state.iter().rfind(|record| record.key.as_deref() == Some(key.as_bytes()));
            let kept = last(KEY).and_then(|record| record.value.as_ref().map(|_| record.json()));
            let kept: Vec<i64> = kept.map(|record| items(&record["events"])).unwrap_or_default();
            assert_eq!(
                kept,
                (131 - kept.len() as i64..131).collect::<Vec<_>>(),
                "{context}: the newest events"
            );
            assert_eq!(bench.history(7), kept, "{context}: as in memory");
            assert!(
                last(r#"["first",8]"#).is_some_and(|record| record.value.is_some()),
                "{context}: another user"
            );
            histories.insert(kept.len());
        }
        assert!(histories.len() > 5 && histories.iter().all(|n| *n < 31), "{guarantee}: {histories:?}");
    }
}

#[test]
fn an_erasure_whose_commit_seems_to_fail_takes_nothing_that_came_after_it() {
    const KEY: &str = r#"["first",7]"#;
    for at in 3..9 {
        let script = vec![(at, Act::Erase(FIRST, KEY)), (at, Act::Doubt)];
        let rules = Rules { script, ..Rules::default() };
        let bench = Bench::new("exactly-once", "flow = { batch_events = 2, batch_ms = 0 }", rules);
        (101..131).for_each(|item| {
            bench.put(FIRST, 7, &format!(r#"{{"type":"event","user":7,"item":{item}}}"#), &[])
        });
        bench.run().unwrap();
        let lengths: Vec<i64> = bench
            .records(To::Replies)
            .iter()
            .map(|reply| reply.json()["history"].as_i64().unwrap())
            .collect();
        let begun = lengths.iter().rposition(|length| *length == 1).unwrap();
        assert_eq!(lengths.iter().filter(|length| **length == 1).count(), 2, "at look {at}: {lengths:?}");
        assert_eq!(bench.history(7), (101 + begun as i64..131).collect::<Vec<_>>(), "at look {at}");
    }
}

fn items(events: &serde_json::Value) -> Vec<i64> {
    events.as_array().expect("events").iter().map(|event| event[0].as_i64().expect("an item")).collect()
}
