//! The real files, where they are at hand: known counts, dates and titles.

use burnrec_data::read::Format;
use burnrec_data::split::GivenSplit;
use burnrec_data::testing::real_data;
use burnrec_data::{Id, ItemIx, Vocab};

use crate::take;

#[test]
fn movie_lens_100k_and_its_folds() {
    let Some(folder) = real_data("ml-100k") else { return };
    let dataset = take(&folder).dataset;
    assert_eq!(dataset.name, "ml-100k");
    assert_eq!((dataset.interactions.len(), dataset.users.len(), dataset.items.len()), (100_000, 943, 1682));
    assert_eq!(dataset.titles.unwrap().get(ItemIx(0)), Some("Toy Story (1995)"));
    let outcome = take(folder.join("u1"));
    let Some(GivenSplit::Fold { test }) = outcome.given else { panic!("a fold") };
    assert_eq!((outcome.dataset.interactions.len(), test.len()), (80_000, 20_000));
    assert_eq!(outcome.dataset.items.len(), 1682);
}

#[test]
fn movie_lens_1m() {
    let Some(folder) = real_data("ml-1m") else { return };
    let outcome = take(&folder);
    let dataset = outcome.dataset;
    assert_eq!((outcome.summary.format, dataset.name.as_str()), (Format::Ml1m, "ml-1m"));
    assert_eq!(
        (dataset.interactions.len(), dataset.users.len(), dataset.items.len()),
        (1_000_209, 6040, 3706)
    );
    assert_eq!(dataset.interactions.values.iter().map(|&value| value as f64).sum::<f64>(), 3_582_313.0);
    let titles = dataset.titles.unwrap();
    assert!(titles.0.iter().all(|title| !title.is_empty()));
    let row = dataset.items.row(Id::Int(73)).unwrap();
    assert_eq!(titles.get(ItemIx(row)), Some("Mis\u{e9}rables, Les (1995)"));
}

#[test]
fn movie_lens_latest_small() {
    let Some(folder) = real_data("ml-latest-small") else { return };
    let outcome = take(&folder);
    let dataset = outcome.dataset;
    assert_eq!(outcome.summary.format, Format::MlCsv);
    assert_eq!((dataset.interactions.len(), dataset.users.len(), dataset.items.len()), (100_836, 610, 9724));
    let row = dataset.items.row(Id::Int(11)).unwrap();
    assert_eq!(dataset.titles.unwrap().get(ItemIx(row)), Some("American President, The (1995)"));
}

#[test]
fn movie_tweetings_10k() {
    let Some(folder) = real_data("movietweetings-10k") else { return };
    let dataset = take(&folder).dataset;
    assert_eq!(dataset.interactions.len(), 10_000);
    assert!(matches!(dataset.items, Vocab::Str { .. }) && matches!(dataset.users, Vocab::Int(_)));
    let row = dataset.items.find("0002844").unwrap();
    assert_eq!(
        dataset.titles.unwrap().get(ItemIx(row)),
        Some("Fantômas - À l'ombre de la guillotine (1913)")
    );
}
