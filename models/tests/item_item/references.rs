//! The matrices and scores against other programs: numpy's float64 and the `implicit` package on drawn rows, from
//! `fixtures/item_item.json` (made by `benches/peers/make_item_item_fixture.py`), and plain sums on real rows.

use burnrec_data::read::{ReadOptions, read};
use burnrec_data::testing::real_data;
use burnrec_data::{Csr, ItemIx, UserIx};
use burnrec_models::Silent;
use burnrec_models::ease::EaseConfig;
use burnrec_models::item_item::{ClosedForm, ItemMatrix};
use burnrec_models::knn::{KnnConfig, Similarity};
use burnrec_models::rp3beta::Rp3betaConfig;
use burnrec_models::slim::SlimConfig;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{catalog, dense, drawn, knn, learned};

/// All numbers of nested arrays.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

fn fixture() -> (Csr, Vec<Value>) {
    let json: Value = serde_json::from_str(include_str!("../fixtures/item_item.json")).unwrap();
    let size = |name: &str| json[name].as_u64().unwrap() as usize;
    let users: Vec<UserIx> = numbers(&json["users"]).iter().map(|&user| UserIx(user as u32)).collect();
    let items: Vec<ItemIx> = numbers(&json["items"]).iter().map(|&item| ItemIx(item as u32)).collect();
    let values: Vec<f32> = numbers(&json["values"]).iter().map(|&value| value as f32).collect();
    let train = Csr::from_rows(size("n_users"), size("n_items"), &users, &items, &values);
    (train, json["cases"].as_array().unwrap().clone())
}

fn assert_near(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(found) - expected).abs();
        assert!(off <= tolerance * scale, "{what} at {at}: {found}, expected {expected}");
    }
}

fn equals_the_fixture<F: ClosedForm + DeserializeOwned>(tolerance: f64) {
    let (train, cases) = fixture();
    let mut compared = 0;
    for case in cases.iter().filter(|case| case["config"]["model"] == F::NAME) {
        let mut config = case["config"].clone();
        config.as_object_mut().unwrap().remove("model");
        let what = config.to_string();
        let config: F = serde_json::from_value(config).unwrap();
        let matrix = config.solve(&train, &Silent).unwrap();
        assert_near(&dense(&matrix), &numbers(&case["matrix"]), tolerance, &what);
        let scores = catalog(&*learned(&config, &train));
        assert_near(&scores, &numbers(&case["scores"]), tolerance, &format!("{what}, scores"));
        compared += 1;
    }
    assert!(compared >= 2, "{compared} cases of {}", F::NAME);
}

#[test]
fn ease_equals_numpy() {
    equals_the_fixture::<EaseConfig>(1e-5);
}

#[test]
fn slim_equals_scikit_learn() {
    equals_the_fixture::<SlimConfig>(1e-5);
}

#[test]
fn slim_of_all_items_without_l1_and_signs_is_ease() {
    // Each pair of the 15 items has users in common.
    let cells = (0..60u32).flat_map(|user| (0..15u32).map(move |item| (user, item)));
    let cells = cells.filter(|(user, item)| (user * 7 + item * item * 3 + user * item) % 5 > 1);
    let (users, items): (Vec<UserIx>, Vec<ItemIx>) =
        cells.map(|(user, item)| (UserIx(user), ItemIx(item))).unzip();
    let train = Csr::from_rows(60, 15, &users, &items, &vec![1.0; users.len()]);
    let slim = SlimConfig { reg: 20.0, l1: 0.0, k: 15, nonnegative: false, ..SlimConfig::default() };
    let slim = dense(&slim.solve(&train, &Silent).unwrap());
    let ease = EaseConfig { reg: 20.0, ..EaseConfig::default() }.solve(&train, &Silent).unwrap();
    let ease: Vec<f64> = dense(&ease).iter().map(|&x| x.into()).collect();
    assert_near(&slim, &ease, 1e-4, "slim as ease");
    assert!(
        slim.iter().any(|weight| *weight < 0.0) && slim.iter().filter(|weight| **weight == 0.0).count() == 15
    );
}

#[test]
fn neighbours_equal_those_of_implicit() {
    equals_the_fixture::<KnnConfig>(1e-5);
}

#[test]
fn rp3beta_equals_numpy() {
    equals_the_fixture::<Rp3betaConfig>(1e-5);
}

/// Computes the product of all rows' weights of two items, in f64 and with the sums in another order.
fn products(weighted: &Csr) -> Vec<Vec<f64>> {
    let n_items = weighted.n_cols();
    let mut sums = vec![vec![0.0; n_items]; n_items];
    for user in (0..weighted.n_rows()).rev() {
        let (items, values) = weighted.row(user);
        for (&i, &a) in items.iter().zip(values) {
            for (&j, &b) in items.iter().zip(values) {
                sums[i as usize][j as usize] += f64::from(a) * f64::from(b);
            }
        }
    }
    sums
}

