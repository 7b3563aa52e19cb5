//! Runs of a model that reads the order of histories: the order goes from the prepared data through both fits into the saved
//! run, and data that has none is refused with what to do. Ratings that change over time are judged at the times of their rows.

use burnrec_data::draws::mixed;
use burnrec_data::filter::Filters;
use burnrec_data::split::SplitConfig;
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_data::{Csr, Prepared, UserIx};
use burnrec_models::bpmf::BpmfConfig;
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::transition::TransitionConfig;
use burnrec_models::{DeviceChoice, Recommender, Silent};
use burnrec_train::TrainConfig;
use burnrec_train::metrics::Metric;
use burnrec_train::run::{Trained, run};

const LEAVE_ONE_OUT: SplitConfig = SplitConfig::LeaveOneOut { candidates: None };
const USER_HOLDOUT: SplitConfig = SplitConfig::UserHoldout { valid_users: 20, test_users: 20, fold_in: 0.8 };

fn prepared(split: SplitConfig) -> Prepared {
    let dataset = synth(&SynthConfig::new(200, 150, 6_000, 4)).expect("drawn rows");
    Prepared::build(dataset, None, None, &Filters::default(), &split, 5).expect("a split")
}

fn cpu() -> OpenDevice {
    device::open(DeviceChoice::Cpu).expect("the CPU")
}

fn config() -> TrainConfig {
    TransitionConfig { window: 5, decay: 2.0, reg: 20.0 }.into()
}

fn trained(data: &Prepared) -> burnrec_train::Result<Trained> {
    run(data, &config(), &cpu(), None, &mut |_| Ok(()), &Silent)
}

fn error(data: &Prepared) -> String {
    trained(data).err().expect("refused").to_string()
}

fn catalog(run: &Recommender) -> Vec<f32> {
    let users: Vec<UserIx> = (0..run.model.n_users() as u32).map(UserIx).collect();
    let mut out = vec![f32::NAN; users.len() * run.model.n_items()];
    run.model.score_catalog(&users, &mut out);
    out
}

#[test]
fn the_last_fit_has_the_rows_of_valid_as_the_newest() {
    let data = prepared(LEAVE_ONE_OUT);
    let trained = trained(&data).expect("a run");
    let run = trained.recommender;
    for (row, user) in data.split.valid.users.iter().enumerate() {
        let newest = run.seen.history(user.at()).last().expect("rows").col;
        assert_eq!(newest, data.split.valid.relevant.row(row).0[0]);
    }
    assert!(trained.record.metrics.test.value(Metric::Ndcg(10)).is_some_and(|ndcg| ndcg > 0.0));
    // The saved run scores as before, and a guest with the last items of a user as that user.
    let folder = tempfile::tempdir().expect("a folder");
    run.save(folder.path().join("run")).expect("a saved run");
    let opened = Recommender::open(folder.path().join("run")).expect("the run");
    assert_eq!(opened.seen, run.seen);
    assert_eq!(catalog(&opened), catalog(&run));
    let user = data.users.id(7).to_string();
    let last = run.seen.history(7).into_iter().rev().take(5).rev();
    let last: Vec<(String, f32)> =
        last.map(|entry| (data.items.id(entry.col).to_string(), entry.value)).collect();
    let guest = opened.fold_in(&last).expect("a guest");
    let items: Vec<String> = (0..20).map(|item| data.items.id(item).to_string()).collect();
    let pairs: Vec<(&String, &String)> = items.iter().map(|item| (&user, item)).collect();
    assert_eq!(guest.score(&items), opened.score(&pairs));
    let turned: Vec<(String, f32)> = last.into_iter().rev().collect();
    let other = opened.fold_in(&turned).expect("another guest");
    assert_ne!(other.score(&items), opened.score(&pairs), "the order of the list is the order of the rows");
    assert!(opened.model.factors().is_none() && opened.similar(&items[0], 3).is_err());
}

