//! NeuMF starts from trained runs of GMF and MLP: at first it scores as the weighted sum of both. While the epoch is
//! chosen it starts from the weights that were not trained on valid, and in the refit from the final ones.

mod common;

use std::path::Path;

use burnrec_data::Prepared;

use burnrec_models::device::OpenDevice;
use burnrec_models::{Error, FitInput, Learner, Phase, Silent};
use burnrec_train::TrainConfig;
use burnrec_train::run::run;
use common::runs::{config, cpu, leave_one_out, scores};

const GMF: &str =
    "model = 'gmf'\ndim = 4\nepochs = 3\nbatch_size = 500\nlearning_rate = 0.02\ninit_std = 0.3";
const MLP: &str =
    "model = 'mlp'\ndim = 4\nepochs = 3\nbatch_size = 500\nlearning_rate = 0.02\ninit_std = 0.3";

fn data(seed: u64) -> Prepared {
    leave_one_out(80, 60, 2000, seed)
}

fn learner<'a>(
    config: &TrainConfig,
    train: &'a burnrec_data::Csr,
    data: &'a Prepared,
    phase: Phase,
    device: &'a OpenDevice,
) -> Result<Box<dyn Learner + 'a>, Error> {
    config.trainer.learner(&FitInput { train, data, phase, seed: config.run.seed, device })
}

/// Trains a config and saves its run; returns the scores of the chosen and of the final model.
fn save(text: &str, data: &Prepared, dir: &Path) -> [Vec<f32>; 2] {
    let trained = run(data, &config(text), &cpu(), None, &mut |_| Ok(()), &Silent).expect("a run");
    let recommender = trained.recommender;
    let chosen = recommender.chosen.as_ref().expect("kept, as others start from it");
    let both = [scores(&**chosen), scores(&*recommender.model)];
    recommender.save(dir).expect("saved");
    both
}

fn neumf(dir: &Path, more: &str) -> TrainConfig {
    let dir = dir.display();
    config(&format!(
        "model = 'neumf'\ndim = 4\nbatch_size = 500\n{more}\npretrained = {{ gmf = '{dir}/gmf', mlp = '{dir}/mlp', alpha = 0.3 }}"
    ))
}

#[test]
fn the_first_scores_are_the_weighted_sum_of_both_runs() {
    let (data, dir) = (data(5), tempfile::tempdir().expect("a directory"));
    let gmf = save(GMF, &data, &dir.path().join("gmf"));
    let mlp = save(MLP, &data, &dir.path().join("mlp"));
    assert_ne!(gmf[0], gmf[1], "the final fit is another one");
    let train = data.split.train.to_csr(data.users.len(), data.items.len());
    for (phase, at) in [(Phase::Choose, 0), (Phase::Refit, 1)] {
        let cpu = cpu();
        let neumf = learner(&neumf(dir.path(), ""), &train, &data, phase, &cpu).expect("a learner").model();
        for ((ours, gmf), mlp) in scores(&*neumf).iter().zip(&gmf[at]).zip(&mlp[at]) {
            let expected = 0.3 * gmf + 0.7 * mlp;
            assert!((ours - expected).abs() < 1e-5, "{phase}: {ours}, expected {expected}");
        }
    }
}

#[test]
fn runs_that_do_not_fit_are_refused() {
    let (ours, dir) = (data(5), tempfile::tempdir().expect("a directory"));
    let folder = |name: &str| dir.path().join(name);
    save(GMF, &ours, &folder("gmf"));
    save(MLP, &ours, &folder("mlp"));
    let refused = |data: &Prepared, config: &TrainConfig| {
        let train = data.split.train.to_csr(data.users.len(), data.items.len());
        let cpu = cpu();
        let learner = learner(config, &train, data, Phase::Choose, &cpu);
        learner.err().expect("refused").to_string()
    };
    let error = refused(&ours, &neumf(dir.path(), "layers = [16, 8, 5]"));
    assert!(error.starts_with("pretrained.mlp: found a run of mlp in "), "{error}");
    assert!(error.ends_with("expected a run of mlp with layers = [16, 8, 5]"), "{error}");
    let error = refused(&data(6), &neumf(dir.path(), ""));
    assert!(
        error.starts_with("pretrained.gmf: found a run on ") && error.contains("the same split"),
        "{error}"
    );
    std::fs::rename(folder("gmf"), folder("other")).expect("moved");
    std::fs::rename(folder("mlp"), folder("gmf")).expect("moved");
    let error = refused(&ours, &neumf(dir.path(), ""));
    assert!(error.ends_with("expected a run of gmf with dim = 4"), "{error}");
    let wrong = "model = 'mf'\npretrained = { gmf = 'a', mlp = 'b' }";
    let error = TrainConfig::from_table(toml::from_str(wrong).expect("TOML")).expect_err("mf").to_string();
    assert!(error.contains("expected no such key for mf: it is a setting of neumf"), "{error}");
}
