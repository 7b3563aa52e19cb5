//! ALS on a device beside ALS on the host, on whatever graphics adapter there is, software included.

mod devices;

use burnrec_data::Csr;
use burnrec_data::tensors::TensorFile;
use burnrec_models::als::{AlsConfig, AlsLearner, Convention, RegScaling, Solver, initial_factors};
use burnrec_models::device::OpenDevice;
use burnrec_models::{Error, Learner, Silent};
use devices::{cpu, gpu};

/// The solvers that train on a device.
const SOLVERS: [Solver; 2] = [Solver::Cholesky, Solver::Cg];

/// Ratings of planted factors, rounded to whole numbers from -1 to 5. Users 4, 15, 26 … and the last item have no entries,
/// user 7 has one, and item 0 has nearly all users; other users have from two to most items.
fn planted(n_users: usize, n_items: usize) -> Csr {
    let (users, items) = (initial_factors(1, n_users, 4, 1.0), initial_factors(2, n_items, 4, 1.0));
    let (mut offsets, mut cols, mut values) = (vec![0], Vec::new(), Vec::new());
    for user in 0..n_users {
        for item in 0..n_items - 1 {
            let taken = match user {
                7 => item == 3,
                _ if user % 11 == 4 => false,
                _ => item == 0 || (user * 31 + item * item * 17 + user * item) % (2 + user % 13) == 0,
            };
            if taken {
                let score: f32 = (0..4).map(|k| users[user * 4 + k] * items[item * 4 + k]).sum();
                cols.push(item as u32);
                values.push((2.0 + 3.0 * score).round().clamp(-1.0, 5.0));
            }
        }
        offsets.push(cols.len());
    }
    Csr::new(n_items, offsets, cols, values)
}

/// Every kind of feedback, convention and scaling of the regulariser.
fn configs(solver: Solver, dim: usize) -> Vec<AlsConfig> {
    let kinds = [
        AlsConfig::explicit(),
        AlsConfig::implicit(Convention::Rendle),
        AlsConfig::implicit(Convention::Implicit),
        AlsConfig::implicit(Convention::Spark),
    ];
    let scalings = [(RegScaling::None, 2.0), (RegScaling::Count, 0.2), (RegScaling::Frequency, 0.2)];
    let all = kinds.into_iter().flat_map(|kind| scalings.map(|scaling| (kind.clone(), scaling)));
    all.map(|(kind, (reg_scaling, reg))| AlsConfig { solver, dim, reg_scaling, reg, nu: 0.9, ..kind })
        .collect()
}

fn learner<'a>(train: &'a Csr, config: &AlsConfig, device: Option<&OpenDevice>) -> AlsLearner<'a> {
    let mut learner = AlsLearner::new(train, config.clone(), 5).expect("a learner");
    if let Some(device) = device {
        learner.move_to(device).expect("the device trains");
    }
    learner
}

fn after<'a>(
    train: &'a Csr,
    config: &AlsConfig,
    device: Option<&OpenDevice>,
    epochs: usize,
) -> AlsLearner<'a> {
    let mut learner = learner(train, config, device);
    for _ in 0..epochs {
        learner.epoch(&Silent).expect("an epoch");
    }
    learner
}

/// The largest difference of two lists of values, beside the largest magnitude of the first.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|x| x.is_finite()));
    let size = a.iter().fold(0.0f32, |size, value| size.max(value.abs()));
    a.iter().zip(b).fold(0.0f32, |apart, (a, b)| apart.max((a - b).abs())) / size.max(f32::MIN_POSITIVE)
}

/// How far the factors and the objective of the device are from the host's.
fn compared(train: &Csr, config: &AlsConfig, gpu: &OpenDevice, epochs: usize) -> (f32, f64) {
    let (host, ours) = (after(train, config, None, epochs), after(train, config, Some(gpu), epochs));
    let ((users, items), (our_users, our_items)) = (host.factors(), ours.factors());
    let empty = (0..train.n_rows()).filter(|&user| train.row(user).0.is_empty());
    for user in empty {
        let row = &our_users[user * config.dim..][..config.dim];
        assert!(row.iter().all(|&x| x == 0.0), "user {user} has no entries");
    }
    let (expected, found) = (host.objective().total(), ours.objective().total());
    let factors = apart(users, our_users).max(apart(items, our_items));
    (factors, (found - expected).abs() / expected)
}

