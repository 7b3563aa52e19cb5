//! Starts a real Apache Kafka and the services under test, and has clients to see what they did.

#![allow(dead_code, reason = "each test file uses a part")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Folder, free_address};

/// Lets one test at a time have a cluster, since a cluster takes most of a machine.
static ONE: Mutex<()> = Mutex::new(());

/// A cluster for one test, which is stopped when the test ends.
pub struct Kafka {
    pub folder: Folder,
    pub bootstrap: String,
    pub brokers: usize,
    _one: MutexGuard<'static, ()>,
}

impl Kafka {
    /// Starts a cluster. Without `BURNREC_KAFKA=1` it returns `None` and counts a skip, since clusters need Java, Maven
    /// and minutes.
    pub fn start(brokers: usize, secure: bool) -> Option<Self> {
        if std::env::var_os("BURNREC_KAFKA").is_none() {
            let why = "set BURNREC_KAFKA=1 to test on an Apache Kafka, which Java and Maven start";
            burnrec_data::testing::skipped("kafka", why);
            return None;
        }
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Folder::new();
        let mut kafka = Self { folder, bootstrap: String::new(), brokers, _one: one };
        let number = brokers.to_string();
        let mut words = vec!["--brokers", number.as_str()];
        words.extend(secure.then_some("--secure"));
        kafka.bootstrap = kafka.script("start", &words).trim().to_owned();
        Some(kafka)
    }

    /// Runs a command of `kafka.sh` on this cluster, and returns its output.
    #[track_caller]
    pub fn script(&self, command: &str, words: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("serve/tests/kafka/kafka.sh");
        let ran = Command::new(script).arg(command).arg(self.folder.path("kafka")).args(words).output();
        let ran = ran.expect("the script starts");
        assert!(ran.status.success(), "kafka.sh {command}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Sends a signal to the first broker: STOP lets it stall, CONT lets it go on.
    pub fn stall(&self, signal: &str) {
        let id = std::fs::read_to_string(self.folder.path("kafka/1/pid")).expect("its process");
        Command::new("kill").args(["-s", signal, id.trim()]).status().expect("kill");
    }

    /// Returns the settings of a client.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap);
        client
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    /// Deletes the records of a partition before an offset, as the topic's retention does.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        let done = wait_for(self.admin().delete_records(&list, &AdminOptions::new())).expect("an answer");
        done.elements().iter().for_each(|part| part.error().expect("deleted"));
    }

    /// Deletes a topic of one partition, and creates it anew.
    pub fn remake(&self, topic: &str) {
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let gone = wait_for(self.admin().delete_topics(&[topic], &options)).expect("an answer");
        gone.into_iter().for_each(|topic| drop(topic.expect("deleted")));
        self.topics(&[(topic, 1)]);
    }

    /// Sets how large a batch of messages a topic takes.
    pub fn limit(&self, topic: &str, bytes: usize) {
        let bytes = bytes.to_string();
        // The call gives every setting that it does not name its default.
        let config = AlterConfig::new(ResourceSpecifier::Topic(topic))
            .set("max.message.bytes", &bytes)
            .set("cleanup.policy", cleanup_policy(topic));
        let done = wait_for(self.admin().alter_configs([&config], &AdminOptions::new())).expect("an answer");
        done.into_iter().for_each(|topic| drop(topic.expect("a config")));
    }

    /// Gives a topic more partitions.
    pub fn grow(&self, topic: &str, partitions: usize) {
        let more = NewPartitions::new(topic, partitions);
        let done =
            wait_for(self.admin().create_partitions([&more], &AdminOptions::new())).expect("an answer");
        done.into_iter().for_each(|topic| drop(topic.expect("more partitions")));
    }

    /// Creates topics, given by name and number of partitions.
    pub fn topics(&self, topics: &[(&str, i32)]) {
        let admin = self.admin();
        let copies = self.brokers.min(3) as i32;
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|(name, partitions)| {
                NewTopic::new(name, *partitions, TopicReplication::Fixed(copies))
                    .set("cleanup.policy", cleanup_policy(name))
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let made = wait_for(admin.create_topics(&new, &options)).expect("topics");
        made.into_iter().for_each(|topic| drop(topic.expect("a topic")));
    }
}

/// Returns what a topic does with old records, by its name: those of histories keep the last one of each user.
fn cleanup_policy(topic: &str) -> &'static str {
    if topic.contains("state") || topic == "control" { "compact" } else { "delete" }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("logs were in {}", self.folder.path("").display());
        }
        self.script("stop", &[]);
    }
}

