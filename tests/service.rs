//! Runs `serve` and `replay` on a real Apache Kafka as a user does: tests their answers, and their messages where
//! something is wrong.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::kafka::{Kafka, Serving, get, post, until};
use common::storm::{Read, producer, read_all};
use common::{Folder, burnrec, trained};
use rdkafka::producer::{BaseRecord, Producer};

const TOPICS: [(&str, i32); 5] =
    [("requests", 2), ("replies", 2), ("rejects", 1), ("receipts", 1), ("state", 2)];

/// Trains a small ALS model, and returns its run directory.
fn model(folder: &Folder) -> PathBuf {
    trained(folder, "--users 100 --items 80 --rows 3000", "als.toml", "--set dim=8 --set epochs=2")
}

fn config(kafka: &Kafka, run: &Path, more: &str) -> PathBuf {
    let bootstrap = &kafka.bootstrap;
    let text = format!(
        r#"
        models.main.run = {run:?}
        [kafka]
        bootstrap = "{bootstrap}"
        instance = "one"
        guarantee = "exactly-once"
        requests = ["requests"]
        replies = "replies"
        rejects = "rejects"
        state = "state"
        {more}
        "#
    );
    kafka.folder.file("serve.toml", text)
}

fn write(kafka: &Kafka, messages: &[(&str, &[u8])]) {
    let producer = producer(kafka.client().set("message.max.bytes", "20000000"));
    for (key, text) in messages {
        let record = BaseRecord::<str, [u8]>::to("requests").key(key).payload(text);
        producer.send(record).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
}

/// Waits until some topics have `n` records, and returns them.
#[track_caller]
fn records(kafka: &Kafka, topics: &[&str], n: usize) -> Vec<Read> {
    let mut all = Vec::new();
    until(&format!("{n} records"), Duration::from_secs(60), || {
        all = read_all(&kafka.client(), topics);
        all.len() >= n
    });
    assert_eq!(all.len(), n, "{all:?}");
    all
}

#[test]
fn answers_rejects_and_replays() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&TOPICS);
    let run = model(&kafka.folder);
    let config = config(&kafka, &run, "");
    let large = vec![b'x'; 10 << 20];
    write(
        &kafka,
        &[
            ("7", br#"{"type":"score","user":7,"items":[1,2]}"#),
            ("7", br#"{"type":"event","user":7,"item":3}"#),
            ("7", br#"{"type":"recommend","user":7,"k":2}"#),
            ("8", b"nonsense"),
            ("8", &large),
            ("8", br#"{"type":"score","user":8,"items":[1]}"#),
        ],
    );
    let serving = Serving::start(&kafka.folder, "one", &config, &[]);
    serving.ready();
    let replies = records(&kafka, &["replies"], 4);
    let by = |reply: &Read| reply.json().get("by").and_then(|by| by.as_str()).map(str::to_owned);
    let of = |kind: &str| replies.iter().find(|reply| reply.json()["type"] == kind).expect("a reply").clone();
    assert_eq!(by(&of("recommend")).as_deref(), Some("fold-in"), "{replies:?}");
    assert_eq!(of("event").json()["history"], 1);
    let rejects = records(&kafka, &["rejects"], 2);
    let too_large = rejects.iter().find(|reject| reject.headers["burnrec-reason"].starts_with("too-large"));
    let too_large = too_large.expect("a reject of the large message");
    let said = too_large.headers.get("burnrec-bytes").map(String::as_str);
    assert!(too_large.value.len() == large.len() || said == Some("10485760"), "{said:?}");
    let nonsense = rejects.iter().find(|reject| reject.value == b"nonsense").expect("the other");
    assert_eq!((nonsense.key.as_slice(), nonsense.headers["burnrec-stage"].as_str()), (&b"8"[..], "decode"));

    // Over HTTP the same user has the same history, except while the user's partition moves to another worker; so the
    // test waits. An event over HTTP is written to the topic of requests.
    serving.until("the history is there over HTTP", || {
        post(&serving.http, "/v1/recommend", r#"{"user":7,"k":2}"#)
            .expect("a reply")
            .contains(r#""by":"fold-in""#)
    });
    let reply = post(&serving.http, "/v1/event", r#"{"user":9,"item":4}"#).expect("a reply");
    assert!(reply.starts_with("HTTP/1.1 202") && reply.contains(r#""source":"requests/"#), "{reply}");
    records(&kafka, &["replies"], 5);

    // A broken model directory is reported, and the old model goes on serving.
    std::fs::write(run.join("manifest.json"), "{").expect("a broken manifest");
    serving.until("the broken model is told of", || {
        get(&serving.http, "/health/ready").is_some_and(|reply| {
            reply.starts_with("HTTP/1.1 200")
                && reply.contains("models.main")
                && reply.contains("manifest.json")
        })
    });
    let reply = post(&serving.http, "/v1/score", r#"{"user":7,"items":[1]}"#).expect("a reply");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn a_range_and_the_rejects_are_replayed() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&TOPICS);
    let run = model(&kafka.folder);
    let config = config(&kafka, &run, "[unknown]\nuser = \"reject\"");
    let events: [(&str, &[u8]); 4] = [
        ("7", br#"{"type":"event","user":7,"item":3}"#),
        ("7", br#"{"type":"score","user":7,"items":[1,2]}"#),
        ("u", br#"{"type":"score","user":"nobody","items":[1]}"#),
        ("7", br#"{"type":"similar","item":5,"k":3}"#),
    ];
    write(&kafka, &events);
    let serving = Serving::start(&kafka.folder, "one", &config, &[]);
    serving.ready();
    records(&kafka, &["replies"], 3);
    assert_eq!(serving.stop(), Some(0));

    let ends = burnrec("replay {} --from earliest --json", &[&config]).json();
    let count = |ends: &serde_json::Value, outcome: &str| {
        let of = ends.as_array().expect("a list").iter().filter(|end| end["outcome"] == outcome);
        of.map(|end| end["count"].as_u64().expect("a count")).sum::<u64>()
    };
    assert_eq!(
        (count(&ends, "replied"), count(&ends, "rejected"), count(&ends, "filtered")),
        (2, 1, 1),
        "{ends}"
    );
    let replies = records(&kafka, &["replies"], 5);
    let scores: Vec<String> = replies
        .iter()
        .filter(|reply| reply.json()["type"] == "score")
        .map(|reply| String::from_utf8_lossy(&reply.value).into_owned())
        .collect();
    assert_eq!(scores.len(), 2);
    assert_eq!(scores[0], scores[1], "the replayed score knows the event as well");
    let none = burnrec("replay {} --json", &[&config]).json();
    assert_eq!(none.as_array().map(Vec::len), Some(0), "a replay goes on where the last one ended");

    // The rejected request can be answered once the config allows unknown users.
    let fixed = kafka.folder.file(
        "fixed.toml",
        std::fs::read_to_string(&config)
            .expect("the config")
            .replace("user = \"reject\"", "user = \"popularity\""),
    );
    // What is still hopeless is told by the exit code, keeps its source, and is left alone once it was tried too often.
    let again = burnrec("replay {} --rejects --json", &[&config]);
    assert!(again.code == Some(1) && again.stderr.contains("2 of the rejects"), "{}", again.stderr);
    let rejects = records(&kafka, &["rejects"], 4);
    let header = |name: &str| -> Vec<&str> {
        let mut all: Vec<&str> = rejects.iter().map(|reject| reject.headers[name].as_str()).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(header("burnrec-attempts"), ["1", "1", "2", "2"]);
    assert!(header("burnrec-source").iter().all(|source| source.starts_with("requests/")), "{rejects:?}");
    let tired = burnrec("replay {} --rejects --json --set limits.attempts=2", &[&config]);
    assert!(tired.code == Some(1) && tired.stdout.contains("given-up"), "{}", tired.stdout);
    records(&kafka, &["rejects"], 4);

    let ends = burnrec("replay {} --rejects --from earliest --json", &[&fixed]).json();
    assert_eq!((count(&ends, "replied"), count(&ends, "rejected")), (4, 0), "{ends}");
    let replies = records(&kafka, &["replies"], 9);
    let late = replies.iter().find(|reply| reply.json()["user"] == "nobody").expect("an answer at last");
    assert!(late.headers["burnrec-source"].starts_with("requests/"), "{late:?}");
}

#[test]
fn what_is_wrong_with_the_cluster_is_said() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    let run = model(&kafka.folder);
    let config = config(&kafka, &run, "");
    burnrec("serve {}", &[&config]).fails(&["found no topics", "requests, replies, rejects, state"]);
    kafka.topics(&TOPICS[..4]);
    burnrec("serve {}", &[&config]).fails(&["found the topics", "expected state as well"]);
    burnrec("serve {} --set kafka.bootstrap=127.0.0.1:1", &[&config]).fails(&["127.0.0.1:1", "refused"]);
    burnrec("serve {} --set kafka.state=receipts", &[&config])
        .fails(&["1 partitions of receipts and 2 of requests"]);
    burnrec("serve {} --set kafka.librdkafka.colour=red", &[&config]).fails(&["colour"]);
    burnrec("serve {} --set http.listen=0.0.0.0:0", &[&config]).fails(&["http.listen", "token"]);
    burnrec("serve {} --set models.main.run=nowhere", &[&config]).fails(&["models.main", "no manifest.json"]);
}

#[test]
fn brokers_that_go_and_come_again_are_waited_for() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&TOPICS);
    let run = model(&kafka.folder);
    let config = config(&kafka, &run, "");
    let serving = Serving::start(&kafka.folder, "one", &config, &[]);
    serving.ready();
    kafka.script("kill", &["1"]);
    serving.until("the lost broker is told of", || {
        get(&serving.http, "/health/ready").is_some_and(|reply| {
            reply.starts_with("HTTP/1.1 503") && reply.contains("cannot reach the brokers")
        })
    });
    kafka.script("up", &["1"]);
    write(&kafka, &[("7", br#"{"type":"score","user":7,"items":[1,2]}"#)]);
    records(&kafka, &["replies"], 1);
    serving.ready();
    kafka.script("kill", &["1"]);
    assert_eq!(serving.stop(), Some(0), "a stop does not need the broker");
}

#[test]
fn a_stop_ends_in_time_while_the_broker_stalls() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&TOPICS);
    let run = model(&kafka.folder);
    let config = config(&kafka, &run, "drain_timeout_ms = 4000");
    for guarantee in ["exactly-once", "at-least-once"] {
        let set = [format!("kafka.guarantee={guarantee}"), format!("kafka.group={guarantee}")];
        let serving = Serving::start(&kafka.folder, guarantee, &config, &set.each_ref().map(String::as_str));
        serving.ready();
        let requests = vec![("7", br#"{"type":"score","user":7,"items":[1,2]}"# as &[u8]); 20_000];
        write(&kafka, &requests);
        kafka.stall("STOP");
        let (begin, log) = (std::time::Instant::now(), serving.log.clone());
        let code = serving.stop();
        let took = begin.elapsed();
        kafka.stall("CONT");
        let said = std::fs::read_to_string(log).expect("its log");
        assert_eq!(code, Some(0), "{guarantee}: {said}");
        assert!(took < Duration::from_millis(5500), "{guarantee}: it took {took:?}: {said}");
        assert!(!said.contains("fenced"), "{guarantee}: {said}");
        eprintln!("{guarantee}: stopped in {took:?}");
    }
}

#[test]
fn a_second_of_the_same_name_fences_the_first() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&TOPICS);
    let run = model(&kafka.folder);
    let config = config(&kafka, &run, "workers = 1");
    let first = Serving::start(&kafka.folder, "first", &config, &[]);
    first.ready();
    let second = Serving::start(&kafka.folder, "second", &config, &[]);
    second.ready();
    // Requests for all partitions, so that the first one commits as well.
    let keys: Vec<String> = (1..=50).map(|user| user.to_string()).collect();
    let texts: Vec<String> =
        (1..=50).map(|user| format!(r#"{{"type":"score","user":{user},"items":[1]}}"#)).collect();
    let messages: Vec<(&str, &[u8])> =
        keys.iter().map(String::as_str).zip(texts.iter().map(|t| t.as_bytes())).collect();
    write(&kafka, &messages);
    let log = first.log.clone();
    assert_eq!(first.end(), Some(1), "the fenced one ends as failed");
    let said = std::fs::read_to_string(log).expect("its log");
    assert!(said.contains("fenced: another process has taken the name instance = \"one\""), "{said}");
    records(&kafka, &["replies"], 50);
    assert_eq!(second.stop(), Some(0));
}

#[test]
fn tls_and_sasl() {
    let Some(kafka) = Kafka::start(1, true) else { return };
    kafka.topics(&TOPICS);
    let run = model(&kafka.folder);
    let secure = kafka.folder.path("kafka/secure");
    let environment = std::fs::read_to_string(secure.join("env")).expect("the listeners");
    let listener = |name: &str| {
        let line = environment.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.expect("a listener").to_owned()
    };
    let with = |bootstrap: &str, protocol: &str, password: &str| {
        let ca = secure.join("ca.pem");
        let text = format!(
            "librdkafka = {{ \"security.protocol\" = \"{protocol}\", \"ssl.ca.location\" = {ca:?}, \
             \"sasl.mechanism\" = \"SCRAM-SHA-512\", \"sasl.username\" = \"burnrec\", \"sasl.password\" = \"{password}\" }}"
        );
        let plain = std::fs::read_to_string(config(&kafka, &run, &text)).expect("a config");
        kafka.folder.file("secure.toml", plain.replace(&kafka.bootstrap, bootstrap))
    };
    let good = with(&listener("SASL_SSL"), "SASL_SSL", "kafka-secret");
    let serving = Serving::start(&kafka.folder, "sasl", &good, &[]);
    serving.ready();
    write(&kafka, &[("7", br#"{"type":"score","user":7,"items":[1,2]}"#)]);
    records(&kafka, &["replies"], 1);
    let flow = get(&serving.http, "/flow").expect("the flow");
    assert!(!flow.contains("kafka-secret") && !serving.logged().contains("kafka-secret"), "a secret is told");
    assert_eq!(serving.stop(), Some(0));
    let wrong = with(&listener("SASL_SSL"), "SASL_SSL", "wrong");
    burnrec("serve {}", &[&wrong]).fails(&["no answer from", "uthentication"]);
    let expired = with(&listener("EXPIRED"), "SSL", "");
    burnrec("serve {}", &[&expired]).fails(&["no answer from", "certificate"]);
}
