//! What the system says of this process. Nothing where there is no `/proc`.

use std::fs;

/// A part of a second: the unit of the processor times in `/proc`, the same on all of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// Seconds of processor time, all threads together.
    pub(super) cpu_seconds: Option<f64>,
    /// Bytes of memory that are in use.
    pub(super) resident_bytes: Option<u64>,
    /// Files that are open.
    pub(super) open_files: Option<u64>,
    /// Bytes read from disks.
    pub(super) disk_read_bytes: Option<u64>,
}

impl Process {
    /// This process, now.
    pub(super) fn now() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        let files = fs::read_dir("/proc/self/fd").ok();
        Self {
            cpu_seconds: read("stat").and_then(|text| cpu_seconds(&text)),
            resident_bytes: read("status").and_then(|text| resident_bytes(&text)),
            // One is open to list them.
            open_files: files.map(|files| (files.count() as u64).saturating_sub(1)),
            disk_read_bytes: read("io").and_then(|text| field(&text, "read_bytes:")),
        }
    }
}

/// Fields 14 and 15 of `/proc/self/stat`: the second may hold spaces and parentheses.
#[expect(clippy::cast_precision_loss, reason = "2^52 ticks are a million years")]
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11);
    let mut next = || times.next()?.parse::<u64>().ok();
    Some((next()? + next()?) as f64 / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    field(status, "VmRSS:")?.checked_mul(1024)
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let stat = "42 (a (odd) name) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 5";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
        assert_eq!(field("rchar: 5\nread_bytes: 7\n", "read_bytes:"), Some(7));
        for bad in ["", "42 (x) S", "VmRSS:", "VmRSS: many kB"] {
            assert_eq!(cpu_seconds(bad), None);
            assert_eq!(resident_bytes(bad), None);
        }
    }
}
