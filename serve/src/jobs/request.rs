//! The job that the body of a `POST /batches` asks for (Livy, `CreateBatchRequest.scala`): every key is read or refused.

use serde_json::{Map, Value, json};

use super::config::{INSIDE, JobsConfig, check_command, leaves_root, starts_programs};
use super::store::Job;

/// The keys of Livy that a job here has no use for; a client may send them empty.
const UNUSED: [&str; 13] = [
    "proxyUser",
    "className",
    "jars",
    "pyFiles",
    "files",
    "driverCores",
    "executorMemory",
    "executorCores",
    "numExecutors",
    "archives",
    "queue",
    "heartbeatTimeoutInSecond",
    "ttl",
];

/// The keys that a job is made of.
const USED: [&str; 5] = ["file", "args", "name", "conf", "driverMemory"];

/// The one key of `conf`: how long the job may run, in seconds.
const SECONDS: &str = "burnrec.seconds";

/// Returns the job that a body asks for.
///
/// # Errors
/// The key, what was found and what was expected.
pub fn read(body: &[u8], config: &JobsConfig) -> Result<Job, String> {
    let asked: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("found {error}, expected a JSON object"))?;
    for (key, value) in &asked {
        if UNUSED.contains(&key.as_str()) {
            let is_empty = value.is_null() || [json!(""), json!([]), json!({})].contains(value);
            let expected = "none: a job is a command of burnrec in a process of its own";
            refuse_unless(is_empty, key, value, expected)?;
        } else if !USED.contains(&key.as_str()) {
            return Err(format!("{key}: found a key that is not known, expected one of {}", USED.join(", ")));
        }
    }
    let file = text(&asked, "file")?.ok_or("file: found none, expected a command")?;
    check_command(&file).map_err(|expected| format!("file: found {file:?}, expected {expected}"))?;
    let args = args(&asked)?;
    let name = text(&asked, "name")?;
    let seconds = seconds(&asked, config.seconds)?;
    let memory_mb = memory_mb(&asked, config.memory_mb)?;
    Ok(Job { name, seconds, memory_mb, ..config.job(file, args) })
}

fn refuse_unless(fits: bool, key: &str, found: &Value, expected: &str) -> Result<(), String> {
    if fits { Ok(()) } else { Err(format!("{key}: found {found}, expected {expected}")) }
}

/// Returns a text, if there is one that is not empty.
fn text(asked: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match asked.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(other) => Err(format!("{key}: found {other}, expected a text")),
    }
}

fn args(asked: &Map<String, Value>) -> Result<Vec<String>, String> {
    let args = match asked.get("args") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(args)) => args,
        Some(other) => return Err(format!("args: found {other}, expected a list of texts")),
    };
    let texts = args.iter().map(|arg| match arg {
        Value::String(text) if leaves_root(text) => Err(format!("args: found {arg}, expected {INSIDE}")),
        Value::String(text) if starts_programs(text) => {
            let expected = "none of librdkafka or steps, which start programs: the config alone says them";
            Err(format!("args: found {arg}, expected {expected}"))
        }
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("args: found {other}, expected a text")),
    });
    texts.collect()
}

/// Returns how long the job may run: what `conf` asks for, at most `most`.
fn seconds(asked: &Map<String, Value>, most: u64) -> Result<u64, String> {
    let conf = match asked.get("conf") {
        None | Some(Value::Null) => return Ok(most),
        Some(Value::Object(conf)) => conf,
        Some(other) => return Err(format!("conf: found {other}, expected an object with {SECONDS} or none")),
    };
    if let Some(key) = conf.keys().find(|key| *key != SECONDS) {
        return Err(format!("conf: found the key {key:?}, expected {SECONDS} alone"));
    }
    let Some(value) = conf.get(SECONDS) else { return Ok(most) };
    let asked = value.as_str().map_or_else(|| value.as_u64(), |text| text.parse().ok());
    asked
        .filter(|seconds| (1..=most).contains(seconds))
        .ok_or_else(|| format!("conf.{SECONDS}: found {value}, expected a whole number from 1 to {most}"))
}

/// Returns how much memory the job may hold, in MiB: what `driverMemory` asks for, at most `most`.
fn memory_mb(asked: &Map<String, Value>, most: u64) -> Result<u64, String> {
    let Some(size) = text(asked, "driverMemory")? else { return Ok(most) };
    megabytes(&size).filter(|size| (1..=most).contains(size)).ok_or_else(|| {
        format!("driverMemory: found {size:?}, expected a size such as 512m or 4g, at most {most} MiB")
    })
}

