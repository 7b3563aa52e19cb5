//! `erase` and `export-user` as an operator runs them: a user is gone from all places, nobody else is touched, and what is left goes
//! on as before.

mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burnrec::serve::event_files::{EventFiles, EventRow};
use common::kafka::{Kafka, Serving, get, post, until};
use common::storm::producer;
use common::{Folder, burnrec, trained};
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::{Value, json};

/// The user who is erased; an id that is found in no file by chance.
const ANN: &str = "ann-of-seventeen";
const USERS: usize = 40;
const ITEMS: usize = 25;

/// Returns the id of a user: texts, integers, and `007`, which is another id than `7`.
fn id(user: usize) -> String {
    match user {
        0 => ANN.to_owned(),
        1 => "7".to_owned(),
        2 => "007".to_owned(),
        _ => format!("u{user}"),
    }
}

/// Returns the items of a user, the oldest first.
fn items(user: usize) -> impl Iterator<Item = usize> {
    (0..ITEMS).filter(move |item| (item * item + user * item * 3 + user * 7) % 11 > 4)
}

/// All places, with something of each user in each of them.
struct Places {
    folder: Folder,
}

impl Places {
    fn make() -> Self {
        let places = Self { folder: Folder::new() };
        let mut ratings = String::from("user,item,rating,time\n");
        let mut events = EventFiles::open(&places.path("events")).expect("a directory");
        for user in 0..USERS {
            for (at, item) in items(user).enumerate() {
                let (user, value, time) =
                    (id(user), (item + user) % 5 + 1, 86_400 * (at / 9) + user * 60 + at);
                writeln!(ratings, "{user},i{item},{value},{time}").expect("memory");
                let (item, time_ms) = (format!("i{item}"), time as i64 * 1000);
                let source = format!("requests/0/{at}");
                events.add(EventRow { user, item, value: value as f32, time_ms, source });
            }
            if user % 20 == 19 {
                events.commit("requests", &[(0, user as i64)].into()).expect("a batch");
            }
        }
        drop(events);
        let file = places.folder.file("ratings.csv", ratings);
        burnrec("prepare {} --out {} --candidates 2", &[&file, &places.path("data")]).ok();
        places.train("als", "model = 'als'\nepochs = 3\ndim = 8\nkeep_chosen = true");
        places.train("ease", "model = 'ease'\nepochs = 1\nreg = 20\nkeep_chosen = true");
        let parts = [places.path("als"), places.path("ease")];
        let blend = format!("model = 'blend'\nepochs = 1\nparts = {parts:?}\nweights = [1.0, 0.5]");
        places.train("blend", &blend);
        for model in ["als", "ease"] {
            burnrec("release publish {} {}", &[&places.path(model), &places.path("releases")]).ok();
        }
        burnrec("release promote {} 1", &[&places.path("releases")]).ok();
        places
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    fn train(&self, name: &str, config: &str) {
        let config = self.folder.file(&format!("{name}.toml"), config);
        burnrec("train {} --data {} --out {}", &[&config, &self.path("data"), &self.path(name)]).ok();
    }

    /// Runs a command with all places.
    fn all(&self, line: &str) -> Value {
        let names = ["events", "data", "blend", "releases"].map(|name| self.path(name));
        let line = format!("{line} --events {{}} --data {{}} --run {{}} --releases {{}}");
        burnrec(&line, &names.each_ref().map(PathBuf::as_path)).json()
    }

    /// Returns the lists of the best items of all users but one, with their scores, as they stand in a file.
    fn lists(&self, run: &str, but: &str) -> Vec<String> {
        let out = self.path("lists.csv");
        burnrec("recommend {} --all -k 20 --out {}", &[&self.path(run), &out]).ok();
        let text = std::fs::read_to_string(&out).expect("lists");
        let lines = text.lines().filter(|line| !line.starts_with(&format!("{but},")));
        lines.map(str::to_owned).collect()
    }

    /// Returns the files of all places with their bytes.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        for name in ["events", "data", "als", "ease", "blend", "releases"] {
            add_files(&self.path(name), &mut all);
        }
        all
    }
}

