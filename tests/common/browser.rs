//! Headless Chromium.

#![allow(dead_code, reason = "each test file uses a part")]

use std::path::Path;
use std::process::Command;

/// Returns the root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns whether there is a browser; counts a skip where there is none.
pub fn browser() -> bool {
    for program in ["node", "chromium"] {
        if Command::new(program).arg("--version").output().is_err() {
            let why = format!("{program} is not there to open the page with");
            burnrec_data::testing::skipped("browser", &why);
            return false;
        }
    }
    true
}

/// Runs a script of `tests/browser/` on a page. The script must find nothing wrong, and it writes screenshots into
/// `out`.
pub fn look(script: &str, page: &str, out: &Path, texts: &[&str]) {
    let script = root().join("tests/browser").join(script);
    let ran = Command::new("node").arg(script).arg(page).arg(out).args(texts).output().expect("node starts");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    for picture in ["1280-light.png", "400-dark.png"] {
        assert!(out.join(picture).metadata().is_ok_and(|file| file.len() > 10_000), "{picture}: {said}");
    }
}
