//! Models that score on a graphics card, software included, answer as those on the CPU.

mod common;

use burnrec_data::testing::skipped;
use burnrec_models::{DeviceChoice, device};
use burnrec_serve::engine::Engine;
use common::{answer, config};

#[test]
fn a_model_on_a_card_answers_as_on_the_cpu() {
    if let Err(error) = device::open(DeviceChoice::Gpu(None)) {
        return skipped("gpu", &format!("a_model_on_a_card_answers_as_on_the_cpu: {error}"));
    }
    let engine = |device: &str| {
        Engine::open(&config(&format!("device = \"{device}\"\nmodels.main.run = \"RUN\"")))
            .expect("an engine")
    };
    let (card, cpu) = (engine("gpu"), engine("cpu"));
    assert!(card.models.device().starts_with("gpu"), "{}", card.models.device());
    for request in [
        r#"{"type":"score","user":7,"items":[101,130,115]}"#,
        r#"{"type":"recommend","user":7,"k":5}"#,
        r#"{"type":"recommend","user":12,"k":30,"include_seen":true}"#,
        r#"{"type":"recommend","user":3,"k":2,"only":[105,108,109]}"#,
    ] {
        let (ours, theirs) = (answer(&card, request).scores(), answer(&cpu, request).scores());
        assert!(!ours.is_empty() && ours.len() == theirs.len(), "{request}: {ours:?} and {theirs:?}");
        for ((item, score), (other, expected)) in ours.into_iter().zip(theirs) {
            assert_eq!(item, other, "{request}");
            let (score, expected) = (score.expect("a score"), expected.expect("a score"));
            assert!((score - expected).abs() < 1e-5, "{request}: {score} and {expected}");
        }
    }
}
