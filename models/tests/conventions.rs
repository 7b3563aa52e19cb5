//! ALS against the libraries whose conventions it takes: factors and losses of numpy's float64 normal equations, and
//! the final factors of the `implicit` package and of Spark, from `fixtures/als_conventions.json` (which says how it
//! was made).

use burnrec_data::{Csr, ItemIx, UserIx};
use burnrec_models::als::{AlsConfig, Convention, Feedback, Objective, RegScaling, RowSolver, Solver};
use burnrec_models::simd::Isa;
use serde_json::Value;

struct Fixture {
    train: Csr,
    dim: usize,
    users: Vec<f32>,
    items: Vec<f32>,
    cases: Vec<Value>,
}

fn fixture() -> Fixture {
    let json: Value = serde_json::from_str(include_str!("fixtures/als_conventions.json")).unwrap();
    let size = |name: &str| json[name].as_u64().unwrap() as usize;
    let users: Vec<UserIx> = numbers(&json["users"]).iter().map(|&user| UserIx(user as u32)).collect();
    let items: Vec<ItemIx> = numbers(&json["items"]).iter().map(|&item| ItemIx(item as u32)).collect();
    Fixture {
        train: Csr::from_rows(size("n_users"), size("n_items"), &users, &items, &numbers(&json["values"])),
        dim: size("dim"),
        users: numbers(&json["initial_user_factors"]),
        items: numbers(&json["initial_item_factors"]),
        cases: json["cases"].as_array().unwrap().clone(),
    }
}

/// All numbers of nested arrays.
fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap() as f32],
    }
}

fn config(case: &Value, dim: usize) -> AlsConfig {
    let of = &case["convention"];
    let number = |name: &str| of[name].as_f64().unwrap() as f32;
    let text = |name: &str| of[name].as_str().unwrap();
    let convention = match (text("weight"), text("zero_cells")) {
        ("one", "all") => Convention::Rendle,
        ("alpha_value", "unobserved") => Convention::Implicit,
        ("one_plus_alpha_value", "unobserved") => Convention::Spark,
        other => panic!("no such convention: {other:?}"),
    };
    AlsConfig {
        feedback: if text("feedback") == "explicit" { Feedback::Explicit } else { Feedback::Implicit },
        reg_scaling: match text("reg_scaling") {
            "none" => RegScaling::None,
            "count" => RegScaling::Count,
            _ => RegScaling::Frequency,
        },
        dim,
        alpha: number("alpha"),
        unobserved_weight: number("unobserved_weight"),
        reg: number("reg"),
        nu: number("reg_exponent"),
        nonnegative: of["nonnegative"].as_bool().unwrap(),
        solver: Solver::Cholesky,
        ..AlsConfig::implicit(convention)
    }
}

fn sweep(config: &AlsConfig, isa: Isa, train: &Csr, users: &mut [f32], items: &mut [f32]) {
    RowSolver::with_isa(config, users, isa).solve_all(users, &train.transpose(), items, &|_| {});
    RowSolver::with_isa(config, items, isa).solve_all(items, train, users, &|_| {});
}

fn assert_near(found: &[f32], expected: &Value, tolerance: f32, what: &str) {
    let expected = numbers(expected);
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * scale,
            "{what} at {at}: {found}, expected {expected}"
        );
    }
}

fn assert_parts(found: Objective, expected: &Value, what: &str) {
    let total = expected["total"].as_f64().unwrap();
    let parts = [
        ("observed", found.observed),
        ("unobserved", found.unobserved),
        ("regulariser", found.regulariser),
        ("total", found.total()),
    ];
    for (part, found) in parts {
        let expected = expected[part].as_f64().unwrap();
        assert!((found - expected).abs() <= 1e-5 * total, "{what}, {part}: {found}, expected {expected}");
    }
}

#[test]
fn sweeps_equal_the_books_in_every_convention() {
    let fixture = fixture();
    for case in &fixture.cases {
        for isa in Isa::all() {
            let what = format!("{} with {isa:?}", case["name"]);
            let config = config(case, fixture.dim);
            let (mut users, mut items) = (fixture.users.clone(), fixture.items.clone());
            for (sweeps, loss) in case["losses"].as_array().unwrap().iter().enumerate() {
                if sweeps > 0 {
                    sweep(&config, isa, &fixture.train, &mut users, &mut items);
                }
                let objective = Objective::new(&config, &fixture.train, &users, &items);
                assert_parts(objective, loss, &format!("{what}, sweep {sweeps}"));
            }
            assert_near(&users, &case["user_factors"], 2e-4, &format!("{what}, users"));
            assert_near(&items, &case["item_factors"], 2e-4, &format!("{what}, items"));
        }
    }
}

#[test]
fn exact_sweeps_equal_those_of_implicit_and_spark() {
    let fixture = fixture();
    let mut compared = 0;
    for case in &fixture.cases {
        let peer = &case["peer"];
        for run in peer["runs"].as_array().into_iter().flatten() {
            if run["solver"].as_str().is_some_and(|solver| solver != "cholesky") {
                continue;
            }
            let config = config(case, fixture.dim);
            let mut users = match &peer["initial_user_factors"] {
                Value::Null => fixture.users.clone(),
                given => numbers(given),
            };
            let mut items = fixture.items.clone();
            for _ in 0..run["sweeps"].as_u64().unwrap() {
                sweep(&config, Isa::best(), &fixture.train, &mut users, &mut items);
            }
            let what = format!("{} of {}, {} sweeps", case["name"], peer["name"], run["sweeps"]);
            let loss = Objective::new(&config, &fixture.train, &users, &items).total();
            let expected = run["loss"].as_f64().unwrap();
            assert!((loss - expected).abs() <= 1e-4 * expected, "{what}: loss {loss}, expected {expected}");
            assert_near(&users, &run["user_factors"], 1e-3, &format!("{what}, users"));
            assert_near(&items, &run["item_factors"], 1e-3, &format!("{what}, items"));
            compared += 1;
        }
    }
    assert!(compared >= 4, "implicit and three conventions of Spark");
}
