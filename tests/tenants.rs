//! Tenants on a real Kafka: quotas under a flood and a `kill -9`, and events over HTTP that come back to their tenant.

mod common;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use burnrec::serve::http::tokens::{Role, issue};
use common::kafka::{Kafka, Serving, until};
use common::storm::{Read, producer, read_all};
use common::trained;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};

const TOPICS: [(&str, i32); 5] =
    [("of-acme", 2), ("shared", 2), ("replies", 1), ("rejects", 1), ("state", 2)];

const LIMIT: Duration = Duration::from_secs(120);

/// A Kafka, a config with two tenants, and a token for each.
struct Bench {
    kafka: Kafka,
    config: PathBuf,
    acme: String,
    globex: String,
}

impl Bench {
    fn new() -> Option<Self> {
        let kafka = Kafka::start(1, false)?;
        kafka.topics(&TOPICS);
        let run = trained(
            &kafka.folder,
            "--users 100 --items 80 --rows 3000",
            "als.toml",
            "--set dim=8 --set epochs=2",
        );
        let tokens = kafka.folder.path("tokens.toml");
        let token = |name: &str| issue(&tokens, name, &[Role::Score, Role::Observe], None).expect("a token");
        let (acme, globex) = (token("acme-app"), token("globex-app"));
        let bootstrap = &kafka.bootstrap;
        let text = format!(
            r#"
            models.main.run = {run:?}
            http.tokens = {tokens:?}
            [tenants.acme]
            identities = ["acme-app"]
            events_per_s = 100
            burst_s = 0.5
            [tenants.globex]
            identities = ["globex-app"]
            [[routes]]
            tenant = "acme"
            topic = "of-acme"
            models = {{ main = 1 }}
            [[routes]]
            tenant = "globex"
            headers = {{ tenant = "globex" }}
            models = {{ main = 1 }}
            [kafka]
            bootstrap = "{bootstrap}"
            instance = "one"
            guarantee = "exactly-once"
            requests = ["of-acme", "shared"]
            replies = "replies"
            rejects = "rejects"
            state = "state"
            [kafka.librdkafka]
            "session.timeout.ms" = 6000
            "#
        );
        let config = kafka.folder.file("serve.toml", text);
        Some(Self { kafka, config, acme, globex })
    }

    fn start(&self) -> Serving {
        let serving = Serving::start(&self.kafka.folder, "one", &self.config, &[]);
        serving
            .until("the service is ready", || ask(&serving, &self.acme, "GET", "/health/ready", "").0 == 200);
        serving
    }

