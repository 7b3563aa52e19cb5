//! Opens the page of a running service and the page of a report in headless Chromium.

mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::browser::{browser, look, root};
use common::kafka::Serving;
use common::{Folder, burnrec, free_address, trained};

#[test]
fn the_service_draws_its_flow() {
    if !browser() {
        return;
    }
    let folder = Folder::new();
    let (raw, data, run) = (folder.path("raw"), folder.path("data"), folder.path("run"));
    burnrec("synth --users 100 --items 80 --rows 3000 --out {}", &[&raw]).ok();
    burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    burnrec("train {} --data {} --out {}", &[&root().join("configs/popularity.toml"), &data, &run]).ok();
    let config = folder.file("serve.toml", format!("models.shown.run = {run:?}\n"));
    let serving = Serving::start(&folder, "page", &config, &[]);
    serving.ready();
    look("flow.mjs", &format!("http://{}/", serving.http), &folder.path("pictures"), &["shown"]);
    assert_eq!(serving.stop(), Some(0));
}

/// Starts a service with two models that is controlled; returns it, the address of control and the file of a token that may do
/// everything.
fn controlled(folder: &Folder, run: &Path) -> (Serving, SocketAddr, PathBuf) {
    let port = free_address();
    let tokens = folder.path("tokens.toml");
    let token = burnrec("ctl token ops --role admin --tokens {}", &[&tokens]).ok();
    let text = format!(
        "models.main.run = {run:?}\nmodels.next.run = {run:?}\n[[routes]]\nmodels = {{ main = 1, next = 0 }}\n\
         [control]\ndir = {:?}\n[control.http]\nlisten = '{port}'\ntokens = {tokens:?}",
        folder.path("control")
    );
    let serving = Serving::start(folder, "page", &folder.file("serve.toml", text), &[]);
    serving.ready();
    (serving, port, folder.file("token", &token))
}

#[test]
fn the_page_controls_the_service() {
    if !browser() {
        return;
    }
    let folder = Folder::new();
    let run = trained(&folder, "--users 100 --items 80 --rows 3000", "popularity.toml", "");
    let (serving, port, token) = controlled(&folder, &run);
    let secret = std::fs::read_to_string(&token).expect("a token");
    look("control.mjs", &format!("http://{port}/"), &folder.path("pictures"), &[secret.trim()]);
    let line = format!("ctl --at http://{port} --token-file {{}} --json versions");
    let versions = burnrec(&line, &[&token]).json();
    let notes: Vec<&str> =
        versions.as_array().expect("versions").iter().filter_map(|of| of["note"].as_str()).collect();
    assert_eq!(notes, ["", "three to one", "", "a look was had", "enough"]);
    assert!(versions[4]["by"] == "ops" && versions[4]["act"] == "rollback", "{versions}");
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn no_page_of_another_site_acts_in_the_name_of_who_looks() {
    if !browser() {
        return;
    }
    let folder = Folder::new();
    let run = trained(&folder, "--users 100 --items 80 --rows 3000", "popularity.toml", "");
    let (serving, port, token) = controlled(&folder, &run);
    let script = root().join("tests/browser/hostile.mjs");
    let mut node = Command::new("node");
    node.arg(script).args([format!("http://{}/", serving.http), format!("http://{port}/")]);
    let ran = node.output().expect("node starts");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("13 attacks are refused"), "{said}");
    assert_eq!(serving.metric("burnrec_users_with_history"), Some(0.0), "no event was taken");
    let line = format!("ctl --at http://{port} --token-file {{}} --json");
    assert_eq!(burnrec(&format!("{line} status"), &[&token]).json()["newest"], 1);
    let audit = burnrec(&format!("{line} audit"), &[&token]).json();
    let refused = audit.as_array().expect("lines").iter().filter(|line| line["status"] == 401).count();
    assert!(refused >= 2, "{audit}");
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn the_report_draws_its_charts() {
    if !browser() {
        return;
    }
    let folder = Folder::new();
    let (raw, out) = (folder.path("raw"), folder.path("out"));
    burnrec("synth --users 300 --items 200 --rows 12000 --out {}", &[&raw]).ok();
    let config = root().join("configs/bench.toml");
    let said = burnrec("bench {} --data {} --out {} --quick --device cpu", &[&config, &raw, &out]).ok();
    let page: PathBuf = out.join("report.html");
    assert!(said.contains(&page.display().to_string()), "{said}");
    let texts = ["NeuMF, pretrained", "Cluster + ALS", "synthetic", "RMSE", "95 %", "Holm"];
    look("report.mjs", &page.display().to_string(), &folder.path("pictures"), &texts);
}
