//! Blends of trained runs: while weights are chosen on valid the parts are those that were not trained on it, and in the refit
//! the final ones.

mod common;

use std::path::Path;

use burnrec_data::Prepared;
use burnrec_models::blend::{Blend, BlendConfig, Part};
use burnrec_models::saved::Stage;
use burnrec_models::{FitInput, Phase, Recommender, Silent};
use burnrec_train::Error;
use burnrec_train::run::run;
use burnrec_train::tune::{TrialRecord, TuneConfig, search};
use common::runs::{config, cpu, leave_one_out, scores};

const ALS: &str = "model = 'als'\ndim = 4\nepochs = 3\nrecency = { rows = 3 }";
const EASE: &str = "model = 'ease'\nepochs = 1\nreg = 20";

fn data(seed: u64) -> Prepared {
    leave_one_out(80, 60, 2000, seed)
}

fn trained(text: &str, data: &Prepared) -> Result<Recommender, Error> {
    Ok(run(data, &config(text), &cpu(), None, &mut |_| Ok(()), &Silent)?.recommender)
}

fn save(text: &str, data: &Prepared, dir: &Path) {
    trained(text, data).expect("a run").save(dir).expect("saved");
}

fn blend(dir: &Path, more: &str) -> String {
    let dir = dir.display();
    format!("model = 'blend'\nepochs = 1\nreads_order = true\n{more}\nparts = ['{dir}/als', '{dir}/ease']")
}

#[test]
fn no_part_knows_what_it_is_judged_by() {
    let (data, dir) = (data(5), tempfile::tempdir().expect("a folder"));
    for (text, name) in [(ALS, "als"), (EASE, "ease")] {
        save(&format!("keep_chosen = true\n{text}"), &data, &dir.path().join(name));
    }
    let text = blend(dir.path(), "weights = [1.0, 0.5]");
    let (config, device) = (config(&text), cpu());
    let rows = |refit: bool| {
        let train = data.matrix(&data.split.train, true);
        let valid = data.matrix(&data.split.valid_rows, true);
        if refit { train.union(&valid, 0..train.n_rows()) } else { train }
    };
    let mut both = Vec::new();
    for (phase, stage) in [(Phase::Choose, Stage::Chosen), (Phase::Refit, Stage::Final)] {
        let train = rows(phase == Phase::Refit);
        let fit = FitInput { train: &train, data: &data, phase, seed: 1, device: &device };
        let found = scores(&*config.trainer.learner(&fit).expect("a learner").model());
        let parts =
            ["als", "ease"].map(|name| Part::open(&dir.path().join(name), stage, &device).expect("a part"));
        let settings = config.model().get::<BlendConfig>().expect("a blend's").clone();
        assert_eq!(found, scores(&Blend::new(settings, parts.into(), &train).expect("a blend")), "{phase}");
        both.push(found);
    }
    assert_ne!(both[0], both[1], "the final parts are others");
    // The run ends with the final parts, and is saved with them.
    let run = trained(&text, &data).expect("a run");
    assert_eq!(scores(&*run.model), both[1]);
    run.save(dir.path().join("blend")).expect("saved");
    assert_eq!(scores(&*Recommender::open(dir.path().join("blend")).expect("opened").model), both[1]);
}

#[test]
fn parts_that_cannot_be_judged_on_valid_or_are_of_other_data_are_refused() {
    let (ours, dir) = (data(5), tempfile::tempdir().expect("a folder"));
    save(&format!("keep_chosen = true\n{ALS}"), &ours, &dir.path().join("als"));
    let text = blend(dir.path(), "weights = [1.0, 0.5]");
    let refused = |data: &Prepared| trained(&text, data).err().expect("refused").to_string();
    save(EASE, &ours, &dir.path().join("ease"));
    let error = refused(&ours);
    let words = ["ease: found a run that kept no weights from before", "keep_chosen = true"];
    assert!(words.iter().all(|words| error.contains(words)), "{error}");
    // Without a refit the final weights are those that were chosen on valid.
    save(&format!("refit = false\n{EASE}"), &ours, &dir.path().join("ease"));
    trained(&text, &ours).expect("a blend");
    let error = refused(&data(6));
    assert!(error.starts_with("parts: found a run on ") && error.contains("the same split"), "{error}");
    let error = trained("model = 'blend'\nepochs = 1", &ours).err().expect("refused").to_string();
    assert!(error.starts_with("parts: found none, expected the directories of the runs to blend"), "{error}");
}

#[test]
fn a_search_chooses_weights_on_valid_and_not_by_folds() {
    let (data, dir) = (data(5), tempfile::tempdir().expect("a folder"));
    for (text, name) in [(ALS, "als"), (EASE, "ease")] {
        save(&format!("keep_chosen = true\n{text}"), &data, &dir.path().join(name));
    }
    let tune = |more: &str, out: &str| {
        let text = format!(
            "{}\n[search]\n{more}\n[search.space]\nweights = [[1, 0], [1, 1], [0, 1]]",
            blend(dir.path(), "")
        );
        let config = TuneConfig::from_table(toml::from_str(&text).expect("TOML")).expect("a search");
        search(&data, &config, &cpu(), &dir.path().join(out), false, &mut |_| Ok(()), &Silent)
    };
    let found = tune("", "plain").expect("a search").trials;
    assert_eq!(found.len(), 3);
    let alone = |name: &str| {
        let run = Recommender::open(dir.path().join(name)).expect("a run");
        run.record["metrics"]["valid"]["ndcg@10"]["value"].as_f64().expect("a value")
    };
    // A part alone is judged as its own run was.
    for (weights, name) in [([1, 0], "als"), ([0, 1], "ease")] {
        let of = |trial: &&TrialRecord| trial.settings["weights"] == serde_json::json!(weights);
        let trial = found.iter().find(of).expect("a trial");
        assert!((trial.value().expect("a value") - alone(name)).abs() < 1e-9, "{name}: {trial:?}");
    }
    let error = tune("folds = 3", "folds").expect_err("refused").to_string();
    assert!(error.starts_with("parts: found with search.folds"), "{error}");
}
