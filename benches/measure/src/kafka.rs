//! Shared by the measurements of the service: topics, requests, the programs that answer them, and the check of their
//! replies.

pub mod contenders;
pub mod models;
pub mod process;
pub mod replies;
pub mod requests;
pub mod topics;
