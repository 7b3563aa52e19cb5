//! Steps of one's own in a storm.

use std::sync::LazyLock;

use burnrec_serve::message::WireId;
use burnrec_serve::step::{Step, StepEvent, register};

/// The steps that events go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    None,
    /// They filter, fail and change events, always the same ones in the same way.
    Own,
    /// A process that dies, hangs, and writes garbage now and then, and else changes nothing.
    Flaky,
}

struct Before;
struct After;

impl Step for Before {
    fn apply(&self, batch: &mut [StepEvent<'_>]) {
        for event in batch {
            let Some(WireId::Int(user)) = event.request.user() else { continue };
            match user {
                user if user % 13 == 0 => event.filter(),
                user if user % 11 == 0 => event.fail("a user of no luck"),
                user => drop(event.fields.insert("seen".into(), (*user).into())),
            }
        }
    }
}

impl Step for After {
    fn apply(&self, batch: &mut [StepEvent<'_>]) {
        for event in batch {
            let unlucky = matches!(event.request.user(), Some(WireId::Int(user)) if user % 7 == 0);
            let Some(answer) = &mut event.answer else { continue };
            answer.items.reverse();
            if unlucky {
                answer.items.iter_mut().for_each(|item| item.score = Some(f32::NAN));
            }
        }
    }
}

static REGISTERED: LazyLock<()> = LazyLock::new(|| {
    register("storm-before", Before).expect("a new name");
    register("storm-after", After).expect("a new name");
});

const FLAKY: &str = "import json, os, random, sys, time
for line in sys.stdin:
    lot = random.random()
    if lot < 0.01: os._exit(1)
    if lot < 0.015: time.sleep(1000)
    if lot < 0.03: print('garbage'); continue
    if lot < 0.04: print(json.dumps({'line': json.loads(line)['line'], 'error': 'not now'}), flush=True); continue
    print(line, end='', flush=True)
";

impl Steps {
    /// Returns the tables of the config.
    pub fn tables(self, retries: u32, pace: &str) -> String {
        match self {
            Self::None => String::new(),
            Self::Own => {
                LazyLock::force(&REGISTERED);
                let failures =
                    format!("failures = {{ retries = {retries}, backoff_ms = 1, pace = \"{pace}\" }}");
                format!(
                    "[steps.storm-before]\nplace = \"before-score\"\n{failures}\n[steps.storm-after]\nplace = \"after-score\"\n\
                     {failures}\n"
                )
            }
            Self::Flaky => {
                let table = |name: &str, place: &str| {
                    format!(
                        "[steps.{name}]\nplace = \"{place}\"\ncommand = [\"python3\", \"-c\", {}]\ntimeout_ms = 400\nlines = 3\n\
                         failures = {{ retries = 1000, backoff_ms = 1, pace = \"yield\" }}\n",
                        serde_json::Value::from(FLAKY)
                    )
                };
                table("flaky-before", "before-score") + &table("flaky-after", "after-score")
            }
        }
    }
}
