//! What the tests of whole runs share: prepared data, configs, the device, all scores of a model.

use burnrec_data::filter::Filters;
use burnrec_data::split::SplitConfig;
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_data::{Prepared, UserIx};
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::{DeviceChoice, Scorer};
use burnrec_train::TrainConfig;

/// Synthetic rows, split by leave-one-out with full ranking.
pub fn leave_one_out(users: u32, items: u32, rows: u32, seed: u64) -> Prepared {
    let dataset = synth(&SynthConfig::new(users, items, rows, seed)).expect("synthetic rows");
    let split = SplitConfig::LeaveOneOut { candidates: None };
    Prepared::build(dataset, None, None, &Filters::default(), &split, 1).expect("a split")
}

pub fn config(text: &str) -> TrainConfig {
    text.parse().expect("a config")
}

pub fn cpu() -> OpenDevice {
    device::open(DeviceChoice::Cpu).expect("the CPU")
}

/// Returns all scores, users by items.
pub fn scores(model: &dyn Scorer) -> Vec<f32> {
    let users: Vec<UserIx> = (0..model.n_users() as u32).map(UserIx).collect();
    let mut out = vec![f32::NAN; users.len() * model.n_items()];
    model.score_catalog(&users, &mut out);
    out
}