    fn write(&self, topic: &str, tenant: &str, n: usize) {
        let producer = producer(&self.kafka.client());
        for at in 0..n {
            let user = (1 + at % 90).to_string();
            let text = format!(r#"{{"type":"score","id":{at},"user":{user},"items":[1,2]}}"#);
            let header = Header { key: "tenant", value: Some(tenant) };
            let headers = OwnedHeaders::new().insert(header);
            let record = BaseRecord::to(topic).key(&user).payload(&text).headers(headers);
            producer.send(record).map_err(|(error, _)| error).expect("room");
        }
        producer.flush(Duration::from_secs(60)).expect("delivered");
    }

    /// Returns the replies of each topic of requests, by their sources.
    fn replies(&self) -> BTreeMap<String, Vec<Read>> {
        let mut all: BTreeMap<String, Vec<Read>> = BTreeMap::new();
        for reply in read_all(&self.kafka.client(), &["replies"]) {
            let source = reply.json()["source"].as_str().expect("a source").to_owned();
            all.entry(source.split('/').next().unwrap_or_default().to_owned()).or_default().push(reply);
        }
        all
    }
}

/// Asks with a token; returns the status and the body.
fn ask(serving: &Serving, token: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(&serving.http) else { return (0, String::new()) };
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a timeout");
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntenant: globex\r\n\
         authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = String::new();
    stream.write_all(text.as_bytes()).and_then(|()| stream.read_to_string(&mut answer)).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

#[test]
fn a_flood_waits_for_its_quota_through_a_kill_and_others_do_not() {
    let Some(bench) = Bench::new() else { return };
    bench.write("of-acme", "acme", 1500);
    let serving = bench.start();
    let count = |topic: &str| bench.replies().get(topic).map_or(0, Vec::len);
    until("some are answered", LIMIT, || count("of-acme") > 0);
    serving.kill();
    bench.write("shared", "globex", 60);
    let serving = bench.start();
    until("all are answered", LIMIT, || count("of-acme") + count("shared") == 1560);
    let replies = bench.replies();
    for (topic, n) in [("of-acme", 1500), ("shared", 60)] {
        let mut sources: Vec<_> = replies[topic].iter().map(Read::source).collect();
        sources.sort_unstable();
        sources.dedup();
        assert_eq!((replies[topic].len(), sources.len()), (n, n), "{topic}: each once");
    }
    // The topic of replies has one partition, so that it tells their order.
    let of_both = read_all(&bench.kafka.client(), &["replies"]);
    let is_of_globex =
        |reply: &Read| reply.json()["source"].as_str().expect("a source").starts_with("shared/");
    let last = of_both.iter().rposition(is_of_globex).expect("a reply");
    assert!(last < 1200, "the last of 60 is answered after {} of the flood", last + 1 - 60);
    let (_, metrics) = ask(&serving, &bench.acme, "GET", "/metrics", "");
    let throttled = metrics
        .lines()
        .find_map(|line| line.strip_prefix("burnrec_tenant_throttled_total{tenant=\"acme\"} "));
    let throttled: u64 = throttled.expect("a count").parse().expect("a number");
    assert!(throttled > 100, "{throttled}");
    assert!(metrics.contains("burnrec_tenant_throttled_total{tenant=\"globex\"} 0\n"), "{metrics}");
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn events_over_http_come_back_to_their_tenant_and_nobody_else_sees_them() {
    let Some(bench) = Bench::new() else { return };
    let serving = bench.start();
    let by = |token: &str| {
        let (status, body) = ask(&serving, token, "POST", "/v1/recommend", r#"{"user":900,"k":2}"#);
        assert_eq!(status, 200, "{body}");
        let reply: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        reply["by"].as_str().unwrap_or_default().to_owned()
    };
    let event = |token: &str, topic: &str| {
        let (status, body) = ask(&serving, token, "POST", "/v1/event", r#"{"user":900,"item":4}"#);
        assert!(status == 202 && body.contains(&format!("\"source\":\"{topic}/")), "{status}: {body}");
    };
    event(&bench.acme, "of-acme");
    until("its reply is there", LIMIT, || bench.replies().contains_key("of-acme"));
    until("the history is there over HTTP", LIMIT, || by(&bench.acme) == "fold-in");
    assert_eq!(by(&bench.globex), "popularity", "the same id of another tenant");
    event(&bench.globex, "shared");
    until("its reply is there", LIMIT, || bench.replies().contains_key("shared"));
    until("the history is there over HTTP", LIMIT, || by(&bench.globex) == "fold-in");
    let written = read_all(&bench.kafka.client(), &["shared"]);
    assert_eq!(written[0].headers.get("tenant").map(String::as_str), Some("globex"));
    assert!(read_all(&bench.kafka.client(), &["rejects"]).is_empty());
    // What nobody's identity and no header claims is rejected, and changes nothing.
    bench.write("shared", "initech", 1);
    until("it is rejected", LIMIT, || read_all(&bench.kafka.client(), &["rejects"]).len() == 1);
    let reject = &read_all(&bench.kafka.client(), &["rejects"])[0];
    assert!(reject.headers["burnrec-reason"].starts_with("no-tenant: "), "{reject:?}");
    assert_eq!(serving.stop(), Some(0));
}
