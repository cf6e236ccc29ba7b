//! Rules about the project itself that neither the compiler nor a linter knows.
//!
//! One test lists all complaints; the others hold the checks against samples that break each rule.

mod circles;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Aim for 400.
const FILE_LINES_MAX: usize = 700;
const COLUMNS_MAX: usize = 100;

/// Names that say nothing about what a module holds.
const NAMES_BANNED: [&str; 4] = ["util", "utils", "helpers", "common"];

/// Sources that a program wrote, of which only the inputs are read by people.
const GENERATED: &str = "stemedb-rpc/src/gen/";

/// Packages from the bottom up: each may depend on those before it.
const ORDER: [&str; 6] =
    ["stemedb-merkle", "stemedb-tlog", "stemedb-wal", "stemedb-sync", "stemedb-rpc", "stemedb"];

/// What only some packages may depend on, and the lowest of them in [`ORDER`].
const DEPENDENCIES_FROM: [(&str, &str); 5] = [
    ("tonic", "stemedb-rpc"),
    ("prost", "stemedb-rpc"),
    ("tokio", "stemedb-rpc"),
    ("fs2", "stemedb-wal"),
    ("rustix", "stemedb-wal"),
];

/// What may be used in these sources only: those whose path begins with one of the prefixes.
///
/// Looked for as whole words, outside of comments.
const WORDS_ONLY_IN: [(&str, &[&str]); 6] = [
    ("std::fs", &FILES_IN),
    ("fs::", &FILES_IN),
    (
        "unsafe",
        &[
            "stemedb-wal/src/background.rs",
            "stemedb-wal/src/disk/map.rs",
            "stemedb-wal/src/disk/map/guard.rs",
        ],
    ),
    ("SystemTime::now", &["stemedb-store/src/store/system.rs", "stemedb-rpc/src/server/date.rs"]),
    // The node's and the server's are those of the runtime, which tests can hold.
    (
        "Instant::now",
        &[
            "src/cli/stopwatch.rs",
            "stemedb-store/src/store/system.rs",
            "stemedb-node/src",
            "stemedb-rpc/src/server",
        ],
    ),
    // The address to listen on is parsed from the command line or a configuration.
    ("std::net", &["stemedb-rpc/src", "src/cli/serve.rs", "stemedb-node/src"]),
];

/// What reads and writes files: the disk, the command line, and what the system says of a process.
const FILES_IN: [&str; 5] = [
    "stemedb-wal/src/disk/file.rs",
    "stemedb-wal/src/disk/file/",
    "stemedb-wal/src/disk/map.rs",
    "src/cli",
    "stemedb-node/src/metrics/process.rs",
];

/// What the crates without I/O never have: files, clocks, threads (their tests may have the last).
const WORDS_NOT_IN_PURE: [&str; 3] = ["std::io", "std::time", "std::thread"];

/// The crates without I/O.
const PURE: [&str; 2] = ["stemedb-merkle", "stemedb-tlog"];

/// A type of time is no clock: it converts to that of the system, which only a clock reads.
const TIME_IN_MERKLE: &str = "stemedb-merkle/src/timestamp.rs";

/// What nothing may be left with.
const LEFTOVERS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("db", "g!("),
];

/// The beginnings of paths that exist on one machine only.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

/// Hosts that packages come from: which registry is used is the business of each machine.
const REGISTRY_HOSTS: [&str; 3] =
    [concat!("crat", "es.io"), concat!("static.rust-", "lang"), concat!("registry", "+")];

/// The only source of packages in a lock file.
const LOCKED_SOURCE: &str =
    concat!("source = \"registry", "+https://github.com/rust-lang/crat", "es.io-index\"");

#[test]
fn the_project_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut complaints = Vec::new();
    let mut sources = 0;
    for path in files(root) {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let found = match name.rsplit('/').next().unwrap_or_default() {
            "Cargo.toml" => [about_text(&text), about_manifest(&text)].concat(),
            "Cargo.lock" => about_lock(&text),
            _ if name.starts_with(GENERATED) => continue,
            _ if has_extension(&name, "rs") => {
                sources += 1;
                [about_text(&text), about_source(&name, &text)].concat()
            }
            _ if has_extension(&name, "md") => {
                [about_text(&text), about_links(&text, path.parent().unwrap())].concat()
            }
            _ if has_extension(&name, "toml")
                || has_extension(&name, "proto")
                || name.starts_with(".ci/") =>
            {
                about_text(&text)
            }
            _ => continue,
        };
        complaints.extend(found.into_iter().map(|complaint| format!("{name}{complaint}")));
    }
    assert!(sources > 100, "only {sources} sources were found: is the walk broken?");
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// All files below a directory, but for what is built, fuzzed or hidden.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            let skipped = ["target", "corpus", "artifacts"].contains(&name);
            if !skipped && (!name.starts_with('.') || name == ".ci") {
                found.extend(files(&path));
            }
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// What holds for everything that people read.
fn about_text(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for word in LEFTOVERS {
            if line.contains(word) {
                complaints.push(format!(":{number}: `{word}` is left over"));
            }
        }
        if MACHINE_PATHS.iter().any(|path| line.contains(path)) {
            complaints.push(format!(":{number}: a path of one machine"));
        }
        if REGISTRY_HOSTS.iter().any(|host| line.contains(host)) {
            complaints.push(format!(":{number}: the host of a registry"));
        }
    }
    complaints
}

