//! Whether the sampler draws from the posterior: the test of Geweke 2004, "Getting It Right".
//!
//! Drawing the data given the parameters and then the parameters given the data, by one sweep, again and again, leaves the
//! prior of the parameters as it is if, and only if, each step of the sweep is right. So their frequencies are compared with
//! those of the prior, which is known.

use burnrec_data::Csr;

use super::*;
use crate::Silent;

/// Draws the values of the entries given the parameters.
fn redraw_values(learner: &mut BpmfLearner, round: u32) {
    let width = learner.config.width();
    let source = Source { seed: 8, purpose: "test.values", sweep: round };
    let (users, items) = (&learner.users.factors, &learner.items.factors);
    let std = learner.noise.sqrt().recip();
    let mut noise = vec![0.0; learner.train.nnz()];
    normal(&mut source.rng(0), std, &mut noise);
    let mut noise = noise.into_iter();
    let train = learner.train.map_values(|user, item, _| {
        let (x, y) = (&users[user * width..][..width], &items[item as usize * width..][..width]);
        let dot: f32 = x[..width - 1].iter().zip(y).map(|(p, q)| p * q).sum();
        dot + x[width - 1] + y[width - 1] + noise.next().expect("a draw for each entry")
    });
    learner.transposed = train.transpose();
    learner.train = train;
}

/// How often each of some events of the parameters takes place, in so many rounds.
fn frequencies(implicit: Implicit, rounds: u32) -> Vec<(&'static str, f64)> {
    // Two users and three items; user 1 lacks an item.
    let train = Csr::new(3, vec![0, 3, 5], vec![0, 1, 2, 0, 2], vec![0.0; 5]);
    let config = BpmfConfig { dim: 1, implicit, ..BpmfConfig::default() };
    let width = config.width();
    let mut learner = BpmfLearner::new(&train, config, 4).expect("a learner");
    let mut events: Vec<(&'static str, f64)> = Vec::new();
    let mut count = |name: &'static str, holds: bool| {
        let at = events.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            events.push((name, 0.0));
            events.len() - 1
        });
        events[at].1 += f64::from(u8::from(holds)) / f64::from(rounds);
    };
    // The median of Gamma(1, 1), and half of that of a chi-squared of 2 degrees.
    let median = std::f32::consts::LN_2;
    for round in 0..rounds {
        redraw_values(&mut learner, round);
        learner.epoch(&Silent).expect("a sweep");
        count("noise", learner.noise < median);
        for (side, name) in [(&learner.users, "users' strength"), (&learner.items, "items' strength")] {
            if let Some(effects) = &side.effects {
                count(name, effects.strength < median);
            }
        }
        // Of a Wishart distribution of 2 degrees and the identity, each element of the diagonal is chi-squared of 2.
        let given = learner.samples.back().expect("a sample").posterior.given();
        count("users' first precision", given.precision[0] < 2.0 * median);
        count("users' last precision", given.precision[3] < 2.0 * median);
        // (m, L m) times the 2 rows that the prior's mean counts for is chi-squared of 2 degrees.
        let form: f32 = (0..4).map(|at| given.precision[at] * given.mean[at / 2] * given.mean[at % 2]).sum();
        count("users' mean", 2.0 * form < 2.0 * median);
        // So is a row in the metric of its prior.
        let shift = |k: usize| learner.users.effects.as_ref().map_or(0.0, |effects| effects.shifts[k]);
        let rest: Vec<f32> =
            (0..width).map(|k| learner.users.factors[k] - given.mean[k] - shift(k)).collect();
        let form: f32 = (0..4).map(|at| given.precision[at] * rest[at / 2] * rest[at % 2]).sum();
        count("the first user", form < 2.0 * median);
        if let Some(effects) = &learner.users.effects {
            // The effects are given the strength before its last draw, so that only their sign is known.
            count("the sign of an effect", effects.values[0] > 0.0);
        }
    }
    events
}

#[test]
fn sweeps_leave_the_prior_as_it_is() {
    for implicit in [Implicit::None, Implicit::Users, Implicit::Both] {
        let frequencies = frequencies(implicit, 60_000);
        for (name, frequency) in frequencies {
            assert!((frequency - 0.5).abs() < 0.06, "{implicit:?}, {name}: {frequency}");
        }
    }
}
