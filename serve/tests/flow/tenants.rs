//! A tenant's quota is its own: what is over it waits or is rejected, and nobody else waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use burnrec_serve::outbox::To;

use crate::bench::{Bench, FIRST, SECOND, score};
use crate::twin::{Act, Faults, Record, Rules};

/// What it takes to score a pair, in simulated time; an event has two.
const PAIR: Duration = Duration::from_micros(100);

/// What it takes to answer an event.
const COST: Duration = Duration::from_micros(200);

/// Two tenants with a topic each.
const TOPICS: &str = "[[routes]]\ntenant = \"acme\"\ntopic = \"first\"\nmodels = { main = 1 }\n\
                      [[routes]]\ntenant = \"globex\"\ntopic = \"second\"\nmodels = { main = 1 }\n";

/// Two tenants in the same topics.
const HEADERS: &str = "[[routes]]\ntenant = \"acme\"\nheaders = { tenant = \"acme\" }\nmodels = { main = 1 }\n\
                       [[routes]]\ntenant = \"globex\"\nheaders = { tenant = \"globex\" }\nmodels = { main = 1 }\n";

const ACME: &[(&str, &str)] = &[("tenant", "acme")];
const GLOBEX: &[(&str, &str)] = &[("tenant", "globex")];

/// A bench whose events take their time.
fn bench(guarantee: &str, routes: &str, acme: &str, rules: Rules) -> Bench {
    let tenants = format!("[tenants.acme]\n{acme}\n[tenants.globex]\nidentities = [\"g\"]\n");
    let bench = Bench::new(guarantee, &format!("flow.batch_events = 20\n{tenants}{routes}"), rules);
    let clock = Arc::clone(&bench.cluster.clock);
    bench.hook(move |users| clock.advance(PAIR * users.len() as u32));
    bench
}

/// Returns how long the events of a topic took, in ascending order.
fn latencies(bench: &Bench, topic: &str) -> Vec<Duration> {
    let receipts: Vec<_> = bench.records(To::Receipts).iter().map(Record::json).collect();
    let own = receipts.iter().filter(|receipt| receipt["source"].as_str().unwrap().starts_with(topic));
    let mut all: Vec<_> =
        own.map(|receipt| Duration::from_micros(receipt["latency_us"].as_u64().unwrap())).collect();
    all.sort();
    all
}

#[test]
fn who_is_over_the_quota_waits_and_nobody_else_does() {
    for guarantee in ["exactly-once", "at-least-once"] {
        let run = |flood: i64, quota: &str| {
            let bench = bench(guarantee, TOPICS, quota, Rules::default());
            (0..flood).for_each(|at| bench.score(FIRST, 1 + at % 40));
            (0..50).for_each(|at| bench.score(SECOND, 1 + at % 40));
            bench.run().unwrap();
            assert_eq!(bench.replied().len() as i64, flood + 50, "{guarantee}: each once");
            bench
        };
        let slowest = |bench: &Bench| *latencies(bench, "second/").last().unwrap();
        let alone = slowest(&run(0, ""));
        // Without a quota each has its half, up to a batch that is under way.
        let in_turn = slowest(&run(300, ""));
        assert!(
            in_turn > alone * 3 / 2 && in_turn <= 2 * alone + COST * 20,
            "{guarantee}: {in_turn:?}, {alone:?}"
        );
        // With one it waits for the burst of 20, and for one event a millisecond.
        let bench = run(300, "events_per_s = 1000\nburst_s = 0.02");
        let beside = slowest(&bench);
        let most = alone + COST * (20 + beside.as_millis() as u32);
        assert!(beside < in_turn && beside <= most, "{guarantee}: {beside:?}, alone {alone:?}");
        for (n, took) in (1..).zip(latencies(&bench, "first/")) {
            let least = Duration::from_millis(1) * u32::saturating_sub(n, 20);
            assert!(took + Duration::from_millis(1) >= least, "{guarantee}: {n} passed after {took:?}");
        }
        let last = *latencies(&bench, "first/").last().unwrap();
        assert!(last < Duration::from_millis(340), "{guarantee}: the quota is used: {last:?}");
        let counts = bench.metrics.tenant("acme");
        assert_eq!((counts.events.get(), counts.ended[0].get()), (300, 300), "{guarantee}");
        assert!((250..=280).contains(&counts.throttled.get()), "{guarantee}: {}", counts.throttled.get());
        let counts = bench.metrics.tenant("globex");
        assert_eq!((counts.events.get(), counts.throttled.get()), (50, 0), "{guarantee}");
    }
}

#[test]
fn tenants_without_quotas_share_by_their_weights() {
    for (weight, first_half) in [(1, 10..=10), (4, 15..=17)] {
        let bench = bench("exactly-once", TOPICS, &format!("weight = {weight}"), Rules::default());
        for at in 1..=40 {
            bench.score(FIRST, at);
            bench.score(SECOND, at);
        }
        bench.run().unwrap();
        let topics =
            bench.records(To::Replies).iter().map(|reply| reply.part.topic).take(20).collect::<Vec<_>>();
        let of_acme = topics.iter().filter(|topic| **topic == FIRST.topic).count();
        assert!(first_half.contains(&of_acme), "weight {weight}: {of_acme} of 20");
    }
}

