//! Measurement: cases, records, reports
