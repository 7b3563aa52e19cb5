//! What must wait outside while there is no room for it.

use super::{Flow, Transport, Trouble};
use crate::event::TopicPartition;
use crate::settings::Run;

impl<T: Transport> Flow<T> {
    /// Pauses partitions whose queue is full, and resumes those that have room again. Where none has room nothing is taken instead:
    /// a transport that pauses throws away what it has fetched, and fetches it again.
    pub(super) fn pause(&mut self) -> Result<(), Trouble> {
        let mut full = self.backlog.full_topics();
        let wide = if self.backlog.reads_ahead { self.offsets.wide() } else { Vec::new() };
        let is_running = self.live.settings.run == Run::Running;
        if !is_running {
            full.push(None);
        }
        self.is_holding = false;
        if full.is_empty() && wide.is_empty() && self.paused.is_empty() {
            return Ok(());
        }
        let must = |part: &TopicPartition| {
            wide.contains(part) || full.iter().any(|topic| topic.is_none_or(|topic| topic == part.topic))
        };
        self.is_holding = is_running && self.offsets.partitions().all(|part| must(&part));
        let all = self.offsets.partitions().filter(|_| !self.is_holding);
        let pause: Vec<TopicPartition> =
            all.filter(|part| must(part) && !self.paused.contains(part)).collect();
        let resume: Vec<TopicPartition> = self.paused.iter().filter(|part| !must(part)).copied().collect();
        if !pause.is_empty() {
            self.transport.pause(&pause, true)?;
        }
        if !resume.is_empty() {
            self.transport.pause(&resume, false)?;
        }
        self.paused.retain(|part| !resume.contains(part));
        self.paused.extend(pause);
        Ok(())
    }
}
