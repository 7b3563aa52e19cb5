//! SASL OAUTHBEARER: the token of the file reaches the brokers, before the first call that waits for them.
//!
//! The broker is a stand-in that speaks just enough of Kafka's protocol (<https://kafka.apache.org/protocol>) for a
//! client to say who it is and to ask for the topics.

mod common;

use std::io::{Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use burnrec_serve::ServeConfig;

/// The keys of requests in the protocol.
const METADATA: i16 = 3;
const HANDSHAKE: i16 = 17;
const VERSIONS: i16 = 18;
const AUTHENTICATE: i16 = 36;

/// The highest version of each request that the broker answers.
const KNOWN: [(i16, i16); 4] = [(METADATA, 1), (HANDSHAKE, 1), (VERSIONS, 3), (AUTHENTICATE, 0)];

const TOPICS: [&str; 3] = ["requests", "replies", "rejects"];

/// A broker that lets in who brings a token, and keeps the ones it was shown.
struct Broker {
    address: SocketAddr,
    shown: Arc<Mutex<Vec<String>>>,
}

impl Broker {
    fn new(right: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shown: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&shown);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                // It ends when the client goes.
                std::thread::spawn(move || converse(stream, address, right, &all));
            }
        });
        Self { address, shown }
    }

    fn shown(&self) -> Vec<String> {
        std::mem::take(&mut self.shown.lock().expect("no panic"))
    }
}

fn converse(
    mut stream: TcpStream,
    address: SocketAddr,
    right: &[&str],
    shown: &Mutex<Vec<String>>,
) -> Result<()> {
    let mut let_in = false;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame)?;
        let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
        let (key, version) = (number(0), number(2));
        let mut reply = frame[4..8].to_vec();
        match key {
            VERSIONS if version >= 3 => {
                // No error; a compact array; no throttling.
                reply.extend([0, 0, KNOWN.len() as u8 + 1]);
                for (key, most) in KNOWN {
                    numbers(&mut reply, &[key, 0, most]);
                    reply.push(0);
                }
                reply.extend([0; 5]);
            }
            HANDSHAKE => {
                numbers(&mut reply, &[0, 0, 1]);
                text(&mut reply, "OAUTHBEARER");
            }
            AUTHENTICATE => {
                let said = String::from_utf8_lossy(&frame);
                let token = said.split("auth=Bearer ").nth(1).and_then(|rest| rest.split('\u{1}').next());
                let token = token.expect("a token").to_owned();
                let_in = right.contains(&token.as_str());
                shown.lock().expect("no panic").push(token);
                // SASL_AUTHENTICATION_FAILED is 58; a message; no bytes.
                numbers(&mut reply, &[if let_in { 0 } else { 58 }]);
                text(&mut reply, "this token is not known");
                reply.extend([0; 4]);
            }
            METADATA if let_in => {
                // One broker, of number 1, with no rack, in control.
                numbers(&mut reply, &[0, 1, 0, 1]);
                text(&mut reply, "127.0.0.1");
                numbers(&mut reply, &[0, address.port() as i16, -1, 0, 1, 0, TOPICS.len() as i16]);
                for topic in TOPICS {
                    numbers(&mut reply, &[0]);
                    text(&mut reply, topic);
                    reply.push(0);
                    // One partition, 0, led by broker 1, which alone has it.
                    numbers(&mut reply, &[0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
                }
            }
            other => panic!("a request of key {other}, version {version}"),
        }
        stream.write_all(&(reply.len() as u32).to_be_bytes())?;
        stream.write_all(&reply)?;
    }
}

fn numbers(reply: &mut Vec<u8>, all: &[i16]) {
    reply.extend(all.iter().flat_map(|number| number.to_be_bytes()));
}

fn text(reply: &mut Vec<u8>, text: &str) {
    numbers(reply, &[text.len() as i16]);
    reply.extend(text.as_bytes());
}

fn config(broker: &Broker, token: &str) -> ServeConfig {
    common::config(&format!(
        r#"
models.main.run = "RUN"
[kafka]
bootstrap = "{}"
requests = ["requests"]
replies = "replies"
rejects = "rejects"
[kafka.librdkafka]
"security.protocol" = "SASL_PLAINTEXT"
"sasl.mechanism" = "OAUTHBEARER"
"sasl.oauthbearer.config" = "file={token}"
"#,
        broker.address
    ))
}

#[test]
fn brokers_are_shown_the_token_that_the_file_holds_now() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let path = folder.path().join("token");
    let broker = Broker::new(&["first", "second"]);
    let config = config(&broker, &path.display().to_string());
    let check = || burnrec_serve::kafka::check(config.kafka.as_ref().expect("a [kafka]"), None);
    let error = check().unwrap_err().to_string();
    assert!(error.contains("sasl.oauthbearer.config") && error.contains("No such file"), "{error}");
    for token in ["first", "second"] {
        std::fs::write(&path, format!("{token}\n")).expect("a file");
        check().unwrap();
        let shown = broker.shown();
        assert!(!shown.is_empty() && shown.iter().all(|shown| shown == token), "{shown:?}");
    }
    std::fs::write(&path, "stale").expect("a file");
    let error = check().unwrap_err().to_string();
    assert!(error.contains("this token is not known"), "{error}");
    assert!(broker.shown().iter().all(|shown| shown == "stale"));
}
