//! Times with criterion how long MF takes to fold in a user with 20 items, by each loss, in catalogues of 3,700 and 30,000 items
//! of drawn vectors.
//!
//! A second model of the same weights must find the same rows, so that an answer by chance fails the bench.

use std::hint::black_box;

use burnrec_data::Csr;
use burnrec_data::tensors::{Tensor, TensorFile, write};
use burnrec_models::mf::{MfConfig, MfModel};
use burnrec_models::nn::loss::Loss;
use burnrec_models::{Scorer, Shape};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const USERS: usize = 64;
const SEEN: usize = 20;

/// Opens a model whose vectors have a standard deviation of 0.3, as those trained on ml-1m have, and biases of 0.7.
fn model(loss: Loss, n_items: usize) -> MfModel {
    let config = MfConfig { loss, negatives: 8, reg: 0.003, ..MfConfig::default() };
    let mut rng = StdRng::seed_from_u64(1);
    let mut drawn = |rows: usize, cols: usize, std: f32| {
        // The sum of twelve uniform values has a variance of 1.
        let values =
            (0..rows * cols).map(|_| std * ((0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0));
        Tensor::new(&[rows, cols], values.collect::<Vec<f32>>())
    };
    let weights = [
        ("mean", Tensor::new(&[1, 1], [-2.5f32])),
        ("user_embedding", drawn(1, config.dim, 0.3)),
        ("user_bias", drawn(1, 1, 0.7)),
        ("item_embedding", drawn(n_items, config.dim, 0.3)),
        ("item_bias", drawn(n_items, 1, 0.7)),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    write(&path, &weights).expect("written");
    let file = TensorFile::open(&path).expect("read");
    MfModel::load(&file, config, Shape { n_users: 1, n_items }).expect("weights that fit")
}

fn fold_in(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fold-in");
    group.throughput(Throughput::Elements(USERS as u64));
    for n_items in [3_700, 30_000] {
        let step = n_items / SEEN;
        let cols = (0..USERS).flat_map(|user| (0..SEEN).map(move |at| (at * step + user) as u32)).collect();
        let offsets = (0..=USERS).map(|user| user * SEEN).collect();
        let histories = Csr::new(n_items, offsets, cols, vec![4.0; USERS * SEEN]);
        for loss in [Loss::Bce, Loss::Bpr, Loss::Softmax, Loss::Mse] {
            let rows = |model: &MfModel| {
                let folded =
                    model.as_fold_in().expect("folds in").fold_in(&histories).expect("histories that fit");
                folded.user_vectors().expect("vectors").values.to_vec()
            };
            let (one, other) = (model(loss, n_items), model(loss, n_items));
            assert_eq!(rows(&one), rows(&other), "{loss:?}");
            let name = format!("{loss:?}/{n_items}").to_lowercase();
            group.bench_function(name, |bencher| bencher.iter(|| black_box(rows(&one))));
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = fold_in
}
criterion_main!(benches);
