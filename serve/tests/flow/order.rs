//! Which of the events that wait come first.

use burnrec_serve::outbox::To;

use crate::bench::{Bench, FIRST, SECOND, score};
use crate::twin::{Rules, Stored};

/// Answers events of users 1 to 8 with these times (seconds ago) and priorities.
fn answered(order: &str) -> Vec<i64> {
    let flow = format!("flow = {{ order = \"{order}\", batch_events = 1, batch_ms = 0 }}");
    let bench = Bench::new("exactly-once", &flow, Rules::default());
    let now = bench.now_ms();
    let events = [(9, "9"), (5, "2"), (7, "5"), (3, "-1"), (8, "x"), (4, "5"), (6, "NaN"), (2, "1e3")];
    for (user, (ago, priority)) in (1..).zip(events) {
        let stored = Stored {
            offset: 0,
            key: None,
            payload: Some(score(user).into_bytes()),
            headers: vec![("rank".into(), Some(priority.as_bytes().to_vec()))],
            timestamp_ms: Some(now - 1000 * ago),
        };
        bench.cluster.put(FIRST, stored);
    }
    bench.run().unwrap();
    bench.replied()
}

#[test]
fn events_are_answered_in_the_order_of_the_prioritiser() {
    assert_eq!(answered("first-in"), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(answered("newest"), [8, 4, 6, 2, 7, 3, 5, 1]);
    assert_eq!(answered("oldest"), [1, 5, 3, 7, 2, 6, 4, 8]);
    // Equal ranks as they came; what is no number comes last.
    assert_eq!(answered("header:rank"), [8, 1, 3, 6, 2, 4, 5, 7]);
}

/// Returns the places of some replies among all.
fn places(bench: &Bench, is_one: impl Fn(&serde_json::Value) -> bool) -> Vec<usize> {
    let replies = bench.records(To::Replies);
    let found = replies.iter().enumerate().filter(|(_, reply)| is_one(&reply.json()["id"]));
    found.map(|(place, _)| place).collect()
}

#[test]
fn the_urgent_are_answered_first_though_they_come_last() {
    const WAITING: i64 = 20_000;
    for (order, guarantee) in [("header:rank", "exactly-once"), ("newest", "at-least-once")] {
        for parts in [&[FIRST][..], &[FIRST, SECOND]] {
            let flow = format!("flow = {{ order = \"{order}\", queue_events = 32768 }}");
            let bench = Bench::new(guarantee, &flow, Rules::default());
            for at in 0..WAITING {
                let (is_urgent, user) = (at >= WAITING - 10, 1 + at % 40);
                let rank = if is_urgent { "9" } else { "1" };
                let stored = Stored {
                    offset: 0,
                    key: None,
                    payload: Some(
                        format!(r#"{{"type":"score","id":{at},"user":{user},"items":[101]}}"#).into_bytes(),
                    ),
                    headers: vec![("rank".into(), Some(rank.as_bytes().to_vec()))],
                    timestamp_ms: Some(bench.now_ms() - WAITING + at),
                };
                bench.cluster.put(parts[at as usize % parts.len()], stored);
            }
            bench.run().unwrap();
            let urgent = places(&bench, |id| id.as_i64().unwrap() >= WAITING - 10);
            assert!(urgent.len() == 10 && urgent[9] < 1024, "{order}, {guarantee}: {urgent:?}");
            assert_eq!(bench.records(To::Replies).len() as i64, WAITING);
        }
    }
}

#[test]
fn who_asks_too_much_lets_others_pass() {
    let routes = "[[routes]]\ntopic = \"first\"\nqueue_events = 100\nmodels = { main = 1 }\n[[routes]]\nmodels = { main = 1 }";
    for guarantee in ["exactly-once", "at-least-once"] {
        let bench = Bench::new(guarantee, &format!("flow.batch_events = 20\n{routes}"), Rules::default());
        let put = |part, at: i64| {
            bench.put(part, at, &format!(r#"{{"type":"score","id":{at},"user":1,"items":[101]}}"#), &[]);
        };
        (0..3000).for_each(|at| put(FIRST, at));
        (3000..3010).for_each(|at| put(SECOND, at));
        bench.run().unwrap();
        let few = places(&bench, |id| id.as_i64().unwrap() >= 3000);
        assert!(few.len() == 10 && few[9] < 40, "{guarantee}: {few:?}");
    }
}

#[test]
fn first_in_keeps_the_order_of_each_key() {
    for guarantee in ["exactly-once", "at-least-once"] {
        let routes = "[[routes]]\nheaders = { tier = \"gold\" }\nmodels = { other = 1 }\n[[routes]]\nmodels = { main = 1 }";
        let bench = Bench::new(guarantee, &format!("flow.batch_events = 7\n{routes}"), Rules::default());
        for at in 0..120 {
            // A user's requests go one route: two have a queue each, and pass each other.
            let user = 1 + at * 7 % 10;
            let tier = if user % 3 == 0 { "gold" } else { "" };
            let part = if user % 2 == 0 { FIRST } else { SECOND };
            let text = format!(r#"{{"type":"event","id":{at},"user":{user},"item":{}}}"#, 101 + at % 30);
            bench.put(part, user, &text, &[("tier", tier)]);
        }
        bench.run().unwrap();
        let mut last = [-1; 11];
        let replies = bench.records(To::Replies);
        for reply in &replies {
            let reply = reply.json();
            let (user, id) = (reply["user"].as_i64().unwrap() as usize, reply["id"].as_i64().unwrap());
            assert!(last[user] < id, "{guarantee}: {id} of user {user} after {}", last[user]);
            last[user] = id;
        }
        assert_eq!(replies.len(), 120, "{guarantee}");
    }
}
