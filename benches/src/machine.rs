//! What the figures were measured on, as /proc says it.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::Path;

/// The machine, its kernel and the file system of the run.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) date: String,
}

impl Machine {
    /// Reads what it can; what it cannot is `unknown`.
    pub(crate) fn read(dir: &Path) -> Self {
        let field = |file: &str, key: &str| {
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let unknown = || "unknown".to_owned();
        let cpu = ["model name", "cpu family", "model\t"]
            .iter()
            .filter_map(|key| field("/proc/cpuinfo", key))
            .collect::<Vec<_>>();
        let cpu = match cpu.as_slice() {
            [] => unknown(),
            [name, family, model] => format!("{name} (family {family}, model {model})"),
            [name, ..] => name.clone(),
        };
        let memory = field("/proc/meminfo", "MemTotal")
            .and_then(|text| text.strip_suffix(" kB")?.parse::<f64>().ok())
            .map_or_else(unknown, |kib| format!("{:.1} GiB", kib / 1_048_576.0));
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            file_system: file_system(dir).unwrap_or_else(unknown),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        }
    }
}

/// Type and options of the mount that holds `dir`: the longest mount point in front of it.
fn file_system(dir: &Path) -> Option<String> {
    let dir = fs::canonicalize(dir).ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            dir.starts_with(point).then(|| (point.len(), format!("{kind} ({options})")))
        })
        .max_by_key(|&(len, _)| len)
        .map(|(_, text)| text)
}

impl Display for Machine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "cpu          {}, {} cores", self.cpu, self.cores)?;
        writeln!(f, "memory       {}", self.memory)?;
        writeln!(f, "kernel       {}", self.kernel)?;
        writeln!(f, "file system  {}", self.file_system)?;
        write!(f, "date         {}", self.date)
    }
}
