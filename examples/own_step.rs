//! Adds steps of one's own to the service: one before score that adds a field, and a business rule after it.
//!
//! [`Step`] is the trait; a line registers each, and a table `[steps.NAME]` of the config says its place.

use std::collections::HashMap;
use std::time::Instant;

use burnrec::data::synth::{SynthConfig, synth};
use burnrec::serve::Engine;
use burnrec::serve::engine::{HTTP, Reading};
use burnrec::serve::event::Incoming;
use burnrec::serve::outbox::Outbox;
use burnrec::serve::step::{Step, StepEvent, register};
use burnrec::{AlsConfig, PrepareOptions};

/// Says of which segment the user is.
struct Segments(HashMap<String, &'static str>);

impl Step for Segments {
    fn apply(&self, batch: &mut [StepEvent<'_>]) {
        for event in batch {
            let user = event.request.user().map(|user| user.id().to_string()).unwrap_or_default();
            let segment = self.0.get(&user).copied().unwrap_or("new");
            event.fields.insert("segment".into(), segment.into());
        }
    }
}

/// Recommends no more than a few items whose ids have the same last digit, which stands for a brand here.
struct CapBrand {
    most: usize,
}

impl Step for CapBrand {
    fn apply(&self, batch: &mut [StepEvent<'_>]) {
        for event in batch {
            let Some(answer) = &mut event.answer else { continue };
            let mut had: HashMap<Option<char>, usize> = HashMap::new();
            answer.items.retain(|item| {
                let n = had.entry(item.item.id().to_string().chars().last()).or_default();
                *n += 1;
                *n <= self.most
            });
            if answer.items.is_empty() {
                event.fail("nothing is left to recommend");
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dataset = synth(&SynthConfig::new(300, 200, 9_000, 1))?;
    let data = burnrec::prepare_dataset(dataset, &PrepareOptions::default())?;
    let folder = std::env::temp_dir().join("burnrec-example-own-step");
    burnrec::train(&data, AlsConfig { dim: 16, ..AlsConfig::default() })?.recommender.save(&folder)?;
    let user = data.users.id(0).to_string();

    register("segments", Segments(HashMap::from([(user.clone(), "regular")])))?;
    register("cap-brand", CapBrand { most: 1 })?;
    let config = format!(
        "[models.main]\nrun = '{}'\n[steps.segments]\nplace = 'before-score'\n[steps.cap-brand]\nplace = 'after-score'",
        folder.display()
    );
    let engine = Engine::open(&config.parse()?)?;

    let request = format!(r#"{{"type":"recommend","user":"{user}","k":12}}"#);
    let event = Incoming::new(Instant::now(), HTTP, 0, None, Some(request.as_bytes()));
    let mut outbox = Outbox::default();
    engine.answer(&[event], Reading::default(), &mut Vec::new(), &mut outbox);
    let message = outbox.messages.first().ok_or_else(|| format!("no reply: {:?}", outbox.outcomes))?;
    let reply: serde_json::Value = serde_json::from_slice(outbox.value(message).unwrap_or_default())?;
    println!("{reply:#}");

    let items = reply["items"].as_array().ok_or("no items")?;
    let mut brands: Vec<_> = items.iter().map(|item| item["item"].to_string().pop()).collect();
    brands.sort_unstable();
    brands.dedup();
    assert_eq!((brands.len(), &reply["segment"]), (items.len(), &"regular".into()));
    Ok(())
}