/// Checks that each row holds the `k` greatest of the expected values, whichever of equal ones.
fn holds_the_greatest(matrix: &ItemMatrix, expected: &[Vec<f64>], k: usize, tolerance: f64, what: &str) {
    let ItemMatrix::Sparse(rows) = matrix else { panic!("{what} is sparse") };
    let most = expected.iter().flatten().fold(0.0f64, |most, x| most.max(*x));
    for (item, expected) in expected.iter().enumerate() {
        let (items, weights) = rows.row(item);
        let mut greatest: Vec<f64> = expected.iter().copied().filter(|&value| value > 0.0).collect();
        greatest.sort_by(|a, b| b.total_cmp(a));
        greatest.truncate(k);
        let mut found: Vec<f32> = weights.to_vec();
        found.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(found.len(), greatest.len(), "{what}, item {item}");
        for (found, greatest) in found.iter().zip(greatest) {
            assert!((f64::from(*found) - greatest).abs() <= tolerance * most, "{what}, item {item}");
        }
        for (&other, &weight) in items.iter().zip(weights) {
            let expected = expected[other as usize];
            assert!((f64::from(weight) - expected).abs() <= tolerance * most, "{what}, {item} and {other}");
        }
    }
}

/// Checks EASE's weights by what makes them the minimum: of `(X'X + reg I) B`, all but the diagonal is `X'X`.
fn minimises(matrix: &ItemMatrix, train: &Csr, reg: f64, tolerance: f64) {
    let n_items = train.n_cols();
    let weights = dense(matrix);
    assert!((0..n_items).all(|item| weights[item * (n_items + 1)] == 0.0), "the diagonal is 0");
    let gram = products(&train.map_values(|_, _, value| if value > 0.0 { 1.0 } else { 0.0 }));
    let most = gram.iter().flatten().fold(0.0f64, |most, x| most.max(*x));
    for column in (0..n_items).step_by(n_items.div_ceil(150)) {
        let weight = |item: usize| f64::from(weights[item * n_items + column]);
        for row in (0..n_items).filter(|&row| row != column) {
            let counts = gram[row].iter().enumerate().filter(|(_, count)| **count > 0.0);
            let product: f64 =
                counts.map(|(item, count)| count * weight(item)).sum::<f64>() + reg * weight(row);
            let off = (product - gram[row][column]).abs();
            assert!(off <= tolerance * most, "{row} {column}: {product}, expected {}", gram[row][column]);
        }
    }
}

#[test]
fn each_equals_plain_sums_on_real_rows() {
    let Some(folder) = real_data("movietweetings-10k") else { return };
    let dataset = read(&folder, &ReadOptions::default()).unwrap().dataset;
    let train = dataset.interactions.to_csr(dataset.users.len(), dataset.items.len());
    equals_plain_sums(&train);
}

#[test]
fn each_equals_plain_sums_on_drawn_rows() {
    equals_plain_sums(&drawn(500, 700));
}

fn equals_plain_sums(train: &Csr) {
    let n_items = train.n_cols();
    let reg = 20.0;
    minimises(
        &EaseConfig { reg, ..EaseConfig::default() }.solve(train, &Silent).unwrap(),
        train,
        reg.into(),
        1e-6,
    );

    let mut lengths = vec![0.0f64; n_items];
    for (&item, &value) in train.cols().iter().zip(train.values()) {
        lengths[item as usize] += f64::from(value).powi(2);
    }
    let mut cosines = products(train);
    for (i, row) in cosines.iter_mut().enumerate() {
        row.iter_mut()
            .zip(&lengths)
            .for_each(|(value, length)| *value /= (length * lengths[i]).sqrt().max(1e-9));
    }
    let matrix = knn(Similarity::Cosine).solve(train, &Silent).unwrap();
    holds_the_greatest(&matrix, &cosines, 10, 1e-6, "cosine");

    let mut n_users = vec![0.0f64; n_items];
    train.cols().iter().for_each(|&item| n_users[item as usize] += 1.0);
    let (alpha, beta) = (0.8f32, 0.6f32);
    let half = |user: usize| (train.row(user).0.len() as f64).powf(-f64::from(alpha) / 2.0) as f32;
    let mut walks = products(&train.map_values(|user, _, _| half(user)));
    for (i, row) in walks.iter_mut().enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value *=
                n_users[i].max(1.0).powf(-f64::from(alpha)) * n_users[j].max(1.0).powf(-f64::from(beta));
        }
        row[i] = 0.0;
    }
    let matrix =
        Rp3betaConfig { alpha, beta, k: 10, ..Rp3betaConfig::default() }.solve(train, &Silent).unwrap();
    holds_the_greatest(&matrix, &walks, 10, 1e-5, "rp3beta");
}
