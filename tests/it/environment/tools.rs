//! Tools of the system: mounts that nobody else sees, programs around the binary, and servers.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::cli::binary::{Outcome, Place, argument, finish};

/// The same command, as the last words of another.
pub(super) fn wrapped(before: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(before[0]);
    outer.args(&before[1..]).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        outer.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    outer
}

/// Runs the binary as the last words of another command.
#[track_caller]
pub(crate) fn run(before: &[&str], place: &Place, arguments: &[&str], stdin: &str) -> Outcome {
    let child = wrapped(before, &place.command(arguments)).spawn();
    let child = child.unwrap_or_else(|error| panic!("{}: {error}", before[0]));
    finish(child, stdin.as_bytes())
}

/// Whether a message says why the system refused: in its words, or by the number of the error.
pub(super) fn tells(said: &str, errno: i32) -> bool {
    let words = match errno {
        5 => "input/output error",
        13 => "permission denied",
        27 => "file too large",
        28 => "no space left on device",
        30 => "read-only file system",
        122 => "quota exceeded",
        _ => panic!("error {errno} has no words here"),
    };
    said.contains(&format!("os error {errno}")) || said.to_lowercase().contains(words)
}

/// It neither panicked nor was ended by a signal.
#[track_caller]
pub(super) fn ended_by_itself(outcome: &Outcome) {
    assert!((0..=4).contains(&outcome.code), "{outcome:?}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
}

/// A mount namespace of its own, which ends when this is dropped.
pub(super) struct Mounts {
    holder: Child,
    /// What `nsenter` enters.
    namespaces: &'static [&'static str],
}

impl Mounts {
    pub(super) fn new() -> Self {
        let start = |flags: &str, namespaces| {
            let mut unshare = Command::new("unshare");
            unshare.args([flags, "--propagation", "private", "sh", "-c", "echo; exec cat"]);
            let mut holder = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            (line == "\n").then_some(Self { holder, namespaces })
        };
        let own = start("-m", &["-m"]);
        let own = own.or_else(|| start("-Urm", &["--preserve-credentials", "-U", "-m"]));
        own.unwrap_or_else(|| panic!("no mount namespace: this takes root, or user namespaces"))
    }

    /// The words before a command that runs in it.
    pub(super) fn words(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        let words = [&["nsenter", "-t", &pid], self.namespaces, &["--"]].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    pub(super) fn tool(&self, words: &[&str]) -> Outcome {
        let before = self.words();
        let mut command = Command::new(&before[0]);
        command.args(&before[1..]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().unwrap(), b"")
    }

    /// Mounts there, as `mount` is told to.
    #[track_caller]
    pub(super) fn mount(&self, words: &[&str]) {
        self.tool(&[&["mount"], words].concat()).code(0);
    }

    /// A file system of so many MiB in memory, at a new directory of this name.
    #[track_caller]
    pub(super) fn memory(&self, place: &Place, name: &str, mib: u32) -> PathBuf {
        let dir = place.path(name);
        std::fs::create_dir(&dir).unwrap();
        self.mount(&["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", argument(&dir)]);
        dir
    }

    /// Where this process finds a path of that namespace.
    pub(super) fn seen(&self, path: &Path) -> PathBuf {
        Path::new("/proc")
            .join(self.holder.id().to_string())
            .join("root")
            .join(path.strip_prefix("/").unwrap())
    }

    /// Runs the binary there.
    pub(crate) fn run(&self, place: &Place, arguments: &[&str], stdin: &str) -> Outcome {
        finish(self.spawn(place, arguments), stdin.as_bytes())
    }

    /// Starts the binary there.
    pub(super) fn spawn(&self, place: &Place, arguments: &[&str]) -> Child {
        self.command(place, arguments).spawn().unwrap()
    }

    /// The binary there.
    pub(super) fn command(&self, place: &Place, arguments: &[&str]) -> Command {
        // Entering a namespace leaves the directory.
        let dir = place.path("");
        let mut before = self.words();
        before.extend(["env", "-C", argument(&dir)].map(str::to_owned));
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        wrapped(&before, &place.command(arguments))
    }

    /// Fills the file system of a directory to the last block, and gives the file that does.
    pub(super) fn fill(&self, dir: &Path) -> PathBuf {
        let path = self.seen(dir).join("fill");
        let mut file = std::fs::File::options().create(true).append(true).open(&path).unwrap();
        for len in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; len]).is_ok() {}
        }
        path
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A process that serves, ended when this is dropped.
pub(super) struct Serving {
    child: Child,
    pub(super) address: String,
    http: Option<String>,
}

impl Serving {
    /// Starts a node or a server with `--json`, in a process group of its own: what comes before
    /// it in a command may stay its parent.
    #[track_caller]
    pub(super) fn start(mut command: Command) -> Self {
        let mut child = command.process_group(0).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<serde_json::Value>(&line) else {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("it does not serve: {line:?} {said}");
        };
        let text = |name: &str| ready[name].as_str().map(str::to_owned);
        Self { child, address: text("address").unwrap(), http: text("http") }
    }

    /// A node on this store, in the way that `place` runs commands.
    pub(super) fn node(place: &Place, store: &str) -> Self {
        Self::start(place.command(&node(store)))
    }

    /// The code of the answer to a request of this path over HTTP.
    pub(super) fn code(&self, path: &str) -> u16 {
        let address = self.http.as_ref().unwrap().trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Waits until it answers with this code, for half a minute at most.
    #[track_caller]
    pub(super) fn answers(&self, path: &str, code: u16) {
        let began = Instant::now();
        let mut last = self.code(path);
        while last != code {
            assert!(began.elapsed() < Duration::from_secs(30), "{path} gives {last}");
            std::thread::sleep(Duration::from_millis(100));
            last = self.code(path);
        }
    }

    /// Ends it, and gives what it said.
    pub(super) fn stop(mut self) -> String {
        self.signal("-TERM");
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        self.child.wait().unwrap();
        said
    }
}

impl Serving {
    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.child.id());
        // There may be nobody any more.
        let _ = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.signal("-KILL");
        let _ = self.child.wait();
    }
}

/// The words of a node on a store.
pub(super) fn node(store: &str) -> [&str; 8] {
    ["node", "--store", store, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json"]
}

/// All files below a directory and what is in them.
pub(crate) fn contents(dir: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.strip_prefix(dir).unwrap().to_owned(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Lines of about `len` bytes, each another one.
pub(super) fn long_lines(numbers: std::ops::Range<u32>, len: usize) -> String {
    let lines: Vec<String> = numbers.map(|n| format!("{n} {}\n", "x".repeat(len))).collect();
    lines.concat()
}
