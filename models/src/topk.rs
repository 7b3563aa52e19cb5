//! The best k of many scores.
