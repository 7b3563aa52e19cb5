//! Serves a model over HTTP from a program of one's own, sends one request, and stops.
//!
//! The config is that of `burnrec serve`; `docs/serve.md` describes every message.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use burnrec::data::synth::{SynthConfig, synth};
use burnrec::serve::Service;
use burnrec::{AlsConfig, PrepareOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dataset = synth(&SynthConfig::new(300, 200, 9_000, 1))?;
    let data = burnrec::prepare_dataset(dataset, &PrepareOptions::default())?;
    let folder = std::env::temp_dir().join("burnrec-example-served");
    burnrec::train(&data, AlsConfig { dim: 16, ..AlsConfig::default() })?.recommender.save(&folder)?;

    let config = format!("[http]\nlisten = '127.0.0.1:0'\n[models.main]\nrun = '{}'", folder.display());
    let service = Service::open(config.parse()?)?;
    let (scheme, address) = service.address();
    println!("serving on {scheme}://{address}");

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| service.run(&|| stop.load(Ordering::Relaxed)));
        let asked = ask(address, "/v1/recommend", &format!("{{\"user\":{},\"k\":3}}", data.users.id(0)));
        stop.store(true, Ordering::Relaxed);
        println!("{}", asked?);
        running.join().expect("the service does not panic")?;
        Ok(())
    })
}

/// Sends a request and returns the body of the answer.
fn ask(address: std::net::SocketAddr, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned()))
}
