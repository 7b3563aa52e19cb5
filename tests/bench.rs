//! Runs benches as a user does: a bench is killed and continued, refused, and reported.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Folder, burnrec};
use serde_json::Value;

const BENCH: &str = r#"
seeds = [0, 1]
[ranking]
split = { protocol = "leave-one-out" }
metric = "ndcg@10"
against = "als"
[[ranking.case]]
name = "popularity"
config = "popularity.toml"
[[ranking.case]]
name = "als"
label = "ALS"
config = "als.toml"
[[ranking.case]]
name = "cluster-als"
config = "als.toml"
clusters = 3
[[ranking.case]]
name = "gmf"
config = "gmf.toml"
set = { epochs = 6 }
[[ranking.case]]
name = "mlp"
config = "mlp.toml"
[[ranking.case]]
name = "neumf"
label = "NeuMF <pretrained> & more"
config = "neumf.toml"
set = { pretrained = { gmf = "case:gmf", mlp = "case:mlp", alpha = 0.5 } }
[[ranking.case]]
name = "blend"
config = "blend.toml"
set = { parts = ["case:als", "case:gmf"], weights = [1.0, 0.5] }
[rating]
split = { protocol = "random", valid = 0.1, test = 0.1 }
metric = "rmse"
against = "als"
[[rating.case]]
name = "als"
config = "explicit.toml"
[[rating.case]]
name = "mf"
config = "mse.toml"
"#;

const CONFIGS: [(&str, &str); 8] = [
    ("popularity.toml", "model = 'popularity'\nepochs = 1"),
    ("als.toml", "model = 'als'\ndim = 8\nepochs = 3"),
    ("explicit.toml", "model = 'als'\nfeedback = 'explicit'\ndim = 4\nepochs = 3"),
    ("gmf.toml", "model = 'gmf'\ndim = 8\nepochs = 3\nbatch_size = 512"),
    ("mlp.toml", "model = 'mlp'\ndim = 8\nepochs = 3\nbatch_size = 512"),
    ("neumf.toml", "model = 'neumf'\ndim = 8\nepochs = 2\nbatch_size = 512"),
    ("blend.toml", "model = 'blend'\nepochs = 1"),
    ("mse.toml", "model = 'mf'\nloss = 'mse'\ndim = 8\nepochs = 3\nbatch_size = 512"),
];

const RUN: &str = "bench {} --data {} --out {} --device cpu";

/// Writes a bench's config and synthetic ratings, and returns their paths.
fn ready(folder: &Folder) -> (PathBuf, PathBuf) {
    CONFIGS.iter().for_each(|(name, text)| drop(folder.file(name, text)));
    let raw = folder.path("raw");
    burnrec("synth --users 200 --items 120 --rows 8000 --out {}", &[&raw]).ok();
    (folder.file("bench.toml", BENCH), raw)
}

