//! Small synthetic ratings with something to learn, shared by the tests of models on Burn.

use burnrec_data::Csr;
use burnrec_data::rng::stream;
use rand::RngExt;

/// Users and items lie on a circle; users rate what is near them more often, and higher.
pub fn ratings(n_users: usize, n_items: usize) -> Csr {
    let (mut offsets, mut cols, mut values) = (vec![0], Vec::new(), Vec::new());
    for user in 0..n_users {
        let mut rng = stream(11, "ratings", user as u64);
        for item in 0..n_items {
            let apart = (user as f32 / n_users as f32 - item as f32 / n_items as f32).abs();
            let near = 1.0 - 2.0 * apart.min(1.0 - apart);
            if rng.random::<f32>() < 0.5 * near {
                cols.push(item as u32);
                values.push((1.0 + 4.0 * near).round());
            }
        }
        offsets.push(cols.len());
    }
    Csr::new(n_items, offsets, cols, values)
}
