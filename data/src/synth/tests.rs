use super::*;
use std::collections::HashSet;

use crate::split::{SplitConfig, split};
use crate::{Candidates, Split};

fn on_threads<T: Send>(n: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(f)
}

#[test]
fn sizes_are_exact_and_no_pair_repeats() {
    let config = SynthConfig::like("ml-100k").unwrap();
    let dataset = synth(&config).unwrap();
    assert_eq!((dataset.users.len(), dataset.items.len(), dataset.interactions.len()), (943, 1682, 100_000));
    assert!(dataset.synthetic && dataset.name == "synth-ml-100k");
    let rows = &dataset.interactions;
    let matrix = rows.to_csr(943, 1682);
    assert_eq!(matrix.nnz(), 100_000);
    assert!((0..943).all(|user| matrix.row(user).0.len() >= 20));
    let by_item = matrix.transpose();
    let mut counts: Vec<usize> = (0..1682).map(|item| by_item.row(item).0.len()).collect();
    assert!(counts.iter().all(|&n| n > 0));
    counts.sort_unstable();
    let top: usize = counts[1682 - 168..].iter().sum();
    assert!((0.25..0.6).contains(&(top as f64 / 1e5)), "the top tenth of the items has {top} rows");
    assert!(rows.values.iter().all(|value| (1.0..=5.0).contains(value) && value.fract() == 0.0));
    let same_user = |k: &usize| rows.users[*k] == rows.users[k + 1];
    assert!((0..99_999).filter(same_user).all(|k| rows.times[k] < rows.times[k + 1]));
    let titles = dataset.titles.unwrap().0;
    assert_eq!(titles.iter().collect::<HashSet<_>>().len(), 1682);
}

#[test]
fn many_items_have_titles_of_their_own() {
    let config = SynthConfig::new(300, 30_000, 60_000, 3);
    let titles = titles::titles(&World::new(&config), 3).0;
    assert_eq!(titles.iter().collect::<HashSet<_>>().len(), 30_000);
}

#[test]
fn the_same_seed_gives_the_same_rows_on_any_number_of_threads() {
    let config = SynthConfig::new(300, 200, 9_000, 7);
    let one = on_threads(1, || synth(&config).unwrap());
    assert_eq!(one, on_threads(4, || synth(&config).unwrap()));
    assert_ne!(one, synth(&SynthConfig { seed: 8, ..config }).unwrap());
}

#[test]
fn small_and_crowded_sizes_work() {
    for (n_users, n_items, n_rows) in
        [(2, 2, 2), (10, 8, 60), (5, 400, 400), (50, 20, 50), (1000, 30, 20_000)]
    {
        let dataset = synth(&SynthConfig::new(n_users, n_items, n_rows, 1)).unwrap();
        let matrix = dataset.interactions.to_csr(n_users as usize, n_items as usize);
        assert_eq!(matrix.nnz(), n_rows as usize);
        assert!((0..n_items as usize).all(|item| !matrix.transpose().row(item).0.is_empty()));
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    for (n_users, n_items, n_rows) in [(0, 5, 5), (5, 1, 5), (10, 20, 5), (10, 20, 19), (10, 20, 151)] {
        let error = synth(&SynthConfig::new(n_users, n_items, n_rows, 1)).unwrap_err().to_string();
        assert!(error.starts_with("synth: found"), "{error}");
    }
    assert!(SynthConfig::like("ml-2m").unwrap_err().to_string().contains("ml-2m"));
}

/// Returns the share of users whose test item is among the first 10 of it and its candidates, by `score(user)[item]`.
fn hit_rate(split: &Split, mut score: impl FnMut(UserIx) -> Vec<f32>) -> f64 {
    let Candidates::Drawn(candidates) = &split.test.candidates else { panic!("drawn candidates") };
    let hits = (0..split.test.len()).filter(|&row| {
        let scores = score(split.test.users[row]);
        let target = scores[split.test.relevant.row(row).0[0] as usize];
        candidates.row(row).iter().filter(|item| scores[item.at()] >= target).count() < 10
    });
    hits.count() as f64 / split.test.len() as f64
}

#[test]
fn there_is_more_to_learn_than_popularity() {
    let config = SynthConfig::like("ml-100k").unwrap();
    let dataset = synth(&config).unwrap();
    let protocol = SplitConfig::LeaveOneOut { candidates: Some(99) };
    let split = split(&dataset, &protocol, 1).unwrap().0;
    let mut counts = vec![0.0f32; 1682];
    split.train.items.iter().for_each(|item| counts[item.at()] += 1.0);
    let popularity = hit_rate(&split, |_| counts.clone());
    let world = World::new(&config);
    let oracle = hit_rate(&split, |user| {
        let taste = world.user(&mut rows::user_rng(config.seed, user.0));
        let mut scores = vec![0.0; 1682];
        world.probabilities(&taste, &mut scores);
        scores
    });
    eprintln!("HR@10 with 99 candidates: popularity {popularity:.3}, taste {oracle:.3}");
    assert!((0.35..0.5).contains(&popularity), "popularity {popularity}");
    assert!(oracle > popularity + 0.35, "oracle {oracle}, popularity {popularity}");
}

#[test]
fn movielens_files_say_that_they_are_synthetic_and_replace_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut dataset = synth(&SynthConfig::new(4, 5, 10, 1)).unwrap();
    dataset.titles.as_mut().unwrap().0[0] = "Sun, \"Moon\" (1990)".into();
    write_movielens(&dataset, dir.path()).unwrap();
    write_movielens(&dataset, dir.path()).unwrap();
    let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(text(SYNTHETIC_MARK).starts_with("synth-4x5\n"));
    assert!(text("movies.csv").contains("\n1,\"Sun, \"\"Moon\"\" (1990)\",(no genres listed)\n"));
    let ratings = text("ratings.csv");
    let rows = &dataset.interactions;
    let first = format!("1,{},{:?},{}", rows.items[0].0 + 1, rows.values[0], rows.times[0]);
    assert_eq!(ratings.lines().nth(1), Some(&first[..]));
    assert_eq!(ratings.lines().count(), 11);

    for path in [dir.path(), &dir.path().join("ratings.csv")] {
        assert_eq!(synthetic_name(path).as_deref(), Some("synth-4x5"));
    }

    std::fs::remove_file(dir.path().join(SYNTHETIC_MARK)).unwrap();
    assert_eq!(synthetic_name(dir.path()), None);
    let error = write_movielens(&dataset, dir.path()).unwrap_err().to_string();
    assert!(error.contains("without a mark"), "{error}");
}
