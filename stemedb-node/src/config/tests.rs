use std::{ffi::OsString, path::PathBuf};

use serde_json::json;

use super::*;

/// Sources in `/d`, with a file `/d/f.toml` of this text, and variables and flags of these.
fn sources(text: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let path = PathBuf::from("/d/f.toml");
    let os = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    let flag = |(name, value): &(&str, &str)| (Key::find(name).unwrap(), (*value).to_owned());
    Sources {
        dir: PathBuf::from("/d"),
        file: Some(SourceFile { path, found: false, text: text.to_owned() }),
        variables: variables.iter().map(os).collect(),
        flags: flags.iter().map(flag).collect(),
    }
}

fn config(text: &str) -> Config {
    Config::load(&sources(text, &[], &[])).unwrap()
}

fn error(text: &str) -> String {
    Config::load(&sources(text, &[], &[])).unwrap_err().to_string()
}

fn value(config: &Config, name: &str) -> Value {
    config.effective().find(|effective| effective.key.name == name).unwrap().value.clone()
}

fn origin(config: &Config, name: &str) -> String {
    config.origin(name).to_string()
}

#[test]
fn names_are_distinct_in_all_three_forms() {
    for key in &KEYS {
        let same = |other: &&Key| {
            other.name == key.name || other.flag == key.flag || other.variable() == key.variable()
        };
        assert_eq!(KEYS.iter().filter(same).count(), 1, "{key:?}");
        assert!(!OTHER_VARIABLES.contains(&key.variable().as_str()), "{key:?}");
        assert!(!key.about.ends_with('.'), "{key:?}");
        assert!(Key::find(key.name).is_some_and(|found| found.name == key.name));
    }
    assert_eq!(Key::find("sync.interval").unwrap().variable(), "STEMEDB_SYNC__INTERVAL");
    assert_eq!(Key::find("listen").unwrap().variable(), "STEMEDB_LISTEN");
}

#[test]
fn nothing_said_is_what_a_node_does_by_itself() {
    let config = Config::load(&Sources::default()).unwrap();
    let options = config.options(|_| panic!("no file is named")).unwrap();
    let default = crate::Options::default();
    assert_eq!(format!("{options:?}"), format!("{default:?}"));
    assert!(config.effective().all(|effective| *effective.origin == Origin::Default));
}

#[test]
fn a_flag_is_over_a_variable_is_over_a_file() {
    let text = "[sync]\ninterval = \"1m\"\n";
    let variable = ("STEMEDB_SYNC__INTERVAL", "2m");
    let flag = ("sync.interval", "3m");
    for (variables, flags, expected, from) in [
        (&[][..], &[][..], "1m", "/d/f.toml:2"),
        (&[variable], &[], "2m", "environment STEMEDB_SYNC__INTERVAL"),
        (&[variable], &[flag], "3m", "flag --sync-interval"),
        (&[], &[flag], "3m", "flag --sync-interval"),
        (&[("STEMEDB_SYNC__INTERVAL", "")], &[], "1m", "/d/f.toml:2"),
    ] {
        let config = Config::load(&sources(text, variables, flags)).unwrap();
        assert_eq!(value(&config, "sync.interval"), json!(expected), "{variables:?} {flags:?}");
        assert_eq!(origin(&config, "sync.interval"), from);
    }
    // What is overridden must be right all the same.
    let wrong = sources("[sync]\ninterval = 5\n", &[variable], &[flag]);
    assert!(Config::load(&wrong).is_err());
}