/// Runs a bench until stderr has a line with `last`, and then sends a signal. Returns the exit code and stderr.
fn ended(paths: [&Path; 3], last: &str, signal: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burnrec"));
    command
        .arg("bench")
        .arg(paths[0])
        .arg("--data")
        .arg(paths[1])
        .arg("--out")
        .arg(paths[2])
        .args(["--device", "cpu"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped"));
    let mut stderr = String::new();
    while !stderr.contains(last) {
        assert!(lines.read_line(&mut stderr).expect("UTF-8") > 0, "no {last:?} in {stderr}");
    }
    let kill = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    // The child process of the case inherits the pipe, so that this returns when both processes have ended.
    lines.read_to_string(&mut stderr).expect("UTF-8");
    (child.wait().expect("it ends").code(), stderr)
}

/// Returns every record of `records/` without the fields that depend on the clock.
fn records(dir: &Path) -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(dir.join("records")).expect("records");
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let mut record = json(&path);
        timeless(&mut record);
        (path.file_name().expect("a name").to_string_lossy().into_owned(), record)
    };
    files.map(file).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

fn timeless(value: &mut Value) {
    const TIMES: [&str; 5] =
        ["fit_seconds", "total_seconds", "seconds", "samples_per_second", "peak_memory_bytes"];
    match value {
        Value::Object(object) => {
            // `pretrained` and `parts` are left out as well: they name runs by paths that depend on the folder of the bench.
            let kept =
                |key: &str| !TIMES.contains(&key) && !["inference", "pretrained", "parts"].contains(&key);
            object.retain(|key, _| kept(key));
            object.values_mut().for_each(timeless);
        }
        Value::Array(values) => values.iter_mut().for_each(timeless),
        _ => {}
    }
}

#[test]
fn a_bench_that_was_killed_ends_as_one_in_one_go() {
    let folder = Folder::new();
    let (config, raw) = ready(&folder);
    let (whole, broken) = (folder.path("whole"), folder.path("broken"));
    let stdout = burnrec(RUN, &[&config, &raw, &whole]).ok();
    assert!(stdout.contains("NeuMF <pretrained> & more") && stdout.contains("report.html"), "{stdout}");

    let paths = [config.as_path(), &raw, &broken];
    let (code, stderr) = ended(paths, "gmf epoch 2/6", "KILL");
    assert_eq!(code, None, "{stderr}");
    let (code, stderr) = ended(paths, "ranking, seed 0: mlp", "TERM");
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains("goes on after choose epoch") || !stderr.contains("gmf epoch 1/6"), "{stderr}");
    burnrec("report {}", &[&broken]).ok();
    let missing = std::fs::read_to_string(broken.join("report.md")).expect("a report of what is there");
    assert!(missing.contains("not finished"), "{missing}");

    let ran = burnrec(RUN, &[&config, &raw, &broken]);
    assert!(ran.stderr.contains("have their records already"), "{}", ran.stderr);
    ran.ok();
    let (whole_records, broken_records) = (records(&whole), records(&broken));
    assert_eq!(whole_records.len(), 2 * 2 + 2 * 9);
    for (name, record) in &whole_records {
        assert_eq!(Some(record), broken_records.get(name), "{name}");
    }

    // The time of NeuMF includes the times of the runs that it starts from.
    let seconds = |case: &str| {
        json(&whole.join(format!("records/ranking-seed0-{case}.case.json")))["fit_seconds"].as_f64()
    };
    assert!(seconds("neumf") > seconds("gmf").zip(seconds("mlp")).map(|(gmf, mlp)| gmf + mlp));
    assert!(seconds("blend") > seconds("als").zip(seconds("gmf")).map(|(als, gmf)| als + gmf));
    let blend = json(&whole.join("records/ranking-seed0-blend.case.json"));
    assert!(blend["order_aware"].is_null(), "none of its parts reads the order");

    // The report of a finished bench, when made again, has the same bytes.
    let before = std::fs::read(whole.join("report.html")).expect("a report");
    burnrec("report {}", &[&whole]).ok();
    assert_eq!(before, std::fs::read(whole.join("report.html")).expect("a report"));
}

#[test]
fn other_settings_or_other_data_are_refused() {
    let folder = Folder::new();
    let (config, raw) = ready(&folder);
    let small = BENCH
        .split("[[ranking.case]]\nname = \"cluster-als\"")
        .next()
        .expect("a start")
        .replace("[0, 1]", "[0]");
    let small = folder.file("small.toml", small);
    let out = folder.path("out");
    burnrec(RUN, &[&small, &raw, &out]).ok();
    burnrec(RUN, &[&config, &raw, &out]).fails(&["bench.json", "a bench of another config", "--force"]);
    let other = folder.path("other");
    burnrec("synth --users 200 --items 120 --rows 8000 --seed 7 --out {}", &[&other]).ok();
    burnrec(RUN, &[&small, &other, &out]).fails(&["a split of other data", "--force"]);
    burnrec(&format!("{RUN} --force"), &[&small, &other, &out]).ok();
    burnrec("report {}", &[&raw]).fails(&["bench.json"]);
}

