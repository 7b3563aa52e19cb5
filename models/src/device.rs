//! Which device Burn computes on.
