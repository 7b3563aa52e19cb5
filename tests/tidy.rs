//! Holds what the compiler cannot: the crate edges, the configs, and that ARCHITECTURE.md names real places.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The crates of the workspace that a crate depends on, tests aside.
fn edges(manifest: &str) -> BTreeSet<String> {
    let table: toml::Table = toml::from_str(&text(manifest)).expect("a manifest");
    let names = table["dependencies"].as_table().expect("dependencies").keys();
    names.filter_map(|name| name.strip_prefix("burnrec-")).map(str::to_owned).collect()
}

#[test]
fn crates_depend_one_way() {
    let allowed: [(&str, &[&str]); 5] = [
        ("data/Cargo.toml", &[]),
        ("models/Cargo.toml", &["data"]),
        ("train/Cargo.toml", &["data", "models"]),
        ("serve/Cargo.toml", &["data", "models"]),
        ("benches/Cargo.toml", &["data", "models", "train", "serve"]),
    ];
    for (manifest, allowed) in allowed {
        let allowed = allowed.iter().map(|&name| name.to_owned()).collect();
        let edges = edges(manifest);
        assert!(edges.is_subset(&allowed), "{manifest} depends on {edges:?}, allowed is {allowed:?}");
    }
}

#[test]
fn what_a_crate_never_holds() {
    let never: [(&str, &[&str]); 4] = [
        ("data", &["burn", "indicatif", "clap"]),
        ("models", &["polars", "indicatif", "clap"]),
        ("train", &["polars", "rdkafka", "indicatif", "clap"]),
        ("serve", &["polars", "burnrec-train", "indicatif", "clap"]),
    ];
    for (folder, never) in never {
        let manifest: toml::Table =
            toml::from_str(&text(format!("{folder}/Cargo.toml"))).expect("a manifest");
        let dependencies = manifest["dependencies"].as_table().expect("dependencies");
        for name in never {
            assert!(!dependencies.contains_key(*name), "{folder} must not depend on {name}");
        }
        for file in sources(&root().join(folder).join("src")) {
            let code = fs::read_to_string(&file).expect("source");
            let prints = |line: &str| line.contains("println!") && !line.contains("eprintln!");
            assert!(!code.lines().any(prints), "{} prints", file.display());
        }
    }
}

#[test]
fn the_burn_version_said_is_the_one_pinned() {
    let table: toml::Table = toml::from_str(&text("Cargo.toml")).expect("a manifest");
    let pinned = table["workspace"]["dependencies"]["burn"]["version"].as_str().expect("a version");
    assert_eq!(pinned, format!("={}", burnrec_models::BURN_VERSION));
}

#[test]
fn no_source_file_is_over_400_lines() {
    for folder in ["src", "data", "models", "train", "serve", "benches", "tests"] {
        for file in sources(&root().join(folder)) {
            let lines = fs::read_to_string(&file).expect("source").lines().count();
            assert!(lines <= 400, "{} has {lines} lines", file.display());
        }
    }
}

#[test]
fn every_config_is_accepted() {
    let configs = fs::read_dir(root().join("configs")).expect("configs");
    let mut n = 0;
    for config in configs.map(|entry| entry.expect("an entry").path()) {
        let out =
            Command::new(env!("CARGO_BIN_EXE_burnrec")).arg("check").arg(&config).output().expect("runs");
        assert!(out.status.success(), "{}: {}", config.display(), String::from_utf8_lossy(&out.stderr));
        n += 1;
    }
    assert!(n > 3, "only {n} configs");
}

#[test]
fn the_architecture_page_names_real_places() {
    let page = text("ARCHITECTURE.md");
    let mut n = 0;
    for name in
        page.split('`').skip(1).step_by(2).filter(|name| name.contains('/') && !name.contains([' ', '<']))
    {
        let place = name.split('#').next().expect("a first piece");
        assert!(root().join(place).exists(), "ARCHITECTURE.md names `{name}`, which is not there");
        n += 1;
    }
    assert!(n > 10, "ARCHITECTURE.md names only {n} places");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}
