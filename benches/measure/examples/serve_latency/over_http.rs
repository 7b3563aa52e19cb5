//! Sends requests on a schedule over connections that stay open, and has the bare server that the service is compared
//! with.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use burnrec_measure::kafka::process::Process;
use burnrec_measure::kafka::replies::id_of;
use burnrec_measure::kafka::requests::Requests;

use super::over_kafka::Waits;
use super::schedule::Schedule;

/// The path of score requests.
const PATH: &str = "/v1/score";
/// The longest time that a reply may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a port that nobody listens on.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Answers every request with its body, until SIGTERM.
///
/// # Errors
/// When the port is taken.
pub fn echo(port: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let router = Router::new().route(PATH, post(|body: Bytes| async { body }));
        let asked = async move { term.recv().await.unwrap_or_default() };
        axum::serve(listener, router).with_graceful_shutdown(asked).await
    })
}

/// Sends all requests to a running program. A connection has one request at a time. A request that is due while all
/// connections are busy waits for one, and this wait counts.
///
/// # Errors
/// When the program ends, or does not answer as it should.
pub fn ask(
    port: u16,
    process: &mut Process,
    requests: &Requests,
    rate: f64,
    warm: usize,
    connections: usize,
) -> io::Result<(Schedule, Waits)> {
    let start = Instant::now();
    while let Err(error) = Connection::open(port).and_then(|mut connection| connection.ask(requests, 0)) {
        if let Some(ended) = process.ended()? {
            return Err(io::Error::other(format!("ended early, {}: {}", ended.status, process.last_words())));
        }
        if start.elapsed() > PATIENCE {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(50));
    }
    let connections: Vec<_> = (0..connections).map(|_| Connection::open(port)).collect::<io::Result<_>>()?;
    let next = AtomicUsize::new(0);
    let waits = Mutex::new((vec![None; requests.len()], vec![None; requests.len()]));
    let schedule = Schedule::from_now(rate, warm);
    let next_request = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&k| k < requests.len());
    let ask_all = |mut connection: Connection| {
        let mut seen = Vec::new();
        while let Some(k) = next_request() {
            schedule.wait_for(k);
            let sent = schedule.late_us(k);
            connection.ask(requests, k)?;
            seen.push((k, schedule.late_us(k), sent));
        }
        // The lock is taken once, at the end, so that no connection waits for another while it measures.
        let mut waits = waits.lock().map_err(|_| io::Error::other("a connection panicked"))?;
        for (k, wait, sent) in seen {
            waits.0[k] = Some(wait);
            waits.1[k] = Some(sent);
        }
        Ok::<_, io::Error>(())
    };
    thread::scope(|scope| {
        let asking: Vec<_> =
            connections.into_iter().map(|connection| scope.spawn(|| ask_all(connection))).collect();
        asking
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|_| Err(io::Error::other("a connection panicked"))))
    })?;
    Ok((schedule, waits.into_inner().map_err(|_| io::Error::other("a connection panicked"))?))
}

/// A connection that stays open.
struct Connection {
    stream: BufReader<TcpStream>,
    key: Vec<u8>,
    body: Vec<u8>,
    text: Vec<u8>,
}

impl Connection {
    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), key: Vec::new(), body: Vec::new(), text: Vec::new() })
    }

    /// Sends request `k` and waits for its reply.
    fn ask(&mut self, requests: &Requests, k: usize) -> io::Result<()> {
        requests.write(k, &mut self.key, &mut self.body);
        self.text.clear();
        write!(
            self.text,
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.body.len()
        )?;
        self.text.extend_from_slice(&self.body);
        self.stream.get_mut().write_all(&self.text)?;
        let status = self.line()?;
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok();
            }
        }
        let length: usize = length.ok_or_else(|| io::Error::other("a reply without content-length"))?;
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)?;
        if !status.starts_with("HTTP/1.1 200") || id_of(&self.body) != Some(k) {
            let body = String::from_utf8_lossy(&self.body);
            return Err(io::Error::other(format!("request {k} was answered {status}: {body}")));
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        self.text.clear();
        if self.stream.read_until(b'\n', &mut self.text)? == 0 {
            return Err(io::Error::other("the connection was closed"));
        }
        Ok(String::from_utf8_lossy(&self.text).trim_end().to_owned())
    }
}
