//! A service under test, asked over plain sockets as any client would.

#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use burnrec_serve::{Engine, ServeConfig, Service};
use serde_json::Value;

use crate::common::config;

/// A service that runs until it is dropped.
pub struct Running {
    pub address: SocketAddr,
    /// Where it is controlled, if it is.
    pub control: Option<SocketAddr>,
    pub engine: Arc<Engine>,
    asked: Arc<AtomicBool>,
    thread: Option<JoinHandle<burnrec_serve::Result<()>>>,
}

impl Running {
    pub fn new(config: ServeConfig) -> Self {
        let service = Service::open(config).expect("a service");
        let (_, address) = service.address();
        let control = service.control_address().map(|(_, address)| address);
        let engine = Arc::clone(&service.engine);
        let asked = Arc::new(AtomicBool::new(false));
        let sign = Arc::clone(&asked);
        let thread = std::thread::spawn(move || service.run(&|| sign.load(Ordering::Relaxed)));
        Self { address, control, engine, asked, thread: Some(thread) }
    }

    /// Runs a service with a config for plain HTTP on a free port.
    pub fn of(settings: &str) -> Self {
        Self::new(config(&format!("models.main.run = \"RUN\"\nhttp.listen = \"127.0.0.1:0\"\n{settings}")))
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream
    }

    /// Sends a request on a connection of its own; returns the status, the head and the body.
    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        self.send(&request(method, path, headers, body))
    }

    /// Sends a text on a connection of its own; returns the status, the head and the body of the answer.
    pub fn send(&self, request: &str) -> (u16, String, String) {
        Self::exchange(self.connect(), request)
    }

    /// Does the same with the listener by which it is controlled.
    pub fn control(&self, request: &str) -> (u16, String, String) {
        let stream = TcpStream::connect(self.control.expect("it is controlled")).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        Self::exchange(stream, request)
    }

    fn exchange(mut stream: TcpStream, request: &str) -> (u16, String, String) {
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        parts(&text)
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask("GET", path, "", "");
        (status, body)
    }

    pub fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let (status, head, body) = self.ask("POST", path, "", body);
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) {
        self.asked.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("no panic").expect("a clean end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.asked.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Returns a request that closes its connection.
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// Returns the status, the head and the body of an answer.
pub fn parts(text: &str) -> (u16, String, String) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}
