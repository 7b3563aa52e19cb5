//! Checks rules that the compiler does not: which crates may depend on which, what a crate must not contain, the
//! metadata of published crates, the length of files, that all configs are accepted, and that the paths in
//! ARCHITECTURE.md exist.

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

fn manifest(folder: &str) -> toml::Table {
    toml::from_str(&text(Path::new(folder).join("Cargo.toml"))).expect("a manifest")
}

/// Returns the folders of the workspace's packages, except the root package.
fn members() -> Vec<String> {
    let members = manifest("")["workspace"]["members"].as_array().expect("members").clone();
    members.iter().map(|member| member.as_str().expect("a folder").to_owned()).collect()
}

/// Returns the workspace crates that a crate depends on, without its dev-dependencies.
fn edges(folder: &str) -> BTreeSet<String> {
    let table = manifest(folder);
    let names = table["dependencies"].as_table().expect("dependencies").keys();
    names.filter_map(|name| name.strip_prefix("burnrec-")).map(str::to_owned).collect()
}

#[test]
fn crates_depend_one_way() {
    let allowed: [(&str, &[&str]); 8] = [
        ("data", &[]),
        ("models", &["data"]),
        ("train", &["data", "models"]),
        ("serve", &["data", "models"]),
        ("benches", &["data", "models", "train", "serve"]),
        ("benches/measure", &["data", "models", "train", "bench"]),
        ("python", &[]),
        ("", &["data", "models", "train", "serve", "bench"]),
    ];
    for member in members() {
        assert!(allowed.iter().any(|(folder, _)| *folder == member), "may {member} depend on others?");
    }
    for (folder, allowed) in allowed {
        let allowed = allowed.iter().map(|&name| name.to_owned()).collect();
        let edges = edges(folder);
        assert!(edges.is_subset(&allowed), "{folder} depends on {edges:?}, allowed is {allowed:?}");
    }
}

#[test]
fn what_a_crate_never_holds() {
    let never: [(&str, &[&str]); 6] = [
        ("data", &["burn", "indicatif", "clap"]),
        ("models", &["polars", "indicatif", "clap"]),
        ("train", &["polars", "rdkafka", "indicatif", "clap"]),
        ("serve", &["polars", "burnrec-train", "indicatif", "clap"]),
        ("benches", &["polars", "rdkafka", "criterion", "indicatif", "clap"]),
        (
            "python",
            &["burnrec-", "polars", "burn", "rdkafka", "indicatif", "clap", "mimalloc", "libmimalloc-sys"],
        ),
    ];
    for (folder, never) in never {
        let manifest = manifest(folder);
        for table in ["dependencies", "dev-dependencies"] {
            let dependencies = manifest.get(table).and_then(toml::Value::as_table).into_iter().flatten();
            for (found, _) in dependencies {
                let is_never = |name: &&str| found == name || found.starts_with(&format!("{name}-"));
                assert!(!never.iter().any(is_never), "{folder} must not depend on {found}");
            }
        }
        for file in sources(&root().join(folder).join("src")) {
            let code = fs::read_to_string(&file).expect("source");
            let is_comment = |line: &str| line.trim_start().starts_with("//");
            let prints =
                |line: &str| line.contains("println!") && !line.contains("eprintln!") && !is_comment(line);
            assert!(!code.lines().any(prints), "{} prints", file.display());
        }
    }
}

#[test]
fn the_burn_version_said_is_the_one_pinned() {
    let dependencies = &manifest("")["workspace"]["dependencies"];
    let burn =
        dependencies.as_table().expect("dependencies").iter().filter(|(name, _)| name.starts_with("burn-"));
    let mut n = 0;
    for (name, dependency) in burn {
        let pinned = dependency["version"].as_str().expect("a version");
        assert_eq!(pinned, format!("={}", burnrec_models::BURN_VERSION), "{name}");
        n += 1;
    }
    assert!(n > 0, "burn is not pinned");
}

#[test]
fn a_published_crate_says_what_it_is() {
    let root = manifest("");
    let version = &root["workspace"]["package"]["version"];
    let mut published = BTreeSet::new();
    for folder in members().iter().map(String::as_str).chain([""]) {
        let package = manifest(folder)["package"].clone();
        if package.get("publish").and_then(toml::Value::as_bool) == Some(false) {
            continue;
        }
        for key in ["description", "license", "repository", "readme", "keywords", "categories", "include"] {
            assert!(package.get(key).is_some(), "{folder}/Cargo.toml has no {key}");
        }
        let packed = package["include"].as_array().expect("paths");
        let small = |path: &toml::Value| !path.as_str().is_some_and(|path| path.contains("records"));
        assert!(packed.iter().all(small), "{folder}: records of benches are not for the registry");
        published.insert(package["name"].as_str().expect("a name").to_owned());
    }
    for (name, dependency) in root["workspace"]["dependencies"].as_table().expect("dependencies") {
        if dependency.get("path").is_some() {
            assert!(published.contains(name), "{name} is depended on, and not published");
            assert_eq!(dependency.get("version"), Some(version), "{name} by path and by version");
        }
    }
}

#[test]
fn no_source_file_is_over_400_lines() {
    for folder in ["src", "data", "models", "train", "serve", "benches", "python", "tests"] {
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
fn the_architecture_is_one_page_and_names_real_places() {
    let page = text("ARCHITECTURE.md");
    assert!(page.lines().count() <= 105, "what is more than an overview is in docs/map.md");
    let places = real_places(&page);
    for folder in members().iter().map(String::as_str).chain(["src", "configs"]) {
        let within = |place: &String| *place == folder || place.starts_with(&format!("{folder}/"));
        assert!(places.iter().any(within), "ARCHITECTURE.md does not say what {folder}/ holds");
    }
    assert!(real_places(&text("docs/map.md")).len() > 50);
}

/// Returns the files and folders that a page names, which are there.
fn real_places(page: &str) -> BTreeSet<String> {
    let quoted =
        page.split('`').skip(1).step_by(2).filter(|name| name.contains('/') && !name.contains([' ', '<']));
    // Diagrams have no backquotes: there a word that begins with a folder of the repository is a path.
    let folders: Vec<String> = fs::read_dir(root())
        .expect("the repository")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .map(|path| format!("{}/", path.file_name().expect("a name").to_string_lossy()))
        .collect();
    let in_diagrams = page
        .split(|c: char| c.is_whitespace() || "`,:;()".contains(c))
        .filter(|word| folders.iter().any(|folder| word.starts_with(folder.as_str())));
    let mut places = BTreeSet::new();
    for name in quoted.chain(in_diagrams) {
        let place = name.split('#').next().expect("a first piece").trim_end_matches('.');
        assert!(root().join(place).exists(), "a page names `{name}`, which is not there");
        places.insert(place.trim_end_matches('/').to_owned());
    }
    places
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