#[test]
fn users_without_training_rows_are_judged_from_their_histories() {
    let scores = trained(&prepared(USER_HOLDOUT)).expect("a run").record.metrics.test;
    assert_eq!(scores.users, 20);
    assert!(scores.value(Metric::Ndcg(10)).is_some_and(|ndcg| ndcg > 0.0));
}

#[test]
fn data_without_an_order_is_refused_with_what_to_do() {
    let mut data = prepared(LEAVE_ONE_OUT);
    data.split.train.times.fill(0);
    data.split.valid_rows.times.fill(0);
    let expected = "model transition: found rows without times, expected times that differ, as the model reads the order";
    let message = error(&data);
    assert!(message.starts_with(expected) && message.contains("prepare the data again"), "{message}");
    // Data that was prepared before histories had an order.
    let mut data = prepared(USER_HOLDOUT);
    let of = &data.split.valid.history;
    let (offsets, cols, values) = (of.offsets().to_vec(), of.cols().to_vec(), of.values().to_vec());
    data.split.valid.history = Csr::new(of.n_cols(), offsets, cols, values);
    let message = error(&data);
    assert!(
        message.contains("histories without an order") && message.contains("prepare it again"),
        "{message}"
    );
}

/// Data in which half of the items are rated higher in the second half of the time, and the others in the first.
fn of_two_times(split: SplitConfig) -> Prepared {
    let mut dataset = synth(&SynthConfig::new(200, 150, 6_000, 4)).expect("drawn rows");
    let rows = &mut dataset.interactions;
    for row in 0..rows.len() {
        let (day, item) = (mixed(row as u32) % 1_000, rows.items[row]);
        rows.times[row] = i64::from(day) * 86_400;
        rows.values[row] = if (item.0 % 2 == 0) == (day < 500) { 4.0 } else { 2.0 };
    }
    Prepared::build(dataset, None, None, &Filters::default(), &split, 5).expect("a split")
}

fn bpmf(item_bins: usize, user_span: usize) -> TrainConfig {
    let model = BpmfConfig { dim: 3, burn_in: 2, samples: 10, item_bins, user_span, ..BpmfConfig::default() };
    let mut config: TrainConfig = model.into();
    config.run.epochs = 12;
    config
}

#[test]
fn ratings_are_judged_at_the_times_of_the_held_out_rows() {
    let random = SplitConfig::Random { valid: 0.1, test: 0.1 };
    for split in [random, USER_HOLDOUT] {
        let data = of_two_times(split);
        let rmse = |config: &TrainConfig| {
            let trained = run(&data, config, &cpu(), None, &mut |_| Ok(()), &Silent).expect("a run");
            trained.record.metrics.test.value(Metric::Rmse).expect("ratings")
        };
        let (without, with) = (rmse(&bpmf(0, 0)), rmse(&bpmf(8, 20)));
        assert!(with < 0.7 * without, "{with} with biases over time, {without} without: {split:?}");
    }
    // Data as it was prepared before the times of held-out rows were kept, and data without times.
    let mut data = of_two_times(random);
    let of = &data.split.valid.relevant;
    let (offsets, cols, values) = (of.offsets().to_vec(), of.cols().to_vec(), of.values().to_vec());
    data.split.valid.relevant = Csr::new(of.n_cols(), offsets, cols, values);
    let error = |data: &Prepared| {
        let refused = run(data, &bpmf(8, 0), &cpu(), None, &mut |_| Ok(()), &Silent);
        refused.err().expect("refused").to_string()
    };
    let message = error(&data);
    assert!(message.contains("held-out ratings without times") && message.contains("prepare it again"));
    data.split.train.times.fill(0);
    data.split.valid_rows.times.fill(0);
    let message = error(&data);
    assert!(
        message.contains("found rows without times") && message.contains("as its item_bins reads"),
        "{message}"
    );
}
