//! Runs every command of the pages. Of those that a test cannot run, it checks that what they name exists.

use crate::pages::{CommandLine, Page};
use crate::root;
use crate::sandbox::{Sandbox, Service};

/// The commands that a test cannot run, where `*` stands for any text, with the reason. Only the subcommands, options,
/// settings, examples, tests and features that they name are checked.
const NOT_RUN: [(&str, &str); 33] = [
    ("sudo apt-get install *", "installs packages"),
    ("curl --proto * https://sh.rustup.rs *", "installs Rust from the internet"),
    ("cargo *", "builds the program, the tests or an example, or runs one for minutes"),
    ("PYTHON=* cargo *", "the same, and needs implicit, Spark or PyTorch"),
    ("BURNREC_* cargo *", "builds and runs the tests"),
    ("CARGO_* cargo *", "builds the program once more"),
    ("RAYON_* cargo *", "measures for minutes"),
    ("pip install *", "builds the extension module, and installs Python packages from the internet"),
    (". .venv/bin/activate *", "the same, and runs the tests in Python"),
    ("perf *", "needs the build above, and a kernel that lets it"),
    (".ci/run", "runs this test, and takes an hour"),
    ("python3 -m venv *", "installs Python packages from the internet"),
    ("PYTHON=* --peers*", "needs implicit, Spark and PyTorch"),
    ("PYTHON=* benches/measure/gpu.sh", "needs a GPU and PyTorch"),
    ("(cd benches/peers/kafka-streams && *)", "builds with Maven from the internet"),
    ("export KAFKA_BOOTSTRAP=*", "starts an Apache Kafka"),
    ("kafka-topics.sh *", "needs an Apache Kafka"),
    ("echo * kcat *", "needs an Apache Kafka, and kcat"),
    ("kcat *", "the same"),
    ("burnrec * configs/serve.toml*", "needs an Apache Kafka"),
    ("burnrec ctl replay *", "needs an Apache Kafka"),
    ("burnrec prepare events *", "needs events from an Apache Kafka"),
    ("burnrec retrain *", "likewise"),
    ("burnrec jobs *", "runs until it is stopped; tests/jobs.rs does what follows it"),
    ("curl *127.0.0.1:8998/*", "the same"),
    ("curl --cacert *", "needs certificates of a CA; serve/tests/control/certificates.rs does it"),
    ("burnrec ctl --at https:*", "the same"),
    ("burnrec bench * --out bench/full", "trains every case three times in full; with --quick it runs"),
    ("burnrec train * --device gpu", "needs a GPU"),
    ("burnrec * --mlflow *", "needs a tracking server of MLflow"),
    ("hf upload *", "needs the Hugging Face Hub"),
    ("docker *", "needs Docker, and builds the program"),
    ("kubectl *", "needs a Kubernetes cluster"),
];

/// The address of the service in the pages.
const LISTEN: &str = "127.0.0.1:8080";

/// Runs the commands of all pages in order and in one folder, as a reader would who tries everything.
pub fn run_all(pages: &[Page]) {
    let sandbox = Sandbox::new("commands").with_data();
    let (mut n_run, mut n_not, mut needless) = (0, 0, NOT_RUN.map(|(pattern, _)| pattern).to_vec());
    for block in pages.iter().flat_map(Page::blocks).filter(|block| block.language == "sh") {
        let (mut service, mut exports): (Option<Service>, String) = (None, String::new());
        for line in block.commands() {
            if let Some((pattern, _)) = NOT_RUN.iter().find(|(pattern, _)| fits(pattern, &line.text)) {
                needless.retain(|other| other != pattern);
                check(&sandbox, &line);
                n_not += 1;
                continue;
            }
            if line.text.starts_with("burnrec serve ") {
                let started = sandbox.serve(&line.text, &line.place);
                let url = started.control.as_ref().map(|url| format!("export BURNREC_CTL={url}\n"));
                exports.extend(url);
                service = Some(started);
            } else if line.text.starts_with("export ") {
                exports += &format!("{}\n", line.text);
            } else {
                let text = match &service {
                    Some(service) => line.text.replace(LISTEN, &service.address),
                    None => line.text.clone(),
                };
                assert!(!text.contains(LISTEN), "{}: no service was started above", line.place);
                sandbox.run(&format!("{exports}{text}")).ok(&format!("{}: {}", line.place, line.text));
            }
            n_run += 1;
        }
        if let Some(service) = service {
            service.stop(&block.place);
        }
    }
    assert!(needless.is_empty(), "no command is like {needless:?}; NOT_RUN lists what is there");
    assert!(n_run > 35 && n_not > 15, "only {n_run} commands ran and {n_not} were checked");
}