fn add_files(dir: &Path, all: &mut Vec<(PathBuf, Vec<u8>)>) {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => add_files(&path, all),
            false => all.push((path.clone(), std::fs::read(&path).expect("a file"))),
        }
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Returns the values of a field of all places.
fn each<'a>(report: &'a Value, field: &str) -> Vec<&'a Value> {
    report["places"].as_array().expect("places").iter().map(|place| &place[field]).collect()
}

const RUNS: [&str; 5] = ["als", "ease", "blend", "releases/000001", "releases/promoted"];

#[test]
fn a_user_is_gone_from_all_places_and_nobody_else_is_touched() {
    let places = Places::make();
    let n = items(0).count();
    let lists = RUNS.map(|run| places.lists(run, ANN));
    let other = places.all("export-user --user u5");
    let before = places.files();
    assert!(before.iter().filter(|(_, bytes)| has(bytes, ANN)).count() > 5);

    // What they hold, and that nothing changes by asking.
    let held = places.all(&format!("export-user --user {ANN}"));
    let kinds = ["events", "data", "run", "run", "run", "release", "release"];
    assert_eq!(each(&held, "place"), kinds.map(Value::from).iter().collect::<Vec<_>>());
    let at = |place: usize| &held["places"][place]["holds"];
    let len = |value: &Value| value.as_array().map_or(0, Vec::len);
    assert_eq!(len(&at(0)["events"]), n);
    let parts = ["train", "valid", "test"].map(|part| len(&at(1)[part]));
    assert_eq!(parts, [n - 2, 1, 1]);
    let first = items(0).next().expect("an item");
    assert_eq!(
        at(1)["train"][0],
        json!({ "item": format!("i{first}"), "value": (first % 5 + 1) as f32, "time": 0 })
    );
    for place in 2..7 {
        assert_eq!(len(&at(place)["seen"]), n - 1, "train and valid: {held}");
    }
    let als =
        held["places"].as_array().expect("places").iter().find(|place| place["holds"]["model"] == "als");
    let als = &als.expect("a run of ALS")["holds"];
    assert_eq!((len(&als["weights"]["user_factors"]), len(&als["chosen"]["user_factors"])), (8, 8));
    let asked = places.all(&format!("erase --user {ANN} --dry-run --json"));
    assert_eq!((&asked["left"], &asked["dry_run"]), (&json!(7), &json!(true)), "{asked}");
    assert_eq!(asked["places"][1]["holds"]["train"], n - 2);
    assert!(places.files() == before, "a dry run changes nothing");

    let report = places.all(&format!("erase --user {ANN} --json"));
    assert_eq!((&report["user"], &report["left"]), (&json!(ANN), &json!(0)), "{report}");
    assert!(each(&report, "outcome").iter().all(|outcome| **outcome == "erased"), "{report}");
    let left = places.all(&format!("export-user --user {ANN}"));
    assert!(each(&left, "found").iter().all(|found| **found == false), "{left}");
    assert!(each(&left, "holds").iter().all(|holds| **holds == json!({})), "{left}");
    for (path, bytes) in places.files() {
        assert!(!has(&bytes, ANN), "{}", path.display());
    }
    assert_eq!(
        places.all("export-user --user u5"),
        other,
        "another user has the rows and the weights as before"
    );
    for (run, lists) in RUNS.iter().zip(&lists) {
        assert_eq!(places.lists(run, ANN), *lists, "{run}");
    }
    burnrec(&format!("recommend {{}} --user {ANN}"), &[&places.path("blend")]).fails(&[ANN, "39"]);

    // Once more is harmless, also for a user of whom nobody has heard.
    let after = places.files();
    for user in [ANN, "nobody"] {
        let again = places.all(&format!("erase --user {user} --json"));
        assert!(each(&again, "outcome").iter().all(|outcome| **outcome == "nothing"), "{again}");
        let said = burnrec(&format!("erase --user {user} --data {{}}"), &[&places.path("data")]).ok();
        assert!(said.contains(&format!("nothing is left of user {user} in 1 places")), "{said}");
    }
    assert!(places.files() == after, "nothing to write");
    let log = burnrec("release list {} --log", &[&places.path("releases")]).ok();
    assert_eq!(log.matches("erase").count(), 2, "{log}");

    // What is left fits together: runs are judged on the data, a blend is trained of them, and the next batch is the third.
    for run in ["als", "blend"] {
        burnrec("evaluate {}", &[&places.path(run)]).ok();
    }
    let parts = [places.path("als"), places.path("ease")];
    let blend = format!("model = 'blend'\nepochs = 1\nparts = {parts:?}\nweights = [1.0, 0.5]");
    places.train("again", &blend);
    let mut events = EventFiles::open(&places.path("events")).expect("a directory");
    let all: usize = (1..USERS).map(|user| items(user).count()).sum();
    assert_eq!((events.n_events(), events.next()["requests"][&0]), (all as u64, 39));
    let source = "requests/0/40".to_owned();
    events.add(EventRow { user: "u5".into(), item: "i1".into(), value: 1.0, time_ms: 0, source });
    events.commit("requests", &[(0, 41)].into()).expect("a batch");
    drop(events);
    assert!(places.path("events/day=1970-01-01/000003.parquet").exists());
    burnrec("prepare {} --split temporal --out {}", &[&places.path("events"), &places.path("anew")]).ok();
}