#[test]
fn in_one_partition_what_is_over_the_quota_waits_in_its_queue_and_then_the_partition_does() {
    for guarantee in ["exactly-once", "at-least-once"] {
        let quota = "events_per_s = 1000\nburst_s = 0.01\nqueue_events = 40";
        let bench = bench(guarantee, HEADERS, quota, Rules::default());
        for at in 0..400 {
            let user = 1 + at % 40;
            // Every user is of one tenant.
            bench.put(FIRST, user, &score(user), if user % 4 > 0 { ACME } else { GLOBEX });
        }
        bench.run().unwrap();
        assert_eq!(bench.replied().len(), 400, "{guarantee}");
        // Replies to a user are in the order of the requests.
        let mut last = BTreeMap::new();
        for reply in bench.records(To::Replies) {
            let before = last.insert(reply.key.clone(), reply.offset).unwrap_or(-1);
            assert!(before < reply.offset, "{guarantee}: {reply:?} after {before}");
        }
        let counts = bench.metrics.tenant("acme");
        assert_eq!(counts.ended[0].get(), 300, "{guarantee}");
        assert!(bench.cluster.clock.passed() >= Duration::from_millis(285), "{guarantee}");
    }
}

#[test]
fn what_is_over_the_quota_may_be_rejected_and_the_partition_is_read_on() {
    let quota = "events_per_s = 1000\nburst_s = 0.01\nqueue_events = 20\nover = \"reject\"";
    for seed in 0..40 {
        for guarantee in ["exactly-once", "at-least-once"] {
            let faults = match seed {
                0 => Faults::default(),
                _ => Faults {
                    budget: seed % 6,
                    send: 0.1,
                    commit: 0.2,
                    rebuild: 0.4,
                    arrived: 0.05,
                    ..Faults::default()
                },
            };
            let script =
                if seed % 3 == 1 { vec![(3 + seed as usize / 3, Act::Rejoin(FIRST))] } else { Vec::new() };
            let rules = Rules { faults, script, delay: seed % 3, ..Rules::default() };
            let bench = bench(guarantee, HEADERS, quota, rules);
            for at in 0..4000 {
                let user = 1 + at % 40;
                bench.put(FIRST, user, &score(user), if user % 4 > 0 { ACME } else { GLOBEX });
            }
            bench.run().unwrap();
            let mut ends: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
            let all = bench.cluster.visible();
            for record in &all {
                match (record.to, record.header("burnrec-reason")) {
                    (To::Replies, _) => ends.entry(record.offset).or_default().push("replied"),
                    (To::Rejects, Some(reason)) => {
                        assert!(reason.starts_with("quota: ") && reason.contains("acme"), "{reason}");
                        assert_eq!(
                            record.headers.iter().find(|(name, _)| name == "tenant").unwrap().1,
                            b"acme"
                        );
                        ends.entry(record.offset).or_default().push("rejected");
                    }
                    _ => {}
                }
            }
            assert_eq!(ends.len(), 4000, "{guarantee}, {seed}");
            let is_once = |of: &Vec<&str>| of.len() == 1;
            assert!(guarantee == "at-least-once" || ends.values().all(is_once), "{seed}: {ends:?}");
            let rejected = ends.values().filter(|of| of.contains(&"rejected")).count();
            assert!(rejected > 1000, "{guarantee}, {seed}: {rejected} rejected");
            // All is read at once: nothing of it waits until the quota lets it pass, which takes three seconds.
            let passed = bench.cluster.clock.passed();
            assert!(seed > 0 || passed < Duration::from_secs(1), "{guarantee}: {passed:?}");
        }
    }
}

#[test]
fn an_event_of_no_tenant_is_answered_where_a_route_says_so_alone() {
    let open = "[[routes]]\nmodels = { other = 1 }\n";
    for (routes, answered) in [(HEADERS.to_owned(), 2), (format!("{open}{HEADERS}"), 4)] {
        let bench = bench("exactly-once", &routes, "", Rules::default());
        bench.put(FIRST, 1, &score(1), ACME);
        bench.put(FIRST, 2, &score(2), GLOBEX);
        bench.put(FIRST, 3, &score(3), &[]);
        bench.put(SECOND, 4, &score(4), &[("tenant", "initech")]);
        bench.run().unwrap();
        let model = |reply: &Record| {
            (reply.json()["user"].as_i64().unwrap(), reply.json()["model"].as_str().unwrap().to_owned())
        };
        let models: BTreeMap<i64, String> = bench.records(To::Replies).iter().map(model).collect();
        let expected = [(1, "main"), (2, "main"), (3, "other"), (4, "other")].into_iter().take(answered);
        assert_eq!(models, expected.map(|(user, model)| (user, model.to_owned())).collect());
        let rejects = bench.records(To::Rejects);
        assert_eq!(rejects.len(), 4 - answered);
        for reject in rejects {
            assert!(reject.header("burnrec-reason").unwrap().starts_with("no-tenant: "), "{reject:?}");
            assert_eq!(reject.header("burnrec-stage"), Some("queue"));
        }
    }
}

#[test]
fn a_stop_leaves_what_waits_for_a_quota_to_the_next_reader() {
    for guarantee in ["exactly-once", "at-least-once"] {
        let quota = "events_per_s = 10\nburst_s = 1";
        let rules = Rules { script: vec![(30, Act::Stop)], ..Rules::default() };
        let bench = bench(guarantee, HEADERS, quota, rules);
        for user in 1..=40 {
            bench.put(FIRST, user, &score(user), if user <= 30 { ACME } else { GLOBEX });
        }
        bench.run().unwrap();
        let before = bench.cluster.clock.passed();
        assert!(before < Duration::from_secs(2), "{guarantee}: {before:?}");
        let answered = bench.replied().len();
        assert!((20..40).contains(&answered), "{guarantee}: {answered}");
        bench.run().unwrap();
        let mut users = bench.replied();
        users.sort_unstable();
        assert_eq!(users, (1..=40).collect::<Vec<i64>>(), "{guarantee}: each once");
    }
}
