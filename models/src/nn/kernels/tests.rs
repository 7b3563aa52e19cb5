//! Both ways to compute a kernel agree, on more values than one piece holds.

use burn_tensor::Tensor;
use rand::RngExt;

use super::*;
use crate::nn::batch::Batch;
use crate::nn::params::on_host;

const WIDTH: usize = 48;
const DROPPED: ReluDropout = ReluDropout { dropout: 0.3, key: [5, 0], batch: 0, layer: 0 };

fn tensor(name: &str, rows: usize, width: usize) -> Tensor<2> {
    let mut rng = burnrec_data::rng::stream(1, name, 0);
    host_tensor((0..rows * width).map(|_| rng.random::<f32>() - 0.5).collect(), width)
}

/// Makes a batch in which users and items occur several times, its indices uploaded for the tensor operations.
fn batch() -> Batch {
    let users: Vec<u32> = (0..300u32).map(|row| row * row % 41).collect();
    let items: Vec<u32> = (0..1500u32).map(|sample| sample * sample % 97).collect();
    let mut batch = Batch::new(&users, 41, &items, 97).with_reductions();
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
    near(&gather(&table, &batch.users), &table.clone().select(0, batch.users.device_unique()));
    let theirs = device::segment_sums(each.clone(), &batch);
    for (ours, theirs) in segment_sums(each, &batch).iter().zip(&theirs) {
        near(ours, theirs);
    }
}

#[test]
fn hidden_layers() {
    let batch = batch();
    let (users, items) = (batch.users.n_unique(), batch.items.n_unique());
    let (p, q) = (tensor("p", users, WIDTH), tensor("q", items, WIDTH));
    let output = pair_relu(p.clone(), q.clone(), &batch, ReluDropout::WITHOUT_DROPOUT);
    near(&output, &device::pair_relu(p.clone(), q.clone(), &batch, ReluDropout::WITHOUT_DROPOUT));
    let sums = p.clone().unsqueeze_dim::<3>(1) + q.clone().unsqueeze_dim::<3>(0);
    let all = device::relu_dropout(sums.reshape([users * items, WIDTH]), ReluDropout::WITHOUT_DROPOUT);
    near(&catalog_relu(&p, &q), &all);
    let (sums, bias) = (tensor("sums", 1500, WIDTH), tensor("bias", 1, WIDTH));
    let theirs = device::relu_dropout(sums.clone() + bias.clone(), ReluDropout::WITHOUT_DROPOUT);
    near(&bias_relu(sums.clone(), &bias, ReluDropout::WITHOUT_DROPOUT), &theirs);
    let dropped = pair_relu(p.clone(), q.clone(), &batch, DROPPED);
    near(&dropped, &device::pair_relu(p, q, &batch, DROPPED));
    let theirs = device::relu_backward(sums.clone(), dropped.clone(), DROPPED);
    let (ours, grad_bias) = bias_relu_backward(sums, dropped.clone(), DROPPED);
    near(&ours, &theirs);
    near(&grad_bias, &theirs.sum_dim(0));
    let (grad, weight) = (tensor("grad", 1500, 1), tensor("weight", WIDTH, 1));
    let outer = grad.clone().matmul(weight.clone().transpose());
    let masked = device::relu_backward(outer, dropped.clone(), DROPPED);
    let [sums, grad_bias, grad_weight] = output_backward(&grad, dropped.clone(), &weight, DROPPED);
    near(&sums, &masked);
    near(&grad_bias, &masked.sum_dim(0));
    near(&grad_weight, &dropped.transpose().matmul(grad));
}

#[test]
fn dot_products() {
    let batch = batch();
    let (p, q) = (tensor("p", batch.users.n_unique(), WIDTH), tensor("q", batch.items.n_unique(), WIDTH));
    let (weight, grad) = (tensor("weight", WIDTH, 1), tensor("grad", 1500, 1));
    for weight in [None, Some(&weight)] {
        near(&pair_dots(&p, &q, weight, &batch), &device::pair_dots(&p, &q, weight, &batch));
        let theirs = device::pair_dots_backward(&grad, &p, &q, weight, &batch);
        for (ours, theirs) in pair_dots_backward(&grad, &p, &q, weight, &batch).iter().zip(&theirs) {
            near(ours, theirs);
        }
    }
    let (a, b) = (tensor("a", batch.users.n_unique(), 1), tensor("b", batch.items.n_unique(), 1));
    let [users, items] = device::per_sample(a.clone(), b.clone(), &batch);
    near(&add_biases(grad.clone(), &a, &b, 0.5, &batch), &(grad + users + items + 0.5));
}

#[test]
fn the_penalty_counts_entries() {
    let batch = batch();
    let (grad, rows) = (tensor("grad", 97, WIDTH), tensor("rows", 97, WIDTH));
    let (grad, rows) = (grad.slice(0..batch.items.n_unique()), rows.slice(0..batch.items.n_unique()));
    let (ours, sum) = add_l2(grad.clone(), &rows, 0.3, 2, &batch.items);
    let counts = batch.items.device_counts() * 2.0;
    near(&ours, &(grad + rows.clone() * counts.clone() * 0.3));
    let expected = on_host(&(rows.square() * counts).sum())[0];
    assert!((on_host(&sum)[0] - expected).abs() < 1e-3 * expected);
}

#[test]
fn about_as_many_units_are_dropped_as_asked_for_and_others_in_other_layers() {
    let ones = |activation| {
        on_host(&bias_relu(host_tensor(vec![1.0; 100_000], 10), &host_tensor(vec![0.0; 10], 10), activation))
    };
    let (first, second) = (ones(DROPPED.for_layer(0)), ones(DROPPED.for_layer(1)));
    let zeros = first.iter().filter(|unit| **unit == 0.0).count();
    assert!((29_000..31_000).contains(&zeros), "{zeros}");
    assert!(first.iter().all(|unit| *unit == 0.0 || (unit - 1.0 / 0.7).abs() < 1e-6));
    let both = first.iter().zip(&second).filter(|(a, b)| **a == 0.0 && **b == 0.0).count();
    assert!((8_400..9_600).contains(&both), "{both}");
    assert_eq!(first, ones(DROPPED.for_layer(0)));
}
