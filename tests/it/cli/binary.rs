//! The binary in a directory of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Fields of the JSON of `append`.
pub(crate) const APPENDED: [&str; 9] = [
    "appended",
    "duplicates",
    "skipped",
    "count",
    "set_root",
    "log_size",
    "log_root",
    "ids",
    "interrupted",
];

/// A directory to run in; the store is `.stemedb` in it, as it is by default.
pub(crate) struct Place {
    dir: TempDir,
}

/// What a run of the binary came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    /// A place whose store holds these lines.
    pub(crate) fn with(lines: &str) -> Self {
        let place = Self::new();
        place.run_with(&["append"], lines).ok();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stemedb"));
        // Whatever else the tests are told by variables, a node would take for its configuration.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STEMEDB_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, "")
    }

    pub(crate) fn run_with(&self, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Outcome {
        finish(self.command(arguments).spawn().unwrap(), stdin.as_ref())
    }

    /// The ids that the store holds.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.run(&["ids"]).ok().lines()
    }

    /// Flips a bit of a body where it lies in the store.
    pub(crate) fn damage(&self, store: &str, body: &str) {
        for entry in std::fs::read_dir(self.path(store)).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(body.len()).position(|window| window == body.as_bytes());
            if let Some(at) = found {
                bytes[at + body.len() / 2] ^= 1;
                std::fs::write(&path, bytes).unwrap();
                return;
            }
        }
        panic!("{body} lies nowhere in {store}");
    }
}

/// Feeds a process, waits for it, and collects what it said.
pub(crate) fn finish(mut child: Child, stdin: &[u8]) -> Outcome {
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // On a thread, so that a process that prints much while it is fed is not stuck.
    let feeder = std::thread::spawn(move || {
        // A process that stops on an error does not read to the end.
        let _ = input.write_all(&bytes);
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Outcome {
    /// Exit code 0, and no error told.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!(!self.stderr.contains("error:"), "{self:?}");
        self.code(0)
    }

    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// A failure: this exit code, nothing as a result, and an error that says this.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, says: &str) -> Self {
        assert!(self.stdout.is_empty(), "{self:?}");
        self.says(says).code(code)
    }

    /// Standard error says this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "not {text:?}: {self:?}");
        self
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// Standard output as exactly one line of JSON with exactly these fields in this order.
    #[track_caller]
    pub(crate) fn json(&self, fields: &[&str]) -> Value {
        assert_eq!(self.text().matches('\n').count(), 1, "{self:?}");
        assert!(self.text().ends_with('\n'), "{self:?}");
        object(self.text(), fields)
    }
}

/// A line of JSON with exactly these fields in this order.
#[track_caller]
pub(crate) fn object(line: &str, fields: &[&str]) -> Value {
    let value: Value = serde_json::from_str(line).unwrap();
    let found: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(found, fields, "{line}");
    value
}

/// Lines that tell a name and a number.
pub(crate) fn lines(name: &str, numbers: std::ops::Range<u32>) -> String {
    let lines: Vec<String> = numbers.map(|n| format!("{name} {n}\n")).collect();
    lines.concat()
}

/// What the id of a body is without a secret.
pub(crate) fn id_of(body: impl AsRef<[u8]>) -> String {
    blake3::hash(body.as_ref()).to_hex().to_string()
}

/// A path as an argument.
pub(crate) fn argument(path: &Path) -> &str {
    path.to_str().unwrap()
}
