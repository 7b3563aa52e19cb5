use std::collections::HashSet;

use rand::RngExt;

use super::*;
use crate::rng::stream;
use crate::synth::{SynthConfig, synth};
use crate::{Titles, Vocab};

/// 60 users and 150 items with many equal times, and users of 1 and 2 rows at the end.
fn dataset() -> Dataset {
    let mut dataset = synth(&SynthConfig::new(60, 150, 1_500, 3)).unwrap();
    let mut rng = stream(1, "test.times", 0);
    dataset.interactions.times.iter_mut().for_each(|time| *time = 1_000 + rng.random_range(0..20));
    for (user, item) in [(60, 3), (61, 4), (61, 5)] {
        dataset.interactions.push(UserIx(user), ItemIx(item), 4.0, 1_010);
    }
    dataset.users = Vocab::from_ints((1..=62).collect());
    dataset
}

fn planted(rows: &[(u32, u32, i64)], n_items: u32) -> Dataset {
    let mut interactions = Interactions::default();
    rows.iter().for_each(|&(user, item, time)| {
        interactions.push(UserIx(user), ItemIx(item), 1.0 + item as f32, time)
    });
    let n_users = 1 + rows.iter().map(|row| row.0).max().unwrap();
    Dataset {
        name: "planted".into(),
        synthetic: false,
        interactions,
        users: Vocab::from_ints((0..i64::from(n_users)).collect()),
        items: Vocab::from_ints((0..i64::from(n_items)).collect()),
        titles: None::<Titles>,
    }
}

fn protocols() -> Vec<SplitConfig> {
    vec![
        SplitConfig::LeaveOneOut { candidates: Some(20) },
        SplitConfig::LeaveOneOut { candidates: None },
        SplitConfig::Random { valid: 0.1, test: 0.2 },
        SplitConfig::KFold { folds: 5, fold: 2 },
        SplitConfig::Temporal { valid_from: TimePoint::Quantile(0.7), test_from: TimePoint::Time(1_017) },
        SplitConfig::UserHoldout { valid_users: 7, test_users: 9, fold_in: 0.8 },
    ]
}

type Pairs = HashSet<(u32, u32)>;

fn pairs(rows: &Interactions) -> Pairs {
    rows.users.iter().zip(&rows.items).map(|(user, item)| (user.0, item.0)).collect()
}

fn held_out(holdout: &Holdout, matrix: &Csr) -> Pairs {
    let row = |(row, user): (usize, &UserIx)| {
        matrix.row(row).0.iter().map(|&item| (user.0, item)).collect::<Vec<_>>()
    };
    holdout.users.iter().enumerate().flat_map(row).collect()
}

