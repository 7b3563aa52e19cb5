//! How much main memory is free to take, and how sizes are told.

use std::fs;

/// Returns the main memory that is free to take, in bytes; `None` where the system does not say.
pub fn free_memory_bytes() -> Option<u64> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    free(&text("/proc/meminfo"), &text("/sys/fs/cgroup/memory.max"), &text("/sys/fs/cgroup/memory.current"))
}

/// Reads `MemAvailable` of `/proc/meminfo`, and what the control group's limit leaves.
fn free(meminfo: &str, limit: &str, used: &str) -> Option<u64> {
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available: u64 = available.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let left = limit.trim().parse::<u64>().ok().zip(used.trim().parse().ok());
    let left = left.map_or(u64::MAX, |(limit, used)| limit.saturating_sub(used));
    Some((available * 1024).min(left))
}

/// Returns a size in a readable unit, such as `1.6 GB`.
pub fn told(bytes: u64) -> String {
    let units = [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        let meminfo = "MemTotal:        8048 kB\nMemAvailable:  40 kB\n";
        assert_eq!(free(meminfo, "max\n", "7\n"), Some(40 * 1024));
        assert_eq!(free(meminfo, "9000\n", "7000\n"), Some(2000));
        assert_eq!(free("", "max\n", "7\n"), None);
    }
}
