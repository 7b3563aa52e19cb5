//! What the engine answers: the model's own scores, and a reason where it cannot.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use burnrec_data::{Csr, ItemIx, UserIx};
use burnrec_models::scorer::Allowed;
use burnrec_models::{Model, Output, Scorer};
use burnrec_serve::engine::{Reading, Replaying};
use burnrec_serve::event::Incoming;
use burnrec_serve::outbox::{EventOutcome, Outbox};
use burnrec_serve::served::Served;
use burnrec_serve::{Engine, Kind, ServeConfig};
use common::{ITEMS, USERS, answer, answer_all, answer_http, config, item_id, seen};
use tempfile::TempDir;

fn engine(settings: &str) -> Engine {
    Engine::open(&config(&format!("models.main.run = \"RUN\"\n{settings}"))).expect("an engine")
}

/// An engine that serves a model from a directory of its own.
fn serving(model: Box<dyn Model>) -> (Engine, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    common::save(&folder.path().join("run"), model);
    let text = format!("models.main.run = {:?}", folder.path().join("run"));
    (Engine::open(&config(&text)).expect("an engine"), folder)
}

type Make = fn() -> Box<dyn Model>;

const GOOD: &str = r#"{"type":"score","user":7,"items":[101]}"#;

#[test]
fn each_bad_input_is_rejected_with_its_reason_and_no_other_suffers() {
    let engine = engine("");
    let deep = format!(r#"{{"type":"score","user":{}1"#, "[".repeat(100_000));
    let many = vec!["101"; 1_000_000].join(",");
    let million = format!(r#"{{"type":"score","user":7,"items":[{many}]}}"#);
    let over = format!(r#"{{"type":"score","user":7,"items":[{}]}}"#, &many[..4 * 10_001 - 1]);
    let large = vec![b' '; 10 << 20];
    let word = "ü".repeat(50_000);
    let (field, item) =
        (format!(r#"{{"{word}":1}}"#), format!(r#"{{"type":"similar","item":"{word}","k":3}}"#));
    let cases: [(&[u8], &str); 26] = [
        (b"nonsense", "not-json"),
        (b"{", "not-json"),
        (b"\xef\xbb\xbf{}", "not-json"),
        (b"[1,2]", "not-a-request"),
        (b"null", "not-a-request"),
        (br#"["score",1,"x",7,null,[101],null,null,null,null,null]"#, "not-a-request"),
        (br#"{"type":5,"user":7,"items":[101]}"#, "not-a-request"),
        (br#"{"type":"score","user":true,"items":[101]}"#, "not-a-request"),
        (br#"{"type":"score","user":7,"items":{"a":1}}"#, "not-a-request"),
        (br#"{"type":"score","user":7,"items":[101.5]}"#, "not-a-request"),
        (br#"{"type":"score","user":7,"items":"101"}"#, "not-a-request"),
        (br#"{"type":"score","user":7,"items":[]}"#, "no-items"),
        (br#"{"type":"score","user":7,"items":[7]}"#, "unknown-item"),
        (br#"{"type":"similar","item":7,"k":3}"#, "unknown-item"),
        (br#"{"type":"recommend","user":7,"k":0}"#, "bad-k"),
        (br#"{"type":"recommend","user":7,"k":1001}"#, "bad-k"),
        (br#"{"type":"recommend","user":7,"k":18446744073709551616}"#, "not-a-request"),
        (br#"{"type":"event","user":7,"item":101,"value":1e39}"#, "not-finite"),
        (br#"{"type":"event","user":7,"item":101,"value":1e999}"#, "not-a-request"),
        (b"", "empty"),
        (b"{\"type\":\"score\",\"user\":\"\xff\",\"items\":[101]}", "not-utf8"),
        (&large, "too-large"),
        (million.as_bytes(), "too-large"),
        (over.as_bytes(), "too-many-items"),
        (field.as_bytes(), "not-a-request"),
        (item.as_bytes(), "id-too-long"),
    ];
    let mut payloads: Vec<Option<&[u8]>> = vec![None, Some(deep.as_bytes()), Some(GOOD.as_bytes())];
    payloads.extend(cases.iter().flat_map(|(payload, _)| [Some(*payload), Some(GOOD.as_bytes())]));
    let answers = answer_all(&engine, &payloads);
    assert_eq!(answers[0].reject().reason, "empty");
    assert!(["not-json", "not-a-request"].contains(&answers[1].reject().reason), "{}", answers[1].reject());
    for (pair, (payload, reason)) in answers[3..].chunks(2).zip(cases) {
        let found = pair[0].reject();
        assert_eq!(found.reason, reason, "{:.80}: {found}", String::from_utf8_lossy(payload));
        assert!(found.text.len() < 310, "{found}");
        assert_eq!(pair[1].scores().len(), 1);
    }
    let limits = "limits = { message_bytes = 100000000 }";
    let generous = Engine::open(&config(&format!("models.main.run = \"RUN\"\n{limits}"))).unwrap();
    assert_eq!(answer(&generous, &million).reject().reason, "too-many-items");
    assert_eq!(answer(&generous, &large).reject().reason, "not-json");
}

#[test]
fn unknown_ids_go_by_the_policy() {
    let score = r#"{"type":"score","user":900,"items":[101,7]}"#;
    let known = r#"{"type":"score","user":900,"items":[101]}"#;
    let event = r#"{"type":"event","user":900,"item":105}"#;
    for (user, before, after) in [
        ("fold-in", Some("popularity"), Some("fold-in")),
        ("popularity", Some("popularity"), Some("popularity")),
        ("reject", None, None),
    ] {
        let engine = engine(&format!("unknown.user = \"{user}\""));
        for by in [before, after] {
            let answer = answer(&engine, known);
            match by {
                Some(by) => assert_eq!(answer.json()["by"], by, "{user}"),
                None => assert_eq!(answer.reject().reason, "unknown-user", "{user}"),
            }
            common::answer(&engine, event).json();
        }
    }
    let rejecting = engine("unknown.item = \"reject\"");
    assert_eq!(answer(&rejecting, score).reject().reason, "unknown-item");
    let lenient = engine("unknown.item = \"null\"");
    let scores = answer(&lenient, score).scores();
    assert!(scores[0].1.is_some() && scores[1] == (7, None), "{scores:?}");
    let only = r#"{"type":"recommend","user":7,"k":3,"only":[7,101],"include_seen":true}"#;
    assert_eq!(answer(&rejecting, only).reject().reason, "unknown-item");
    assert_eq!(answer(&lenient, only).scores().len(), 1, "an unknown item cannot come back");
}

/// Returns all scores of a user as a reply has them.
fn catalog(scorer: &dyn Scorer, user: usize, output: Output) -> Vec<f32> {
    let mut scores = vec![0.0; ITEMS];
    scorer.score_catalog(&[UserIx(user as u32)], &mut scores);
    scores.into_iter().map(|score| output.score(score)).collect()
}

/// Returns the ids of the best items that `may` allows; of equal ones the lower id comes first.
fn best(scores: &[f32], k: usize, may: impl Fn(usize) -> bool) -> Vec<i64> {
    let mut rows: Vec<usize> = (0..ITEMS).filter(|&row| may(row)).collect();
    rows.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    rows.into_iter().take(k).map(item_id).collect()
}

fn close(found: &[(i64, Option<f64>)], scores: &[f32]) {
    for &(item, score) in found {
        let expected = f64::from(scores[(item - 101) as usize]);
        let score = score.expect("a score");
        assert!((score - expected).abs() < 1e-5 * expected.abs().max(1.0), "{item}: {score}, not {expected}");
    }
}

#[test]
fn answers_are_the_models_own_scores() {
    let models: [(Make, &str); 4] = [
        (|| Box::new(common::popularity()), "score"),
        (|| Box::new(common::ease(3)), "score"),
        (|| Box::new(common::als(3)), "score"),
        (|| Box::new(common::mf(3)), "probability"),
    ];
    for (make, score_is) in models {
        let model = make();
        let output = model.config().output();
        let (engine, _folder) = serving(make());
        let kind = model.config().kind();
        for user in [1, 17, USERS] {
            let scores = catalog(&*model, user - 1, output);
            let items: Vec<String> = (0..ITEMS).rev().map(|row| item_id(row).to_string()).collect();
            let reply =
                answer(&engine, format!(r#"{{"type":"score","user":{user},"items":[{}]}}"#, items.join(",")));
            assert_eq!(reply.json()["score_is"], score_is, "{kind}");
            let order: Vec<i64> = reply.scores().iter().map(|(item, _)| *item).collect();
            assert_eq!(
                order,
                (0..ITEMS).rev().map(item_id).collect::<Vec<_>>(),
                "{kind}: as they were asked for"
            );
            close(&reply.scores(), &scores);
            let had = |row: usize| seen().contains(user - 1, row as u32);
            let without = |row: usize| [102, 105].contains(&item_id(row));
            let only = |row: usize| [101, 102, 103, 110, 120].contains(&item_id(row));
            let asked: [(&str, &dyn Fn(usize) -> bool); 5] = [
                ("", &|row| !had(row)),
                (r#","include_seen":true"#, &|_| true),
                (r#","without":[105,102,105,7]"#, &|row| !had(row) && !without(row)),
                (r#","only":[120,110,103,102,101,101],"include_seen":true"#, &only),
                (r#","only":[120,110,103,102,101],"without":[105,102]"#, &|row| {
                    only(row) && !had(row) && !without(row)
                }),
            ];
            for (more, may) in asked {
                for k in [1, 4, 1000] {
                    let reply =
                        answer(&engine, format!(r#"{{"type":"recommend","user":{user},"k":{k}{more}}}"#));
                    let items: Vec<i64> = reply.scores().iter().map(|(item, _)| *item).collect();
                    assert_eq!(items, best(&scores, k, may), "{kind}, user {user}, k {k}{more}");
                    close(&reply.scores(), &scores);
                }
            }
        }
        let reply = answer(&engine, r#"{"type":"similar","item":110,"k":5}"#);
        match model.likeness() {
            None => assert_eq!(reply.reject().reason, "no-vectors"),
            Some(likeness) => {
                let name = if model.item_vectors().is_some() { "cosine" } else { "weight" };
                assert_eq!((&reply.json()["score_is"], likeness.name()), (&name.into(), name));
                let expected = likeness.nearest(ItemIx(9), 5, &Allowed::all(ITEMS));
                assert_eq!(reply.scores().len(), 5);
                for ((item, score), (row, likeness)) in reply.scores().into_iter().zip(expected) {
                    assert_eq!(item, item_id(row.at()));
                    assert!((score.unwrap() - f64::from(likeness)).abs() < 1e-6);
                }
            }
        }
    }
}

#[test]
fn a_user_with_events_is_folded_in_from_the_whole_history() {
    let models: [Make; 3] =
        [|| Box::new(common::als(3)), || Box::new(common::mf(3)), || Box::new(common::ease(3))];
    for make in models {
        let model = make();
        let (engine, _folder) = serving(make());
        // The user's own rows and the new ones; the last value of an item counts.
        for (item, value) in [(103, 2.0), (109, 5.0), (103, 4.0), (999, 1.0)] {
            let event = format!(r#"{{"type":"event","user":"17","item":{item},"value":{value}}}"#);
            answer(&engine, &event).json();
        }
        let mut history: BTreeMap<u32, f32> = BTreeMap::new();
        let all = seen();
        let (items, values) = all.row(16);
        history.extend(items.iter().copied().zip(values.iter().copied()));
        history.extend([(8, 5.0), (2, 4.0)]);
        let (items, values): (Vec<u32>, Vec<f32>) =
            history.iter().map(|(item, value)| (*item, *value)).unzip();
        let histories = Csr::new(ITEMS, vec![0, items.len()], items, values);
        let folded = model.as_fold_in().unwrap().fold_in(&histories).unwrap();
        let scores = catalog(&*folded, 0, model.config().output());
        let score = answer(&engine, r#"{"type":"score","user":17,"items":[101,130]}"#);
        assert_eq!(score.json()["by"], "fold-in");
        close(&score.scores(), &scores);
        let reply = answer(&engine, r#"{"type":"recommend","user":17,"k":5}"#);
        let items: Vec<i64> = reply.scores().iter().map(|(item, _)| *item).collect();
        assert_eq!(items, best(&scores, 5, |row| !history.contains_key(&(row as u32))));
        let other = answer(&engine, r#"{"type":"score","user":18,"items":[101]}"#);
        assert!(other.json().get("by").is_none(), "others are as before");
        close(&other.scores(), &catalog(&*model, 17, model.config().output()));
    }
}

#[test]
fn replies_say_what_they_are_of() {
    let engine = engine("output.titles = true\nmodels.main.version = \"v\\\"1\"");
    let hash = engine.models.set()["main"].hash.clone();
    let reply =
        answer(&engine, r#"{"type":"score","id":"ä\"\\\u0000","user":"7","items":["101"],"v":1}"#).json();
    assert_eq!(reply["id"], "ä\"\\\0");
    assert_eq!(
        (&reply["user"], &reply["items"][0]["item"]),
        (&"7".into(), &"101".into()),
        "ids as they came"
    );
    assert_eq!(reply["items"][0]["title"], "The \"0\"");
    assert_eq!((&reply["model"], &reply["version"]), (&"main".into(), &"v\"1".into()));
    assert_eq!(reply["hash"], hash.as_str());
}

#[test]
fn a_csv_request_may_quote_what_its_reply_quotes() {
    let engine = engine(
        "input.format = \"csv\"\noutput.csv = \"user,item,model\"\nunknown = { user = \"popularity\", item = \"null\" }",
    );
    for (user, item) in
        [("7", "101"), ("\"a,b\"", "101"), ("\"say \"\"x\"\"\"", "\"1,\"\"2\""), ("\"a\nb\"", "x y")]
    {
        let reply = answer(&engine, format!("{user},{item}\r\n"));
        assert_eq!(reply.text(), format!("{user},{item},main"));
    }
}

#[test]
fn a_score_that_is_no_number_is_no_answer() {
    let (engine, _folder) = serving(Box::new(common::als(3)));
    let als = common::als(3);
    let users = als.user_vectors().unwrap().values.iter().enumerate();
    // User 1 overflows.
    let users = users.map(|(at, value)| if at < 6 { f32::MAX } else { *value }).collect();
    let items = als.item_vectors().unwrap().values.to_vec();
    let weights = burnrec_models::als::Weights::from_saved(burnrec_models::als::Weighting::None, Vec::new());
    let config = als.config();
    let settings = config.get::<burnrec_models::als::AlsConfig>().expect("it is ALS").clone();
    let model = burnrec_models::als::AlsModel::new(
        settings,
        std::sync::Arc::new(users),
        std::sync::Arc::new(items),
        weights,
    );
    let run = common::recommender(Box::new(model));
    engine.models.take_up(Served::new("main", "bad", "0".into(), run));
    let all: Vec<String> = (0..ITEMS).map(|row| item_id(row).to_string()).collect();
    let of = |user: i64| format!(r#"{{"type":"score","user":{user},"items":[{}]}}"#, all.join(","));
    let answers = answer_all(&engine, &[Some(of(1).as_bytes()), Some(of(2).as_bytes())]);
    assert_eq!(answers[0].reject().reason, "not-finite");
    assert!(matches!(answers[1].outcome, EventOutcome::Replied(Kind::Score)));
}

/// `configs/offers.toml` with another model, and an offer list.
fn offers() -> (Engine, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    common::save(&folder.path().join("run"), Box::new(common::mf(3)));
    let table =
        "item,offer,reward,threshold\n101,\"ten, off\",1.50,0\n102,x,007,1000\n103,y,,\n104,z,2,500\n";
    std::fs::write(folder.path().join("offers.csv"), table).expect("a file");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/offers.toml");
    let mut config: toml::Table =
        toml::from_str(&std::fs::read_to_string(path).expect("the config")).expect("TOML");
    config["models"]["main"]["run"] = folder.path().join("run").display().to_string().into();
    config["table"]["path"] = folder.path().join("offers.csv").display().to_string().into();
    let config = ServeConfig::from_table(config).expect("the config is accepted");
    (Engine::open(&config).expect("an engine"), folder)
}

#[test]
fn offers_are_joined_and_filtered_as_the_config_says() {
    let (engine, _folder) = offers();
    let model = common::mf(3);
    let mut ends = BTreeMap::new();
    for user in 1..=USERS {
        let scores = catalog(&model, user - 1, Output::Probability);
        let thousandths = |row: usize| 1000.0 * scores[row];
        let cases = [
            (101, Some(("\"ten, off\",1.50,0", 0.0))),
            (102, Some(("x,007,1000", 1000.0))),
            (103, Some(("y,,", f32::NEG_INFINITY))),
            (104, Some(("z,2,500", 500.0))),
            (105, None),
        ];
        for (item, offer) in cases {
            let found = answer(&engine, format!("{user},{item}\r\n"));
            let score = thousandths((item - 101) as usize);
            match offer.filter(|(_, least)| score >= *least) {
                Some((cells, _)) => assert_eq!(found.text(), format!("{user},{item},{cells},{score:.0}")),
                None => assert_eq!(found.outcome, EventOutcome::Filtered, "{user},{item} with {score}"),
            }
            *ends.entry((item, found.outcome == EventOutcome::Filtered)).or_insert(0) += 1;
        }
    }
    assert!(ends[&(104, true)] > 3 && ends[&(104, false)] > 3, "some reach 500 and some do not: {ends:?}");
    assert_eq!((ends[&(101, false)], ends[&(102, true)], ends[&(105, true)]), (USERS, USERS, USERS));
    for bad in ["", "7", "7,101,3", "7,", GOOD] {
        assert!(["not-csv", "empty"].contains(&answer(&engine, bad).reject().reason), "{bad}");
    }
    assert_eq!(answer(&engine, "7,x").reject().reason, "unknown-item");
    let reply = answer_http(&engine, Kind::Score, r#"{"user":7,"items":[101,102,103]}"#);
    let items: Vec<i64> = reply.scores().iter().map(|(item, _)| *item).collect();
    assert_eq!(items, [101, 103], "over HTTP it is JSON, with what reaches its threshold");
    assert_eq!(
        (&reply.json()["items"][0]["offer"], &reply.json()["items"][0]["reward"]),
        (&"ten, off".into(), &1.5.into())
    );
}

#[test]
fn a_reject_keeps_its_source_and_is_tried_a_bounded_number_of_times() {
    let kafka = "bootstrap = \"b\"\nrequests = [\"first\"]\nreplies = \"r\"\nrejects = \"x\"";
    let replaying =
        Replaying { state_topic: "first".into(), resubmit: Some(vec!["first".into()]), number: None };
    let engine = engine(&format!("limits.attempts = 3\n[kafka]\n{kafka}")).replaying(replaying);
    let ended = |payload: &str, headers: &[(&str, &str)]| {
        let mut event = Incoming::new(Instant::now(), common::PART, 0, None, Some(payload.as_bytes()));
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), Some(value.as_bytes().to_vec()));
        event.headers = headers.iter().map(header).collect();
        let (mut out, mut rejects) = (Outbox::default(), Outbox::default());
        engine.answer(std::slice::from_ref(&event), Reading::default(), &mut Vec::new(), &mut out);
        if let EventOutcome::Failed(reject) = &out.outcomes[0] {
            engine.reject(&event, 0, reject, &mut rejects);
        }
        let own = rejects.messages.pop().map(|message| message.headers).unwrap_or_default();
        let text = |name: &str| own.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let text = |name: &str| text(name).map(|value| String::from_utf8(value).unwrap());
        (out.outcomes[0].name(), text("burnrec-attempts"), text("burnrec-source"))
    };
    let (from, event) = (("burnrec-source", "first/0/5"), r#"{"type":"event","user":7,"item":101}"#);
    let some = |text: &str| Some(text.to_owned());
    for (payload, headers, expected) in [
        (GOOD, vec![from, ("burnrec-attempts", "2")], ("replied", None, None)),
        ("nonsense", vec![from], ("rejected", some("1"), some("first/0/5"))),
        ("nonsense", vec![from, ("burnrec-attempts", "2")], ("rejected", some("3"), some("first/0/5"))),
        ("nonsense", vec![from, ("burnrec-attempts", "3")], ("given-up", None, None)),
        (GOOD, vec![from, ("burnrec-bytes", "99999")], ("given-up", None, None)),
        (event, vec![from], ("resubmitted", None, None)),
        (event, vec![("burnrec-source", "victim/0/5")], ("given-up", None, None)),
        (event, vec![], ("given-up", None, None)),
    ] {
        assert_eq!(ended(payload, &headers), expected, "{payload} {headers:?}");
    }
}