#[test]
fn values_are_read_as_people_write_them() {
    for (text, name, shown) in [
        ("listen = \"[::1]:1\"", "listen", json!("[::1]:1")),
        ("advertise = \"a.example\"", "advertise", json!("a.example:7845")),
        ("advertise = \"none\"", "advertise", json!("none")),
        // A node is reached by the port that it listens on, unless another one is named.
        ("listen = \"127.0.0.1:9000\"\nadvertise = \"a\"", "advertise", json!("a:9000")),
        ("advertise = \"a\"\nlisten = \"127.0.0.1:9000\"", "advertise", json!("a:9000")),
        ("listen = \"127.0.0.1:9000\"\nadvertise = \"a:1\"", "advertise", json!("a:1")),
        ("listen = \"127.0.0.1:0\"\nadvertise = \"a:1\"", "advertise", json!("a:1")),
        ("http = \"none\"", "http", json!("none")),
        ("http_hosts = [\"a.example\"]", "http_hosts", json!(["a.example"])),
        ("reflection = true", "reflection", json!(true)),
        ("stop_time_max = \"1500ms\"", "stop_time_max", json!("1500ms")),
        ("secret_file = \"s\"", "secret_file", json!("/d/s")),
        ("secret_file = \"./a/../s\"", "secret_file", json!("/d/a/../s")),
        ("store = \"/x\"", "store", json!("/x")),
        ("[cluster]\njoin = \"a,b:1\"", "cluster.join", json!(["a:7845", "b:1"])),
        ("[cluster]\njoin = [\"a\", \"b:1\"]", "cluster.join", json!(["a:7845", "b:1"])),
        ("[cluster]\npeers = []", "cluster.peers", json!([])),
        ("[cluster]\npeers = \"none\"", "cluster.peers", json!([])),
        ("cluster.gossip = false", "cluster.gossip", json!(false)),
        ("cluster.open_membership = true", "cluster.open_membership", json!(true)),
        ("[sync]\nmemory = \"1G\"", "sync.memory", json!("1G")),
        ("sync = { sessions_max = 4 }", "sync.sessions_max", json!(4)),
        ("[sync]\nbytes_per_second = \"10M\"", "sync.bytes_per_second", json!("10M")),
        ("[sync]\nbytes_per_second = 20480", "sync.bytes_per_second", json!("20K")),
        ("[sync]\ncpu_share = 0.25", "sync.cpu_share", json!(0.25)),
        ("[sync]\ncpu_share = 1", "sync.cpu_share", json!(1.0)),
        ("[sync]\npause_above = \"50ms\"", "sync.pause_above", json!("50ms")),
        ("[sync]\nwindows = \"22:00-06:00\"", "sync.windows", json!(["22:00-06:00"])),
        ("[scrub]\nenabled = false", "scrub.enabled", json!(false)),
        ("[archive]\nurl = \"s3://b/p\"", "archive.url", json!("s3://b/p")),
        ("[archive]\nkeep_segments = 0", "archive.keep_segments", json!(0)),
        ("[disk]\nreserve = \"auto\"", "disk.reserve", json!("auto")),
        ("[disk]\nreserve = 0", "disk.reserve", json!("0")),
        ("[log]\nformat = \"json\"", "log.format", json!("json")),
        ("[log]\nlevel = \"off\"", "log.level", json!("off")),
    ] {
        assert_eq!(value(&config(text), name), shown, "{text}");
    }
}

#[test]
fn variables_and_flags_are_texts_of_every_type() {
    let variables = [
        ("STEMEDB_STORE", "s"),
        ("STEMEDB_REFLECTION", "true"),
        ("STEMEDB_CLUSTER__JOIN", "a, b"),
        ("STEMEDB_SYNC__SESSIONS_MAX", "5"),
        ("STEMEDB_SYNC__CPU_SHARE", "0.5"),
        ("STEMEDB_SYNC__BYTES_PER_SECOND", "none"),
        ("OTHER_SYNC__INTERVALL", "is not ours"),
    ];
    let flags = [("cluster.peers", "c"), ("cluster.peers", "d,e"), ("scrub.enabled", "false")];
    let text = "[sync]\nbytes_per_second = \"1M\"\n";
    let config = Config::load(&sources(text, &variables, &flags)).unwrap();
    assert_eq!(value(&config, "store"), json!("/d/s"));
    assert_eq!(value(&config, "reflection"), json!(true));
    assert_eq!(value(&config, "cluster.join"), json!(["a:7845", "b:7845"]));
    assert_eq!(value(&config, "cluster.peers"), json!(["c:7845", "d:7845", "e:7845"]));
    assert_eq!(value(&config, "sync.sessions_max"), json!(5));
    assert_eq!(value(&config, "sync.cpu_share"), json!(0.5));
    assert_eq!(value(&config, "sync.bytes_per_second"), json!("none"));
    let options = config.options(|_| panic!("no file is named")).unwrap();
    assert_eq!(options.join.len(), 2);
    assert_eq!(options.scrub, None);
}