/// What every split promises.
fn check(split: &Split, dataset: &Dataset) {
    let all = pairs(&dataset.interactions);
    let (train, valid_rows) = (pairs(&split.train), pairs(&split.valid_rows));
    let test = held_out(&split.test, &split.test.relevant);
    let valid = held_out(&split.valid, &split.valid.relevant);
    let known = |holdout: &Holdout, rows: &Pairs| {
        let of_users = rows.iter().filter(|pair| holdout.users.contains(&UserIx(pair.0)));
        of_users.copied().collect::<Pairs>()
    };
    let valid_history = held_out(&split.valid, &split.valid.history);
    let test_history = held_out(&split.test, &split.test.history);
    assert!(train.is_disjoint(&valid_rows) && train.is_disjoint(&test) && valid_rows.is_disjoint(&test));
    let mut rows = train.len() + valid_rows.len() + test.len();
    if split.valid.fold_in {
        assert_eq!(&valid | &valid_history, valid_rows);
        assert!(valid.is_disjoint(&valid_history) && test.is_disjoint(&test_history));
        assert!(test_history.is_disjoint(&(&train | &valid_rows)));
        let users: HashSet<UserIx> = split.train.users.iter().copied().collect();
        assert!(split.valid.users.iter().chain(&split.test.users).all(|user| !users.contains(user)));
        rows += test_history.len();
    } else {
        assert_eq!(valid, valid_rows);
        assert_eq!(valid_history, known(&split.valid, &train));
        assert_eq!(test_history, known(&split.test, &(&train | &valid_rows)));
    }
    assert_eq!(rows, all.len());
    for holdout in [&split.valid, &split.test] {
        assert!(holdout.users.is_sorted_by(|a, b| a < b));
        assert!((0..holdout.len()).all(|row| !holdout.relevant.row(row).0.is_empty()));
        let values = dataset.interactions.to_csr(dataset.users.len(), dataset.items.len());
        for (row, user) in holdout.users.iter().enumerate() {
            let (items, ratings) = holdout.relevant.row(row);
            for (item, rating) in items.iter().zip(ratings) {
                let (all_items, all_ratings) = values.row(user.at());
                assert_eq!(all_ratings[all_items.binary_search(item).unwrap()], *rating);
            }
        }
        if let Candidates::Drawn(lists) = &holdout.candidates {
            assert_eq!(lists.len(), holdout.len());
            for (row, user) in holdout.users.iter().enumerate() {
                let items: HashSet<u32> = lists.row(row).iter().map(|item| item.0).collect();
                assert_eq!(items.len(), lists.row(row).len(), "candidates differ");
                assert!(items.iter().all(|&item| !all.contains(&(user.0, item))), "candidates are unseen");
            }
        }
    }
}

#[test]
fn no_protocol_leaks_and_each_keeps_every_row() {
    let dataset = dataset();
    for config in protocols() {
        for seed in 0..3 {
            let (split, summary) = split(&dataset, &config, seed).unwrap();
            check(&split, &dataset);
            assert_eq!(summary.train_rows, split.train.len() as u64, "{config:?}");
            assert_eq!(summary.test.rows, split.test.relevant.nnz() as u64);
            assert_eq!(summary.valid.users, split.valid.len() as u64);
        }
    }
}

#[test]
fn the_seed_alone_decides_on_any_number_of_threads() {
    let dataset = dataset();
    let on_threads = |n, config: SplitConfig, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| split(&dataset, &config, seed).unwrap())
    };
    for config in protocols() {
        let one = on_threads(1, config, 5);
        assert_eq!(one, on_threads(4, config, 5), "{config:?}");
        let timed = matches!(config, SplitConfig::Temporal { .. });
        assert_eq!(one == on_threads(1, config, 6), timed, "another seed, {config:?}");
    }
}

#[test]
fn leave_one_out_takes_the_last_two_and_leaves_short_users_in_train() {
    let rows = [
        (0, 1, 30),
        (0, 2, 10),
        (0, 3, 20),
        (1, 0, 5),
        (1, 1, 6),
        (2, 4, 1),
        (2, 0, 2),
        (2, 1, 3),
        (2, 2, 4),
    ];
    let dataset = planted(&rows, 8);
    let (split, summary) = split(&dataset, &SplitConfig::LeaveOneOut { candidates: Some(4) }, 0).unwrap();
    check(&split, &dataset);
    assert_eq!(split.test.users, [UserIx(0), UserIx(2)]);
    assert_eq!(split.test.relevant.row(0), (&[1][..], &[2.0][..]));
    assert_eq!(split.test.relevant.row(1).0, [2]);
    assert_eq!(split.valid.relevant.row(0).0, [3]);
    assert_eq!(split.valid.relevant.row(1).0, [1]);
    assert_eq!(split.test.history.row(1).0, [0, 1, 4]);
    assert_eq!((summary.short_users, summary.train_rows), (1, 5));
}

