//! Steps of the program: what they may do, and what is refused of them.

use burnrec_serve::message::{Ask, WireId};
use burnrec_serve::outbox::{EventOutcome, To};
use burnrec_serve::step::{Step, StepEvent, StepItem, register};
use serde_json::{Map, json};

use crate::common::{answer, answer_all, config, try_config};
use crate::engine;

/// A step that calls a function for each event.
struct Each<F>(F);

impl<F: Fn(&mut StepEvent<'_>) + Send + Sync> Step for Each<F> {
    fn apply(&self, batch: &mut [StepEvent<'_>]) {
        batch.iter_mut().for_each(&self.0);
    }
}

/// Registers a step of these events under a name, and returns the config's table for it.
fn step(name: &str, place: &str, apply: impl Fn(&mut StepEvent<'_>) + Send + Sync + 'static) -> String {
    register(name, Each(apply)).expect("a new name");
    format!("[steps.{name}]\nplace = \"{place}\"\n")
}

fn score(user: i64, items: &[i64]) -> String {
    format!(r#"{{"type":"score","id":"a{user}","user":{user},"items":{items:?}}}"#)
}

fn user(event: &StepEvent<'_>) -> i64 {
    match event.request.user() {
        Some(WireId::Int(user)) => *user,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_step_before_score_changes_requests_adds_fields_filters_and_fails_single_events() {
    let table = step("prepare", "before-score", |event| {
        assert!(event.answer.is_none());
        assert_eq!(event.source, None, "there are no topics");
        match user(event) {
            2 => event.filter(),
            3 => event.fail("not this one"),
            user => drop(event.fields.insert("segment".into(), json!({ "of": user }))),
        }
        if let Ask::Score { items, .. } = &mut event.request.ask {
            items.push(WireId::Int(103));
        }
    });
    let engine = engine(&table);
    let requests = [score(1, &[101]), score(2, &[101]), score(3, &[101]), "no JSON".into(), score(4, &[101])];
    let payloads: Vec<_> = requests.iter().map(|request| Some(request.as_bytes())).collect();
    let answers = answer_all(&engine, &payloads);
    for (at, user) in [(0, 1), (4, 4)] {
        let reply = answers[at].json();
        assert_eq!((&reply["segment"]["of"], &reply["id"]), (&json!(user), &json!(format!("a{user}"))));
        let items: Vec<i64> = answers[at].scores().iter().map(|(item, _)| *item).collect();
        assert_eq!(items, [101, 103]);
    }
    assert_eq!(answers[1].outcome, EventOutcome::FilteredBy("prepare"));
    assert!(answers[1].messages.is_empty());
    let reject = answers[2].reject();
    assert_eq!((reject.stage.name(), reject.to_string().as_str()), ("prepare", "refused: not this one"));
    assert_eq!(answers[3].reject().stage.name(), "decode");
    // What is the model's stays so.
    let plain = crate::engine("");
    assert_eq!(answer(&plain, score(4, &[101, 103])).scores(), answers[4].scores());
}

#[test]
fn a_step_after_score_sees_answers_and_changes_them() {
    let table = step("rank", "after-score", |event| {
        let Some(answer) = &mut event.answer else { panic!("an answer") };
        assert_eq!((answer.model, answer.score_is), ("main", "score"));
        answer.items.reverse();
        answer.items.truncate(2);
        answer.items.push(StepItem { item: WireId::Int(130), score: None, columns: Map::new() });
        for (rank, item) in (1..).zip(&mut answer.items) {
            item.columns.insert("rank".into(), rank.into());
        }
        event.fields.insert("ranked".into(), true.into());
    });
    let request = r#"{"type":"recommend","user":7,"k":5}"#;
    let (plain, stepped) = (answer(&engine(""), request), answer(&engine(&table), request));
    let (mut before, after) = (plain.scores(), stepped.scores());
    before.reverse();
    assert_eq!((&after[..2], after[2]), (&before[..2], (130, None)));
    let (reply, without) = (stepped.json(), plain.json());
    assert_eq!((&reply["items"][1]["rank"], &reply["ranked"]), (&json!(2), &json!(true)));
    for key in ["type", "user", "score_is", "model", "version", "hash"] {
        assert_eq!(reply[key], without[key], "{key}");
    }
}

#[test]
fn steps_of_a_place_go_by_their_names_and_what_one_adds_the_next_sees() {
    let name = |name: &'static str| {
        move |event: &mut StepEvent<'_>| {
            let before = event.fields.get("went").and_then(|went| went.as_str()).unwrap_or_default();
            let went = format!("{before} {name}");
            event.fields.insert("went".into(), went.into());
        }
    };
    let tables: String =
        [("order-c", "before-score"), ("order-b", "after-score"), ("order-a", "before-score")]
            .map(|(of, place)| step(of, place, name(of)))
            .concat();
    let engine = engine(&tables);
    assert_eq!(answer(&engine, score(7, &[101])).json()["went"], " order-a order-c order-b");
    let event = answer(&engine, r#"{"type":"event","user":7,"item":101}"#);
    assert_eq!(event.json()["went"], " order-a order-c", "an event has no answer to go on with");
    assert_eq!(event.json()["history"], 1);
    let similar = answer(&engine, r#"{"type":"similar","item":101,"k":2}"#);
    assert_eq!(similar.json()["went"], " order-a order-c order-b");
}

#[test]
fn what_a_step_breaks_is_rejected_under_its_name_and_no_other_event_suffers() {
    type Break = fn(&mut StepEvent<'_>);
    let items = |event: &mut StepEvent<'_>, item: i64, score: f32| {
        if let Some(answer) = &mut event.answer {
            answer.items[0] = StepItem { item: WireId::Int(item), score: Some(score), columns: Map::new() };
        }
    };
    static ITEMS: std::sync::OnceLock<fn(&mut StepEvent<'_>, i64, f32)> = std::sync::OnceLock::new();
    ITEMS.set(items).expect("once");
    let cases: [(&str, &str, &str, Break); 9] = [
        ("b-user", "before-score", "changed", |event| {
            event.request.ask = Ask::Score { user: WireId::Int(9), items: vec![WireId::Int(101)] };
        }),
        ("b-type", "before-score", "changed", |event| {
            event.request.ask = Ask::Similar { item: WireId::Int(101), k: 1 };
        }),
        ("b-id", "before-score", "changed", |event| event.request.id = None),
        ("b-items", "before-score", "no-items", |event| {
            if let Ask::Score { items, .. } = &mut event.request.ask {
                items.clear();
            }
        }),
        ("b-field", "before-score", "taken-field", |event| {
            event.fields.insert("model".into(), 1.into());
        }),
        ("a-item", "after-score", "unknown-item", |event| ITEMS.get().unwrap()(event, 7, 1.0)),
        ("a-nan", "after-score", "not-finite", |event| ITEMS.get().unwrap()(event, 101, f32::NAN)),
        ("a-column", "after-score", "taken-field", |event| {
            let answer = event.answer.as_mut().unwrap();
            answer.items[0].columns.insert("score".into(), 2.into());
        }),
        ("a-panic", "after-score", "panic", |_| std::panic::resume_unwind(Box::new("a panic"))),
    ];
    for (name, place, reason, damage) in cases {
        let damages = move |event: &mut StepEvent<'_>| {
            if user(event) == 7 {
                damage(event);
            }
        };
        let engine = engine(&step(name, place, damages));
        let requests = [score(7, &[101]), score(8, &[101])];
        let [one, other] =
            <[_; 2]>::try_from(answer_all(&engine, &requests.each_ref().map(|text| Some(text.as_bytes()))))
                .expect("two answers");
        assert_eq!((one.reject().stage.name(), one.reject().reason), (name, reason), "{}", one.reject());
        assert!(!one.messages.iter().any(|(to, _)| *to == To::Replies));
        match name {
            "a-panic" => assert_eq!(other.reject().reason, "panic", "nobody knows what it had done"),
            _ => assert_eq!(other.scores().len(), 1, "{name}"),
        }
    }
}

#[test]
fn csv_lines_have_the_items_that_steps_leave() {
    let table = step("csv-first", "after-score", |event| {
        event.answer.as_mut().expect("an answer").items.truncate(1);
        event.fields.insert("more".into(), 1.into());
    });
    let engine = engine(&format!("output.csv = \"user,item,score\"\n{table}"));
    let reply = answer(&engine, score(7, &[102, 103])).text().to_owned();
    assert!(reply.starts_with("7,102,") && reply.lines().count() == 1, "{reply}");
}

#[test]
fn shadow_models_answer_what_steps_made_of_the_request_and_their_answers_go_to_none() {
    let before = step("shadow-before", "before-score", |event| {
        if let Ask::Recommend { k, .. } = &mut event.request.ask {
            *k = 4;
        }
    });
    let after = step("shadow-after", "after-score", |event| {
        event.answer.as_mut().expect("an answer").items.truncate(1);
    });
    let text = format!(
        "models = {{ main = {{ run = \"RUN\" }}, other = {{ run = \"OTHER\" }} }}\n{before}{after}\
         [[routes]]\nmodels = {{ main = 1 }}\nshadow = \"other\""
    );
    let engine = burnrec_serve::Engine::open(&config(&text)).expect("an engine");
    let answer = answer(&engine, r#"{"type":"recommend","user":7,"k":5}"#);
    assert_eq!(answer.scores().len(), 1);
    let (_, shadow) = answer.messages.iter().find(|(to, _)| *to == To::Shadow).expect("a shadow's reply");
    let shadow: serde_json::Value = serde_json::from_str(shadow).expect("JSON");
    assert_eq!((&shadow["model"], shadow["items"].as_array().map(Vec::len)), (&json!("other"), Some(4)));
}

#[test]
fn tables_that_name_no_step_are_refused_by_name() {
    let open = |steps: &str| {
        let config = try_config(&format!("models.main.run = \"RUN\"\n{steps}"))?;
        burnrec_serve::Engine::open(&config).map(drop)
    };
    for (steps, said) in [
        ("steps.nowhere.place = 'after-score'", "steps.nowhere.command: found none, expected a program"),
        (
            "steps.x = { place = 'after-score', command = ['burnrec-no-such'] }",
            "steps.x.command: found [\"burn",
        ),
        ("steps.x = { place = 'after-score', command = [''] }", "steps.x.command: found an empty"),
        ("steps.x.command = ['cat']", "place"),
        ("steps.x = { place = 'later', command = ['cat'] }", "steps.x.place"),
        (
            "steps.x = { place = 'after-score', command = ['cat'], processes = 0 }",
            "steps.x.processes: found 0",
        ),
        ("steps.x = { place = 'after-score', command = ['cat'], lines = 0 }", "steps.x.lines: found 0"),
        (
            "steps.x = { place = 'after-score', command = ['cat'], timeout_ms = 0 }",
            "steps.x.timeout_ms: found 0",
        ),
        ("steps.x = { place = 'after-score', command = ['cat'], start_ms = 4000000 }", "steps.x.start_ms"),
        ("steps.x = { place = 'after-score', command = ['cat'], tries = 1 }", "tries"),
        ("steps.score = { place = 'after-score', command = ['cat'] }", "steps: found score"),
        ("steps.'a b' = { place = 'after-score', command = ['cat'] }", "steps: found \"a b\""),
    ] {
        let error = open(steps).expect_err(steps).to_string();
        assert!(error.contains(said), "{steps}: {error}");
    }
    let taken = step("twice", "after-score", |_| {});
    assert!(open(&taken).is_ok());
    let again = register("twice", Each(|_: &mut StepEvent<'_>| {})).expect_err("a second one").to_string();
    assert!(again.contains("twice"), "{again}");
}