/// Runs a future to completion on this thread.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// The longest time that a test waits for an event that must come; after it the test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// Counts the lines that a program has logged, and wakes those that wait for more.
#[derive(Default)]
struct Lines {
    /// The number of lines, and whether more may come.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Lines {
    /// Copies the program's stderr into a file, and counts its lines.
    fn follow(stderr: ChildStderr, mut log: File) -> Arc<Self> {
        let lines = Arc::new(Self { state: Mutex::new((0, true)), changed: Condvar::new() });
        let told = Arc::clone(&lines);
        std::thread::spawn(move || {
            let tell = |more: bool| {
                let mut state = told.state.lock().expect("no panic");
                *state = (state.0 + usize::from(more), more);
                told.changed.notify_all();
            };
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                log.write_all(&[&line[..], b"\n"].concat()).expect("the log is written");
                tell(true);
            }
            tell(false);
        });
        lines
    }

    fn count(&self) -> usize {
        self.state.lock().expect("no panic").0
    }

    /// Waits until there are more than `seen` lines or the program has ended; returns false where neither comes before
    /// the time `end`.
    fn more_than(&self, seen: usize, end: Instant) -> bool {
        let state = self.state.lock().expect("no panic");
        let left = end.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout_while(state, left, |state| state.0 <= seen && state.1);
        !waited.expect("no panic").1.timed_out()
    }

    /// Waits until the program has ended, which closes its log; returns false where it has not by the time `end`.
    fn ended(&self, end: Instant) -> bool {
        let state = self.state.lock().expect("no panic");
        let left = end.saturating_duration_since(Instant::now());
        !self.changed.wait_timeout_while(state, left, |state| state.1).expect("no panic").1.timed_out()
    }
}

/// A running `burnrec serve`.
pub struct Serving {
    child: Option<Child>,
    lines: Arc<Lines>,
    pub log: PathBuf,
    pub http: String,
}

impl Serving {
    /// Starts a service on a free port, with its log in a file of the folder.
    pub fn start(folder: &Folder, name: &str, config: &Path, set: &[&str]) -> Self {
        let address = free_address();
        let log = folder.path(&format!("{name}-{}.log", address.port()));
        let out = File::create(&log).expect("a log");
        // The brokers, which would have machines of their own, come first on this one.
        let mut command = Command::new("nice");
        command
            .args(["-n", "10", env!("CARGO_BIN_EXE_burnrec"), "serve"])
            .arg(config)
            .args(["--set", &format!("http.listen={address}")]);
        for set in set {
            command.args(["--set", set]);
        }
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let lines = Lines::follow(child.stderr.take().expect("a pipe"), out);
        Self { child: Some(child), lines, log, http: address.to_string() }
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `/health/ready` answers 200.
    #[track_caller]
    pub fn ready(&self) {
        self.until("the service is ready", || {
            get(&self.http, "/health/ready").is_some_and(|reply| reply.starts_with("HTTP/1.1 200"))
        });
    }

    /// Waits until `there` is true. It is called once now and again after each new line of the log, so that the service
    /// must log something when the condition comes true.
    #[track_caller]
    pub fn until(&self, what: &str, mut there: impl FnMut() -> bool) {
        let end = Instant::now() + LIMIT;
        let mut seen = self.lines.count();
        while !there() {
            assert!(self.lines.state.lock().expect("no panic").1, "it ended: {}", self.logged());
            assert!(self.lines.more_than(seen, end), "not within {LIMIT:?}: {what}");
            seen = self.lines.count();
        }
    }

    /// Returns how much memory it holds, in MiB.
    pub fn mib(&self) -> u64 {
        let id = self.child.as_ref().expect("running").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("its status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
        resident.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }

    /// Returns the sum of a metric over its labels; none where there is no such metric.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = get(&self.http, "/metrics").expect("metrics");
        let of = text
            .lines()
            .filter(|line| line.starts_with(name))
            .map(|line| line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("a number"));
        of.reduce(|a, b| a + b)
    }

    /// Kills it by SIGKILL.
    pub fn kill(mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().expect("a kill");
        child.wait().expect("an end");
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("running").id().to_string();
        Command::new("kill").args(["-s", name, &id]).status().expect("kill");
    }

    /// Asks it to stop by SIGTERM; returns its exit code.
    #[track_caller]
    pub fn stop(self) -> Option<i32> {
        self.signal("TERM");
        self.end()
    }

    /// Waits until it ends; returns its exit code.
    #[track_caller]
    pub fn end(mut self) -> Option<i32> {
        assert!(self.lines.ended(Instant::now() + LIMIT), "not within {LIMIT:?}: the service ends");
        self.child.take().expect("running").wait().expect("a status").code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("== {}\n{}", self.log.display(), self.logged());
        }
    }
}

/// Returns the reply to a GET; none where no connection is possible.
pub fn get(address: &str, path: &str) -> Option<String> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"))
}

/// Returns the reply to a POST; none where no connection is possible.
pub fn post(address: &str, path: &str, body: &str) -> Option<String> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    ask(address, &(head + body))
}

fn ask(address: &str, request: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(15))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    Some(reply)
}

/// Calls `there` until it is true, and fails after `limit`. `there` must wait by itself, for example by polling a Kafka
/// client, since this loop does not sleep.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !there() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
    }
}
