//! Spherical k-means over users (Dhillon and Modha 2001, "Concept decompositions for large sparse text data using
//! clustering"): rows are scaled to length 1, and the start is that of k-means++ (Arthur and Vassilvitskii 2007).

use burnrec_data::Csr;
use burnrec_data::rng::stream;
use rand::RngExt;
use rayon::prelude::*;

/// The most rounds; k-means stops earlier once no user changes the cluster.
const ROUNDS: usize = 30;

/// Returns the cluster of each user of `train`, `[n_users, n_items]`. The result does not depend on the number of
/// threads.
pub(super) fn k_means(train: &Csr, clusters: usize, seed: u64) -> Vec<u32> {
    let (n_users, n_items) = (train.n_rows(), train.n_cols());
    let mut rng = stream(seed, "k-means", 0);
    let mut centres: Vec<Vec<f32>> = Vec::with_capacity(clusters);
    // For each user: 1 minus the cosine to the nearest centre. k-means++ draws the next centre in proportion to it.
    let mut distance = vec![1.0f32; n_users];
    for _ in 0..clusters {
        let all: f64 = distance.iter().map(|&d| f64::from(d)).sum();
        let mut left = rng.random::<f64>() * all;
        let drawn = distance.iter().position(|&d| {
            left -= f64::from(d);
            left < 0.0
        });
        let mut centre = vec![0.0; n_items];
        add(&mut centre, train, drawn.unwrap_or(n_users - 1));
        normalise(&mut centre);
        distance
            .par_iter_mut()
            .enumerate()
            .for_each(|(user, d)| *d = d.min((1.0 - cosine(&centre, train, user)).max(0.0)));
        centres.push(centre);
    }
    let mut cluster_of = vec![u32::MAX; n_users];
    for _ in 0..ROUNDS {
        let nearest = |user: usize| {
            let cosines = centres.iter().map(|centre| cosine(centre, train, user)).enumerate();
            // The first of equally near centres wins.
            let first = (0, f32::NEG_INFINITY);
            cosines.fold(first, |best, found| if found.1 > best.1 { found } else { best }).0 as u32
        };
        let found: Vec<u32> = (0..n_users).into_par_iter().map(nearest).collect();
        if found == cluster_of {
            break;
        }
        cluster_of = found;
        centres.par_iter_mut().enumerate().for_each(|(cluster, centre)| {
            // An empty cluster keeps its centre.
            if cluster_of.contains(&(cluster as u32)) {
                centre.fill(0.0);
                (0..n_users)
                    .filter(|&user| cluster_of[user] == cluster as u32)
                    .for_each(|user| add(centre, train, user));
                normalise(centre);
            }
        });
    }
    cluster_of
}

/// Returns the cosine of a user's items and a centre of length 1.
fn cosine(centre: &[f32], train: &Csr, user: usize) -> f32 {
    let items = train.row(user).0;
    items.iter().map(|&item| centre[item as usize]).sum::<f32>() / (items.len().max(1) as f32).sqrt()
}

/// Adds a user's items to a centre, scaled to length 1.
fn add(centre: &mut [f32], train: &Csr, user: usize) {
    let items = train.row(user).0;
    let each = 1.0 / (items.len().max(1) as f32).sqrt();
    items.iter().for_each(|&item| centre[item as usize] += each);
}

fn normalise(centre: &mut [f32]) {
    let length = centre.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        centre.iter_mut().for_each(|x| *x /= length);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use burnrec_data::{ItemIx, UserIx};

    use super::*;

    /// Users 0 to 19 have items of the first ten, the others those of the last ten.
    pub fn two_tastes() -> Csr {
        let mut rng = stream(3, "tastes", 0);
        let (mut users, mut items) = (Vec::new(), Vec::new());
        for user in 0..40u32 {
            for item in 0..10u32 {
                if rng.random_range(0..2u32) == 0 || item == user % 10 {
                    users.push(UserIx(user));
                    items.push(ItemIx(item + 10 * (user / 20)));
                }
            }
        }
        let values = vec![1.0; users.len()];
        Csr::from_rows(40, 20, &users, &items, &values)
    }

    #[test]
    fn two_tastes_are_two_clusters() {
        let clusters = k_means(&two_tastes(), 2, 1);
        assert!(clusters[..20].iter().all(|&cluster| cluster == clusters[0]));
        assert!(clusters[20..].iter().all(|&cluster| cluster == 1 - clusters[0]));
    }
}