#[test]
fn equal_times_are_ordered_by_the_seed_and_not_by_the_file() {
    // Every user has the same 10 items at one time: each should be the test item about as often.
    let rows: Vec<_> = (0..2_000).flat_map(|user| (0..10).map(move |item| (user, item, 7))).collect();
    let dataset = planted(&rows, 10);
    let config = SplitConfig::LeaveOneOut { candidates: None };
    let drawn = split(&dataset, &config, 3).unwrap().0;
    let mut counts = [0.0f64; 10];
    drawn.test.relevant.cols().iter().for_each(|&item| counts[item as usize] += 1.0);
    let statistic: f64 = counts.iter().map(|n| (n - 200.0).powi(2) / 200.0).sum();
    // 9 degrees of freedom: below 27.88 with probability .999.
    assert!(statistic < 27.88, "{counts:?}");

    let backwards: Vec<_> = rows.iter().rev().copied().collect();
    let other = split(&planted(&backwards, 10), &config, 3).unwrap().0;
    assert_eq!(drawn.test, other.test);
    assert_eq!(drawn.valid, other.valid);
}

#[test]
fn too_few_unseen_items_are_an_error_that_names_the_user() {
    let config = SplitConfig::LeaveOneOut { candidates: Some(5) };
    let error = split(&planted(&[(0, 0, 1), (0, 1, 2), (0, 2, 3)], 7), &config, 0).unwrap_err().to_string();
    assert!(error.contains("user 0 has 4 unseen items") && error.contains("at most 4"), "{error}");
}

#[test]
fn folds_cover_all_rows_once_and_their_valid_parts_differ() {
    let dataset = dataset();
    let folds: Vec<Split> =
        (0..5).map(|fold| split(&dataset, &SplitConfig::KFold { folds: 5, fold }, 9).unwrap().0).collect();
    let tests: Vec<Pairs> = folds.iter().map(|fold| held_out(&fold.test, &fold.test.relevant)).collect();
    assert_eq!(tests.iter().map(HashSet::len).sum::<usize>(), dataset.interactions.len());
    assert_eq!(tests.iter().flatten().collect::<HashSet<_>>().len(), dataset.interactions.len());
    let base = dataset.interactions.len() - tests[0].len();
    assert_eq!(folds[0].valid_rows.len(), (base as f64 * 0.1).round() as usize);
    assert!(pairs(&folds[0].valid_rows).is_disjoint(&pairs(&folds[1].valid_rows)));
}

#[test]
fn time_cuts_are_clean_and_unseen_ids_are_counted() {
    let rows = [(0, 0, 10), (0, 1, 20), (1, 0, 12), (1, 2, 30), (2, 3, 31), (0, 3, 21)];
    let dataset = planted(&rows, 4);
    let config = SplitConfig::Temporal { valid_from: TimePoint::Time(20), test_from: TimePoint::Time(30) };
    let (split, summary) = split(&dataset, &config, 0).unwrap();
    check(&split, &dataset);
    assert!(split.train.times.iter().all(|&time| time < 20));
    assert!(split.valid_rows.times.iter().all(|&time| (20..30).contains(&time)));
    let of = |users, rows, unseen_users, unseen_items, unseen_rows| HoldoutSummary {
        users,
        rows,
        unseen_users,
        unseen_items,
        unseen_rows,
    };
    // Items 1 and 3 are new in valid; item 2 and user 2 in test, where item 3 is known by then.
    assert_eq!(summary.valid, of(1, 2, 0, 2, 2));
    assert_eq!(summary.test, of(2, 2, 1, 1, 2));
    assert_eq!((summary.valid_from, summary.test_from), (Some(20), Some(30)));
}

