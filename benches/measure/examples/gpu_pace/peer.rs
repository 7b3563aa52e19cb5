//! PyTorch beside burnrec: one process of `benches/peers/torch_gpu.py` for a network and its tables. It compiles at its
//! start, and measures when it is told to.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use burnrec_data::Csr;
use burnrec_measure::ROOT;
use serde_json::Value;

/// How PyTorch computes, as the script names it and as the table does.
pub const WAYS: [(&str, &str); 3] =
    [("f32", "PyTorch f32"), ("tf32-compiled", "TF32, compiled"), ("bf16-compiled", "bf16, compiled")];

/// What a figure may take beside the time that it is measured for: warm-up, and steps that are slow.
const GRACE: Duration = Duration::from_secs(15);

/// Writes pairs of user and item, as 32-bit integers of this machine.
pub fn write_pairs(path: &Path, train: &Csr) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for user in 0..train.n_rows() {
        for &item in train.row(user).0 {
            file.write_all(&(user as u32).to_ne_bytes())?;
            file.write_all(&item.to_ne_bytes())?;
        }
    }
    file.flush()
}

/// A running process, which is killed when this is dropped.
pub struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
    said: File,
}

impl Peer {
    /// Starts it. `PYTHON` names the interpreter and `BURNREC_PEERS` the folder of the script, as for the other peers.
    pub fn start(args: &[String]) -> Result<Self, String> {
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
        let folder = std::env::var_os("BURNREC_PEERS").map(PathBuf::from);
        let script = folder.unwrap_or_else(|| Path::new(ROOT).join("benches/peers")).join("torch_gpu.py");
        let started = || -> io::Result<Self> {
            let said = tempfile::tempfile()?;
            let mut child = Command::new(&python)
                .arg(&script)
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(said.try_clone()?)
                .spawn()?;
            let (Some(orders), Some(lines)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(io::Error::other("the process has no pipes"));
            };
            let (sender, answers) = channel();
            // The thread ends with the process, whose output it reads.
            thread::spawn(move || {
                for line in BufReader::new(lines).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
            Ok(Self { child, orders, answers, said })
        };
        started().map_err(|error| format!("cannot run {python}: {error}"))
    }

    /// Waits until it has compiled all it can, and returns its versions and what it did not get to.
    pub fn ready(&mut self, wait: Duration) -> Result<String, String> {
        let answer = self.answer(wait)?;
        let text = answer.get("ready").and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| format!("found {answer}, expected that it is ready"))
    }

    /// Measures for about so many seconds, and returns the samples a second.
    pub fn pace(&mut self, batch: usize, way: &str, seconds: f64) -> Result<f64, String> {
        writeln!(self.orders, "{batch} {way} {seconds:.2}").map_err(|error| error.to_string())?;
        let answer = self.answer(Duration::from_secs_f64(seconds) + GRACE)?;
        let is_it = answer["batch"].as_u64() == Some(batch as u64) && answer["way"].as_str() == Some(way);
        let pace = answer["samples_per_second"].as_f64().filter(|_| is_it);
        pace.ok_or_else(|| format!("found {answer}, expected its pace"))
    }

    /// Returns the seconds in which it finds the best `k` items of all users.
    pub fn catalog(&mut self, way: &str, k: usize, wait: Duration) -> Result<f64, String> {
        writeln!(self.orders, "catalog {way} {k}").map_err(|error| error.to_string())?;
        let answer = self.answer(wait)?;
        let seconds = answer["catalog_seconds"].as_f64().filter(|_| answer["way"].as_str() == Some(way));
        seconds.ok_or_else(|| format!("found {answer}, expected its seconds"))
    }

    /// Waits for its next line. One that does not come in time is not waited for again.
    fn answer(&mut self, wait: Duration) -> Result<Value, String> {
        let Ok(line) = self.answers.recv_timeout(wait) else {
            let _ = self.child.kill();
            return Err(format!("it gave no answer in time, and ended with: {}", self.last_words()));
        };
        let answer: Value = serde_json::from_str(&line).map_err(|_| format!("it printed {line:?}"))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }

    fn last_words(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.said.rewind().and_then(|()| self.said.read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        read.ok().and(last).unwrap_or("it said nothing").to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
