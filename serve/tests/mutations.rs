//! A million damaged messages: each has exactly one answer, and none is fatal.

mod common;

use std::collections::BTreeMap;
use std::time::Instant;

use burnrec_data::rng::stream;
use burnrec_serve::Engine;
use burnrec_serve::config::{InputFormat, Limits};
use burnrec_serve::engine::Reading;
use burnrec_serve::event::Incoming;
use burnrec_serve::message::decode;
use burnrec_serve::outbox::{EventOutcome, Outbox, To};
use rand::RngExt;
use rand_pcg::Pcg64;

/// Messages of each test.
const MESSAGES: usize = 1_000_000;

const BATCH: usize = 1000;

const VALID: [&str; 14] = [
    r#"{"type":"score","user":7,"items":[101,102]}"#,
    r#"{"type":"score","id":"a1","user":"7","items":["101"]}"#,
    r#"{"v":1,"type":"score","id":-5,"user":900,"items":[101,102,103,104]}"#,
    r#"{"type":"recommend","user":3,"k":5}"#,
    r#"{"type":"recommend","user":3,"k":10,"only":[101,102,103],"without":[102],"include_seen":false}"#,
    r#"{"include_seen":true,"k":1,"user":"\u00fc\ud83d\ude00","type":"recommend"}"#,
    r#"{"type":"similar","item":110,"k":3}"#,
    r#"{"type":"event","user":5,"item":120}"#,
    r#"{"type":"event","user":"someone","item":105,"value":4.5}"#,
    r#"{ "type" : "event" , "user" : 5 , "item" : 121 , "value" : -1e-3 }"#,
    "7,101",
    "\"7\",\"101\"\r\n",
    " 900 , 102 ",
    "ünï,101",
];

const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-",
    "1e999",
    "-0.0",
    "9223372036854775808",
    "18446744073709551616",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "😀",
    "\"type\":",
    "\"items\":[",
    "101,",
];

/// Returns a message with up to three damages, now and then random bytes.
fn message(rng: &mut Pcg64) -> Vec<u8> {
    let valid = |rng: &mut Pcg64| VALID[rng.random_range(0..VALID.len())].as_bytes().to_vec();
    if rng.random_bool(0.02) {
        return (0..rng.random_range(0..200)).map(|_| rng.random()).collect();
    }
    let mut bytes = valid(rng);
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..=bytes.len());
        let end = rng.random_range(at..=bytes.len());
        let insert = |bytes: &mut Vec<u8>, more: &[u8]| drop(bytes.splice(at..at, more.iter().copied()));
        match rng.random_range(0..11) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => insert(&mut bytes, &[rng.random()]),
            3 => insert(&mut bytes, PIECES[rng.random_range(0..PIECES.len())].as_bytes()),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let again = bytes[at..end].to_vec();
                insert(&mut bytes, &again);
            }
            6 => insert(&mut bytes, &valid(rng)),
            7 => {
                let deep = ["[", "{\"a\":", "[[1,"][rng.random_range(0..3)];
                insert(&mut bytes, deep.repeat(rng.random_range(1..500)).as_bytes());
            }
            8 => {
                let digits = rng.random_range(1..400);
                insert(&mut bytes, "7".repeat(digits).as_bytes());
            }
            9 => insert(&mut bytes, "101,".repeat(rng.random_range(1..300)).as_bytes()),
            // A number or a field becomes another.
            _ => {
                let piece = PIECES[rng.random_range(0..PIECES.len())];
                let digit = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|found| at + found);
                if let Some(digit) = digit {
                    bytes.splice(digit..=digit, piece.bytes());
                }
            }
        }
    }
    bytes
}

#[test]
fn a_million_messages_are_read_with_one_answer_each() {
    let limits = Limits { message_bytes: 4096, items: 100, k: 50, ..Limits::default() };
    let mut rng = stream(11, "mutations", 0);
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..MESSAGES / BATCH {
        let messages: Vec<Vec<u8>> = (0..BATCH).map(|_| message(&mut rng)).collect();
        for bytes in &messages {
            // A message from Kafka is one format's; it must do no harm in the other.
            for format in [InputFormat::Json, InputFormat::Csv] {
                let end = match decode(Some(bytes), format, None, &limits) {
                    Ok(request) => request.kind().name(),
                    Err(reject) => {
                        assert!(!reject.text.is_empty() && reject.text.len() < 500, "{reject}");
                        reject.reason
                    }
                };
                *ends.entry(end).or_default() += 1;
            }
        }
    }
    println!("{MESSAGES} messages in two formats: {ends:?}");
    assert_eq!(ends.values().sum::<usize>(), 2 * MESSAGES);
    let likely =
        ["score", "recommend", "similar", "event", "not-json", "not-a-request", "not-csv", "not-utf8"];
    for (ends_so, least) in
        likely.map(|end| (end, 10_000)).into_iter().chain([("too-large", 100), ("too-many-items", 100)])
    {
        let found = ends.get(ends_so).copied().unwrap_or(0);
        assert!(found > least, "{ends_so} only {found} times: the mutations miss it");
    }
}

#[test]
fn a_million_messages_are_answered_once_each() {
    let small =
        "limits = { message_bytes = 4096, items = 100, k = 50, history = 5 }\nunknown.item = \"null\"";
    let engines = ["json", "csv"].map(|format| {
        let text = format!("models.main.run = \"RUN\"\n{small}\ninput.format = \"{format}\"");
        Engine::open(&common::config(&text)).expect("an engine")
    });
    let mut rng = stream(12, "mutations", 0);
    let (mut outbox, mut undo) = (Outbox::default(), Vec::new());
    let mut replied = 0;
    for batch in 0..MESSAGES / BATCH {
        let event = |at: usize| {
            Incoming::new(Instant::now(), common::PART, at as i64, None, Some(&message(&mut rng)))
        };
        let events: Vec<Incoming> = (0..BATCH).map(event).collect();
        outbox.clear();
        engines[usize::from(batch % 5 == 0)].answer(&events, Reading::default(), &mut undo, &mut outbox);
        assert_eq!(outbox.outcomes.len(), BATCH);
        let mut replies = vec![0; BATCH];
        for message in outbox.messages.iter().filter(|message| message.to == To::Replies) {
            replies[message.event as usize] += 1;
            let reply: Result<serde_json::Value, _> =
                serde_json::from_slice(outbox.value(message).expect("a value"));
            assert!(reply.is_ok_and(|reply| reply["type"].is_string()));
        }
        for (outcome, n) in outbox.outcomes.iter().zip(replies) {
            let expected = usize::from(matches!(outcome, EventOutcome::Replied(_)));
            assert_eq!(n, expected, "{outcome:?}");
            assert!(
                !matches!(outcome, EventOutcome::Failed(reject) if reject.reason == "model-failed"),
                "{outcome:?}"
            );
            replied += expected;
        }
        undo.clear();
    }
    println!("{MESSAGES} messages: {replied} replies");
    assert!(replied > MESSAGES / 10, "only {replied} replies");
}
