//! Every system call that a command makes fails once, and from then on: the n-th one of each kind,
//! for each n, with the errors that disks and systems give.
//!
//! Whatever happens to a command, it ends by itself; what it acknowledged is in the store; and the
//! store is whole for the next one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Instant,
};

use crate::cli::binary::{Outcome, Place, argument, id_of, lines};
use crate::environment::tools::run;
use crate::reference::random::number_from_env;

/// Calls, the errors that they can give, and how many of them a program makes before it is its own.
const CALLS: [(&str, &[&str]); 18] = [
    ("openat", &["EIO", "EMFILE", "EACCES"]),
    ("pread64", &["EIO"]),
    ("pwrite64", &["EIO", "ENOSPC"]),
    ("read", &["EIO"]),
    ("write", &["EIO", "ENOSPC"]),
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("fsync", &["EIO"]),
    ("fallocate", &["ENOSPC", "EOPNOTSUPP"]),
    ("ftruncate", &["EIO"]),
    ("rename", &["EIO", "ENOSPC"]),
    ("renameat", &["EIO", "ENOSPC"]),
    ("renameat2", &["EIO"]),
    ("unlink", &["EIO", "EROFS"]),
    ("unlinkat", &["EIO", "EROFS"]),
    ("mkdir", &["ENOSPC"]),
    ("statx", &["EIO"]),
    ("getdents64", &["EIO"]),
    ("flock", &["ENOLCK"]),
];

/// What runs: words, and what they read.
struct Scenario {
    name: &'static str,
    words: &'static [&'static str],
    input: &'static str,
}

const SCENARIOS: [Scenario; 9] = [
    Scenario { name: "new", words: &["append", "--acks"], input: "first\nsecond\n" },
    Scenario { name: "append", words: &["append", "--acks"], input: "first\nsecond\n" },
    Scenario { name: "checkpoint", words: &["checkpoint"], input: "" },
    Scenario { name: "root", words: &["root"], input: "" },
    Scenario { name: "get", words: &["get"], input: "" },
    Scenario { name: "check", words: &["check", "--deep"], input: "" },
    Scenario { name: "repair", words: &["repair"], input: "" },
    Scenario { name: "backup", words: &["backup", "copy"], input: "" },
    Scenario { name: "scrub", words: &["scrub"], input: "" },
];

#[derive(Debug, Default)]
struct Tally {
    injected: u64,
    by_call: BTreeMap<&'static str, u64>,
    codes: BTreeMap<i32, u64>,
}

/// What is wrong with how a command ended, and with what it leaves.
fn verdict(place: &Place, scenario: &Scenario, outcome: &Outcome) -> Result<(), String> {
    // 127: the program could not be loaded.
    if !(0..=4).contains(&outcome.code) && outcome.code != 127 {
        return Err(format!("it ended with {}", outcome.code));
    }
    if outcome.stderr.contains("panicked") {
        return Err("it panicked".into());
    }
    let after = place.run_with(&["append"], "after\n");
    if after.code != 0 {
        return Err(format!("nothing can be appended after it: {after:?}"));
    }
    let check = place.run(&["check", "--deep"]);
    if check.code != 0 {
        return Err(format!("the store is damaged after it: {check:?}"));
    }
    let held: BTreeSet<String> = place.ids().into_iter().collect();
    let mut wanted: Vec<String> = match scenario.name {
        "new" => Vec::new(),
        _ => (0..300).map(|n| id_of(format!("body {n}"))).collect(),
    };
    let acknowledged = outcome.text().lines().filter_map(|line| line.split(' ').nth(1));
    if scenario.words.contains(&"--acks") {
        wanted.extend(acknowledged.map(str::to_owned));
    }
    match wanted.iter().find(|id| !held.contains(*id)) {
        Some(lost) => Err(format!("{lost} is lost")),
        None => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Runs a scenario with this fault. `None` if no call was hit.
fn inject(
    scenario: &Scenario,
    call: &str,
    when: &str,
    errno: &str,
    filled: &Place,
) -> Option<(Outcome, Result<(), String>)> {
    let place = Place::new();
    if scenario.name != "new" {
        copy(&filled.path(".stemedb"), &place.path(".stemedb"));
    }
    let log = place.path("strace");
    let [trace, fault] =
        [format!("trace={call}"), format!("inject={call}:error={errno}:when={when}")];
    let before = ["strace", "-f", "-qq", "-o", argument(&log), "-e", &trace, "-e", &fault]
        .map(str::to_owned);
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let id = id_of("body 7");
    let words: Vec<&str> = match scenario.name {
        "get" => vec!["get", &id],
        _ => scenario.words.to_vec(),
    };
    let outcome = run(&before, &place, &words, scenario.input);
    let log = std::fs::read_to_string(&log).unwrap();
    if !log.contains("(INJECTED)") {
        assert!(!log.contains("invalid system call"), "{log}");
        return None;
    }
    let verdict = verdict(&place, scenario, &outcome);
    Some((outcome, verdict))
}

/// A store that all scenarios but one begin with: it was closed in the middle of things.
fn filled() -> Place {
    let place = Place::with(&lines("body", 0..200));
    place.run(&["checkpoint"]).ok();
    place.run_with(&["append"], lines("body", 200..300)).ok();
    place
}

#[test]
#[ignore = "takes long, and strace: .ci/long"]
fn every_call_fails_once_and_for_good() {
    let began = Instant::now();
    // Each n up to this one, then every third: the later ones are more of the same.
    let most = number_from_env("STEMEDB_CALLS").unwrap_or(6);
    let filled = filled();
    let mut tally = Tally::default();
    let mut complaints = Vec::new();
    for scenario in &SCENARIOS {
        for (call, errors) in CALLS {
            // Threads of the runtime wake each other by a write to a counter, which never fails.
            if (scenario.name, call) == ("scrub", "write") {
                continue;
            }
            for errno in errors {
                for for_good in ["", "+"] {
                    for n in 1..=most {
                        let when = format!("{n}{for_good}");
                        let Some((outcome, verdict)) =
                            inject(scenario, call, &when, errno, &filled)
                        else {
                            break;
                        };
                        tally.injected += 1;
                        *tally.by_call.entry(call).or_default() += 1;
                        *tally.codes.entry(outcome.code).or_default() += 1;
                        if let Err(fault) = verdict {
                            let name = scenario.name;
                            let complaint = format!("{name}, {call} {when} {errno}: {fault}");
                            eprintln!("{complaint}\n  {outcome:?}");
                            complaints.push(complaint);
                        }
                    }
                }
            }
        }
        println!("{}: {tally:?} in {:?}", scenario.name, began.elapsed());
    }
    assert!(tally.injected > 100, "{tally:?}");
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// What these checks are made of notices a store that lost something, or is damaged.
#[test]
#[ignore = "takes long, and strace: .ci/long"]
fn control_a_loss_and_damage_are_noticed() {
    let filled = filled();
    let append = &SCENARIOS[1];
    let acknowledged = Outcome {
        code: 0,
        stdout: format!("300 {}\n", id_of("never appended")).into_bytes(),
        stderr: String::new(),
    };
    assert!(verdict(&filled, append, &acknowledged).unwrap_err().contains("is lost"));
    filled.damage(".stemedb", "body 150");
    let nothing = Outcome { code: 0, stdout: Vec::new(), stderr: String::new() };
    assert!(verdict(&filled, append, &nothing).unwrap_err().contains("damaged"));
    let ended = Outcome { code: -1, stdout: Vec::new(), stderr: String::new() };
    assert!(verdict(&filled, append, &ended).unwrap_err().contains("ended with -1"));
}