#[test]
fn a_config_that_makes_no_sense_is_refused_by_name() {
    let folder = Folder::new();
    let (_, raw) = ready(&folder);
    let refused = |from: &str, to: &str, words: &[&str]| {
        let config = folder.file("wrong.toml", BENCH.replacen(from, to, 1));
        burnrec(RUN, &[&config, &raw, &folder.path("out")]).fails(words);
        assert!(!folder.path("out").join("bench.json").exists());
    };
    refused("seeds = [0, 1]", "seeds = []", &["wrong.toml", "seeds"]);
    refused("seeds", "sedes", &["wrong.toml", "sedes"]);
    refused("against = \"als\"", "against = \"alz\"", &["ranking.against", "alz"]);
    refused("metric = \"ndcg@10\"", "metric = \"rmse\"", &["ranking.metric", "rmse"]);
    refused("case:als", "case:sla", &["blend.parts", "sla", "stands before it"]);
    refused("case:gmf", "case:mf", &["neumf.pretrained", "mf", "stands before it"]);
    refused("name = \"gmf\"", "name = \"../gmf\"", &["case.name", "../gmf"]);
    refused("name = \"gmf\"", "name = \"als\"", &["case.name", "no other case has"]);
    refused("config = \"gmf.toml\"", "config = \"gfm.toml\"", &["gfm.toml"]);
    refused("epochs = 6", "epoch = 6", &["epoch", "epochs"]);
    refused("config = \"explicit.toml\"", "config = \"als.toml\"", &["rating als"]);
    refused("clusters = 3", "clusters = 0", &["clusters"]);
}

const ORDERED: &str = r#"
seeds = [0]
[ranking]
split = { protocol = "leave-one-out" }
metric = "ndcg@10"
against = "als"
[[ranking.case]]
name = "popularity"
config = "popularity.toml"
[[ranking.case]]
name = "als"
label = "ALS"
config = "als.toml"
[[ranking.case]]
name = "transition"
label = "Transition"
config = "transition.toml"
[temporal]
split = { protocol = "temporal", valid_from = 0.8, test_from = 0.9 }
metric = "ndcg@10"
against = "als"
cases = ["als", "transition"]
[user-holdout]
split = { protocol = "user-holdout", valid_users = 30, test_users = 40 }
metric = "ndcg@100"
against = "als"
cases = ["popularity", "als"]
[rating]
split = { protocol = "random", valid = 0.1, test = 0.1 }
metric = "rmse"
against = "als"
[[rating.case]]
name = "als"
config = "explicit.toml"
"#;

#[test]
fn a_temporal_split_and_held_out_users_stand_beside_leave_one_out() {
    let folder = Folder::new();
    let (_, raw) = ready(&folder);
    folder.file("transition.toml", "model = 'transition'");
    let (config, out) = (folder.file("ordered.toml", ORDERED), folder.path("out"));
    burnrec(RUN, &[&config, &raw, &out]).ok();
    let records = records(&out);
    assert_eq!(records.len(), 4 + 3 + 2 + 2 + 1);
    let of = |task: &str, case: &str| &records[&format!("{task}-seed0-{case}.case.json")];
    let split = |task: &str| &records[&format!("{task}-seed0.split.json")];
    assert_eq!(of("temporal", "transition")["order_aware"], true);
    assert_eq!(split("temporal")["split"]["protocol"], "temporal");
    assert_eq!(split("user-holdout")["user_activity"].as_array().map(Vec::len), Some(40));
    let test = &of("user-holdout", "als")["test"];
    let value = |metric: &str| test[metric]["value"].as_f64().expect(metric);
    assert!(value("ndcg@100") > 0.0 && value("recall@20") < value("recall@50"), "{test}");
    assert!(value("capped-recall@20") >= value("recall@20"), "{test}");
    assert!(of("ranking", "als")["test"]["recall@50"].is_null());
    let report = std::fs::read_to_string(out.join("report.md")).expect("a report");
    for words in [
        "Ranking, temporal split on synth",
        "Ranking, strong generalisation on synth",
        "smaller of k",
        "Transition, order-aware",
    ] {
        assert!(report.contains(words), "{words} in {report}");
    }

    for (from, to, words) in [
        (
            "protocol = \"temporal\", valid_from = 0.8, test_from = 0.9",
            "protocol = \"leave-one-out\"",
            ["temporal.split", "protocol of the task's name"],
        ),
        (
            "cases = [\"als\", \"transition\"]",
            "cases = [\"als\", \"tradition\"]",
            ["temporal.cases", "tradition"],
        ),
    ] {
        let bad = folder.file("bad.toml", ORDERED.replace(from, to));
        burnrec("check {}", &[&bad]).fails(&words);
    }
}

