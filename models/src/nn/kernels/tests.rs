//! Both ways to compute a kernel agree, on more numbers than one piece holds.

use burn_tensor::Tensor;
use rand::RngExt;

use super::*;
use crate::nn::batch::Batch;
use crate::nn::params::on_host;

const WIDTH: usize = 48;
const DROPPED: Hidden = Hidden { dropout: 0.3, seed: 5 };

fn tensor(name: &str, rows: usize, width: usize) -> Tensor<2> {
    let mut rng = burnrec_data::rng::stream(1, name, 0);
    made((0..rows * width).map(|_| rng.random::<f32>() - 0.5).collect(), width)
}

/// With users and items that come several times, and its indices where the tensor operations look for them.
fn batch() -> Batch {
    let users: Vec<u32> = (0..300u32).map(|row| row * row % 41).collect();
    let items: Vec<u32> = (0..1500u32).map(|sample| sample * sample % 97).collect();
    let mut batch = Batch::new(&users, 41, &items, 97).folded();
    batch.users.upload(&Device::flex());
    batch.items.upload(&Device::flex());
    batch
}

#[track_caller]
fn near(ours: &Tensor<2>, theirs: &Tensor<2>) {
    assert_eq!(ours.dims(), theirs.dims());
    let (ours, theirs) = (on_host(ours), on_host(theirs));
    assert!(ours.iter().any(|value| *value != 0.0), "all 0");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours - theirs).abs() <= 1e-4, "{ours} and {theirs}");
    }
}

#[test]
fn gathering_and_summing() {
    let (batch, table, each) = (batch(), tensor("table", 41, WIDTH), tensor("each", 1500, WIDTH));
    near(&gather(&table, &batch.users), &table.clone().select(0, batch.users.device_rows()));
    let theirs = device::sums_by_side(each.clone(), &batch);
    for (ours, theirs) in sums_by_side(each, &batch).iter().zip(&theirs) {
        near(ours, theirs);
    }
}

#[test]
fn hidden_layers() {
    let batch = batch();
    let (users, items) = (batch.users.distinct(), batch.items.distinct());
    let (p, q) = (tensor("p", users, WIDTH), tensor("q", items, WIDTH));
    let output = pair_sums(p.clone(), q.clone(), &batch, Hidden::WHOLE);
    near(&output, &device::pair_sums(p.clone(), q.clone(), &batch, Hidden::WHOLE));
    let sums = p.clone().unsqueeze_dim::<3>(1) + q.clone().unsqueeze_dim::<3>(0);
    let all = device::rectify(sums.reshape([users * items, WIDTH]), Hidden::WHOLE);
    near(&catalog_sums(&p, &q), &all);
    let (sums, bias) = (tensor("sums", 1500, WIDTH), tensor("bias", 1, WIDTH));
    let theirs = device::rectify(sums.clone() + bias.clone(), Hidden::WHOLE);
    near(&rectified(sums.clone(), &bias, Hidden::WHOLE), &theirs);
    let dropped = pair_sums(p, q, &batch, DROPPED);
    let theirs = device::rectify_back(sums.clone(), dropped.clone(), DROPPED);
    let (ours, of_bias) = rectified_back(sums, dropped.clone(), DROPPED);
    near(&ours, &theirs);
    near(&of_bias, &theirs.sum_dim(0));
    let (slopes, weight) = (tensor("slopes", 1500, 1), tensor("weight", WIDTH, 1));
    let outer = slopes.clone().matmul(weight.clone().transpose());
    let masked = device::rectify_back(outer, dropped.clone(), DROPPED);
    let [sums, of_bias, of_weight] = last_back(&slopes, dropped.clone(), &weight, DROPPED);
    near(&sums, &masked);
    near(&of_bias, &masked.sum_dim(0));
    near(&of_weight, &dropped.transpose().matmul(slopes));
}

#[test]
fn dot_products() {
    let batch = batch();
    let (p, q) = (tensor("p", batch.users.distinct(), WIDTH), tensor("q", batch.items.distinct(), WIDTH));
    let (weight, slopes) = (tensor("weight", WIDTH, 1), tensor("slopes", 1500, 1));
    for weight in [None, Some(&weight)] {
        near(&dots(&p, &q, weight, &batch), &device::dots(&p, &q, weight, &batch));
        let theirs = device::dots_back(&slopes, &p, &q, weight, &batch);
        for (ours, theirs) in dots_back(&slopes, &p, &q, weight, &batch).iter().zip(&theirs) {
            near(ours, theirs);
        }
    }
    let (a, b) = (tensor("a", batch.users.distinct(), 1), tensor("b", batch.items.distinct(), 1));
    let [of_user, of_item] = device::spread(a.clone(), b.clone(), &batch);
    near(&biased(slopes.clone(), &a, &b, 0.5, &batch), &(slopes + of_user + of_item + 0.5));
}

#[test]
fn decay_counts_entries() {
    let batch = batch();
    let (slopes, rows) = (tensor("slopes", 97, WIDTH), tensor("rows", 97, WIDTH));
    let (slopes, rows) = (slopes.slice(0..batch.items.distinct()), rows.slice(0..batch.items.distinct()));
    let (ours, sum) = decayed(slopes.clone(), &rows, 0.3, 2, &batch.items);
    let counts = batch.items.device_counts() * 2.0;
    near(&ours, &(slopes + rows.clone() * counts.clone() * 0.3));
    let expected = on_host(&(rows.square() * counts).sum())[0];
    assert!((on_host(&sum)[0] - expected).abs() < 1e-3 * expected);
}

#[test]
fn about_as_many_units_are_dropped_as_asked_for_and_others_in_other_layers() {
    let ones = |hidden| on_host(&rectified(made(vec![1.0; 100_000], 10), &made(vec![0.0; 10], 10), hidden));
    let (first, second) = (ones(DROPPED.of_layer(0)), ones(DROPPED.of_layer(1)));
    let zeros = first.iter().filter(|unit| **unit == 0.0).count();
    assert!((29_000..31_000).contains(&zeros), "{zeros}");
    assert!(first.iter().all(|unit| *unit == 0.0 || (unit - 1.0 / 0.7).abs() < 1e-6));
    let both = first.iter().zip(&second).filter(|(a, b)| **a == 0.0 && **b == 0.0).count();
    assert!((8_400..9_600).contains(&both), "{both}");
    assert_eq!(first, ones(DROPPED.of_layer(0)));
}
