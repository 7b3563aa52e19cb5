//! A folder in which the commands of the pages find what they name: the program on the PATH, the configs, and ratings
//! in the layouts of MovieLens, with rows from `burnrec synth`.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::root;

/// The folder of a test. It is kept when the test ends, to look at; the next run of the test empties it.
pub struct Sandbox {
    folder: PathBuf,
}

/// The exit status and the output of a command.
pub struct Ran(Output);

/// A service that runs until it is told to stop.
pub struct Service {
    child: Child,
    /// The address that it chose.
    pub address: String,
    /// The URL by which it is controlled, if it is.
    pub control: Option<String>,
}

impl Sandbox {
    pub fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("an empty folder");
        }
        for part in ["bin", "home"] {
            fs::create_dir_all(folder.join(part)).expect("a folder");
        }
        symlink(env!("CARGO_BIN_EXE_burnrec"), folder.join("bin/burnrec")).expect("a link");
        // With these options curl fails where the service answers with an error.
        fs::write(folder.join("home/.curlrc"), "fail-with-body\nsilent\nshow-error\n").expect("a file");
        Self { folder }
    }

    /// Adds the files that the commands of the pages read.
    pub fn with_data(self) -> Self {
        for copied in ["configs", "benches/records"] {
            copy(&root().join(copied), &self.path(copied));
        }
        self.run("burnrec synth --users 200 --items 500 --rows 6000 --out made").ok("the data");
        let read = |name: &str| fs::read_to_string(self.path("made").join(name)).expect("made by synth");
        let (ratings, movies) = (read("ratings.csv"), read("movies.csv"));
        let cache = self.path("home/.cache/burnrec/data");
        let rows: Vec<Vec<&str>> = ratings.lines().skip(1).map(|row| row.split(',').collect()).collect();
        let titles: Vec<(&str, String)> = movies.lines().skip(1).map(title).collect();

        let (mut dat, mut data, mut titles_dat, mut titles_item) =
            (String::new(), String::new(), String::new(), String::new());
        for row in &rows {
            let [user, item, value, time] = row[..] else { panic!("{row:?}: expected four fields") };
            let whole = value.split('.').next().unwrap_or(value);
            writeln!(dat, "{user}::{item}::{whole}::{time}").expect("memory");
            writeln!(data, "{user}\t{item}\t{whole}\t{time}").expect("memory");
        }
        for (item, title) in &titles {
            writeln!(titles_dat, "{item}::{title}::Drama").expect("memory");
            writeln!(titles_item, "{item}|{title}|01-Jan-1995||{}", ["0"; 20].join("|")).expect("memory");
        }
        let lines: Vec<&str> = data.lines().collect();
        let every = |test: bool| {
            let kept = lines.iter().enumerate().filter(|(at, _)| (at % 5 == 0) == test);
            kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
        };
        for (name, text) in [
            ("ml-1m/ratings.dat", dat.as_str()),
            ("ml-1m/movies.dat", &titles_dat),
            ("ml-100k/u.data", &data),
            ("ml-100k/u.item", &titles_item),
            ("ml-100k/u1.base", &every(false)),
            ("ml-100k/u1.test", &every(true)),
        ] {
            let path = cache.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        symlink(cache.join("ml-1m"), self.path("ML-1M-DIR")).expect("a link");
        symlink(cache.join("ml-100k"), self.path("ML-100K-DIR")).expect("a link");
        fs::write(self.path("ratings.csv"), &ratings).expect("a file");
        let pairs: Vec<String> = rows.iter().take(20).map(|row| format!("{},{}\n", row[0], row[1])).collect();
        fs::write(self.path("pairs.csv"), format!("user,item\n{}", pairs.concat())).expect("a file");
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs a line of shell.
    pub fn run(&self, line: &str) -> Ran {
        Ran(self.shell(line).stdin(Stdio::null()).output().expect("bash starts"))
    }

    /// Starts a service on a free port.
    pub fn serve(&self, line: &str, place: &str) -> Service {
        let mut command = self.shell(&format!("exec {line}"));
        command.env("BURNREC__HTTP__LISTEN", "127.0.0.1:0").stderr(Stdio::piped());
        if line.contains("control.toml") {
            command.env("BURNREC__CONTROL__HTTP__LISTEN", "127.0.0.1:0");
        }
        let mut child = command.spawn().expect("bash starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        let address = loop {
            let from = said.len();
            let n = log.read_line(&mut said).expect("UTF-8");
            assert!(n > 0, "{place}: the service ended before it served:\n{said}");
            if let Some((_, rest)) = said[from..].split_once("serving on http://") {
                break rest.split(';').next().unwrap_or(rest).to_owned();
            }
        };
        let told = |line: &str| line.split_once("controlled on ").map(|(_, url)| url.to_owned());
        let control = said.lines().find_map(told);
        // The pipe is read until the end, so that the service never blocks on a full one.
        std::thread::spawn(move || log.read_to_string(&mut String::new()));
        Service { child, address, control }
    }

    fn shell(&self, line: &str) -> Command {
        let mut path = std::ffi::OsString::from(self.path("bin"));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.args(["-c", line]).current_dir(&self.folder);
        command.env("PATH", path).env("HOME", self.path("home")).env_remove("XDG_CACHE_HOME");
        command
    }
}

impl Ran {
    /// Fails the test unless the command succeeded; returns its stdout.
    #[track_caller]
    pub fn ok(self, place: &str) -> String {
        let Output { status, stdout, stderr } = self.0;
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{place}: {status}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        stdout.into_owned()
    }
}

impl Service {
    /// Stops it by SIGTERM, as an orchestrator does, and fails the test unless it exits with 0.
    pub fn stop(mut self, place: &str) {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().expect("kill starts");
        assert!(told.success(), "{place}: the service was gone before it was stopped");
        let ended = self.child.wait().expect("a child");
        assert!(ended.success(), "{place}: stopped, the service ended with {ended}");
    }
}

impl Drop for Service {
    /// Kills it where a test has failed; after [`Service::stop`] it has already ended.
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Returns the id and the title of a row of `movies.csv`; the title is without characters that the other layouts use as
/// separators.
fn title(row: &str) -> (&str, String) {
    let (item, rest) = row.split_once(',').expect("an id");
    let title = rest.rsplit_once(',').map_or(rest, |(title, _)| title);
    (item, title.replace(['"', '|', ':'], ""))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let place = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs::copy(&path, &place).expect("a copy");
        }
    }
}