#[test]
fn what_is_wrong_is_said_with_what_is_right() {
    let socket = "it takes an IP address with a port, such as 127.0.0.1:7845 or [::]:7845";
    for (text, said) in [
        (
            "[sync]\ninterval = 30",
            "/d/f.toml:2: sync.interval can't be 30: it takes a time with its unit, such as 500ms, \
             30s, 5m, 1h or 7d, from 100ms to 7d",
        ),
        (
            "[sync]\n\ninterval = \"1ms\"",
            "/d/f.toml:3: sync.interval can't be \"1ms\": it takes a time with its unit, such as \
             500ms, 30s, 5m, 1h or 7d, from 100ms to 7d",
        ),
        ("listen = 7845", &format!("/d/f.toml:1: listen can't be 7845: {socket}")),
        ("listen = \"localhost:1\"", &format!("listen can't be \"localhost:1\": {socket}")),
        ("http = \"off\"", &format!("http can't be \"off\": {socket}; or none")),
        ("reflection = \"yes\"", "can't be \"yes\": it takes true or false"),
        ("[sync]\nsessions_max = 0", "can't be 0: it takes a whole number from 1 to 64"),
        ("[sync]\nsessions_max = -1", "can't be -1: it takes a whole number from 1 to 64"),
        ("[sync]\ncpu_share = 1.5", "it takes a number above 0 and up to 1, such as 0.25"),
        ("[sync]\ncpu_share = nan", "it takes a number above 0 and up to 1, such as 0.25"),
        (
            "[sync]\nbytes_per_second = \"10MBit\"",
            "can't be \"10MBit\": it takes a number of bytes, such as 512K, 10M or 2G (powers of \
             1024), 16K or more; or none",
        ),
        (
            "[sync]\nwindows = [\"22-6\"]",
            "can't be [\"22-6\"]: it takes a list of parts of the day in UTC, such as 22:00-06:00; \
             or none, for always",
        ),
        ("[cluster]\njoin = [1]", "can't be a list of something else than texts"),
        ("[cluster]\njoin = [\"a b\"]", "it takes a list of HOST or HOST:PORT"),
        ("[log]\nlevel = \"verbose\"", "it takes off, error, warn, info, debug or trace"),
        ("[log]\nformat = \"xml\"", "it takes human or json"),
        ("[archive]\nkeep_segments = -1", "it takes a whole number from 0 to"),
        ("[archive]\nurl = \"s3:///b\"", "it takes s3://BUCKET"),
        ("[archive]\nurl = \"file://b\"", "it takes s3://BUCKET"),
        ("[disk]\nreserve = \"5%\"", "(powers of 1024); or auto"),
        ("secret_file = \"\"", "can't be \"\": it takes a path; or none"),
        ("listen = \"\\u001b[2J\"", "can't be \"\\u{1b}[2J\""),
        ("sync = 1", "/d/f.toml:1: sync is a section: write [sync], and its keys below it"),
    ] {
        let error = error(text);
        assert!(error.contains(said), "{text}: {error}");
        assert!(!error.chars().any(char::is_control), "{error}");
    }
    let variables = [("STEMEDB_SYNC__INTERVAL", "x")];
    let said = Config::load(&sources("", &variables, &[("listen", "x")])).unwrap_err().to_string();
    assert!(said.starts_with("2 things are wrong with the configuration\n"), "{said}");
    assert!(said.contains("\n  environment STEMEDB_SYNC__INTERVAL: sync.interval can't be \"x\""));
    assert!(said.contains("\n  flag --listen: listen can't be \"x\""), "{said}");
}

