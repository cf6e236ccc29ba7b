//! The examples of the help and of README, run as they are written.
//!
//! Each runs in a directory of its own with a store and the files that examples name. Addresses are
//! those of servers of this test, directories lie in the directory, HEX is the root that is meant;
//! nothing else is changed.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::binary::{Outcome, Place, argument, finish, id_of, lines};
use super::serving::Served;

/// What only a running node, another machine, or more time than a test has can answer: that the
/// arguments are understood is all that is asked of them.
const ONLY_UNDERSTOOD: [&str; 13] = [
    "stemedb node",
    "stemedb serve",
    "stemedb status",
    "stemedb peers",
    "stemedb pause",
    "stemedb resume",
    "stemedb sync-now",
    "stemedb forget",
    "stemedb reload",
    "stemedb watch",
    "stemedb config --check",
    "tail -f",
    "--log NAME",
];

/// Bodies that the store of each example holds, the first two by ids that examples name.
fn bodies() -> String {
    format!("the sky is blue\nthe grass is green\n{}", lines("line", 0..250))
}

/// A body that is no text.
const PHOTO: &[u8] = b"\xff\xd8\xff\xe0JFIF";

/// What examples are given: a directory to copy, servers, and roots.
struct Fixture {
    place: Place,
    served: Served,
    secured: Served,
    set_root: String,
    /// The log roots at 100 and 200 entries.
    log_roots: [String; 2],
}

