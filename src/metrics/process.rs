//! What the system says of this process: memory, descriptors, threads and CPU time, as Linux tells them in `/proc`. What
//! it does not tell is left out.

use rustix::time::{ClockId, clock_gettime};

/// This process, as the system sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) most_files: Option<u64>,
    /// CPU time so far, in seconds.
    pub(crate) cpu: f64,
}

impl Process {
    /// Now. Reads a few files that are no files, so it waits for nothing but the kernel.
    pub(crate) fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            resident_bytes: field(&status, "VmRSS:").map(|kilobytes| kilobytes.saturating_mul(1024)),
            virtual_bytes: field(&status, "VmSize:").map(|kilobytes| kilobytes.saturating_mul(1024)),
            threads: field(&status, "Threads:"),
            // The folder itself is open while it is read.
            open_files: std::fs::read_dir("/proc/self/fd")
                .ok()
                .map(|open| (open.count() as u64).saturating_sub(1)),
            most_files: field(&limits, "Max open files"),
            cpu: spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9,
        }
    }
}

/// The first number behind `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names() {
        let status = "Name:\tx\nVmSize:\t   5 kB\nVmRSS:\t  1234 kB\nThreads:\t3\n";
        assert_eq!((field(status, "VmRSS:"), field(status, "Threads:")), (Some(1234), Some(3)));
        assert_eq!(field("Max open files            1024   4096   files\n", "Max open files"), Some(1024));
        assert_eq!(field("Max open files  unlimited  unlimited  files\n", "Max open files"), None);
        assert_eq!(field("", "VmRSS:"), None);
    }

    #[test]
    fn this_process_takes_some_memory() {
        let now = Process::now();
        assert!(now.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{now:?}");
        assert!(now.open_files.is_some_and(|open| open >= 3) && now.threads.is_some(), "{now:?}");
    }
}
