//! Requests that are being scored hold up nobody who only watches the service.

mod common;
#[path = "common/running.rs"]
mod running;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use burnrec_serve::served::Served;
use running::Running;

/// How long the test waits for what must come before it says that it did not.
const LIMIT: Duration = Duration::from_secs(60);

/// Where a model waits until the test lets it go on.
#[derive(Default)]
struct Gate(Mutex<Inside>, Condvar);

#[derive(Default)]
struct Inside {
    now: usize,
    most: usize,
    open: bool,
}

impl Gate {
    /// Waits until the gate is open.
    fn pass(&self) {
        let mut inside = self.0.lock().expect("no panic");
        inside.now += 1;
        inside.most = inside.most.max(inside.now);
        self.1.notify_all();
        inside = self.1.wait_while(inside, |inside| !inside.open).expect("no panic");
        inside.now -= 1;
    }

    /// Waits until `n` calls of the model are held; returns how many are.
    fn held(&self, n: usize) -> usize {
        let inside = self.0.lock().expect("no panic");
        let (inside, _) =
            self.1.wait_timeout_while(inside, LIMIT, |inside| inside.now < n).expect("no panic");
        inside.now
    }

    fn open(&self) {
        self.0.lock().expect("no panic").open = true;
        self.1.notify_all();
    }

    /// Returns the most calls that were held at once.
    fn most(&self) -> usize {
        self.0.lock().expect("no panic").most
    }
}

/// Returns a service whose model waits at a gate.
fn gated(settings: &str) -> (Running, Arc<Gate>) {
    let (service, gate) = (Running::of(settings), Arc::new(Gate::default()));
    let at = Arc::clone(&gate);
    let run = common::recommender(Box::new(common::Hooked::new(move |_| at.pass())));
    service.engine.models.take_up(Served::new("main", "gated", "0".into(), run));
    (service, gate)
}

fn recommend(user: usize) -> String {
    format!(r#"{{"user":{user},"k":3}}"#)
}

#[test]
fn health_answers_while_eight_recommends_are_scored() {
    let (service, gate) = gated("http.scoring_requests = 8\nhttp.scoring_wait_ms = 0");
    std::thread::scope(|scope| {
        let ask = |user| service.post("/v1/recommend", &recommend(user));
        let asked: Vec<_> = (1..=8).map(|user| scope.spawn(move || ask(user))).collect();
        let before = gate.held(8);
        let start = Instant::now();
        let live = service.get("/health/live");
        let took = start.elapsed();
        let watched = ["/health/ready", "/metrics", "/flow"].map(|path| (path, service.get(path).0));
        let ninth = service.ask("POST", "/v1/recommend", "", &recommend(9));
        let after = gate.held(8);
        // The assertions come after the gate is open: a panic before it would wait for the eight requests for ever.
        gate.open();
        assert_eq!((before, after), (8, 8), "all eight were being scored all the time");
        assert_eq!(live, (200, "live\n".into()));
        assert!(took < Duration::from_millis(100), "/health/live took {took:?}");
        assert_eq!(watched.map(|(_, status)| status), [200; 3], "{watched:?}");
        let (status, head, body) = ninth;
        assert_eq!(status, 503, "{body}");
        assert!(head.to_lowercase().contains("retry-after: 1"), "{head}");
        let refusal: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            (&refusal["error"]["reason"], &refusal["error"]["stage"]),
            (&"busy".into(), &"queue".into())
        );
        assert!(body.contains("http.scoring_requests"), "{body}");
        for asked in asked {
            let (status, reply) = asked.join().expect("no panic");
            assert_eq!((status, reply["items"].as_array().map(Vec::len)), (200, Some(3)), "{reply}");
        }
    });
    assert_eq!(service.post("/v1/recommend", &recommend(9)).0, 200, "there is room again");
}

const SCORE: &str = r#"{"user":1,"items":[101,102]}"#;

#[test]
fn pairs_of_a_slow_model_hold_up_nobody() {
    let (service, gate) = gated("http.scoring_requests = 1\nhttp.scoring_wait_ms = 0");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| service.post("/v1/score", SCORE));
        let held = gate.held(1);
        let start = Instant::now();
        let live = service.get("/health/live").0;
        let took = start.elapsed();
        let second = service.post("/v1/score", SCORE).0;
        gate.open();
        assert_eq!((held, live, second), (1, 200, 503), "the second needs the turn that the first has");
        assert!(took < Duration::from_millis(100), "/health/live took {took:?}");
        assert_eq!(slow.join().expect("no panic").0, 200);
    });
}

#[test]
fn pairs_of_a_quick_model_need_no_turn() {
    // The model waits at the gate for user 9 alone.
    let (service, gate) =
        (Running::of("http.scoring_requests = 1\nhttp.scoring_wait_ms = 0"), Arc::new(Gate::default()));
    let at = Arc::clone(&gate);
    let run = common::recommender(Box::new(common::Hooked::new(move |users| {
        if users.iter().any(|user| user.0 == 8) {
            at.pass();
        }
    })));
    service.engine.models.take_up(Served::new("main", "gated", "0".into(), run));
    for _ in 0..50 {
        assert_eq!(service.post("/v1/score", SCORE).0, 200);
    }
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| service.post("/v1/recommend", &recommend(9)));
        let held = gate.held(1);
        let answers = [service.post("/v1/score", SCORE).0, service.post("/v1/recommend", &recommend(1)).0];
        gate.open();
        assert_eq!((held, answers), (1, [200, 503]), "a recommendation needs the turn that the first has");
        assert_eq!(slow.join().expect("no panic").0, 200);
    });
}

#[test]
fn a_request_waits_for_its_turn() {
    let limit = LIMIT.as_millis();
    let (service, gate) = gated(&format!("http.scoring_requests = 1\nhttp.scoring_wait_ms = {limit}"));
    std::thread::scope(|scope| {
        let ask = |user| service.post("/v1/recommend", &recommend(user));
        let asked: Vec<_> = (1..=3).map(|user| scope.spawn(move || ask(user))).collect();
        let held = gate.held(1);
        gate.open();
        let answers: Vec<u16> = asked.into_iter().map(|asked| asked.join().expect("no panic").0).collect();
        assert_eq!((held, answers), (1, vec![200; 3]));
    });
    assert_eq!(gate.most(), 1, "never two at once");
}
