//! No answer leaves the scale that it claims: rows that never learned count as unknown, thresholds hold for the model's own
//! scores alone, and a history takes only values that the model was trained on.

mod common;

use burnrec_data::{Csr, ItemIx, UserIx, Vocab};
use burnrec_models::mf::MfModel;
use burnrec_models::popularity::PopularityConfig;
use burnrec_models::{Family, Model, Recommender};
use burnrec_serve::outbox::{EventOutcome, To};
use burnrec_serve::{Engine, Kind, ServeConfig};
use common::{ITEMS, USERS, answer, answer_events, answer_http, item_id, seen};
use tempfile::TempDir;

/// A user of the vocabulary without a training row.
const COLD_USER: usize = USERS;

/// An item of the vocabulary without a training row.
const COLD_ITEM: i64 = 100 + ITEMS as i64;

/// [`seen`] without the last user and the last item.
fn warm_rows() -> Csr {
    let (mut users, mut items, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let all = seen();
    for user in 0..COLD_USER - 1 {
        let (row, of_row) = all.row(user);
        for (&item, &value) in
            row.iter().zip(of_row).filter(|(item, _)| item_id(**item as usize) != COLD_ITEM)
        {
            users.push(UserIx(user as u32));
            items.push(ItemIx(item));
            values.push(value);
        }
    }
    Csr::from_rows(USERS, ITEMS, &users, &items, &values)
}

fn popularity() -> Vec<(i64, f64)> {
    let rows = warm_rows();
    let count = |row: usize| rows.cols().iter().filter(|&&item| item as usize == row).count() as f64;
    let mut all: Vec<(i64, f64)> = (0..ITEMS - 1).map(|row| (item_id(row), count(row))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

/// An engine of a model with a cold user and a cold item.
fn engine(model: Box<dyn Model>, settings: &str) -> (Engine, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    let users = Vocab::from_ints((1..=USERS as i64).collect());
    let items = Vocab::from_ints((0..ITEMS).map(item_id).collect());
    Recommender::new(model, users, items, warm_rows())
        .save(folder.path().join("run"))
        .expect("a run is saved");
    let offers = "item,offer,least\n101,a,0\n102,b,\n103,c,1e9\n130,d,0\n";
    std::fs::write(folder.path().join("offers.csv"), offers).expect("a file");
    let text = format!("device = \"cpu\"\nmodels.main.run = {:?}\n{settings}", folder.path().join("run"));
    let text = text.replace("OFFERS", &folder.path().join("offers.csv").display().to_string());
    let config = ServeConfig::from_table(toml::from_str(&text).expect("TOML")).expect("a config");
    (Engine::open(&config).expect("an engine"), folder)
}

const NULL: &str = "unknown.item = \"null\"\n";

fn models() -> [Box<dyn Model>; 3] {
    [Box::new(common::als(3)), Box::new(common::mf(3)), Box::new(common::popularity())]
}

#[test]
fn a_user_without_training_rows_gets_the_answer_of_an_unknown_one() {
    for model in models() {
        let kind = model.config().kind();
        let (engine, _folder) = engine(model, NULL);
        for ask in [r#""items":[101,102,103,130],"type":"score""#, r#""k":1000,"type":"recommend""#] {
            let of = |user: usize| {
                let mut reply = answer(&engine, format!(r#"{{"user":{user},{ask}}}"#)).json();
                reply["user"].take();
                reply
            };
            let cold = of(COLD_USER);
            assert_eq!(cold, of(900), "{kind}");
            assert_eq!((&cold["by"], &cold["score_is"]), (&"popularity".into(), &"score".into()), "{kind}");
        }
        let best = answer(&engine, format!(r#"{{"type":"recommend","user":{COLD_USER},"k":1000}}"#)).scores();
        let best: Vec<(i64, f64)> =
            best.iter().map(|(item, score)| (*item, score.expect("a score"))).collect();
        assert_eq!(best, popularity(), "{kind}");
        // After an event both are folded in from it.
        for user in [COLD_USER, 900] {
            answer(&engine, format!(r#"{{"type":"event","user":{user},"item":105,"value":3}}"#)).json();
        }
        let of =
            |user: usize| answer(&engine, format!(r#"{{"type":"score","user":{user},"items":[101,102]}}"#));
        assert_eq!(of(COLD_USER).json()["by"], "fold-in", "{kind}");
        assert_eq!(of(COLD_USER).scores(), of(900).scores(), "{kind}");
    }
    let (engine, _folder) = engine(Box::new(common::als(3)), "unknown.user = \"reject\"");
    let found = answer(&engine, format!(r#"{{"type":"score","user":{COLD_USER},"items":[101]}}"#));
    assert_eq!(found.reject().reason, "unknown-user");
    assert!(found.reject().text.contains(&format!("one of the {} that", USERS - 1)), "{}", found.reject());
}

#[test]
fn an_item_without_training_rows_has_no_score_and_is_never_recommended() {
    for model in models() {
        let kind = model.config().kind();
        let has_vectors = model.item_vectors().is_some();
        let (rejecting, _folder) = engine(model, "");
        let asked = format!(r#"{{"type":"score","user":7,"items":[101,{COLD_ITEM}]}}"#);
        assert_eq!(answer(&rejecting, &asked).reject().reason, "unknown-item", "{kind}");
        if has_vectors {
            let similar = format!(r#"{{"type":"similar","item":{COLD_ITEM},"k":3}}"#);
            assert_eq!(answer(&rejecting, similar).reject().reason, "unknown-item", "{kind}");
            let similar = answer(&rejecting, r#"{"type":"similar","item":101,"k":1000}"#).scores();
            assert!(similar.len() == ITEMS - 2 && similar.iter().all(|(item, _)| *item != COLD_ITEM));
        }
        let batch = [7, 8, COLD_USER, 900]
            .map(|user| format!(r#"{{"type":"recommend","user":{user},"k":1000,"include_seen":true}}"#));
        let batch: Vec<Option<&[u8]>> = batch.iter().map(|text| Some(text.as_bytes())).collect();
        for reply in common::answer_all(&rejecting, &batch) {
            let items = reply.scores();
            assert_eq!(items.len(), ITEMS - 1, "{kind}");
            assert!(items.iter().all(|(item, _)| *item != COLD_ITEM), "{kind}: {items:?}");
        }
    }
    let (lenient, _folder) = engine(Box::new(common::als(3)), NULL);
    for user in [7, 900] {
        let asked = format!(r#"{{"type":"score","user":{user},"items":[101,{COLD_ITEM}]}}"#);
        let scores = answer(&lenient, &asked).scores();
        assert!(scores[0].1.is_some() && scores[1] == (COLD_ITEM, None), "{scores:?}");
    }
    // A history of such an item alone is none.
    answer(&lenient, format!(r#"{{"type":"event","user":900,"item":{COLD_ITEM},"value":3}}"#)).json();
    let reply = answer(&lenient, r#"{"type":"score","user":900,"items":[101]}"#).json();
    assert_eq!(reply["by"], "popularity");
}

#[test]
fn a_threshold_holds_for_the_scores_of_the_model_alone() {
    let table = "table = { path = \"OFFERS\", on = \"item\", threshold = \"least\" }\n";
    let settings = format!("{table}{NULL}output.score_scale = 1000.0\n");
    let kinds = |engine: &Engine, user: usize, items: &str| {
        answer_http(engine, Kind::Score, &format!(r#"{{"user":{user},"items":[{items}]}}"#))
    };
    let (engine, _folder) = engine(Box::new(common::mf(3)), &settings);
    // 101 is over its threshold for a user of the model, 102 has none, 103 is under its own, 130 has no score.
    let items = |found: common::Answer| found.scores().iter().map(|(item, _)| *item).collect::<Vec<i64>>();
    assert_eq!(items(kinds(&engine, 7, "101,102,103,130")), [101, 102]);
    for user in [COLD_USER, 900] {
        let found = kinds(&engine, user, "101,102,103,130");
        assert_eq!(found.json()["by"], "popularity");
        assert_eq!(items(found), [102]);
        let refused = kinds(&engine, user, "101,103");
        assert_eq!(refused.reject().reason, "other-scale", "{}", refused.reject());
        let refused = answer(&engine, format!(r#"{{"type":"score","user":{user},"items":[101]}}"#));
        assert_eq!(refused.reject().reason, "other-scale");
    }
    let filtered = answer(&engine, r#"{"type":"score","user":7,"items":[103]}"#);
    assert_eq!(filtered.outcome, EventOutcome::Filtered);
    // By a fold-in the scores are the model's.
    answer_http(&engine, Kind::Event, r#"{"user":900,"item":105,"value":3}"#).json();
    assert_eq!(items(kinds(&engine, 900, "101,102,103")), [101, 102]);
}

#[test]
fn popularity_as_the_model_is_its_own_scale() {
    let table = "table = { path = \"OFFERS\", on = \"item\", threshold = \"least\" }\n";
    let model: Box<dyn Model> = Box::new(common::popularity());
    assert_eq!(model.config().kind(), PopularityConfig::KIND);
    let (engine, _folder) = engine(model, table);
    let reply = answer(&engine, r#"{"type":"score","user":900,"items":[101,103]}"#);
    assert_eq!(reply.scores().iter().map(|(item, _)| *item).collect::<Vec<_>>(), [101]);
}

#[test]
fn csv_says_by_in_a_header_and_scales_the_scores_of_the_model_alone() {
    let settings = "input.format = \"csv\"\noutput = { csv = \"item,score\", score_scale = 1000.0 }\n";
    let (engine, _folder) = engine(Box::new(common::mf(3)), settings);
    let count = popularity().iter().find(|(item, _)| *item == 101).expect("it is known").1;
    let mut outbox = burnrec_serve::outbox::Outbox::default();
    let event = |user: &str| {
        let payload = format!("{user},101");
        let at = std::time::Instant::now();
        burnrec_serve::event::Incoming::new(at, common::PART, 0, None, Some(payload.as_bytes()))
    };
    let events = [event("7"), event("900")];
    engine.answer(&events, Default::default(), &mut Vec::new(), &mut outbox);
    let by = |at: usize| {
        let message =
            outbox.messages.iter().find(|message| message.event as usize == at && message.to == To::Replies);
        let message = message.expect("a reply");
        let by = message.headers.iter().find(|(name, _)| *name == "burnrec-by");
        by.map(|(_, value)| String::from_utf8(value.clone()).expect("UTF-8"))
    };
    assert_eq!([by(0), by(1)], [None, Some("popularity".to_owned())]);
    let found = answer_events(&engine, &events, Default::default());
    assert_eq!(found[1].text(), format!("101,{count}"));
    let score: f64 = found[0].text().split_once(',').expect("two columns").1.parse().expect("a number");
    let model: MfModel = common::mf(3);
    let mut logit = [0.0];
    burnrec_models::Scorer::score_pairs(&model, &[UserIx(6)], &[ItemIx(0)], &mut logit);
    assert!((score - 1000.0 / (1.0 + f64::from(-logit[0]).exp())).abs() < 1e-2, "{score}");
}

#[test]
fn a_value_outside_those_of_training_is_refused_and_changes_nothing() {
    for model in models() {
        let kind = model.config().kind();
        let (engine, _folder) = engine(model, "");
        let event = |value: &str| format!(r#"{{"type":"event","user":900,"item":105,"value":{value}}}"#);
        for value in ["99", "0.5", "-1", "5.001"] {
            let found = answer(&engine, event(value));
            let reject = found.reject();
            assert_eq!(reject.reason, "bad-value", "{kind}, {value}");
            assert!(reject.text.contains(value) && reject.text.contains("from 1 to 5"), "{reject}");
            let http = answer_http(&engine, Kind::Event, &event(value));
            assert_eq!(http.reject().reason, "bad-value");
        }
        assert!(engine.state.is_empty(), "{kind}");
        for value in ["1", "3.5", "5"] {
            answer(&engine, event(value)).json();
        }
        let reply = answer(&engine, r#"{"type":"score","user":900,"items":[101]}"#).json();
        assert_eq!(reply["by"], "fold-in");
    }
}