#[test]
fn ids_that_look_alike_are_two_and_a_run_may_be_all_there_is() {
    let places = Places::make();
    let found = |report: &Value| each(report, "found").iter().filter(|found| ***found == true).count();
    assert_eq!(found(&places.all("export-user --user 7")), 7);
    let report = places.all("erase --user 7 --json");
    assert_eq!((&report["user"], &report["left"]), (&json!(7), &json!(0)), "{report}");
    assert_eq!(found(&places.all("export-user --user 7")), 0);
    assert_eq!(found(&places.all("export-user --user 007")), 7);
    assert_eq!(found(&places.all("export-user --user +7")), 0);

    // Only in a run: the data does not fit it until the user is erased there too.
    let als = places.path("als");
    let report = burnrec("erase --user 007 --run {} --json", &[&als]).json();
    assert_eq!(report["places"][0]["outcome"], "erased", "{report}");
    burnrec("evaluate {}", &[&als]).fails(&["a split of 39 users", "who was erased from one"]);
    let parts = [als.clone(), places.path("ease")];
    let blend = format!("model = 'blend'\nepochs = 1\nparts = {parts:?}\nweights = [1.0, 0.5]");
    let blend = places.folder.file("blend.toml", blend);
    let refused = burnrec("train {} --data {} --out {}", &[&blend, &places.path("data"), &places.path("no")]);
    refused.fails(&["parts: found a run of 38 users", "who was erased from one"]);
    burnrec("erase --user 007 --data {}", &[&places.path("data")]).ok();
    burnrec("evaluate {}", &[&als]).ok();
    let out = places.path("u5.json");
    let said = burnrec("export-user --user u5 --run {} --out {}", &[&als, &out]).ok();
    assert!(said.contains("1 of 1 places hold user u5"), "{said}");
    let held: Value = serde_json::from_slice(&std::fs::read(&out).expect("a file")).expect("JSON");
    assert_eq!(held["places"][0]["holds"]["model"], "als");
}

#[test]
fn what_is_no_such_place_is_named() {
    let places = Folder::new();
    let (file, none) = (places.file("data/ratings.csv", "user,item\n1,2\n"), places.path("none"));
    let dir = file.parent().expect("a folder");
    for (place, words) in [
        ("events", "a directory that `burnrec drain` wrote"),
        ("data", "a directory that `burnrec prepare` wrote"),
        ("run", "a finished run directory"),
        ("releases", "a directory of releases"),
    ] {
        for dir in [dir, &none] {
            let name = dir.display().to_string();
            burnrec(&format!("erase --user 1 --{place} {{}}"), &[dir]).fails(&[&name, words]);
        }
    }
    assert!(!none.exists());
    let ran = burnrec("erase --user 1", &[]);
    assert!(ran.code == Some(2) && ran.stderr.contains("--releases"), "{}", ran.stderr);
}

