//! How many users' histories are kept, and for how long.

use std::sync::Arc;
use std::time::Duration;

use burnrec_serve::outbox::EventOutcome;
use burnrec_serve::{Engine, Kind};

use super::clock::SimClock;
use super::common::{answer_http, config};

#[test]
fn one_user_more_is_rejected_until_another_was_away_for_too_long() {
    let clock = Arc::new(SimClock::new());
    let config = config("models.main.run = \"RUN\"\nlimits.users = 2\nstate.ttl = \"40s\"");
    let engine = Engine::open(&config).expect("the config is whole").with_clock(clock.clone());
    let event = |user: i64| {
        let text = format!(r#"{{"user":{user},"item":101}}"#);
        let found = answer_http(&engine, Kind::Event, &text);
        match &found.outcome {
            EventOutcome::Replied(_) => Ok(found.json()["history"].as_i64()),
            _ => Err(found.reject().reason),
        }
    };
    assert_eq!((event(900), event(901)), (Ok(Some(1)), Ok(Some(1))));
    assert_eq!(event(902), Err("no-room"));
    clock.advance(Duration::from_secs(20));
    assert_eq!(event(901), Ok(Some(1)), "there is room for who is there");
    clock.advance(Duration::from_secs(21));
    engine.forget_the_absent();
    assert_eq!(
        (event(902), engine.state.n_users()),
        (Ok(Some(1)), 2),
        "user 900 was away for over forty seconds"
    );
    assert_eq!(event(900), Err("no-room"));
}