impl Fixture {
    fn new() -> Self {
        let place = Place::new();
        for directory in ["work", "work/mnt/backup", "work/mnt/backups", "work/var/lib", "other"] {
            std::fs::create_dir_all(place.path(directory)).unwrap();
        }
        for directory in [
            ".local/share/bash-completion/completions",
            ".config/fish/completions",
            ".zsh",
            ".local/share/man/man1",
        ] {
            std::fs::create_dir_all(place.path("work").join(directory)).unwrap();
        }
        certificates(&place);
        place.write("work/photo.jpg", PHOTO);
        place.write("work/a.pdf", PHOTO);
        place.write("work/token", "0123456789abcdef0123456789abcdef\n");
        place.write("work/facts.nt", lines("fact", 0..20));
        place.write("work/more.nt", lines("another fact", 0..20));
        let store = |name: &str| argument(&place.path(name)).to_owned();
        let append = |name: &str, lines: &str| {
            place.run_with(&["append", "--store", &store(name)], lines).ok();
        };
        append("work/.stemedb", &bodies());
        let work = store("work/.stemedb");
        place.run(&["append", "--store", &work, "--whole", "work/photo.jpg"]).ok();
        append("work/a", "one\ntwo\n");
        append("work/b", "two\nthree\n");
        append("other/.stemedb", "two\nthree\n");
        // Copies, so that they have its history.
        for name in ["served", "secured"] {
            let copied = Command::new("cp").args(["-r", &work, &store(name)]).status();
            assert!(copied.unwrap().success());
        }
        let run = |arguments: &[&str]| {
            place.run(&[&["--store", &work][..], arguments].concat()).ok();
        };
        let proof = |name: &str| argument(&place.path(name)).to_owned();
        run(&["prove", &id_of("the sky is blue"), "-o", &proof("work/sky.stemedb-proof")]);
        run(&["prove", &id_of(PHOTO), "-o", &proof("work/photo.stemedb-proof")]);
        run(&["backup", &store("work/mnt/backup/2026-11-21")]);
        run(&["archive", "push", "--all", &format!("file://{}", store("work/mnt/backups/log"))]);

        let json = |arguments: &[&str]| {
            let outcome = place.run(&[&["--json", "--store", &work][..], arguments].concat()).ok();
            serde_json::from_str::<Value>(outcome.text()).unwrap()
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let consistency = json(&["history", "consistency", "100", "200"]);
        let log_roots = ["old_root", "new_root"].map(|field| text(&consistency[field]));
        let served = Served::start(&place, "served", &[]);
        let secured = Served::start(
            &place,
            "secured",
            &[
                "--tls-cert",
                "work/server.pem",
                "--tls-key",
                "work/server.key",
                "--token-file",
                "work/token",
            ],
        );
        let set_root = text(&json(&["root"])["set_root"]);
        Self { place, served, secured, set_root, log_roots }
    }

    /// The example with what stands for something in it replaced.
    fn filled_in(&self, example: &str, home: &Path) -> String {
        let home = argument(home);
        // The history of the served store is its own: only its own root is trusted there.
        let is_history = example.contains(" history ");
        let [at_100, at_200] = &self.log_roots;
        let root = match example {
            text if text.contains("history consistency 100 200") => at_200,
            _ if is_history => at_100,
            _ => &self.set_root,
        };
        example
            .replace("127.0.0.1:7845", &self.served.address)
            .replace("127.0.0.1:7945", &self.served.address)
            .replace("db.example.org", &format!("https://{}", self.secured.address))
            .replace("https://https://", "https://")
            .replace("--old-root HEX", &format!("--old-root {at_100}"))
            .replace("--root HEX", &format!("--root {root}"))
            .replace(" ID", &format!(" {}", id_of("the sky is blue")))
            .replace("s3://backups", &format!("file://{home}/mnt/backups"))
            .replace("file:///mnt", &format!("file://{home}/mnt"))
            .replace(" /mnt/", &format!(" {home}/mnt/"))
            .replace(" /var/", &format!(" {home}/var/"))
            .replace(" /etc/", &format!(" {home}/etc/"))
            .replace("${fpath[1]}", &format!("{home}/.zsh"))
    }

    /// Runs an example in a copy of the directory.
    fn run(&self, example: &str) -> Outcome {
        let dir = tempfile::tempdir().unwrap();
        for name in ["work", "other"] {
            let from = self.place.path(name);
            let copied = Command::new("cp").arg("-r").arg(from).arg(dir.path()).status();
            assert!(copied.unwrap().success());
        }
        let home = dir.path().join("work");
        if example.contains("stemedb init") {
            std::fs::remove_dir_all(home.join(".stemedb")).unwrap();
        }
        let script = self.filled_in(example, &home);
        let binary = Path::new(env!("CARGO_BIN_EXE_stemedb")).parent().unwrap();
        let path = format!("{}:{}", argument(binary), std::env::var("PATH").unwrap());
        let mut command = Command::new("timeout");
        command
            .args([if is_only_understood(example) { "5" } else { "60" }, "bash", "-c"])
            .arg(format!("set -o pipefail; {script}"))
            .current_dir(&home)
            .env("PATH", path)
            .env("HOME", &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        finish(command.spawn().unwrap(), b"")
    }

    /// Runs an example, and says what is wrong if it does not do.
    fn complaint(&self, example: &str) -> Option<String> {
        let Outcome { code, stderr, .. } = self.run(example);
        let fine = if is_only_understood(example) {
            code != 2 || !stderr.contains("For more information, try '--help'")
        } else {
            code == 0
        };
        (!fine).then(|| format!("{example}\n    ends with {code}: {stderr}"))
    }
}

fn is_only_understood(example: &str) -> bool {
    // A watch that ends is one that can be waited for.
    ONLY_UNDERSTOOD.iter().any(|part| example.contains(part)) && !example.contains("--end")
}

/// A certificate of a server at 127.0.0.1, and the authority that it comes from.
fn certificates(place: &Place) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority_pem = params.self_signed(&key).unwrap().pem();
    let authority = rcgen::Issuer::new(params, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let pem = params.signed_by(&key, &authority).unwrap().pem();
    place.write("work/authority.pem", authority_pem);
    place.write("work/server.pem", pem);
    place.write("work/server.key", key.serialize_pem());
}

/// All commands, those of commands too, as the help lists them.
fn commands(place: &Place, parent: &[String]) -> Vec<Vec<String>> {
    let mut all = vec![parent.to_vec()];
    for line in help(place, parent).lines().skip_while(|line| *line != "Commands:").skip(1) {
        let Some(name) = line.strip_prefix("  ").and_then(|line| line.split(' ').next()) else {
            break;
        };
        if !name.is_empty() && name != "help" {
            let command = [parent, &[name.to_owned()]].concat();
            all.extend(commands(place, &command));
        }
    }
    all
}

fn help(place: &Place, command: &[String]) -> String {
    let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
    let mut asked = place.command(&arguments);
    // Nothing is wrapped.
    let child = asked.env("COLUMNS", "1000").spawn().unwrap();
    finish(child, b"").ok().text().to_owned()
}

/// The examples in a help, without what is said of them.
fn examples_of(help: &str) -> Vec<String> {
    let mut examples: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in help.lines().skip_while(|line| *line != "Examples:").skip(1) {
        if line.is_empty() {
            break;
        }
        let text = line.trim_start();
        if goes_on {
            let _ = write!(examples.last_mut().unwrap(), " {}", text.trim_end_matches('\\').trim());
        } else if line.len() - text.len() == 2 {
            let example = text.split("  ").next().unwrap();
            examples.push(example.trim_end_matches('\\').trim().to_owned());
        }
        goes_on = line.ends_with('\\');
    }
    examples
}

#[test]
fn examples_of_the_help_run_as_they_are_written() {
    let fixture = Fixture::new();
    let mut complaints = Vec::new();
    let mut count = 0;
    for command in commands(&fixture.place, &[]) {
        let examples = examples_of(&help(&fixture.place, &command));
        assert!(!examples.is_empty(), "{command:?} has no example");
        count += examples.len();
        complaints.extend(examples.iter().filter_map(|example| fixture.complaint(example)));
    }
    assert!(count > 90, "{count}");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The blocks of commands in README.
fn blocks() -> Vec<String> {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

#[test]
fn commands_of_the_readme_run_as_they_are_written() {
    let fixture = Fixture::new();
    let mut complaints = Vec::new();
    let blocks = blocks();
    let is_ours = |line: &&str| line.contains("stemedb");
    assert!(blocks.iter().flat_map(|block| block.lines()).filter(is_ours).count() > 10);
    for block in &blocks {
        let lines: Vec<&str> = block.lines().filter(is_ours).collect();
        // What goes from one line to the next makes a block one example.
        if lines.first().is_some_and(|line| line.starts_with("echo ")) {
            complaints.extend(fixture.complaint(&lines.join(" && ")));
            continue;
        }
        for line in lines {
            let example = line.split_once("$ ").map_or(line, |(_, example)| example);
            let example = example.replace("north.example.org", "db.example.org");
            complaints.extend(fixture.complaint(&example));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
