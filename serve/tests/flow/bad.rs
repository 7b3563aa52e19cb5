//! Every kind of bad input through the whole flow: rejected with its reason, counted, and in nobody's way.

use std::collections::BTreeMap;

use burnrec_serve::outbox::To;

use crate::bench::{Bench, FIRST, score};
use crate::twin::{Rules, Stored};

fn put(bench: &Bench, payload: Option<Vec<u8>>) {
    let (headers, timestamp_ms) = (vec![("trace".into(), Some(b"7".to_vec()))], Some(bench.now_ms()));
    bench.cluster.put(FIRST, Stored { offset: 0, key: Some(b"1".to_vec()), payload, headers, timestamp_ms });
}

/// Returns how many events ended how, by outcome and by reason or type.
fn ends(bench: &Bench) -> BTreeMap<(&'static str, &'static str), u64> {
    bench.metrics.ends().into_iter().map(|(end, n)| ((end.outcome, end.of), n)).collect()
}

#[test]
fn each_bad_input_is_rejected_with_its_reason_and_counted() {
    let million = format!(r#"{{"type":"score","user":7,"items":[{}101]}}"#, "101,".repeat(1_000_000));
    let items = format!(r#"{{"type":"score","user":7,"items":[{}101]}}"#, "101,".repeat(10_000));
    let deep = format!(r#"{{"type":"score","user":{}"#, "[".repeat(100_000));
    let cases: Vec<(Option<Vec<u8>>, &str, &str)> = vec![
        (None, "decode", "empty"),
        (Some(Vec::new()), "decode", "empty"),
        (Some(b"no JSON".to_vec()), "decode", "not-json"),
        (Some("{\"user\":".repeat(100_000).into_bytes()), "decode", "not-a-request"),
        (Some(deep.into_bytes()), "decode", "not-a-request"),
        (Some(b"{\"type\":\"\xff\"}".to_vec()), "decode", "not-utf8"),
        (Some(vec![b'x'; 10 << 20]), "decode", "too-large"),
        (Some(million.into_bytes()), "decode", "too-large"),
        (Some(items.into_bytes()), "decode", "too-many-items"),
        (Some(br#"{"type":"score","user":[7],"items":[101]}"#.to_vec()), "decode", "not-a-request"),
        (Some(br#"{"type":"score","user":7,"items":[]}"#.to_vec()), "decode", "no-items"),
        (Some(br#"{"type":"recommend","user":7,"k":4294967295}"#.to_vec()), "decode", "bad-k"),
        (
            Some(format!(r#"{{"type":"score","user":"{}","items":[101]}}"#, "u".repeat(257)).into()),
            "decode",
            "id-too-long",
        ),
        (
            Some(format!(r#"{{"type":"recommend","user":7,"k":1,"only":["{}"]}}"#, "i".repeat(257)).into()),
            "decode",
            "id-too-long",
        ),
        (
            Some(format!(r#"{{"type":"event","user":7,"item":"{}"}}"#, "i".repeat(257)).into()),
            "decode",
            "id-too-long",
        ),
        (
            Some(format!(r#"{{"type":"similar","id":"{}","item":101,"k":1}}"#, "x".repeat(257)).into()),
            "decode",
            "id-too-long",
        ),
        (Some(br#"{"type":"score","user":7,"items":[9]}"#.to_vec()), "score", "unknown-item"),
        (Some(br#"{"type":"score","user":900,"items":[101]}"#.to_vec()), "score", "unknown-user"),
    ];
    let bench = Bench::new("exactly-once", "unknown.user = \"reject\"", Rules::default());
    let mut expected = BTreeMap::from([(("replied", "score"), cases.len() as u64)]);
    for (payload, _, reason) in &cases {
        put(&bench, payload.clone());
        bench.score(FIRST, 2);
        *expected.entry(("rejected", *reason)).or_default() += 1;
    }
    bench.run().unwrap();
    let rejects = bench.records(To::Rejects);
    assert_eq!((rejects.len(), bench.replied().len()), (cases.len(), cases.len()));
    for (reject, (payload, stage, reason)) in rejects.iter().zip(&cases) {
        let said = reject.header("burnrec-reason").unwrap();
        assert!(said.split(':').next() == Some(*reason) && said.len() < 400, "{reason}: {said}");
        assert_eq!(reject.header("burnrec-stage"), Some(*stage), "{reason}");
        assert_eq!((reject.header("trace"), reject.key.as_deref()), (Some("7"), Some(&b"1"[..])), "{reason}");
        assert!(reject.value == *payload, "{reason}: the event comes back as it was");
    }
    assert_eq!(ends(&bench), expected);
    assert_eq!(bench.receipts().iter().filter(|(word, _)| word == "rejected").count(), cases.len());
}

#[test]
fn unknown_ids_by_policy() {
    let ask = r#"{"type":"score","user":900,"items":[101,9]}"#;
    for (settings, end) in [
        ("unknown = { user = \"reject\", item = \"null\" }", ("rejected", "unknown-user")),
        ("unknown = { user = \"popularity\", item = \"reject\" }", ("rejected", "unknown-item")),
        ("unknown = { user = \"fold-in\", item = \"null\" }", ("replied", "score")),
    ] {
        let bench = Bench::new("at-least-once", settings, Rules::default());
        put(&bench, Some(ask.into()));
        put(&bench, Some(score(1).into()));
        bench.run().unwrap();
        let mut expected = BTreeMap::from([(("replied", "score"), 1)]);
        *expected.entry(end).or_default() += 1;
        assert_eq!(ends(&bench), expected, "{settings}");
        if end.0 == "replied" {
            let reply = bench.records(To::Replies)[0].json();
            assert!(reply["by"] == "popularity" && reply["items"][1]["score"].is_null(), "{reply}");
        }
    }
}