#[test]
fn settings_out_of_range_are_refused() {
    let dataset = dataset();
    let user_holdout =
        |valid_users, test_users, fold_in| SplitConfig::UserHoldout { valid_users, test_users, fold_in };
    let time = TimePoint::Time;
    for (config, field) in [
        (SplitConfig::LeaveOneOut { candidates: Some(0) }, "candidates"),
        (SplitConfig::Random { valid: 0.0, test: 0.1 }, "valid"),
        (SplitConfig::Random { valid: 0.1, test: f64::NAN }, "test"),
        (SplitConfig::Random { valid: 0.5, test: 0.5 }, "valid + test"),
        (SplitConfig::Random { valid: 1e-9, test: 0.1 }, "no row for valid"),
        (SplitConfig::KFold { folds: 1, fold: 0 }, "folds"),
        (SplitConfig::KFold { folds: 3, fold: 3 }, "fold"),
        (SplitConfig::Temporal { valid_from: time(1_005), test_from: time(1_005) }, "valid_from"),
        (SplitConfig::Temporal { valid_from: time(5), test_from: time(1_005) }, "valid_from"),
        (
            SplitConfig::Temporal { valid_from: TimePoint::Quantile(1.5), test_from: time(1_005) },
            "valid_from",
        ),
        (user_holdout(0, 1, 0.8), "valid_users"),
        (user_holdout(1, 1, 1.0), "fold_in"),
        (user_holdout(30, 31, 0.8), "valid_users + test_users"),
        (SplitConfig::Given {}, "split"),
    ] {
        let error = split(&dataset, &config, 0).unwrap_err().to_string();
        assert!(error.contains(field) && error.contains("expected"), "{config:?}: {error}");
    }
    let mut untimed = dataset;
    untimed.interactions.times.fill(0);
    let config = SplitConfig::Temporal { valid_from: time(1), test_from: time(2) };
    assert!(split(&untimed, &config, 0).unwrap_err().to_string().contains("at one time"));
}

