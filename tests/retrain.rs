//! `retrain` and `release` as an operator runs them.

mod common;

use std::path::Path;

use common::{Folder, burnrec};

#[test]
fn a_better_model_is_promoted_a_worse_one_is_kept_for_a_look() {
    let folder = Folder::new();
    let (raw, releases) = (folder.path("raw"), folder.path("releases"));
    burnrec("synth --users 800 --items 90 --rows 24000 --out {}", &[&raw]).ok();
    let config = |name: &str, train: &Path| {
        let text = format!(
            "ratings = {raw:?}\ntrain = {train:?}\nreleases = {releases:?}\nwork = {:?}\nkeep = 2\n[gate]\nnot_worse_by = 0.002\nusers = 50",
            folder.path("work")
        );
        folder.file(name, text)
    };
    let popularity = config("popularity.toml", &folder.file("p.toml", "model = 'popularity'\nepochs = 1"));
    let ease = config("ease.toml", &folder.file("e.toml", "model = 'ease'\nepochs = 1\nreg = 50"));
    let tuned = "model = 'ease'\nepochs = 1\n[search]\nmethod = 'grid'\nspace = { reg = [30.0, 100.0] }";
    let tuned = config("tuned.toml", &folder.file("t.toml", tuned));
    let promoted = || {
        let list = burnrec("release list {} --json", &[&releases]).json();
        let all = list.as_array().expect("a list").clone();
        all.iter().find(|release| release["promoted"] == true).expect("one")["published"]["release"].as_u64()
    };

    let first = burnrec("retrain {} --json", &[&popularity]).json();
    assert_eq!((first["release"].as_u64(), first["promoted"].as_bool()), (Some(1), Some(true)), "{first}");
    let second = burnrec("retrain {} --json --by cron", &[&ease]).json();
    assert!(second["serving"]["interval"][0].as_f64() > Some(0.0), "{second}");
    assert_eq!(promoted(), Some(2));
    burnrec("retrain {}", &[&popularity]).fails(&["release 3 is not promoted: ndcg@10 is", "stays in"]);
    assert_eq!(promoted(), Some(2));
    let fourth = burnrec("retrain {} --json", &[&tuned]).json();
    assert_eq!(fourth["promoted"], true, "{fourth}");
    burnrec("release rollback {} --note {}", &[&releases, Path::new("slow")]).ok();
    assert_eq!(promoted(), Some(2));
    let log = burnrec("release list {} --log", &[&releases]).ok();
    let line = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    assert_eq!(
        (line("publish"), line("promote"), line("rollback"), line("prune"), line("refused: ndcg@10")),
        (4, 3, 1, 1, 1),
        "{log}"
    );
    assert!(log.contains("cron") && log.contains("slow"), "{log}");
    let user = burnrec("recommend {} --user 1 --json", &[&releases.join("promoted")]).json();
    assert_eq!(user["items"].as_array().map(Vec::len), Some(10), "{user}");

    let fifth = "BURNREC__SEED=7 BURNREC__TRAIN__REG=33 retrain {} --set train.seed=8 --set gate.not_worse_by=1 --json";
    assert_eq!(burnrec(fifth, &[&ease]).json()["release"], 5);
    let read = |file: &str| std::fs::read_to_string(folder.path("work").join(file)).expect("a file");
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    let settings = &json(read("run/manifest.json"))["record"]["config"];
    assert_eq!((settings["reg"].as_f64(), settings["seed"].as_u64()), (Some(33.0), Some(8)), "{settings}");
    assert_eq!(json(read("data/manifest.json"))["seed"], 7);

    burnrec("BURNREC__REG=33 retrain {}", &[&ease]).fails(&["ease.toml", "reg"]);
    burnrec("retrain {} --set train.reg=-1.0", &[&ease]).fails(&["e.toml", "reg: found -1"]);
    burnrec("check {} --set train.reg=-1.0", &[&ease]).fails(&["e.toml", "reg: found -1"]);
    burnrec("BURNREC__SERVICE__HTTP__TOKEN=x retrain {}", &[&ease])
        .fails(&["environment variable BURNREC__SERVICE__HTTP__TOKEN: found no `service` in"]);
    let service = format!("service={}", folder.file("s.toml", "models.main.run = 'x'").display());
    burnrec("retrain {} --set {} --set service.http.tokenz=x", &[&ease, Path::new(&service)])
        .fails(&["s.toml", "http", "tokenz"]);
    burnrec("retrain {} --set gate.metric=coverage@10", &[&ease]).fails(&["gate.metric: found coverage@10"]);
    burnrec("retrain {} --set gate.users=0", &[&ease])
        .fails(&["ease.toml", "gate.users: found 0, expected at least 1"]);
    burnrec("retrain {} --set kep=3", &[&ease]).fails(&["ease.toml", "kep"]);
    burnrec("release promote {} 77", &[&releases]).fails(&["release: found 77, expected one of"]);
}