/// Returns a size such as `512m` or `4gb` in MiB, rounded up.
fn megabytes(size: &str) -> Option<u64> {
    let size = size.to_ascii_lowercase();
    let size = size.strip_suffix('b').unwrap_or(&size);
    let (number, shift) = [('k', 10), ('m', 20), ('g', 30), ('t', 40)]
        .iter()
        .find_map(|(unit, shift)| Some((size.strip_suffix(*unit)?, *shift)))?;
    let bytes = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    Some(bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(body: Value) -> Result<Job, String> {
        let config = JobsConfig { seconds: 100, memory_mb: 4000, ..JobsConfig::default() };
        read(body.to_string().as_bytes(), &config)
    }

    #[test]
    fn what_clients_of_livy_send_is_a_job() {
        // As LivyHook of Airflow and the PyPI package `livy` send it: what is not set is left out, null or empty.
        let found = job(json!({
            "file": "train", "args": ["als.toml", "--set", "dim=64", 7], "name": "nightly", "proxyUser": null, "jars": [],
            "className": "", "conf": { "burnrec.seconds": "60" }, "driverMemory": "1500K", "numExecutors": null
        }));
        let found = found.expect("a job");
        assert_eq!((found.file.as_str(), found.name.as_deref()), ("train", Some("nightly")));
        assert_eq!(found.args, ["als.toml", "--set", "dim=64", "7"]);
        assert_eq!((found.seconds, found.memory_mb), (60, 2));
        for conf in [json!(null), json!({})] {
            let found =
                job(json!({ "file": "drain", "args": null, "name": "", "conf": conf, "driverMemory": "" }));
            let found = found.expect("a job");
            assert_eq!((found.args, found.name, found.seconds, found.memory_mb), (vec![], None, 100, 4000));
        }
        assert_eq!(
            job(json!({ "file": "train", "conf": { "burnrec.seconds": 5 } })).expect("a job").seconds,
            5
        );
    }

    #[test]
    fn what_is_no_job_is_refused_by_key_found_and_expected() {
        for (key, value, message) in [
            ("file", json!("serve"), "file: found \"serve\", expected one of train, tune"),
            ("file", json!(""), "file: found none, expected a command"),
            ("file", json!(["train"]), "file: found [\"train\"], expected a text"),
            ("name", json!(7), "name: found 7, expected a text"),
            ("args", json!("x"), "args: found \"x\", expected a list of texts"),
            ("args", json!({}), "args: found {}, expected a list of texts"),
            ("args", json!([true]), "args: found true, expected a text"),
            ("args", json!(["../x"]), "args: found \"../x\", expected no path that is absolute"),
            ("args", json!(["--out=/etc"]), "args: found \"--out=/etc\", expected no path"),
            ("args", json!(["parts=[\"a\", \"/etc\"]"]), "expected no path that is absolute"),
            ("args", json!(["a/../../b"]), "expected no path that is absolute"),
            ("conf", json!("burnrec.seconds=5"), "conf: found \"burnrec.seconds=5\", expected an object"),
            ("conf", json!([]), "conf: found [], expected an object with burnrec.seconds"),
            ("conf", json!(60), "conf: found 60, expected an object"),
            (
                "conf",
                json!({ "spark.x": "1" }),
                "conf: found the key \"spark.x\", expected burnrec.seconds alone",
            ),
            ("conf", json!({ "burnrec.seconds": 5, "x": 1 }), "conf: found the key \"x\""),
            (
                "conf",
                json!({ "burnrec.seconds": null }),
                "conf.burnrec.seconds: found null, expected a whole number from 1 to 100",
            ),
            ("conf", json!({ "burnrec.seconds": 101 }), "conf.burnrec.seconds: found 101"),
            ("conf", json!({ "burnrec.seconds": 1.5 }), "conf.burnrec.seconds: found 1.5"),
            (
                "driverMemory",
                json!("9g"),
                "driverMemory: found \"9g\", expected a size such as 512m or 4g, at most 4000 MiB",
            ),
            ("driverMemory", json!("512"), "driverMemory: found \"512\", expected a size"),
            ("driverMemory", json!("0m"), "driverMemory: found \"0m\""),
            ("driverMemory", json!(512), "driverMemory: found 512, expected a text"),
            ("jars", json!(["x.jar"]), "jars: found [\"x.jar\"], expected none"),
            ("driverCores", json!(0), "driverCores: found 0, expected none"),
            ("shell", json!(null), "shell: found a key that is not known, expected one of file, args"),
        ] {
            let mut body = json!({ "file": "train" });
            body[key] = value;
            let error = job(body.clone()).expect_err("it is refused");
            assert!(error.contains(message), "{body}: {error}");
        }
        let error = read(b"[]", &JobsConfig::default()).expect_err("it is refused");
        assert!(error.contains("expected a JSON object"), "{error}");
    }
}
