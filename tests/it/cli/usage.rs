//! Flags, help, and what is not there.

use super::binary::Place;

const COMMANDS: [&str; 20] = [
    "init",
    "append",
    "get",
    "id",
    "export",
    "log",
    "root",
    "ids",
    "prove",
    "history",
    "verify",
    "diff",
    "checkpoint",
    "check",
    "repair",
    "archive",
    "stats",
    "demo",
    "completions",
    "man",
];

#[test]
fn flags_of_all_commands_go_before_and_after() {
    let place = Place::new();
    place.run_with(&["--store", "here", "append"], "a\n").ok();
    place.run_with(&["append", "--store", "here"], "b\n").ok();
    let fields = ["count", "set_root", "log_size", "log_root"];
    for arguments in [
        &["--store", "here", "--json", "root"][..],
        &["root", "--store", "here", "--json"],
        &["--json", "root", "--store", "here"],
        &["--store", "here", "root", "--json"],
        &["--store=here", "--json", "root", "--json"],
    ] {
        assert_eq!(place.run(arguments).ok().json(&fields)["count"], 2, "{arguments:?}");
    }
    let mut command = place.command(&["root", "--json"]);
    let child = command.env("STEMEDB_STORE", "here").spawn().unwrap();
    assert_eq!(super::binary::finish(child, b"").ok().json(&fields)["count"], 2);
    assert!(!place.path(".stemedb").exists());
}

#[test]
fn readers_do_not_make_a_store() {
    let place = Place::new();
    let id = "0".repeat(64);
    for arguments in [
        &["get", &id][..],
        &["log"],
        &["export"],
        &["root"],
        &["ids"],
        &["prove", &id],
        &["diff", "other"],
        &["checkpoint"],
        &["check"],
        &["check", "--deep"],
        &["repair"],
        &["stats"],
    ] {
        place.run(arguments).fails(4, "no store at .stemedb");
        place.run(&[arguments, &["--json"]].concat()).fails(4, "stemedb init");
    }
    assert!(!place.path(".stemedb").exists());
}

#[test]
fn init_makes_one_store_once() {
    let place = Place::new();
    let init = place.run(&["init", "--json"]).ok().json(&["store", "secret"]);
    assert_eq!(init["store"], ".stemedb");
    assert_eq!(init["secret"], false);
    place.run(&["init"]).fails(1, "there is a store at .stemedb already");
    place.run(&["init", "--store", "a/b/c"]).ok();
    assert!(place.path("a/b/c").is_dir());
    place.run_with(&["append", "--store", "new"], "a\n").ok().says("made a store at new");
}

#[test]
fn a_store_in_use_says_so() {
    let place = Place::with("a\n");
    let mut child = place.command(&["append"]).spawn().unwrap();
    // The other process has the store once it has opened it; until then it can be opened here.
    // Each attempt here keeps the child from opening it, so they are far between.
    let locked = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let outcome = place.run(&["checkpoint", "--wait", "0"]);
        (outcome.code != 0).then_some(outcome)
    });
    locked.unwrap().fails(1, &format!("in use by process {}", child.id()));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    place.run(&["root"]).ok();
}

#[test]
fn wrong_usage_is_2_and_prints_no_result() {
    let place = Place::with("a\n");
    for arguments in [
        &[][..],
        &["nonsense"],
        &["root", "--nonsense"],
        &["root", "surplus"],
        &["get"],
        &["prove"],
        &["verify"],
        &["diff"],
        &["log", "--first", "x"],
        &["log", "--first", "-1"],
        &["log", "--to", "5"],
        &["export", "--to", "5"],
        &["export", "--format", "nonsense"],
        &["log", "--limit", "1.5"],
        &["log", "--since", "yesterday"],
        &["log", "--until", "2026-11-31"],
        &["--store"],
        &["completions", "nonsense"],
        &["completions"],
    ] {
        let outcome = place.run(arguments).code(2);
        assert!(outcome.stdout.is_empty(), "{arguments:?}: {outcome:?}");
        assert!(!outcome.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_teaches_by_example() {
    let place = Place::new();
    let help = place.run(&["--help"]).ok();
    for command in COMMANDS {
        assert!(help.text().contains(&format!("\n  {command} ")), "{command} is not listed");
        let help = place.run(&[command, "--help"]).ok();
        assert!(help.text().contains("Examples:\n  "), "{command}: {help:?}");
        assert!(help.text().contains(&format!("stemedb {command}")), "{command}");
        // Nothing is coloured where nobody sees it.
        assert!(!help.text().contains('\x1b'), "{command}");
    }
    assert!(help.text().contains("Exit codes:"));
    let version = place.run(&["--version"]).ok();
    assert_eq!(version.text(), concat!("stemedb ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn help_shows_own_options_first_and_those_of_all_commands_where_they_mean_something() {
    let place = Place::new();
    let heading = "Options of all commands:\n";
    for command in COMMANDS.into_iter().filter(|command| !["completions", "man"].contains(command))
    {
        let help = place.run(&[command, "--help"]).ok();
        let (own, global) = help.text().split_once(heading).unwrap_or_else(|| panic!("{command}"));
        assert!(own.contains("--help"), "{command}");
        for option in ["--json", "--store", "--secret-file", "--archive"] {
            assert!(!own.contains(&format!("\n      {option}")), "{command} {option}");
        }
        assert!(global.contains("--json"), "{command}");
        let has_store = !["verify", "demo"].contains(&command);
        assert_eq!(global.contains("--store <DIR>"), has_store, "{command}");
    }
    for (command, option, shown) in [
        ("completions", "--store", false),
        ("man", "--json", false),
        ("verify", "--archive", false),
        ("verify", "--secret-file", true),
        ("root", "--archive", false),
        ("root", "--secret-file", false),
        ("get", "--archive", true),
        ("append", "--secret-file", true),
        ("forget", "--secret-file", false),
        ("get", "--wait", false),
        ("checkpoint", "--wait", true),
    ] {
        let help = place.run(&[command, "--help"]).ok();
        assert_eq!(help.text().contains(&format!("{option} <")), shown, "{command} {option}");
    }
    // They are taken all the same.
    place.run(&["completions", "bash", "--store", "x", "--archive", "y"]).ok();
    place.run_with(&["append"], "a\n").ok();
    place.run(&["root", "--archive", "file:///nowhere"]).ok();
}

#[test]
fn help_is_as_wide_as_the_terminal() {
    let place = Place::new();
    for width in ["60", "100", "160"] {
        let mut command = place.command(&["append", "--help"]);
        let child = command.env("COLUMNS", width).spawn().unwrap();
        let help = super::binary::finish(child, b"").ok();
        let widest = help.lines().iter().map(|line| line.chars().count()).max().unwrap();
        let width: usize = width.parse().unwrap();
        assert!(widest <= width && widest > width - 20, "{widest} of {width}");
    }
}

#[test]
fn manual_pages_are_of_every_command() {
    let place = Place::new();
    let page = place.run(&["man"]).ok();
    assert!(page.text().contains(".TH stemedb 1"), "{page:?}");
    place.run(&["man", "--out", "new/man1"]).ok();
    for command in COMMANDS {
        let page = std::fs::read_to_string(place.path(&format!("new/man1/stemedb-{command}.1")));
        assert!(page.unwrap().contains("Examples:"), "{command}");
    }
    assert!(place.path("new/man1/stemedb-archive-push.1").is_file());
}

#[test]
fn completions_name_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.run(&["completions", shell]).ok();
        for command in COMMANDS {
            assert!(script.text().contains(command), "{shell} does not complete {command}");
        }
    }
}
