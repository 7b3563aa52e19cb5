//! Tenants in a storm.

/// Tenants of whom each has few of the events, and more than its quota lets pass at once.
pub const TENANTS: &str = r#"
[tenants.acme]
events_per_s = 5000
burst_s = 0.001
[tenants.globex]
bytes_per_s = 500000
burst_s = 0.001
weight = 2
[[routes]]
tenant = "acme"
headers = { tenant = "acme" }
models = { main = 1 }
[[routes]]
tenant = "globex"
topic = "second"
models = { main = 1 }
"#;
