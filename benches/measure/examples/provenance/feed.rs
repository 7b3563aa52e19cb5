//! A transport in memory: a worker's share of the requests comes in, and what is sent is counted and dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burnrec_measure::kafka::requests::Requests;
use burnrec_serve::event::{Incoming, TopicPartition};
use burnrec_serve::flow::{Change, End, Position, Records, Refused, Transport, Trouble};
use burnrec_serve::outbox::Outbox;

/// The requests of a worker, in a partition of its own.
pub struct Feed {
    requests: Arc<Requests>,
    part: TopicPartition,
    next: usize,
    step: usize,
    is_assigned: bool,
    last_batch: u64,
    stop: Arc<AtomicBool>,
    key: Vec<u8>,
    payload: Vec<u8>,
}

impl Feed {
    /// Takes every request of a worker, of so many; sets `stop` after the last.
    pub fn new(requests: &Arc<Requests>, (worker, workers): (usize, usize), stop: &Arc<AtomicBool>) -> Self {
        Self {
            requests: Arc::clone(requests),
            part: TopicPartition { topic: 0, partition: worker as i32 },
            next: worker,
            step: workers,
            is_assigned: false,
            last_batch: 0,
            stop: Arc::clone(stop),
            key: Vec::new(),
            payload: Vec::new(),
        }
    }
}

impl Transport for Feed {
    fn receive(
        &mut self,
        _: Duration,
        most: usize,
        into: &mut Vec<Incoming>,
    ) -> Result<Vec<Change>, Trouble> {
        if !self.is_assigned {
            self.is_assigned = true;
            return Ok(vec![Change::Assigned(vec![self.part])]);
        }
        let received = Instant::now();
        for _ in 0..most {
            if self.next >= self.requests.len() {
                self.stop.store(true, Ordering::Relaxed);
                break;
            }
            self.requests.write(self.next, &mut self.key, &mut self.payload);
            let offset = (self.next / self.step) as i64;
            into.push(Incoming::new(received, self.part, offset, Some(&self.key), Some(&self.payload)));
            self.next += self.step;
        }
        Ok(Vec::new())
    }

    fn positions(&mut self, parts: &[TopicPartition], _: &mut Records<'_>) -> Result<Vec<Position>, Trouble> {
        Ok(parts.iter().map(|part| (*part, Some(0), String::new())).collect())
    }

    fn partitions(&self, _: u16) -> Option<i32> {
        None
    }

    fn begin(&mut self, _: &[Position]) -> Result<(), Trouble> {
        Ok(())
    }

    fn release(&mut self, _: &[TopicPartition]) -> Result<(), Trouble> {
        Ok(())
    }

    fn ends(&mut self) -> Vec<End> {
        Vec::new()
    }

    fn refused(&self, _: &[Incoming], _: &Outbox) -> Vec<Refused> {
        Vec::new()
    }

    fn send(&mut self, batch: u64, _: &[Incoming], _: &Outbox) -> Result<(), Trouble> {
        self.last_batch = batch;
        Ok(())
    }

    fn delivered(&mut self, _: Duration) -> Result<u64, Trouble> {
        Ok(self.last_batch)
    }

    fn commit(&mut self, _: &[Position], _: bool) -> Result<(), Trouble> {
        Ok(())
    }

    fn abort(&mut self, _: bool) -> Result<(), Trouble> {
        Ok(())
    }

    fn rewind(&mut self, _: &[Position]) -> Result<(), Trouble> {
        Ok(())
    }

    fn pause(&mut self, _: &[TopicPartition], _: bool) -> Result<(), Trouble> {
        Ok(())
    }
}
