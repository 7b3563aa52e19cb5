//! The bench: trains all cases of a config on the same splits, keeps a record of each, and makes a report of the
//! records.
//!
//! ```no_run
//! use burnrec_bench::record::Records;
//! use burnrec_bench::report::Report;
//!
//! // The report of one bench, made from its records; several benches of the same data can share a report.
//! let records = Records::read("bench/ml-1m".as_ref())?;
//! let paths = Report::of(&[records])?.save("bench/ml-1m".as_ref())?;
//! println!("report: {}", paths.html.display());
//! # Ok::<(), burnrec_train::Error>(())
//! ```

#![deny(missing_docs)]

pub mod bench;
pub mod chart;
mod number;
pub mod peers;
pub mod record;
pub mod report;
