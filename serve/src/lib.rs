//! The scoring service: its messages