#[test]
fn settings_are_read_as_written_and_unknown_keys_refused() {
    let read = |text: &str| serde_json::from_str::<SplitConfig>(text);
    for config in protocols() {
        assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    }
    let temporal = r#"{"protocol": "temporal", "valid_from": 0.8, "test_from": 978300760}"#;
    let expected = SplitConfig::Temporal {
        valid_from: TimePoint::Quantile(0.8),
        test_from: TimePoint::Time(978_300_760),
    };
    assert_eq!(read(temporal).unwrap(), expected);
    assert_eq!(
        read(r#"{"protocol": "leave-one-out"}"#).unwrap(),
        SplitConfig::LeaveOneOut { candidates: None }
    );
    assert!(
        read(r#"{"protocol": "leave-one-out", "candidate": 9}"#)
            .unwrap_err()
            .to_string()
            .contains("candidate")
    );
    assert!(read(r#"{"protocol": "given", "x": 9}"#).is_err());
    assert_eq!("2001-01-01".parse::<TimePoint>().unwrap(), TimePoint::Time(978_307_200));
    assert_eq!("0.9".parse::<TimePoint>().unwrap(), TimePoint::Quantile(0.9));
    assert!("1.5".parse::<TimePoint>().is_err() && "x".parse::<TimePoint>().is_err());
}

/// Returns a base with a repeated row and one that is also in the test; NCF lists, of which one has the test item.
fn given_ncf() -> (Dataset, Interactions, Lists) {
    let mut rows: Vec<_> =
        (0..4).flat_map(|user| (0..5).map(move |item| (user, item * 2 + user, item as i64))).collect();
    rows.extend([(0, 0, 9), (1, 50, 9), (4, 7, 1)]);
    let mut test = Interactions::default();
    [(1, 50), (0, 60)].iter().for_each(|&(user, item)| test.push(UserIx(user), ItemIx(item), 5.0, 99));
    let mut lists = Lists::new();
    lists.push(&[ItemIx(90), ItemIx(50), ItemIx(91)]);
    lists.push(&[ItemIx(95), ItemIx(95)]);
    (planted(&rows, 200), test, lists)
}

#[test]
fn ncf_files_are_taken_as_they_stand() {
    let (dataset, test, candidates) = given_ncf();
    let (split, summary) = split_given(&dataset, GivenSplit::Ncf { test, candidates }, 0).unwrap();
    assert_eq!((summary.repeated_rows, summary.leaked_rows), (1, 1));
    assert_eq!((summary.dropped_candidates, summary.short_users), (1, 1));
    assert_eq!(split.test.users, [UserIx(0), UserIx(1)]);
    assert_eq!(split.test.relevant.row(1), (&[50][..], &[5.0][..]));
    let Candidates::Drawn(lists) = &split.test.candidates else { panic!("drawn") };
    assert_eq!(lists.row(0), [ItemIx(95), ItemIx(95)]);
    assert_eq!(lists.row(1), [ItemIx(90), ItemIx(91)]);
    // The last row of user 0 is the repeated one, now with its later time; user 4 has one row only.
    assert_eq!(split.valid.users, [0, 1, 2, 3].map(UserIx));
    assert_eq!(split.valid.relevant.row(0).0, [0]);
    assert_eq!(split.valid.relevant.row(3).0, [11]);
    let Candidates::Drawn(lists) = &split.valid.candidates else { panic!("drawn") };
    assert!((0..4).all(|row| lists.row(row).len() == 99));
    assert!(!lists.row(0).contains(&ItemIx(60)) && !lists.row(1).contains(&ItemIx(50)));
    assert_eq!(split.test.history.row(0).0, [0, 2, 4, 6, 8]);
    assert!(!pairs(&split.train).contains(&(1, 50)));
}

#[test]
fn given_folds_have_a_tenth_of_the_base_as_valid() {
    let mut dataset = dataset();
    let rows: Vec<u32> = (0..dataset.interactions.len() as u32).collect();
    let all = dataset.clone();
    let test = dataset.interactions.select(&rows[..300]);
    dataset.interactions = dataset.interactions.select(&rows[300..]);
    let given = || GivenSplit::Fold { test: test.clone() };
    let (split, summary) = split_given(&dataset, given(), 4).unwrap();
    check(&split, &all);
    assert_eq!(held_out(&split.test, &split.test.relevant), pairs(&test));
    assert_eq!((summary.valid.rows, summary.train_rows), (120, 1_083));
    assert_eq!(split, split_given(&dataset, given(), 4).unwrap().0);
    assert_ne!(split, split_given(&dataset, given(), 5).unwrap().0);
}

#[test]
fn parts_that_the_files_bring_stay_as_they_are_but_for_leaks() {
    let all = dataset();
    let n = all.interactions.len() as u32;
    let rows = |range: std::ops::Range<u32>| all.interactions.select(&range.collect::<Vec<u32>>());
    let (test, mut valid) = (rows(0..200), rows(200..450));
    let mut train = all.clone();
    train.interactions = rows(450..n);
    // A row of test in valid, and one of each in train.
    valid.push(test.users[7], test.items[7], 1.0, 0);
    train.interactions.push(test.users[8], test.items[8], 1.0, 0);
    train.interactions.push(valid.users[9], valid.items[9], 1.0, 0);
    let given = GivenSplit::Parts { valid, test: test.clone() };
    let (split, summary) = split_given(&train, given, 4).unwrap();
    check(&split, &all);
    assert_eq!(held_out(&split.test, &split.test.relevant), pairs(&test));
    assert_eq!(pairs(&split.valid_rows), pairs(&rows(200..450)));
    assert_eq!(pairs(&split.train), pairs(&rows(450..n)));
    assert_eq!(summary.leaked_rows, 3);
}

#[test]
fn given_tests_that_do_not_fit_are_refused() {
    let (dataset, test, candidates) = given_ncf();
    let message = |test: &Interactions, candidates: &Lists| {
        let given = GivenSplit::Ncf { test: test.clone(), candidates: candidates.clone() };
        split_given(&dataset, given, 0).unwrap_err().to_string()
    };
    let mut twice = test.clone();
    twice.users[0] = twice.users[1];
    assert!(message(&twice, &candidates).contains("two test rows"));
    assert!(message(&test, &Lists::new()).contains("0 lists"));
    let mut outside = test.clone();
    outside.items[0] = ItemIx(200);
    assert!(message(&outside, &candidates).contains("outside the vocabularies"));
    let mut strange = Lists::new();
    strange.push(&[ItemIx(200)]);
    strange.push(&[]);
    assert!(message(&test, &strange).contains("candidate outside"));
}