/// Returns whether a command matches a pattern, where `*` stands for any text.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// Checks what a command names that is not run.
fn check(sandbox: &Sandbox, line: &CommandLine) {
    for command in line.text.split("&&") {
        let command = command.trim().trim_start_matches('(').trim_end_matches(')');
        let is_setting = |word: &&str| {
            word.split_once('=')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        };
        let words: Vec<&str> = command.split_whitespace().skip_while(is_setting).collect();
        match words[..] {
            ["burnrec", ref words @ ..] => check_usage(sandbox, words, &line.place),
            ["cargo", ref words @ ..] => check_cargo(sandbox, words, &line.place),
            _ => {}
        }
    }
}

/// Checks that the program has the subcommand and its options, and takes the config with its settings.
fn check_usage(sandbox: &Sandbox, words: &[&str], place: &str) {
    let [subcommand, words @ ..] = words else { panic!("{place}: burnrec without a subcommand") };
    let help = sandbox.run(&format!("burnrec {subcommand} --help")).ok(place);
    let known: Vec<&str> = help.split(|char: char| char.is_whitespace() || char == ',').collect();
    for word in words.iter().filter(|word| word.starts_with('-')) {
        let option = word.split('=').next().unwrap_or(word);
        assert!(known.contains(&option), "{place}: burnrec {subcommand} has no {option}:\n{help}");
    }
    if let Some(config) = words.iter().find(|word| word.ends_with(".toml")) {
        let sets = words.windows(2).filter(|pair| pair[0] == "--set");
        let sets: String = sets.map(|pair| format!(" --set {}", pair[1])).collect();
        sandbox.run(&format!("burnrec check {config}{sets}")).ok(place);
    }
}

/// Checks that the example, test, benchmark or feature that a cargo command names exists, and the arguments that `cargo run`
/// passes to `burnrec`.
fn check_cargo(sandbox: &Sandbox, words: &[&str], place: &str) {
    let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    let (own, given) = words.split_at(end);
    let value = |option: &str| own.windows(2).find(|pair| pair[0] == option).map(|pair| pair[1]);
    for (option, folder) in [("--example", "examples"), ("--test", "tests"), ("--bench", "benches")] {
        if let Some(name) = value(option) {
            assert!(
                has_target(folder, name),
                "{place}: no package that cargo builds here has {folder}/{name}.rs"
            );
        }
    }
    if let Some(feature) = value("--features") {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
        let has = manifest.lines().any(|line| line.starts_with(&format!("{feature} = [")));
        assert!(has, "{place}: the package has no feature {feature}");
    }
    if own.contains(&"run") && value("--example").is_none() {
        check_usage(sandbox, given.get(1..).unwrap_or_default(), place);
    }
}

/// Returns whether a default package of the workspace has an example, a test or a benchmark of this name.
fn has_target(folder: &str, name: &str) -> bool {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let (_, rest) = manifest.split_once("default-members = [").expect("default members");
    let packages = rest.split(']').next().unwrap_or_default().split('"').skip(1).step_by(2);
    packages.map(|package| root().join(package).join(folder)).any(|folder| {
        folder.join(format!("{name}.rs")).exists() || folder.join(name).join("main.rs").exists()
    })
}
