//! Trains on a ratings file and recommends to a user:
//! `cargo run --release --example train_and_recommend -- ratings.csv 7`.
//!
//! Without arguments it trains on synthetic ratings.

use burnrec::data::synth::{SynthConfig, synth};
use burnrec::{AlsConfig, PrepareOptions, Query, Recommender};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let options = PrepareOptions::default();
    let data = match args.next() {
        Some(ratings) => burnrec::prepare(ratings, &options)?,
        None => burnrec::prepare_dataset(synth(&SynthConfig::new(500, 300, 20_000, 1))?, &options)?,
    };
    let user = args.next().unwrap_or_else(|| data.users.id(0).to_string());

    let trained = burnrec::train(&data, AlsConfig { dim: 32, ..AlsConfig::default() })?;
    println!("{}\n", trained.record.metrics.test);

    let folder = std::env::temp_dir().join("burnrec-example-als");
    trained.recommender.save(&folder)?;
    let recommender = Recommender::open(&folder)?;
    let best = recommender.recommend(&user, 5)?;
    for item in &best {
        println!("{:>8} {:.3} {}", item.id, item.score, item.title.as_deref().unwrap_or(""));
    }

    // Asks once more without the best item, and for the items most similar to it.
    let other = recommender.recommend(&user, Query::top(5).without([&best[0].id]))?;
    assert!(other.iter().all(|item| item.id != best[0].id));
    for item in recommender.similar(&best[0].id, 3)? {
        println!("like {}: {:>8} {:.3}", best[0].id, item.id, item.score);
    }

    // Folds in a user whom the model has never seen, with two items.
    let guest = recommender.fold_in(&[(&best[0].id, 1.0), (&best[1].id, 1.0)])?;
    println!("for a guest: {:?}", guest.recommend(3)?.iter().map(|item| &item.id).collect::<Vec<_>>());
    Ok(())
}