#[test]
fn a_service_forgets_who_is_erased_and_says_so() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("requests", 3), ("replies", 1), ("rejects", 1), ("state", 3)]);
    let run = trained(&kafka.folder, "--users 20 --items 20 --rows 200", "ease.toml", "");
    let (releases, events) = (kafka.folder.path("releases"), kafka.folder.path("events"));
    burnrec("release publish {} {}", &[&run, &releases]).ok();
    burnrec("release promote {} 1", &[&releases]).ok();
    let (promoted, bootstrap) = (releases.join("promoted"), &kafka.bootstrap);
    let text = format!(
        "models.main.run = {promoted:?}\n[kafka]\nbootstrap = '{bootstrap}'\nrequests = ['requests']\nreplies = 'replies'\n\
         rejects = 'rejects'\nstate = 'state'\ncommit_ms = 50\n[provenance]\ndir = {:?}",
        kafka.folder.path("index")
    );
    let config = kafka.folder.file("serve.toml", text);
    let write = |items: std::ops::Range<usize>| {
        let producer = producer(&kafka.client());
        for (user, item) in items.flat_map(|item| [(7, item), (8, item)]) {
            let (key, event) =
                (user.to_string(), format!(r#"{{"type":"event","user":{user},"item":{item}}}"#));
            let record = BaseRecord::to("requests").key(&key).payload(&event);
            producer.send(record).map_err(|(error, _)| error).expect("room");
        }
        producer.flush(Duration::from_secs(60)).expect("delivered");
    };
    let have_history = |serving: &Serving, users: usize| {
        until(&format!("{users} users with a history"), Duration::from_secs(60), || {
            let metrics = get(&serving.http, "/metrics").unwrap_or_default();
            metrics.contains(&format!("burnrec_users_with_history {users}\n"))
        });
    };
    let drained = || burnrec("drain {} --out {} --json", &[&config, &events]).json()["in_all"].as_u64();
    let erase = |user: usize, more: &str| {
        let line = format!("erase --user {user} --service {{}} --events {{}} --releases {{}} --json {more}");
        burnrec(&line, &[&config, &events, &releases]).json()
    };
    let serving = Serving::start(&kafka.folder, "first", &config, &[]);
    serving.ready();
    write(1..4);
    have_history(&serving, 2);
    assert_eq!(drained(), Some(6));
    until("the whole history of a user", Duration::from_secs(60), || {
        let held = burnrec("export-user --user 7 --service {}", &[&config]).json();
        let holds = held["places"][0]["holds"].as_object().expect("an object");
        let history = holds.values().next().and_then(Value::as_array).expect("a history");
        let items: Vec<&Value> = history.iter().map(|row| &row["item"]).collect();
        let indexed = held["places"][1]["holds"]["events"].as_array().map_or(0, Vec::len);
        items == [&json!(1), &json!(2), &json!(3)] && indexed == 3
    });

    let report = erase(7, "--wait-s 60");
    assert!(each(&report, "outcome").iter().all(|outcome| **outcome == "erased"), "{report}");
    assert_eq!(report["topics_by_retention"], json!(["rejects", "replies", "requests"]));
    have_history(&serving, 1);
    let list = burnrec("release list {} --json", &[&releases]).json();
    let hash = list[0]["published"]["hash"].as_str().expect("a hash").to_owned();
    until("the run without the user serves", Duration::from_secs(60), || {
        let reply = post(&serving.http, "/v1/recommend", r#"{"user":8,"k":1}"#).unwrap_or_default();
        reply.contains(&hash)
    });
    let again = erase(7, "");
    assert!(each(&again, "outcome").iter().all(|outcome| **outcome == "nothing"), "{again}");

    // Who comes back has a new history; the files go on where they were.
    write(4..6);
    have_history(&serving, 2);
    assert_eq!(drained(), Some(3 + 4));
    assert_eq!(serving.stop(), Some(0));
    let waits = erase(8, "--wait-s 1");
    assert_eq!(
        (&waits["places"][0]["outcome"], &waits["left"]),
        (&json!("unconfirmed"), &json!(1)),
        "{waits}"
    );
    assert_eq!(erase(8, "--wait-s 1")["places"][0]["outcome"], "unconfirmed");
    let serving = Serving::start(&kafka.folder, "second", &config, &[]);
    serving.ready();
    let report = erase(8, "--wait-s 60");
    assert_eq!(report["left"], 0, "{report}");
    have_history(&serving, 1);
    assert_eq!(serving.stop(), Some(0));
}
