//! Runs every program in examples/.

use std::path::Path;
use std::process::Command;

#[test]
fn every_example_runs() {
    let program = Path::new(env!("CARGO_BIN_EXE_burnrec"));
    let built = program.parent().expect("a program lies in a folder").join("examples");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut n = 0;
    for source in std::fs::read_dir(sources).expect("examples") {
        let source = source.expect("an entry").path();
        if source.extension().is_none_or(|of| of != "rs") {
            continue;
        }
        let example = built.join(source.file_stem().expect("a file has a name"));
        assert!(
            example.exists(),
            "{} is not built; `cargo test` builds it, and so does `cargo build --release --examples`",
            example.display()
        );
        let folder = tempfile::tempdir().expect("a folder");
        let out =
            Command::new(&example).current_dir(&folder).env("TMPDIR", folder.path()).output().expect("runs");
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{}: {stderr}", example.display());
        assert!(!out.stdout.is_empty(), "{} says nothing", example.display());
        n += 1;
    }
    assert!(n >= 5, "only {n} examples");
}
