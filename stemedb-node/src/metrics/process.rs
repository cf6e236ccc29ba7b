//! Metrics of this process, by what the system says. None where there is no `/proc`.

use std::{fmt::Error, fs};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::writer::{BYTES, MetricWriter, NO_LABELS, SECONDS, whole};

/// A part of a second: the unit of the processor times in `/proc`, the same on all of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Collector of what the process has used, by the names that all programs give it.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
        let (stat, status, limits) = (read("self/stat"), read("self/status"), read("self/limits"));
        let files = fs::read_dir("/proc/self/fd").ok();
        // One is open to list them.
        let files = files.map(|files| files.skip(1).count() as u64);
        let kib = |name| field(&status, name).map(|kib| whole(kib) * 1024.0);
        let started = ticks(&stat, STARTED).zip(field(&read("stat"), "btime "));
        let mut writer = MetricWriter::new(encoder);
        let cpu = ticks(&stat, USER_TIME).zip(ticks(&stat, SYSTEM_TIME));
        writer.float_counters(
            ("process_cpu", SECONDS),
            "Processor time of the process, user and system",
            cpu.map(|(user, system)| (NO_LABELS, user + system)),
        )?;
        for (name, help, value) in [
            (
                ("process_start_time", SECONDS),
                "When the process began, since 1970 UTC",
                started.map(|(started, boot)| started + whole(boot)),
            ),
            (("process_resident_memory", BYTES), "Memory that is in use", kib("VmRSS:")),
            (("process_virtual_memory", BYTES), "Address space that is mapped", kib("VmSize:")),
            (("process_open_fds", None), "Open files, sockets and pipes", files.map(whole)),
            (
                ("process_max_fds", None),
                "How many of them may be open",
                field(&limits, "Max open files").map(whole),
            ),
            (
                ("process_threads", None),
                "Threads of the process",
                field(&status, "Threads:").map(whole),
            ),
        ] {
            writer.family(name, help, value.map(|value| (NO_LABELS, value)))?;
        }
        Ok(())
    }
}

/// Bytes that the process had read from disks.
pub(super) fn disk_read_bytes() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/io").ok()?, "read_bytes:")
}

/// Fields of `/proc/self/stat` by their place behind the name.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const STARTED: usize = 19;

/// A field of `/proc/self/stat` in seconds. The name before may hold spaces and parentheses.
fn ticks(stat: &str, place: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(place)?.parse().ok()?;
    Some(whole(ticks) / TICKS_PER_SECOND)
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
        let stat = "42 (a (odd) name) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 500 9";
        let [user, system, started] = [USER_TIME, SYSTEM_TIME, STARTED].map(|at| ticks(stat, at));
        assert_eq!((user, system, started), (Some(1.5), Some(0.5), Some(5.0)));
        assert_eq!(field("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(field("rchar: 5\nread_bytes: 7\n", "read_bytes:"), Some(7));
        for bad in ["", "42 (x) S", "VmRSS:", "VmRSS: many kB"] {
            assert_eq!(ticks(bad, USER_TIME), None);
            assert_eq!(field(bad, "VmRSS:"), None);
        }
    }
}
