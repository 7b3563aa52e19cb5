//! A job server whose jobs do nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use burnrec_serve::jobs::{JobServer, JobsConfig};

pub struct Jobs {
    pub address: SocketAddr,
    asked: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Jobs {
    /// Starts one with keys of `http`.
    pub fn start(dir: &Path, http: &str) -> Self {
        let text = format!("dir = {dir:?}\nhttp.listen = \"127.0.0.1:0\"\n{http}");
        let config: JobsConfig = text.parse::<toml::Table>().unwrap().try_into().unwrap();
        let server = JobServer::open(config, vec!["true".into()], Vec::new()).unwrap();
        let (_, address) = server.address();
        let asked = Arc::new(AtomicBool::new(false));
        let sign = Arc::clone(&asked);
        let thread = std::thread::spawn(move || server.run(&|| sign.load(Ordering::Relaxed)).unwrap());
        Self { address, asked, thread: Some(thread) }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.asked.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
