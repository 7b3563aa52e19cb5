//! The bench: trains all cases of a config on the same splits, keeps a record of each, and makes a report of the records.

pub mod bench;
pub mod chart;
mod number;
pub mod peers;
pub mod record;
pub mod report;
pub mod stats;
