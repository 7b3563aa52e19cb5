//! The conformance suite that every model must pass.