#[test]
fn passwords_in_addresses_are_not_repeated() {
    for text in [
        "[archive]\nurl = \"s3://key:hunter2@bucket\"",
        "advertise = \"https://me:hunter2@a.example\"",
        "[cluster]\njoin = [\"me:hunter2@a.example\"]",
    ] {
        let error = error(text);
        assert!(error.contains("with a user or password in it"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn what_is_not_known_is_said_with_what_was_meant() {
    for (text, said) in [
        (
            "[sync]\nintervall = \"1s\"",
            "/d/f.toml:2: there is no key sync.intervall; did you mean interval in [sync]?",
        ),
        (
            "[snyc]\ninterval = \"1s\"",
            "/d/f.toml:2: there is no key snyc.interval; did you mean interval in [sync]?",
        ),
        (
            "[tls]\ntoken_file = \"t\"",
            "/d/f.toml:2: there is no key tls.token_file; did you mean token_file in [auth]?",
        ),
        (
            "lisen = \"a\"",
            "there is no key lisen; did you mean listen, which stands above all sections?",
        ),
        ("[sync]\nlisten = \"a\"", "did you mean listen, which stands above all sections?"),
        ("colour = 1", "there is no key colour"),
        ("[colour]", "/d/f.toml:1: there is no key colour"),
        (
            "auth.clear_to_others = true",
            "no key auth.clear_to_others; did you mean allow_plaintext in [auth]?",
        ),
        ("auth.token_in_clear = true", "did you mean send_token_in_plaintext in [auth]?"),
        ("\"\" = 1", "there is no key "),
        ("\"a\\nb\" = 1", "there is no key a\\nb"),
    ] {
        assert!(error(text).contains(said), "{text}: {}", error(text));
    }
    for (name, said) in [
        (
            "STEMEDB_SYNC__INTERVALL",
            "environment STEMEDB_SYNC__INTERVALL: there is no such variable; did you mean \
             STEMEDB_SYNC__INTERVAL?",
        ),
        ("STEMEDB_SYNC_INTERVAL", "did you mean STEMEDB_SYNC__INTERVAL?"),
        ("STEMEDB_TLS_CERT", "did you mean STEMEDB_TLS__CERT?"),
        ("STEMEDB_LISTEM", "did you mean STEMEDB_LISTEN?"),
        ("STEMEDB_listen", "did you mean STEMEDB_LISTEN?"),
        ("STEMEDB_COLOUR", "it is STEMEDB_, the section, two underscores, and the key"),
        ("STEMEDB_", "there is no such variable"),
    ] {
        let error = Config::load(&sources("", &[(name, "")], &[])).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn variables_of_others_are_left_alone() {
    let others = [
        ("STEMEDB_CONFIG", "f"),
        ("STEMEDB_TOKEN_FILE", "f"),
        ("STEMEDB_SERVICE_HOST", "10.0.0.1"),
        ("STEMEDB_SERVICE_PORT", "7845"),
        ("STEMEDB_SERVICE_PORT_GRPC", "7845"),
        ("STEMEDB_PORT", "tcp://10.0.0.1:7845"),
        ("STEMEDB_PORT_7845_TCP", "tcp://10.0.0.1:7845"),
        ("STEMEDB_PORT_7845_TCP_ADDR", "10.0.0.1"),
        ("STEMEDB_NODE_SERVICE_HOST", "10.0.0.1"),
        ("STEMEDB_NODE_PORT_7845_TCP_PROTO", "tcp"),
    ];
    Config::load(&sources("", &others, &[])).unwrap();
    for ours in ["STEMEDB_PORT", "STEMEDB_PORT_X", "STEMEDB_SERVICE"] {
        assert!(Config::load(&sources("", &[(ours, "7845")], &[])).is_err(), "{ours}");
    }
}

#[test]
fn what_does_not_fit_together_is_said() {
    for (text, said) in [
        ("[tls]\ncert = \"c\"", "/d/f.toml:2: tls.cert is of no use without tls.key"),
        ("[tls]\nkey = \"c\"", "/d/f.toml:2: tls.key is of no use without tls.cert"),
        ("[tls]\nclient_ca = \"c\"", "tls.client_ca is of no use without tls.cert"),
        ("[tls]\nserver_name = \"c\"", "tls.server_name is of no use without tls.ca"),
        ("listen = \"0.0.0.0:1\"", "/d/f.toml:1: listening on 0.0.0.0:1 without TLS would let"),
        ("http = \"127.0.0.1:7845\"", "http can't be 127.0.0.1:7845, which listen is already"),
        (
            "[auth]\nallow_plaintext = true\n[tls]\ncert = \"c\"\nkey = \"k\"",
            "/d/f.toml:2: clear text is asked for, and tls.cert turns TLS on",
        ),
        (
            "listen = \"0.0.0.0:1\"\ncluster.join = \"a\"\nauth.allow_plaintext = true",
            "/d/f.toml:1: other members can't reach this node at 0.0.0.0:1",
        ),
        (
            "listen = \"0.0.0.0:1\"\nadvertise = \"a\"\nauth.allow_plaintext = true",
            "/d/f.toml:1: listening on 0.0.0.0:1 with neither a secret nor client certificates",
        ),
        (
            "listen = \"0.0.0.0:1\"\nadvertise = \"a\"\n[tls]\ncert = \"c\"\nkey = \"k\"",
            "/d/f.toml:1: listening on 0.0.0.0:1 with neither a secret nor client certificates",
        ),
        (
            "listen = \"127.0.0.1:0\"\nadvertise = \"a\"",
            "/d/f.toml:2: advertise names no port, and listen takes any that is free",
        ),
    ] {
        assert!(error(text).contains(said), "{text}: {}", error(text));
    }
    for fine in [
        "listen = \"0.0.0.0:1\"\nadvertise = \"a\"\nauth.allow_plaintext = true\n\
         cluster.open_membership = true",
        "listen = \"0.0.0.0:1\"\nadvertise = \"a\"\nauth.allow_plaintext = true\n\
         secret_file = \"s\"",
        "listen = \"0.0.0.0:1\"\nadvertise = \"a\"\n\
         [tls]\ncert = \"c\"\nkey = \"k\"\nclient_ca = \"a\"",
        "listen = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"",
    ] {
        config(fine);
    }
}

#[test]
fn a_file_in_a_store_is_for_that_store() {
    let found = |text: &str| {
        let mut sources = sources(text, &[("STEMEDB_STORE", "")], &[]);
        let path = PathBuf::from("/d/.stemedb/stemedb.toml");
        sources.file = Some(SourceFile { path, found: true, text: text.to_owned() });
        Config::load(&sources)
    };
    let said = found("store = \"/other\"").unwrap_err().to_string();
    assert!(said.contains("stemedb.toml:1: this file was found in the directory of one store"));
    for fine in ["", "store = \".\"", "store = \"/d/.stemedb\""] {
        assert_eq!(found(fine).unwrap().store(), Path::new("/d/.stemedb"), "{fine}");
    }
    assert_eq!(found("[tls]\nca = \"ca.pem\"").unwrap().files().count(), 1);
}

#[test]
fn what_is_printed_gives_the_same_again() {
    let everything = "\
        store = \"/s \\\" # \\u007f\"\nsecret_file = \"x\"\nlisten = \"[::1]:1\"\nhttp = \"none\"\n\
        advertise = \"https://a\"\nhttp_hosts = \"a,b\"\nreflection = true\n\
        stop_time_max = \"1m\"\n\
        [tls]\ncert = \"c\"\nkey = \"k\"\nclient_ca = \"a\"\nca = \"b\"\nserver_name = \"n\"\n\
        system_roots = true\n\
        [auth]\ntoken_file = \"t\"\npeer_token_file = \"u\"\nsend_token_in_plaintext = true\n\
        client_tokens = \"v\"\npeer_tokens = \"w\"\nadmin_tokens = \"x\"\n\
        [server]\nconnections_max = 9\nconnections_per_address_max = 8\n\
        [cluster]\njoin = \"a\"\npeers = \"b,c\"\ngossip = false\n\
        open_membership = true\n\
        [sync]\ninterval = \"2m\"\nsessions_max = 3\nmemory = \"64M\"\n\
        bytes_per_second = \"1M\"\ncpu_share = 0.5\n\
        pause_above = \"9ms\"\nwindows = \"22:00-24:00,01:00-02:00\"\n\
        [scrub]\nenabled = false\nbytes_per_second = \"1M\"\ninterval = \"2d\"\n\
        [archive]\nurl = \"file:///x\"\ninterval = \"2m\"\nkeep_segments = 3\n\
        [disk]\nreserve = \"2G\"\n[log]\nformat = \"json\"\nlevel = \"debug\"\n";
    let all = config(everything);
    let default = config("");
    let default_too = ["auth.allow_plaintext"];
    for effective in all.effective() {
        let key = effective.key;
        let is_default = *effective.value == value(&default, key.name);
        assert_eq!(is_default, default_too.contains(&key.name), "{}", key.name);
    }
    for first in [all, config(""), config("auth.allow_plaintext = true")] {
        let printed = first.to_toml();
        let again = config(&printed);
        assert_eq!(first.changed(&again), Changes::default(), "{printed}");
        for ((line, text), key) in (1..).zip(printed.lines()).filter(is_value).zip(&KEYS) {
            assert!(text.starts_with(&format!("{} = ", key.field())), "{text}");
            assert_eq!(origin(&again, key.name), format!("/d/f.toml:{line}"));
        }
    }
}

fn is_value((_, text): &(usize, &str)) -> bool {
    text.contains('=')
}

#[test]
fn a_running_node_takes_on_what_can_change() {
    let old = config("");
    let newer = config(
        "listen = \"127.0.0.1:1\"\n[sync]\ninterval = \"1m\"\n[log]\nlevel = \"debug\"\n\
         format = \"json\"\n[cluster]\npeers = [\"a\"]\n",
    );
    let changes = old.changed(&newer);
    let names = |changes: &[Change]| changes.iter().map(|change| change.key).collect::<Vec<_>>();
    assert_eq!(names(&changes.reloaded), ["cluster.peers", "sync.interval", "log.level"]);
    assert_eq!(names(&changes.restart), ["listen", "log.format"]);
    assert_eq!(changes.reloaded[1].from, json!("30s"));
    assert_eq!(changes.reloaded[1].to, json!("1m"));

    let reloaded = old.reloaded(&newer).unwrap();
    let left = reloaded.changed(&newer);
    assert_eq!(left, Changes { reloaded: Vec::new(), restart: changes.restart });
    assert_eq!(old.changed(&reloaded).restart, []);
    assert_eq!(origin(&reloaded, "sync.interval"), "/d/f.toml:3");
    assert_eq!(origin(&reloaded, "listen"), "default");
    assert_eq!(reloaded.log_level(), LogLevel::Debug);
}

#[test]
fn files_that_are_named_are_read_or_said() {
    let text = "listen = \"0.0.0.0:1\"\nadvertise = \"a\"\n\
                [tls]\ncert = \"c\"\nkey = \"k\"\nclient_ca = \"a\"\n\
                ca = \"a\"\nserver_name = \"n\"\n[auth]\ntoken_file = \"t\"\n\
                peer_token_file = \"t\"\n";
    let config = config(text);
    let names: Vec<&str> = config.files().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 6);
    let options = config
        .options(|path| match path.to_str() {
            Some("/d/t") => Ok(b"0123456789abcdef0123456789abcdef\n".to_vec()),
            path => Ok(path.unwrap().as_bytes().to_vec()),
        })
        .unwrap();
    let server = options.server.tls.unwrap();
    assert_eq!(
        (server.certificate.as_slice(), server.key.as_slice()),
        (&b"/d/c"[..], &b"/d/k"[..])
    );
    assert_eq!(server.client_ca.as_deref(), Some(&b"/d/a"[..]));
    let client = options.client.tls.unwrap();
    assert_eq!(client.ca, b"/d/a");
    assert_eq!(client.identity.unwrap().key, b"/d/k");
    assert_eq!(client.server_name.as_deref(), Some("n"));
    assert!(options.server.tokens.is_some() && options.client.token.is_some());

    let error = config
        .options(|path| match path.to_str() {
            Some("/d/c") => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
            _ => Ok(b"short".to_vec()),
        })
        .unwrap_err();
    let said = error.to_string();
    assert_eq!(error.problems().len(), 3, "{said}");
    assert!(said.contains("/d/f.toml:4: tls.cert: cannot read /d/c: entity not found"), "{said}");
    assert!(said.contains("/d/f.toml:10: auth.token_file: cannot use /d/t: the token on line 1"));
    assert!(!said.contains("short"), "{said}");
}