#[test]
fn factors_are_those_of_the_host() {
    let Some(gpu) = gpu("factors_are_those_of_the_host") else { return };
    let train = planted(90, 50);
    for solver in SOLVERS {
        for dim in [5, 64] {
            for config in configs(solver, dim) {
                let (factors, objective) = compared(&train, &config, &gpu, 3);
                let AlsConfig { feedback, convention, reg_scaling, .. } = config;
                let what = format!("{solver:?} {dim} {feedback:?} {convention:?} {reg_scaling:?}");
                println!("{what}: factors {factors:e}, objective {objective:e}");
                assert!(
                    factors < 1e-4 && objective < 1e-5,
                    "{what}: factors {factors}, objective {objective}"
                );
            }
        }
    }
}

#[test]
fn other_widths_are_those_of_the_host() {
    let Some(gpu) = gpu("other_widths_are_those_of_the_host") else { return };
    let train = planted(60, 40);
    for solver in SOLVERS {
        for dim in [1, 2, 16, 30, 50, 100, 124, 125, 128] {
            let config = AlsConfig { solver, dim, reg: 0.02, ..AlsConfig::default() };
            let (factors, objective) = compared(&train, &config, &gpu, 3);
            println!("{solver:?} {dim}: factors {factors:e}, objective {objective:e}");
            assert!(factors < 1e-4 && objective < 1e-5, "{solver:?} {dim}: {factors}, {objective}");
        }
    }
}

#[test]
fn rows_in_pieces_are_those_of_the_host() {
    let Some(gpu) = gpu("rows_in_pieces_are_those_of_the_host") else { return };
    let train = planted(2600, 12);
    assert!(train.transpose().row(0).0.len() > 2048);
    for solver in SOLVERS {
        for kind in [AlsConfig::explicit(), AlsConfig::implicit(Convention::Implicit)] {
            let config = AlsConfig { solver, dim: 6, reg: 0.3, reg_scaling: RegScaling::Count, ..kind };
            let (factors, objective) = compared(&train, &config, &gpu, 3);
            println!("{solver:?} {:?}: factors {factors:e}, objective {objective:e}", config.feedback);
            // Both sides sum thousands of terms in f32.
            assert!(factors < 1e-4 && objective < 1e-4, "{solver:?}: {factors}, {objective}");
        }
    }
}

fn bits(learner: &AlsLearner<'_>) -> Vec<u32> {
    let (users, items) = learner.factors();
    users.iter().chain(items).map(|x| x.to_bits()).collect()
}

#[test]
fn runs_are_equal_to_the_bit_and_go_on_where_they_stopped() {
    let Some(gpu) = gpu("runs_are_equal_to_the_bit_and_go_on_where_they_stopped") else { return };
    let train = planted(2300, 4);
    assert!(train.transpose().row(0).0.len() > 2048, "a row in pieces");
    for solver in SOLVERS {
        let config = AlsConfig { solver, dim: 20, ..AlsConfig::default() };
        let through = after(&train, &config, Some(&gpu), 2);
        assert!(bits(&through) == bits(&after(&train, &config, Some(&gpu), 2)), "{solver:?}");

        let dir = tempfile::tempdir().expect("a directory");
        after(&train, &config, Some(&gpu), 1).save_state(dir.path()).expect("saved");
        let epochs =
            TensorFile::open(&dir.path().join("als.safetensors")).expect("a file").get::<u32>("epochs");
        assert_eq!(epochs.expect("a number").1[..], [1]);
        let mut resumed = learner(&train, &config, Some(&gpu));
        resumed.load_state(dir.path()).expect("loaded");
        resumed.epoch(&Silent).expect("an epoch");
        assert!(bits(&resumed) == bits(&through), "{solver:?}: resumed");
    }
}

