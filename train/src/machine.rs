//! The machine that a figure was measured on, and how much memory this process took.

use std::fs;

use serde::{Deserialize, Serialize};

/// What a measured time depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor as it names itself, or its architecture where it does not.
    pub cpu: String,
    /// Logical processors this process may use: what affinity and control groups leave of the machine.
    pub cores: usize,
    /// Main memory in bytes, or what the control group allows if that is less; 0 where it cannot be found out.
    pub memory_bytes: u64,
    /// The operating system, with its name and version where it tells.
    pub os: String,
    /// The widest vector instructions the processor has: `avx512`, `avx2`, `sse2`, `neon` or `none`.
    pub simd: String,
}

impl Machine {
    /// Reads what the system says of this machine.
    pub fn read() -> Self {
        Self {
            cpu: cpu(&text("/proc/cpuinfo")).unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory(&text("/proc/meminfo"), &text("/sys/fs/cgroup/memory.max")),
            os: os(&text("/etc/os-release"), text("/proc/sys/kernel/osrelease").trim()),
            simd: simd().to_owned(),
        }
    }
}

/// Reads a file of the system; the text is empty where there is no such file.
fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Returns the peak resident memory of this process so far, in bytes; 0 where the system does not report it. On Linux
/// it is read from `/proc/self/status`, because `ru_maxrss` of getrusage(2), which is read on other systems, includes
/// on Linux what the process that started this one held.
pub fn peak_memory_bytes() -> u64 {
    if let Some(peak) = peak(&text("/proc/self/status")) {
        return peak;
    }
    #[cfg(unix)]
    {
        // SAFETY: getrusage writes one rusage, a plain struct of integers for which all zeros is a value.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            if libc::getrusage(libc::RUSAGE_SELF, &mut usage) != 0 {
                return 0;
            }
            usage
        };
        // The BSDs count kibibytes, macOS counts bytes.
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        usage.ru_maxrss as u64 * unit
    }
    #[cfg(not(unix))]
    0
}

/// Returns `VmHWM` of `/proc/self/status`, in bytes.
fn peak(status: &str) -> Option<u64> {
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

/// Returns the processor's name in `/proc/cpuinfo`.
fn cpu(cpuinfo: &str) -> Option<String> {
    let value = |key: &str| {
        let mut pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
    };
    value("model name")
        .or_else(|| value("Model"))
        .or_else(|| value("Hardware"))
        .filter(|name| !name.is_empty())
}

/// Returns the main memory in bytes, from `/proc/meminfo` and the control group's limit (`max` or bytes).
fn memory(meminfo: &str, limit: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes: Option<u64> = total.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok());
    let total = kibibytes.map_or(0, |n| n * 1024);
    match limit.trim().parse::<u64>() {
        Ok(limit) if total == 0 || limit < total => limit,
        _ => total,
    }
}

/// Returns the operating system's name in `/etc/os-release`, and the kernel's version.
fn os(os_release: &str, kernel: &str) -> String {
    let family = std::env::consts::OS;
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    match (name.map(|name| name.trim_matches('"')), kernel) {
        (Some(name), "") => name.to_owned(),
        (Some(name), kernel) => format!("{name}, {family} {kernel}"),
        (None, kernel) => format!("{family} {kernel}").trim().to_owned(),
    }
}

#[cfg(target_arch = "x86_64")]
fn simd() -> &'static str {
    if std::arch::is_x86_feature_detected!("avx512f") {
        "avx512"
    } else if std::arch::is_x86_feature_detected!("avx2") {
        "avx2"
    } else {
        "sse2"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn simd() -> &'static str {
    // Every 64-bit ARM processor has NEON.
    if cfg!(target_arch = "aarch64") { "neon" } else { "none" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        assert_eq!(
            cpu("processor\t: 0\nmodel name\t: Fast CPU @ 2 GHz\n").as_deref(),
            Some("Fast CPU @ 2 GHz")
        );
        assert_eq!(cpu("processor : 0\nModel : Raspberry Pi 5\n").as_deref(), Some("Raspberry Pi 5"));
        assert_eq!(cpu(""), None);
        let meminfo = "MemTotal:        8048 kB\nMemFree:  12 kB\n";
        assert_eq!(memory(meminfo, "max\n"), 8048 * 1024);
        assert_eq!(memory(meminfo, "4096\n"), 4096);
        assert_eq!(memory(meminfo, "18446744073709551615"), 8048 * 1024);
        assert_eq!(memory("", ""), 0);
        assert_eq!(
            os("ID=x\nPRETTY_NAME=\"Some Linux 12\"\n", "6.1.0"),
            format!("Some Linux 12, {} 6.1.0", std::env::consts::OS)
        );
        assert_eq!(os("", ""), std::env::consts::OS);
    }

    #[test]
    fn this_machine_describes_itself() {
        let machine = Machine::read();
        assert!(!machine.cpu.is_empty() && machine.cores > 0 && !machine.os.is_empty(), "{machine:?}");
        if cfg!(target_os = "linux") {
            assert!(machine.memory_bytes > 1 << 26, "{machine:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_peak_counts_what_was_touched() {
        let before = peak_memory_bytes();
        let size = 64 << 20;
        let block = std::hint::black_box(vec![1u8; size]);
        let after = peak_memory_bytes();
        assert!(
            after >= size as u64 && after >= before,
            "{before} before, {after} after {} bytes",
            block.len()
        );
        assert!(after < 1 << 40, "{after} is no number of bytes");
    }
}