fn about_source(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let stem = Path::new(name).file_stem().unwrap().to_str().unwrap();
    if NAMES_BANNED.contains(&stem) || (stem == "mod" && is_product(name)) {
        complaints.push(": name the module after what it holds".into());
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        complaints.push(format!(": {lines} lines, more than {FILE_LINES_MAX}: split it by noun"));
    }
    if stem != "tests" && !text.starts_with("//!") && !text.starts_with("#![doc = ") {
        complaints.push(": the first line does not say what the file is responsible for".into());
    }
    for (number, line) in (1..).zip(text.lines()) {
        let columns = line.chars().count();
        // A row of a table in a comment can't be broken.
        if columns > COLUMNS_MAX && !line.trim_start().starts_with("//! |") {
            complaints.push(format!(":{number}: {columns} columns, more than {COLUMNS_MAX}"));
        }
        if !is_product(name) {
            continue;
        }
        let code = line.split("//").next().unwrap_or_default();
        for (word, places) in WORDS_ONLY_IN {
            if has_word(code, word) && !places.iter().any(|place| name.starts_with(place)) {
                complaints.push(format!(":{number}: `{word}` belongs in {places:?} only"));
            }
        }
        if !name.starts_with("src/") && stem != "tests" && code.contains(concat!("`", "stemedb ")) {
            complaints.push(format!(":{number}: the command line tells which command helps"));
        }
        let pure = name.split('/').next().is_some_and(|package| PURE.contains(&package));
        let pure = pure && stem != "tests";
        for word in WORDS_NOT_IN_PURE.iter().filter(|word| pure && has_word(code, word)) {
            if (name, *word) == (TIME_IN_MERKLE, "std::time") {
                continue;
            }
            complaints.push(format!(":{number}: `{word}` has no place in a crate without I/O"));
        }
    }
    for number in idle_matches(text) {
        complaints.push(format!(":{number}: `matches!` whose result nobody looks at"));
    }
    complaints
}

/// Whether a source is part of what is built and installed: not a test, an example or a benchmark.
fn is_product(name: &str) -> bool {
    name.starts_with("src/") || name.starts_with("stemedb-") && name.contains("/src/")
}

/// Whether a word stands in a line, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        let ends = word.ends_with(|c| !in_name(c)) || !after.is_some_and(in_name);
        ends && !before.is_some_and(in_name)
    })
}

/// The lines on which a `matches!(..);` stands as a statement.
fn idle_matches(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut before = '{';
    let mut at = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let code = line.trim();
        if code.starts_with("//") || code.is_empty() {
            at += line.len();
            continue;
        }
        let starts = code.starts_with("matches!(") && matches!(before, ';' | '{' | '}');
        let rest = text.get(at..).unwrap_or_default();
        if starts && behind_parentheses(rest).is_some_and(|rest| rest.starts_with(';')) {
            found.push(number);
        }
        before = code.chars().next_back().unwrap_or(before);
        at += line.len();
    }
    found
}

/// What follows the first pair of parentheses.
fn behind_parentheses(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return text.get(at + 1..),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// That dependencies point down only.
fn about_manifest(text: &str) -> Vec<String> {
    let Some(name) = text.lines().find_map(|line| line.strip_prefix("name = ")) else {
        return Vec::new();
    };
    let Some(rank) = rank(name.trim_matches('"')) else { return Vec::new() };
    let mut complaints = Vec::new();
    let mut section = "";
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('[') {
            section = line;
        }
        let listed = section.ends_with("dependencies]") && !section.contains("workspace");
        if !listed || line.starts_with(['[', '#']) || !line.contains('=') {
            continue;
        }
        let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if self::rank(dependency).is_some_and(|below| below >= rank) {
            complaints.push(format!(":{number}: {name} lies below {dependency}"));
        }
        for (word, lowest) in DEPENDENCIES_FROM {
            let family = dependency == word || dependency.starts_with(&format!("{word}-"));
            if family && self::rank(lowest).is_some_and(|lowest| rank < lowest) {
                complaints.push(format!(":{number}: {word} has no place below {lowest}"));
            }
        }
    }
    complaints
}

fn rank(package: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == package)
}

fn about_lock(text: &str) -> Vec<String> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| line.starts_with("source = ") && *line != LOCKED_SOURCE)
        .map(|(number, _)| format!(":{number}: a package from elsewhere"))
        .collect()
}

/// That links between documents lead somewhere.
fn about_links(text: &str, dir: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (_, rest) in line.match_indices("](").map(|(at, open)| line.split_at(at + open.len())) {
            let link = rest.split([')', '#', ' ']).next().unwrap_or_default();
            if !link.is_empty() && !link.contains("://") && !dir.join(link).exists() {
                complaints.push(format!(":{number}: there is no {link}"));
            }
        }
    }
    complaints
}