#[test]
fn the_loss_of_an_epoch_is_that_of_the_factors_and_falls() {
    let Some(gpu) = gpu("the_loss_of_an_epoch_is_that_of_the_factors_and_falls") else { return };
    let train = planted(90, 50);
    for solver in SOLVERS {
        let config = AlsConfig { solver, dim: 16, ..AlsConfig::default() };
        let mut learner = learner(&train, &config, Some(&gpu));
        learner.track_loss(true);
        let mut last = f64::INFINITY;
        for _ in 0..6 {
            let loss = learner.epoch(&Silent).expect("an epoch").total.expect("a loss");
            assert!(loss <= last * (1.0 + 1e-6), "{loss} after {last}");
            assert!((loss - learner.objective().total()).abs() <= 1e-12 * loss);
            last = loss;
        }
    }
}

#[test]
fn what_diverges_is_the_same_error_as_on_the_host() {
    let Some(gpu) = gpu("what_diverges_is_the_same_error_as_on_the_host") else { return };
    // Whole ratings of up to 3e38, for which the first items would have factors beyond f32.
    let train = planted(90, 50).map_values(|_, _, value| value * 6e37);
    for solver in SOLVERS {
        let config = AlsConfig { solver, dim: 8, reg: 1e-6, init_std: 1e-3, ..AlsConfig::explicit() };
        let error = |device| {
            let error = learner(&train, &config, device).epoch(&Silent).expect_err("it diverges");
            assert!(matches!(error, Error::Diverged { epoch: 1, .. }), "{error}");
            error.to_string()
        };
        assert_eq!(error(Some(&gpu)), error(None), "{solver:?}");
    }
}

#[test]
fn what_trains_on_the_cpu_alone_says_so() {
    let Some(gpu) = gpu("what_trains_on_the_cpu_alone_says_so") else { return };
    let train = planted(20, 10);
    let refused = |config: AlsConfig, device: &OpenDevice| {
        let mut learner = AlsLearner::new(&train, config, 1).expect("a learner");
        learner.move_to(device).expect_err("refused").to_string()
    };
    for (config, reason) in [
        (AlsConfig { nonnegative: true, ..AlsConfig::default() }, "nonnegative factors trains on the CPU"),
        (AlsConfig { solver: Solver::Subspace, ..AlsConfig::default() }, "\"subspace\" trains on the CPU"),
        (AlsConfig { biases: true, ..AlsConfig::explicit() }, "biases trains on the CPU"),
        (AlsConfig { dim: 129, ..AlsConfig::default() }, "dim = 129 trains on the CPU"),
    ] {
        let error = refused(config, &gpu);
        assert!(error.contains(reason), "{error}");
    }
    let error = refused(AlsConfig::default(), &cpu());
    assert!(error.contains("does not run kernels"), "{error}");
}

#[test]
fn what_the_device_cannot_hold_is_refused_with_its_size() {
    let Some(gpu) = gpu("what_the_device_cannot_hold_is_refused_with_its_size") else { return };
    let train = planted(20, 10);
    let moved = |device: &OpenDevice| {
        let mut learner = AlsLearner::new(&train, AlsConfig::default(), 1).expect("a learner");
        learner.move_to(device).map_err(|error| error.to_string())
    };
    // A piece of the Gram matrix, 65 rows of 64 values, is the largest buffer.
    let buffers_of = |most| OpenDevice { largest_buffer: Some(most), ..gpu.clone() };
    let error = moved(&buffers_of(16_639)).expect_err("too large");
    assert!(error.contains("als needs a buffer of 16640 bytes, where the device has 16639"), "{error}");
    moved(&buffers_of(16_640)).expect("it fits");

    let card_of = |bytes| OpenDevice { card_memory: Some(bytes), ..gpu.clone() };
    let error = moved(&card_of(50_000)).expect_err("too much");
    assert!(error.contains("where the card has 50000; lower dim or use cpu"), "{error}");
    let needed = error.split_once("als needs ").and_then(|(_, rest)| rest.split_once(" bytes"));
    let needed = needed.expect("a size").0.parse().expect("a number");
    assert!((80_000..90_000).contains(&needed), "{needed}");
    moved(&card_of(needed - 1)).expect_err("a byte too much");
    moved(&card_of(needed)).expect("it fits");
}
