//! Runs the scripts under `benches/peers/` on the rows that burnrec is trained on.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use burnrec_data::Csr;
use serde_json::Value;

/// Writes a matrix as lines `user,item,value`, where users and items are indices from 0.
///
/// # Errors
/// When the file cannot be written.
pub fn write_rows(path: &Path, matrix: &Csr) -> io::Result<()> {
    let mut text = String::from("user,item,value\n");
    for user in 0..matrix.n_rows() {
        let (items, values) = matrix.row(user);
        for (item, value) in items.iter().zip(values) {
            writeln!(text, "{user},{item},{value}").map_err(io::Error::other)?;
        }
    }
    std::fs::write(path, text)
}

/// Runs a script and reads the record that it prints. The environment variable `PYTHON` names an interpreter that has
/// `benches/peers/requirements.txt`; by default it is `python3`. `BURNREC_PEERS` names the folder of the scripts, for a
/// program that runs on another machine than the one that built it.
///
/// # Errors
/// When the script cannot be started, fails (the error has its stderr), or prints no record.
pub fn run(script: &str, args: &[&str]) -> io::Result<Value> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let folder = std::env::var_os("BURNREC_PEERS").map(PathBuf::from);
    let script = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")).join(script);
    let output = Command::new(&python).arg(&script).args(args).output().map_err(|error| {
        io::Error::other(format!("cannot run {python}: {error}; PYTHON names the interpreter to take"))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{}: {said}", script.display())));
    }
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

/// Returns a number of a record by its JSON pointer.
///
/// # Errors
/// When the record has no number there.
pub fn figure(record: &Value, pointer: &str) -> io::Result<f64> {
    let found = record.pointer(pointer).and_then(Value::as_f64);
    found.ok_or_else(|| io::Error::other(format!("the peer's record has no number at {pointer}")))
}
