//! `stemedb config`: what comes of a file, variables and flags, and what is wrong with them.

use std::fs;
use std::path::Path;

use serde_json::Value;
use stemedb::node::config::{Config, Effective, Origin, SourceFile, Sources};

use super::binary::{Outcome, Place, finish};

fn run_with_variables(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = place.command(arguments);
    finish(command.envs(variables.iter().copied()).spawn().unwrap(), b"")
}

/// The value of a key and where it comes from.
fn setting(outcome: &Outcome, key: &str) -> (Value, String) {
    let settings = outcome.json(&["file", "settings"])["settings"].clone();
    let setting = &settings[key];
    (setting["value"].clone(), setting["origin"].as_str().unwrap().to_owned())
}

#[test]
fn a_flag_is_over_a_variable_is_over_a_file() {
    let place = Place::new();
    place.write("node.toml", "# mine\n[sync]\ninterval = \"1m\"\n");
    let file = ("STEMEDB_CONFIG", "node.toml");
    let variable = ("STEMEDB_SYNC__INTERVAL", "2m");
    for (arguments, variables, value, origin) in [
        (&["config", "--json"][..], &[][..], "30s", "default"),
        (&["config", "--json"], &[file], "1m", "node.toml:3"),
        (&["config", "--json", "--config", "node.toml"], &[], "1m", "node.toml:3"),
        (&["config", "--json"], &[file, variable], "2m", "environment STEMEDB_SYNC__INTERVAL"),
        (
            &["config", "--json", "--sync-interval", "3m"],
            &[file, variable],
            "3m",
            "flag --sync-interval",
        ),
    ] {
        let outcome = run_with_variables(&place, arguments, variables).ok();
        let found = setting(&outcome, "sync.interval");
        assert_eq!(found, (Value::from(value), origin.to_owned()), "{arguments:?}");
    }
    assert!(!place.path(".stemedb").exists());
}

#[test]
fn the_store_is_where_it_is_for_every_command() {
    let place = Place::new();
    let path = |name: &str| Value::from(place.path(name).to_str().unwrap());
    let json = ["config", "--json"];
    let outcome = place.run(&json).ok();
    assert_eq!(setting(&outcome, "store"), (path(".stemedb"), "default".into()));
    let outcome = place.run(&["--store", "a", "config", "--json"]).ok();
    assert_eq!(setting(&outcome, "store"), (path("a"), "flag --store".into()));
    let outcome = run_with_variables(&place, &json, &[("STEMEDB_STORE", "b")]).ok();
    assert_eq!(setting(&outcome, "store"), (path("b"), "environment STEMEDB_STORE".into()));
    place.write("secret", "0123456789abcdef");
    let outcome = place.run(&["config", "--json", "--secret-file", "secret"]).ok();
    let secret_file = setting(&outcome, "secret_file");
    assert_eq!(secret_file, (path("secret"), "flag --secret-file".into()));
}

#[test]
fn a_file_in_the_store_is_read_where_no_other_is_named() {
    let place = Place::with("a\n");
    place.write(".stemedb/stemedb.toml", "listen = \"127.0.0.1:1\"\nsecret_file = \"s\"\n");
    let outcome = place.run(&["config", "--json"]).ok();
    let listen = setting(&outcome, "listen");
    assert_eq!(listen, (Value::from("127.0.0.1:1"), ".stemedb/stemedb.toml:1".into()));
    let secret = setting(&outcome, "secret_file").0;
    assert_eq!(secret, place.path(".stemedb/s").to_str().unwrap(), "relative to the file");
    place.write("empty.toml", "");
    let outcome = place.run(&["config", "--json", "--config", "empty.toml"]).ok();
    assert_eq!(setting(&outcome, "listen").1, "default");
    // The store does not mind it.
    place.run(&["check", "--deep"]).ok();
    place.write(".stemedb/stemedb.toml", "store = \"/elsewhere\"\n");
    place.run(&["config"]).fails(2, "names another, /elsewhere");
}

#[test]
fn what_is_printed_can_be_used_as_a_file() {
    let place = Place::new();
    let flags = [
        "config",
        "--listen",
        "127.0.0.1:1",
        "--join",
        "a",
        "--join",
        "b,c",
        "--scrub=false",
        "--reflection",
        "--sync-windows",
        "22:00-06:00",
        "--sync-bytes-per-second",
        "10M",
        "--secret-file",
        "a \"secret\" # file",
    ];
    let first = place.run(&flags).ok();
    assert!(first.text().contains("join = [\"a:7845\", \"b:7845\", \"c:7845\"]"), "{first:?}");
    assert!(first.text().contains("  # flag --scrub\n"), "{first:?}");
    place.write("again.toml", first.text());
    let again = place.run(&["config", "--config", "again.toml"]).ok();
    let values = |outcome: &Outcome| -> Vec<String> {
        let before_comment =
            |line: &str| line.split("  # ").next().map(str::trim_end).map(Into::into);
        outcome.text().lines().filter_map(before_comment).collect()
    };
    assert_eq!(values(&first), values(&again));
    assert!(!again.text().contains("# default"), "{again:?}");
    assert!(again.text().contains("  # again.toml:1\n"), "{again:?}");
}

