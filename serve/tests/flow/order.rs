//! Which of the events that wait come first.

use crate::bench::{Bench, FIRST, SECOND, score};
use crate::twin::{Rules, Stored};

/// Answers events of users 1 to 8 with these times (seconds ago) and priorities; all are read while the first waits.
fn answered(order: &str) -> Vec<i64> {
    let hold = "failures.score = { retries = 1, backoff_ms = 100, pace = \"yield\" }";
    let flow = format!("flow = {{ order = \"{order}\", batch_events = 1, batch_ms = 0 }}");
    let bench = Bench::new("exactly-once", &format!("{flow}\n{hold}"), Rules::default());
    bench.fail_at(1, 2);
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
    assert_eq!(answered("newest"), [1, 8, 4, 6, 2, 7, 3, 5]);
    assert_eq!(answered("oldest"), [1, 5, 3, 7, 2, 6, 4, 8]);
    // Equal ranks as they came; what is no number comes last.
    assert_eq!(answered("header:rank"), [1, 8, 3, 6, 2, 4, 5, 7]);
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
        let replies = bench.records(burnrec_serve::outbox::To::Replies);
        for reply in &replies {
            let reply = reply.json();
            let (user, id) = (reply["user"].as_i64().unwrap() as usize, reply["id"].as_i64().unwrap());
            assert!(last[user] < id, "{guarantee}: {id} of user {user} after {}", last[user]);
            last[user] = id;
        }
        assert_eq!(replies.len(), 120, "{guarantee}");
    }
}
