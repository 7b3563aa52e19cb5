//! The live page of a running service in headless Chromium.

mod common;

use std::path::Path;
use std::process::Command;

use common::kafka::Serving;
use common::{Folder, burnrec};

#[test]
fn the_page_draws_the_flow() {
    for program in ["node", "chromium"] {
        if Command::new(program).arg("--version").output().is_err() {
            burnrec_data::testing::skipped(
                "browser",
                &format!("{program} is not there to open the page with"),
            );
            return;
        }
    }
    let folder = Folder::new();
    let (raw, data, run) = (folder.path("raw"), folder.path("data"), folder.path("run"));
    burnrec("synth --users 100 --items 80 --rows 3000 --out {}", &[&raw]).ok();
    burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    burnrec("train {} --data {} --out {}", &[&root.join("configs/popularity.toml"), &data, &run]).ok();
    let config = folder.file("serve.toml", format!("models.shown.run = {run:?}\n"));
    let mut serving = Serving::start(&folder, "page", &config, &[]);
    serving.ready();
    let out = folder.path("pictures");
    let ran = Command::new("node")
        .arg(root.join("serve/tests/page/page.mjs"))
        .arg(format!("http://{}/", serving.http))
        .arg(&out)
        .arg("shown")
        .output()
        .expect("node starts");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    for picture in ["1280-light.png", "400-dark.png"] {
        assert!(out.join(picture).metadata().is_ok_and(|file| file.len() > 10_000), "{picture}: {said}");
    }
    assert_eq!(serving.stop(), Some(0));
}
