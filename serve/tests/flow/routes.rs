//! Which model answers whom.

use std::collections::{BTreeMap, BTreeSet};

use burnrec_serve::outbox::To;

use crate::bench::{Bench, FIRST, SECOND, score};
use crate::twin::{Record, Rules};

#[test]
fn routes_choose_by_topic_and_header() {
    let routes = r#"
[[routes]]
topic = "second"
headers = { tenant = "acme" }
models = { other = 1 }
[[routes]]
headers = { tier = "gold" }
models = { other = 1 }
[[routes]]
models = { main = 1 }
"#;
    let bench = Bench::new("exactly-once", routes, Rules::default());
    let acme = [("tenant", "acme")];
    bench.put(FIRST, 1, &score(1), &acme);
    bench.put(SECOND, 2, &score(2), &acme);
    bench.put(SECOND, 3, &score(3), &[("tenant", "other")]);
    bench.put(FIRST, 4, &score(4), &[("tenant", "acme"), ("tier", "gold")]);
    bench.run().unwrap();
    let of = |reply: &Record| {
        (reply.json()["user"].as_i64().unwrap(), reply.json()["model"].as_str().unwrap().to_owned())
    };
    let models: BTreeMap<i64, String> = bench.records(To::Replies).iter().map(of).collect();
    let expected = [(1, "main"), (2, "other"), (3, "main"), (4, "other")];
    assert_eq!(models, expected.map(|(user, model)| (user, model.to_owned())).into());
}

#[test]
fn a_user_always_gets_the_same_of_two_models() {
    let routes = "[[routes]]\nmodels = { main = 3, other = 1 }";
    let bench =
        Bench::new("exactly-once", &format!("unknown.user = \"popularity\"\n{routes}"), Rules::default());
    let users = 400;
    for user in (1..=users).chain(1..=users) {
        bench.score(if user % 2 == 0 { FIRST } else { SECOND }, user);
    }
    bench.run().unwrap();
    let mut of_user: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for reply in bench.records(To::Replies) {
        let reply = reply.json();
        let model = reply["model"].as_str().unwrap().to_owned();
        of_user.entry(reply["user"].as_i64().unwrap()).or_default().insert(model);
    }
    assert!(of_user.len() == users as usize && of_user.values().all(|models| models.len() == 1));
    let other = of_user.values().filter(|models| models.contains("other")).count();
    assert!((60..140).contains(&other), "{other} of {users} users, expected about a quarter");
}

#[test]
fn receipts_and_counts_name_the_model_that_answered() {
    let settings = "[[routes]]\nmodels = { main = 1, other = 1 }";
    let bench =
        Bench::new("exactly-once", &format!("unknown.user = \"reject\"\n{settings}"), Rules::default());
    (1..=20).for_each(|user| bench.score(FIRST, user));
    bench.put(FIRST, 1, "no JSON", &[]);
    bench.put(SECOND, 900, &score(900), &[]);
    bench.run().unwrap();
    let replies: Vec<_> = bench.records(To::Replies).iter().map(Record::json).collect();
    let receipts: Vec<_> = bench.records(To::Receipts).iter().map(Record::json).collect();
    assert_eq!((replies.len(), receipts.len()), (20, 22));
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for reply in &replies {
        let receipt = receipts.iter().find(|receipt| receipt["source"] == reply["source"]).unwrap();
        for key in ["model", "version", "hash"] {
            assert!(reply[key].is_string() && receipt[key] == reply[key], "{key}: {receipt}");
        }
        *counted.entry(reply["model"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let rest = receipts.iter().filter(|receipt| receipt["outcome"] == "rejected");
    assert!(rest.clone().count() == 2 && rest.clone().all(|receipt| receipt.get("model").is_none()));
    let found = bench.replies().into_iter().map(|(of, n)| (of.model, n)).collect();
    assert!(counted.len() == 2 && counted == found, "{counted:?}, found {found:?}");
}

#[test]
fn a_shadow_model_answers_beside_once() {
    let settings = "failures.score = { retries = 1, backoff_ms = 1 }\n[[routes]]\nmodels = { main = 1 }\nshadow = \"other\"";
    let bench = Bench::new("exactly-once", settings, Rules::default());
    bench.fail_at(2, 2);
    (1..=3).for_each(|user| bench.score(FIRST, user));
    bench.run().unwrap();
    let shadows = bench.records(To::Shadow);
    let users: BTreeSet<i64> = shadows.iter().map(|reply| reply.json()["user"].as_i64().unwrap()).collect();
    assert_eq!((shadows.len(), users), (3, (1..=3).collect()), "also of one that took two tries");
    assert!(shadows.iter().all(|reply| reply.json()["model"] == "other"));
    assert!(bench.records(To::Replies).iter().all(|reply| reply.json()["model"] == "main"));
    assert_eq!(bench.replied().len(), 3);
}