#[test]
fn what_the_rows_cannot_be_asked_is_left_out_and_told() {
    let folder = Folder::new();
    ready(&folder);
    folder.file("transition.toml", "model = 'transition'");
    let rows = (0..1800).map(|row| format!("{},{}\n", row % 120, row * 7 % 53));
    let raw = folder.file("plain.csv", "user,item\n".to_owned() + &rows.collect::<String>());
    let (config, out) = (folder.file("ordered.toml", ORDERED), folder.path("out"));
    let said = burnrec(RUN, &[&config, &raw, &out]).ok();
    assert!(said.contains("times of the rows do not differ: Ranking, temporal split; Transition."), "{said}");
    assert!(said.contains("all rows have one value"), "{said}");
    let records = records(&out);
    assert!(
        records.keys().all(|name| !name.contains("transition") && !name.contains("rating")),
        "{records:?}"
    );

    let alone = ORDERED.replacen("against = \"als\"", "against = \"transition\"", 1);
    let alone = folder.file("alone.toml", alone);
    burnrec(RUN, &[&alone, &raw, &folder.path("none")]).fails(&["ranking.against", "transition"]);
}

#[test]
fn settings_are_searched_on_valid_of_each_split_within_one_budget() {
    let folder = Folder::new();
    let (_, raw) = ready(&folder);
    let config = folder.file(
        "tuned.toml",
        r#"
        seeds = [0, 1]
        tune = { trials = 5, seconds = 600 }
        [ranking]
        split = { protocol = "leave-one-out" }
        metric = "ndcg@10"
        against = "als"
        [[ranking.case]]
        name = "popularity"
        config = "popularity.toml"
        [[ranking.case]]
        name = "als"
        config = "als.toml"
        set = { reg = 1000.0 }
        space = { reg = { low = 0.001, high = 0.1, scale = "log" } }
        [[ranking.case]]
        name = "cluster-als"
        config = "als.toml"
        clusters = 3
        space = { clusters = [2, 3] }
        [[ranking.case]]
        name = "gmf"
        config = "gmf.toml"
        space = { learning_rate = [0.001, 0.01], negatives = [2, 4] }
        "#,
    );
    let out = folder.path("out");
    let said = burnrec(RUN, &[&config, &raw, &out]).ok();
    assert!(!said.contains("No settings were searched"), "{said}");
    let record = |out: &Path, seed: u64, case: &str| -> Value {
        let path = out.join(format!("records/ranking-seed{seed}-{case}.case.json"));
        serde_json::from_slice(&std::fs::read(path).expect("a record")).expect("JSON")
    };
    for (seed, (case, trials)) in [0, 1]
        .into_iter()
        .flat_map(|seed| [("als", 5), ("cluster-als", 2), ("gmf", 4)].map(|case| (seed, case)))
    {
        let found = record(&out, seed, case);
        let tuned = &found["tuned"];
        assert_eq!((&tuned["trials"], &tuned["failed"]), (&trials.into(), &0.into()), "{case}: {tuned}");
        assert!(tuned["best"].as_f64() >= tuned["stood"].as_f64(), "{case}: {tuned}");
        // The model is trained with what was chosen, and its scores on valid are those of the search.
        for (key, value) in tuned["chosen"].as_object().expect("settings") {
            assert_eq!(&found["config"][key], value, "{case}: {key}");
        }
        assert_eq!(found["valid"]["ndcg@10"]["value"], tuned["best"], "{case}");
    }
    let reg = |found: &Value| found["config"]["reg"].as_f64().expect("a number");
    assert!(reg(&record(&out, 0, "als")) <= 0.1 && record(&out, 0, "popularity")["tuned"].is_null());
    let markdown = std::fs::read_to_string(out.join("report.md")).expect("the report");
    assert!(markdown.contains("5 settings or 600 s") && markdown.contains("reg 0.001 to 0.1"), "{markdown}");

    let out = folder.path("as-it-stands");
    let said = burnrec(&format!("{RUN} --no-tune --seeds 1"), &[&config, &raw, &out]).ok();
    assert!(said.contains("No settings were searched on this data"), "{said}");
    assert!(reg(&record(&out, 0, "als")) == 1000.0 && record(&out, 0, "als")["tuned"].is_null());

    let text = std::fs::read_to_string(&config).expect("the config");
    for (from, to, words) in [
        ("trials = 5", "trials = 1", ["tune.trials", "at least 2"]),
        ("space = { reg", "space = { rge", ["space of als", "rge"]),
        ("space = { clusters", "space = { dim", ["space of cluster-als", "dim"]),
    ] {
        let bad = folder.file("bad.toml", text.replace(from, to));
        burnrec("check {}", &[&bad]).fails(&words);
    }
}
