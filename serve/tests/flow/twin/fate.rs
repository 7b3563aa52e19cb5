//! What goes wrong for a member: drawn, or written in the script.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use burnrec_serve::Error;
use burnrec_serve::event::TopicPartition;
use burnrec_serve::flow::{Change, Trouble};
use rand::RngExt;

use super::{Act, Inner, Twin};

impl Twin {
    /// Fails with the probability `share`.
    pub(super) fn fail(&mut self, inner: &mut Inner, share: f64, what: &str) -> Result<(), Trouble> {
        let rules = &self.cluster.rules;
        if !(self.recovered || inner.rng.random_bool(0.02)) || !inner.fails(rules, share) {
            return Ok(());
        }
        self.recovered = false;
        let rebuild = inner.rng.random_bool(rules.faults.rebuild);
        Err(if rebuild { Trouble::Rebuild(what.into()) } else { Trouble::Abort(what.into()) })
    }

    /// Makes a partition anew, and lets this member hear of it with its next events.
    fn renew(&mut self, inner: &mut Inner, part: TopicPartition) {
        let log = inner.log.get_mut(&part).expect("a partition of the twin");
        (0..).zip(log.iter_mut()).for_each(|(offset, request)| request.offset = offset);
        inner.committed.remove(&part);
        self.begin_again(part);
        inner.members[self.me].changes.push_back(Change::Renewed(vec![(part, Some(0), String::new())]));
    }

    /// Lets partitions move and members die or stop, as the script says or as it is drawn.
    pub(super) fn befall(&mut self, inner: &mut Inner) -> Result<(), Trouble> {
        let cluster = Arc::clone(&self.cluster);
        let rules = &cluster.rules;
        let crash = || Trouble::Fatal(Error::Stop { by: "test".into(), found: "a crash".into() });
        let now = inner.looks;
        for (_, act) in rules.script.iter().filter(|(look, _)| *look == now) {
            match *act {
                Act::Crash => return Err(crash()),
                Act::Fence => self.fenced = true,
                Act::Stop => self.stop.store(true, Ordering::Relaxed),
                Act::Rejoin(part) => inner.move_part(part, self.me, false),
                Act::Lose(part) => inner.move_part(part, self.me, true),
                Act::Renew(part) => self.renew(inner, part),
                Act::Erase(part, key) => inner.erase(part, key),
                Act::Doubt => self.doubtful = true,
            }
        }
        if inner.fails(rules, rules.faults.moved) {
            let (alive, owned) = (inner.alive(), inner.owners.keys().copied().collect::<Vec<_>>());
            if !owned.is_empty() {
                let to = alive[inner.rng.random_range(0..alive.len())];
                let part = owned[inner.rng.random_range(0..owned.len())];
                let lost = inner.rng.random_bool(rules.faults.lost);
                inner.move_part(part, to, lost);
            }
        }
        if inner.fails(rules, rules.faults.crash) {
            self.fenced = rules.exactly_once && inner.rng.random_bool(0.5);
            if !self.fenced {
                return Err(crash());
            }
        }
        if inner.fails(rules, rules.faults.stop) {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