#[test]
fn what_is_wrong_is_said_with_what_is_right() {
    let place = Place::new();
    place.write("a.toml", "[sync]\nintervall = \"1s\"\n\n[log]\nlevel = \"loud\"\n");
    place
        .run(&["config", "--config", "a.toml"])
        .says("error: 2 things are wrong with the configuration\n")
        .says("\n  a.toml:2: there is no key sync.intervall; did you mean interval in [sync]?\n")
        .fails(
            2,
            "\n  a.toml:5: log.level can't be \"loud\": it takes off, error, warn, info, debug or \
             trace\n",
        );
    place.write("b.toml", "listen = \n");
    place.run(&["config", "--config", "b.toml"]).fails(2, "b.toml:1: not valid TOML: ");
    place
        .run(&["config", "--config", "no.toml"])
        .fails(2, "no.toml: cannot read this configuration");
    place.write("c.toml", vec![b'#'; (1 << 20) + 1]);
    place.run(&["config", "--config", "c.toml"]).fails(2, "longer than 1048576 bytes");
    place.write("d.toml", b"# \xff\n");
    place.run(&["config", "--config", "d.toml"]).fails(2, "UTF-8");
    run_with_variables(&place, &["config"], &[("STEMEDB_SYNC__INTERVALL", "1s")])
        .fails(2, "did you mean STEMEDB_SYNC__INTERVAL?");
    run_with_variables(&place, &["config"], &[("STEMEDB_LISTEN", "7845")])
        .fails(2, "environment STEMEDB_LISTEN: listen can't be \"7845\"");
    place.run(&["config", "--sync-interval", "5"]).fails(2, "flag --sync-interval: sync.interval");
    place.run(&["config", "--sync-intervall", "5s"]).fails(2, "'--sync-interval'");
    place.run(&["config", "--listen", "a", "--listen", "b"]).fails(2, "cannot be used multiple");
    place.run(&["config", "--listen", "0.0.0.0:1"]).fails(2, "without TLS");
    // Other commands have no part in it.
    run_with_variables(&place, &["init"], &[("STEMEDB_SYNC__INTERVALL", "1s")]).ok();
}

#[test]
fn a_check_reads_what_is_named() {
    let place = Place::new();
    place.run(&["config", "--check"]).ok();
    place.write("a.toml", "[auth]\ntoken_file = \"tokens\"\n");
    let check = ["config", "--check", "--config", "a.toml"];
    place.run(&["config", "--config", "a.toml"]).ok();
    place.run(&check).fails(2, "a.toml:2: auth.token_file: cannot read ");
    place.write("tokens", "short\n");
    place.run(&check).fails(2, "the token on line 1 has 5 characters");
    place.write("tokens", "0123456789abcdef0123456789abcdef\n");
    assert_eq!(place.run(&check).ok().text(), "a.toml is right\n");
    let json = place.run(&[&check[..], &["--json"]].concat()).ok().json(&["file", "valid"]);
    assert_eq!(json["valid"], true);
    // What the files hold is shown nowhere.
    let shown = place.run(&["config", "--config", "a.toml"]).ok();
    assert!(shown.text().contains("/tokens\"") && !shown.text().contains("0123456789abcdef"));
    place.write("b.toml", "[tls]\ncert = \"tokens\"\nkey = \"tokens\"\n");
    place.run(&["config", "--check", "--config", "b.toml"]).fails(2, "certificate");
    place.write("c.toml", "secret_file = \"gone\"\n");
    place
        .run(&["config", "--check", "--config", "c.toml"])
        .fails(2, "gone: cannot read the secret");
}

#[test]
fn help_says_how_each_key_is_written() {
    let place = Place::new();
    for command in ["node", "config"] {
        let help = place.run(&[command, "--help"]).ok();
        for text in [
            "Examples:\n  stemedb",
            "--sync-interval <TIME>",
            "[default: 30s]",
            "\nTLS:\n",
            "\nThe cluster:\n",
            "[env: STEMEDB_CONFIG=]",
        ] {
            assert!(help.text().contains(text), "{command} --help lacks {text}");
        }
    }
    for command in ["status", "peers", "pause", "resume", "sync-now", "reload"] {
        let help = place.run(&[command, "--help"]).ok();
        let example = format!("Examples:\n  stemedb {command}");
        assert!(help.text().contains(&example) && help.text().contains("JSON: "), "{command}");
        assert!(help.text().contains("127.0.0.1:7845"), "{command}");
    }
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy/stemedb.toml");
    let text = fs::read_to_string(&path).unwrap();
    let file = Some(SourceFile { path, found: false, text });
    let config = Config::load(&Sources { file, ..Sources::default() }).unwrap();
    for effective in config.effective() {
        let is_there = matches!(effective.origin, Origin::File { line: Some(_), .. });
        assert!(is_there, "{} is not in it", effective.key.name);
    }
}

#[test]
fn every_key_is_documented_with_its_default() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let texts: Vec<String> = fs::read_dir(docs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("operations"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for Effective { key, value, .. } in Config::load(&Sources::default()).unwrap().effective() {
        let default = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let change = if key.reload { "reload" } else { "restart" };
        let row = format!("| `{}` | `{default}` | {change} | ", key.name);
        assert!(texts.iter().any(|text| text.contains(&row)), "no row begins {row}");
    }
}
