//! Times ALS with criterion: an epoch of each solver, and top-10 for all users, on synthetic rows of ml-100k's size.
//!
//! The losses of the solvers and the lists are checked too, so that a wrong answer fails the bench.

use std::hint::black_box;

use burnrec_data::UserIx;
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_models::als::AlsLearner;
use burnrec_models::als::{AlsConfig, Solver};
use burnrec_models::topk::top_k;
use burnrec_models::{Learner, Silent};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn als(criterion: &mut Criterion) {
    let dataset = synth(&SynthConfig::like("ml-100k").expect("a known size")).expect("sizes that fit");
    let train = dataset.interactions.to_csr(dataset.users.len(), dataset.items.len());
    let mut group = criterion.benchmark_group("als");

    group.throughput(Throughput::Elements(train.nnz() as u64));
    let mut losses = Vec::new();
    for solver in [Solver::Cholesky, Solver::Cg, Solver::Subspace] {
        let config = AlsConfig { solver, ..AlsConfig::default() };
        let mut learner = AlsLearner::new(&train, config, 1).expect("sound settings");
        (0..12).for_each(|_| drop(learner.epoch(&Silent).expect("an epoch")));
        losses.push(learner.objective().total());
        group.bench_function(format!("epoch/{solver:?}").to_lowercase(), |bencher| {
            bencher.iter(|| learner.epoch(&Silent).expect("an epoch"));
        });
    }
    assert!(losses.iter().all(|loss| (loss / losses[0] - 1.0).abs() < 0.01), "like losses: {losses:?}");

    let mut learner = AlsLearner::new(&train, AlsConfig::default(), 1).expect("sound settings");
    learner.epoch(&Silent).expect("an epoch");
    let model = learner.model();
    let users: Vec<UserIx> = (0..train.n_rows() as u32).map(UserIx).collect();
    let lists = || top_k(&*model, &users, 10, |at| train.row(at).0, None);
    for (user, list) in lists().iter().enumerate() {
        assert!(list.len() == 10 && list.iter().all(|(item, _)| !train.contains(user, item.0)));
    }
    group.throughput(Throughput::Elements(users.len() as u64));
    group.bench_function("top-10", |bencher| bencher.iter(|| black_box(lists())));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = als
}
criterion_main!(benches);