#[test]
fn every_rule_about_text_is_enforced() {
    assert_eq!(about_text("A clean line.\nAnd one more.\n"), Vec::<String>::new());
    for bad in LEFTOVERS.iter().chain(&MACHINE_PATHS).chain(&REGISTRY_HOSTS) {
        let complaints = about_text(&format!("A clean line.\nsee {bad} here\n"));
        assert!(!complaints.is_empty(), "{bad}");
        assert!(complaints.iter().all(|complaint| complaint.starts_with(":2: ")), "{complaints:?}");
    }
}

#[test]
fn every_rule_about_sources_is_enforced() {
    let clean = "//! What it holds.\nfn f() -> bool {\n    matches!(1, 1)\n}\n";
    for name in ["src/store/read.rs", "tests/history/mod.rs", "stemedb-wal/src/disk/map.rs"] {
        assert_eq!(about_source(name, clean), Vec::<String>::new(), "{name}");
    }
    let bad_names = ["src/util.rs", "tests/helpers.rs", "stemedb-wal/src/log/mod.rs"];
    for name in bad_names {
        assert_eq!(about_source(name, clean).len(), 1, "{name}");
    }
    let long = format!("//! Long.\n{}", "\n".repeat(FILE_LINES_MAX));
    let wide = format!("//! {}\n", "w".repeat(COLUMNS_MAX));
    let bad_sources = [
        "fn f() {}\n",
        &long,
        &wide,
        "//! Disk.\nuse std::fs;\n",
        "//! Disk.\nfn f() { drop(fs::read(\"x\")); }\n",
        "//! Pointers.\nfn f() { unsafe { g() } }\n",
        "//! Time.\nfn f() { SystemTime::now(); }\n",
        "//! Time.\nfn f() { std::time::Instant::now(); }\n",
        "//! Network.\nuse std::net::TcpStream;\n",
        "//! Idle.\nfn f() {\n    matches!(1, 1);\n}\n",
        "//! Idle.\nfn f() {\n    g();\n    // Why.\n    matches!(\n        1,\n    );\n}\n",
    ];
    for text in bad_sources {
        assert_eq!(about_source("src/store/read.rs", text).len(), 1, "{text}");
    }
    for text in ["//! Time.\nuse std::time::Duration;\n", "//! I/O.\nuse std::io;\n"] {
        assert_eq!(about_source("stemedb-merkle/src/set.rs", text).len(), 1, "{text}");
        assert_eq!(about_source("stemedb-tlog/src/note.rs", text).len(), 1, "{text}");
        assert_eq!(about_source("src/store.rs", text), Vec::<String>::new(), "{text}");
    }
    let fine = "//! Fine.\n// SystemTime::now, std::fs and unsafe are elsewhere.\nfn f() {\n    \
                let held =\n        matches!(1, 1);\n    assert!(held && unsafe_code());\n}\n";
    assert_eq!(about_source("src/store/read.rs", fine), Vec::<String>::new());
}

#[test]
fn every_rule_about_manifests_is_enforced() {
    let manifest = |name: &str, section: &str, line: &str| {
        about_manifest(&format!("[package]\nname = \"{name}\"\n\n[{section}]\n{line}\n"))
    };
    for (name, section, line) in [
        ("stemedb-merkle", "dependencies", "stemedb-wal.workspace = true"),
        ("stemedb-tlog", "dependencies", "stemedb-wal.workspace = true"),
        ("stemedb-wal", "dev-dependencies", "stemedb = { path = \"..\" }"),
        ("stemedb-sync", "build-dependencies", "stemedb-rpc = \"1\""),
        ("stemedb-sync", "dependencies", "tonic = \"1\""),
        ("stemedb-wal", "dependencies", "prost-types.workspace = true"),
        ("stemedb-wal", "dependencies", "tokio.workspace = true"),
        ("stemedb-merkle", "dependencies", "fs2 = \"1\""),
    ] {
        assert_eq!(manifest(name, section, line).len(), 1, "{name}: {line}");
    }
    for (name, section, line) in [
        ("stemedb", "dependencies", "stemedb-wal.workspace = true"),
        ("stemedb-wal", "dependencies", "stemedb-merkle.workspace = true"),
        ("stemedb-rpc", "dependencies", "tonic = \"1\""),
        ("stemedb-bench", "dependencies", "stemedb = { path = \"..\" }"),
        ("stemedb", "workspace.dependencies", "stemedb-rpc = \"1\""),
    ] {
        assert_eq!(manifest(name, section, line), Vec::<String>::new(), "{name}: {line}");
    }
}

#[test]
fn every_rule_about_locks_and_links_is_enforced() {
    assert_eq!(about_lock(&format!("{LOCKED_SOURCE}\n")), Vec::<String>::new());
    assert_eq!(about_lock("source = \"git+https://example.org/x\"\n").len(), 1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fine = "[a](README.md) [b](Cargo.toml#x) [c](#here) [d](https://example.org/)";
    assert_eq!(about_links(fine, root), Vec::<String>::new());
    assert_eq!(
        about_links("[a](README.md) and [b](nowhere.md#x)", root),
        [":1: there is no nowhere.md"]
    );
}
