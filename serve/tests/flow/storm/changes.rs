//! Settings that are exchanged while a storm goes on: routes, orders and bounds of queues, sizes of batches, pauses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use burnrec_serve::Engine;
use burnrec_serve::clock::Clock;
use burnrec_serve::config::{Order, Route, ServeConfig};
use burnrec_serve::settings::{Run, Settings};

use crate::clock::SimClock;

/// How often the clock is asked between two changes.
const EVERY: u64 = 40;

/// How often settings were exchanged in all storms, by whether events were taken then.
pub static EXCHANGED: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// A clock that exchanges the settings of its engine as time passes.
pub struct Changing {
    clock: Arc<SimClock>,
    engine: OnceLock<Weak<Engine>>,
    asked: AtomicU64,
    /// What is taken up, one after the other and from the beginning again.
    all: Vec<(ServeConfig, Run)>,
}

impl Changing {
    /// Gives an engine such a clock.
    pub fn engine(
        engine: Engine,
        config: &ServeConfig,
        is_first_in: bool,
        clock: &Arc<SimClock>,
    ) -> Arc<Engine> {
        let changing = Self {
            clock: Arc::clone(clock),
            engine: OnceLock::new(),
            asked: AtomicU64::new(0),
            all: versions(config, is_first_in),
        };
        let changing = Arc::new(changing);
        let engine = Arc::new(engine.with_clock(Arc::clone(&changing) as _));
        changing.engine.set(Arc::downgrade(&engine)).expect("it is set once");
        engine
    }

    fn change(&self) {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(engine) = self.engine.get().and_then(Weak::upgrade) else { return };
        if asked.is_multiple_of(EVERY) {
            let version = asked / EVERY;
            let (config, run) = &self.all[version as usize % self.all.len()];
            let settings = Settings::open(config, version, *run).expect("settings");
            engine.models.change(settings, Vec::new());
            EXCHANGED[*run as usize].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Clock for Changing {
    fn now(&self) -> Instant {
        self.change();
        self.clock.now()
    }

    fn unix_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    fn sleep(&self, span: Duration) {
        self.clock.sleep(span);
    }
}

/// Returns versions of a config that answer alike; where events are answered in no order of theirs, with other routes and orders.
fn versions(config: &ServeConfig, is_first_in: bool) -> Vec<(ServeConfig, Run)> {
    let (mut small, mut other) = (config.clone(), config.clone());
    (small.flow.batch_events, small.flow.queue_events) = (2, 3);
    other.flow.queue_bytes = 2000;
    for (name, tenant) in &mut other.tenants {
        (tenant.events_per_s, tenant.weight) = ((name == "globex").then_some(9000.0), 3);
    }
    if !is_first_in {
        other.flow.order = Order::Newest;
    }
    if !is_first_in && config.tenants.is_empty() {
        let of = |priority: &str| Route {
            tenant: None,
            topic: None,
            headers: [("priority".to_owned(), priority.to_owned())].into(),
            models: [("main".to_owned(), 1.0)].into(),
            salt: None,
            shadow: None,
            queue_events: Some(4),
            queue_bytes: None,
        };
        small.routes = ["0", "3"].map(of).into();
    }
    vec![
        (config.clone(), Run::Running),
        (small.clone(), Run::Running),
        (small, Run::Paused),
        (other.clone(), Run::Running),
        (other, Run::Draining),
    ]
}
