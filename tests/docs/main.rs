//! Tests the pages README, docs/ and CONTRIBUTING: their commands run, their configs are accepted, their links resolve,
//! and the files that they name exist.

mod commands;
mod pages;
mod sandbox;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pages::Page;
use sandbox::Sandbox;

/// The top folders of the repository. A word of a page that begins with one of them and a slash is taken for a path.
const FOLDERS: [&str; 13] = [
    ".ci", "benches", "configs", "data", "deploy", "docs", "examples", "models", "python", "serve", "src",
    "tests", "train",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the pages with commands in reading order: README, the chapters of the book, CONTRIBUTING.
fn pages() -> Vec<Page> {
    let summary = Page::read("docs/SUMMARY.md");
    let chapters = summary.links().into_iter().map(|link| format!("docs/{}", link.target));
    let names = ["README.md".to_owned()].into_iter().chain(chapters).chain(["CONTRIBUTING.md".to_owned()]);
    names.map(|name| Page::read(&name)).collect()
}

#[test]
fn every_command_runs_as_it_stands() {
    commands::run_all(&pages());
}

#[test]
fn every_config_is_accepted() {
    let sandbox = Sandbox::new("configs");
    let pages = pages();
    let blocks = pages.iter().flat_map(|page| page.blocks()).filter(|block| block.language == "toml");
    let mut n = 0;
    for block in blocks {
        fs::write(sandbox.path("config.toml"), block.text()).expect("a config");
        sandbox.run("burnrec check config.toml").ok(&block.place);
        n += 1;
    }
    assert!(n >= 2, "only {n} configs");
}

#[test]
fn a_block_says_what_it_is() {
    for block in pages().iter().flat_map(Page::blocks) {
        // `python/tests/test_docs.py` runs those in Python.
        let known =
            ["sh", "toml", "rust,no_run", "python", "json", "text"].contains(&block.language.as_str());
        assert!(known, "{}: found a block of {:?}, expected one that is tested", block.place, block.language);
    }
}

#[test]
fn every_page_is_in_the_book() {
    let listed: BTreeSet<String> =
        Page::read("docs/SUMMARY.md").links().into_iter().map(|link| link.target).collect();
    let entries = fs::read_dir(root().join("docs")).expect("docs");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let there: BTreeSet<String> =
        names.filter(|name| name.ends_with(".md") && name != "SUMMARY.md").collect();
    assert_eq!(listed, there, "docs/SUMMARY.md lists other pages than docs/ has");
}

#[test]
fn every_link_leads_somewhere() {
    let mut pages = pages();
    pages.extend(["ARCHITECTURE.md", "CHANGELOG.md", "docs/SUMMARY.md"].map(Page::read));
    let mut n = 0;
    for page in &pages {
        for link in page.links().iter().filter(|link| !link.target.contains("://")) {
            let (file, anchor) = link.target.split_once('#').unwrap_or((&link.target, ""));
            let folder = Path::new(&page.name).parent().unwrap_or(Path::new(""));
            let path =
                if file.is_empty() { PathBuf::from(&page.name) } else { within(&folder.join(file), link) };
            assert!(root().join(&path).exists(), "{}: {} is not there", link.place, path.display());
            let in_book = |path: &Path| path.starts_with("docs");
            let left = in_book(Path::new(&page.name)) && !in_book(&path);
            assert!(!left, "{}: {} is not in the book, where the link would break", link.place, link.target);
            if !anchor.is_empty() {
                let name = path.to_str().expect("UTF-8");
                let anchors = Page::read(name).anchors();
                assert!(
                    anchors.iter().any(|known| known == anchor),
                    "{}: {name} has {anchors:?}",
                    link.place
                );
            }
            n += 1;
        }
    }
    assert!(n > 15, "only {n} links");
}

/// Returns a path in the repository with `.` and `..` resolved.
fn within(path: &Path, link: &pages::Link) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                assert!(clean.pop(), "{}: {} leaves the repository", link.place, link.target);
            }
            part => clean.push(part),
        }
    }
    clean
}

#[test]
fn every_file_named_is_there() {
    let mut n = 0;
    for page in pages() {
        for (place, path) in page.paths(&FOLDERS) {
            assert!(root().join(&path).exists(), "{place}: {path} is not there");
            n += 1;
        }
    }
    assert!(n > 50, "only {n} paths");
}

#[test]
fn readme_configs_and_compose_name_the_same_run() {
    let text = |name: &str| fs::read_to_string(root().join(name)).expect("a file");
    let run = |name: &str| {
        let config: toml::Table = toml::from_str(&text(name)).expect("TOML");
        config["models"]["main"]["run"].as_str().expect("a run").to_owned()
    };
    let served = run("configs/serve.toml");
    assert_eq!(run("configs/http.toml"), served);
    for page in ["README.md", "compose.yaml"] {
        assert!(text(page).contains(&format!("--out {served}")), "{page} makes no {served}");
    }
}
