//! `repair`: its exit codes agree with those of all other commands, whatever is damaged.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::binary::{Place, id_of};
use super::serving::Served;

const STORE: &str = ".stemedb";

/// All files but the lock, and what is in them.
fn files(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(place.path(STORE)).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|path| path.file_name().unwrap() != "LOCK")
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn bodies() -> Vec<String> {
    (0..40).map(|n| format!("body {n} {}", "x".repeat(60))).collect()
}

fn segment(place: &Place) -> PathBuf {
    files(place).into_keys().find(|path| path.to_str().unwrap().contains("/segment-")).unwrap()
}

/// Changes a file of the store.
type Change = fn(&mut Vec<u8>, &str);

#[test]
fn exit_codes_of_repair_agree_with_what_is_there() {
    let changes: [(&str, Change, i32); 7] = [
        ("nothing", |_, _| {}, 0),
        ("a flipped bit of a segment's header", |bytes, _| bytes[20] ^= 1, 0),
        ("a flipped bit of a batch's header", |bytes, _| bytes[96 + 30] ^= 1, 0),
        (
            "a flipped bit of a body",
            |bytes, body| {
                let found = bytes.windows(body.len()).position(|part| part == body.as_bytes());
                bytes[found.unwrap() + 3] ^= 1;
            },
            3,
        ),
        (
            "an end that is cut",
            |bytes, body| {
                let found = bytes.windows(body.len()).position(|part| part == body.as_bytes());
                bytes.truncate(found.unwrap() - 30);
            },
            3,
        ),
        ("only a header left", |bytes, _| bytes.truncate(96), 3),
        ("zeros", |bytes, _| bytes.fill(0), 3),
    ];
    for (what, change, expected) in changes {
        let bodies = bodies();
        let place = Place::with(&(bodies.join("\n") + "\n"));
        let path = segment(&place);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes, &bodies[20]);
        fs::write(&path, &bytes).unwrap();

        let before = files(&place);
        let check = place.run(&["check", "--deep"]);
        assert_eq!(check.code, if what == "nothing" { 0 } else { 3 }, "{what}: {check:?}");
        let json = place.run(&["check", "--deep", "--json"]);
        let json: serde_json::Value = serde_json::from_str(json.text()).unwrap();
        let faults = json["faults"].as_array().unwrap();
        assert_eq!(
            (&json["whole"], faults.is_empty()),
            (&(what == "nothing").into(), what == "nothing")
        );
        assert!(json.as_object().unwrap().contains_key("entries"), "{what}: {json}");
        let before = if what == "nothing" { files(&place) } else { before };
        let dry = place.run(&["repair", "--dry-run"]).code(expected);
        assert_eq!(files(&place), before, "{what}");
        let repair = place.run(&["repair", "--json"]).code(expected);
        let refused = repair.stderr.contains("--accept-loss");
        assert_eq!(dry.stderr.contains("--accept-loss"), refused, "{what}");
        if refused {
            assert_eq!(files(&place), before, "{what}");
            place.run(&["check"]).code(3);
            let accepted = place.run(&["repair", "--accept-loss", "--json"]).code(3);
            assert!(!accepted.stderr.contains("--accept-loss"), "{what}: {accepted:?}");
        }
        // After 0 or an accepted loss the store opens, and everything agrees.
        place.run(&["check", "--deep"]).ok();
        place.run(&["root"]).ok();
        place.run(&["repair"]).ok();
        let held = place.ids();
        for body in &bodies {
            let get = place.run(&["get", &id_of(body)]);
            assert_eq!(get.code == 0, held.contains(&id_of(body)), "{what}: {get:?}");
            assert!(get.code != 0 || get.text() == body, "{what}: {get:?}");
        }
        assert_eq!(held.len() == bodies.len(), expected == 0, "{what}: {}", held.len());
        place.run_with(&["append"], bodies.join("\n") + "\n").ok();
        assert_eq!(place.ids().len(), bodies.len(), "{what}");
        place.run(&["check", "--deep"]).ok();
    }
}

#[test]
fn identity_is_repaired_and_an_unfinished_backup_is_not() {
    for damage in ["flipped", "removed", "overwritten"] {
        let place = Place::with("a\nb\n");
        let root = place.run(&["root"]).ok().stdout;
        let epoch = || {
            let stats = place.run(&["stats", "--json"]).ok();
            let stats: serde_json::Value = serde_json::from_str(stats.text()).unwrap();
            stats["epoch"].as_u64().unwrap()
        };
        let before = epoch();
        let path = place.path(STORE).join("IDENTITY");
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        match damage {
            "flipped" => fs::write(&path, &bytes).unwrap(),
            "removed" => fs::remove_file(&path).unwrap(),
            _ => fs::write(&path, [1; 144]).unwrap(),
        }
        place.run(&["check"]).code(3).says("IDENTITY");
        place.run(&["repair"]).ok().says("IDENTITY");
        assert_eq!(place.run(&["root"]).ok().stdout, root, "{damage}");
        assert_eq!(epoch() == before, damage == "flipped", "{damage}");
        place.run(&["check", "--deep"]).ok();
    }
    let place = Place::with("a\nb\n");
    for name in ["IDENTITY", "LOCK"] {
        fs::remove_file(place.path(STORE).join(name)).unwrap();
    }
    for _ in 0..2 {
        place.run(&["repair"]).fails(3, "never finished");
    }
    place.run(&["repair", "--accept-loss"]).ok();
    assert_eq!(place.ids().len(), 2);
}

/// A segment that was moved away or quarantined is taken again where it lies in its place, and a
/// good copy in the place of a damaged one also under another name.
#[test]
fn segments_that_reappear_are_taken() {
    let place = Place::new();
    let archive = format!("file://{}", place.path("archive").display());
    for part in 0..3 {
        let lines: Vec<String> =
            (0..20).map(|n| format!("part {part} body {n} {}\n", "x".repeat(60))).collect();
        place.run_with(&["append"], lines.concat()).ok();
        if part < 2 {
            place.run(&["archive", "push", "--all", &archive]).ok();
        }
    }
    let root = place.run(&["root"]).ok().stdout;
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let segments: Vec<PathBuf> = files(&place).into_keys().filter(is_segment).collect();
    assert_eq!(segments.len(), 3);
    let middle = &segments[1];
    let whole = fs::read(middle).unwrap();
    let is_whole = |what: &str| {
        place.run(&["check", "--deep"]).ok();
        assert_eq!(place.run(&["root"]).ok().stdout, root, "{what}");
        fs::read(middle).unwrap() == whole
    };

    let quarantined = PathBuf::from(format!("{}.0007.damaged", middle.display()));
    for away in [place.path("away"), quarantined] {
        fs::rename(middle, &away).unwrap();
        let before = files(&place);
        place.run(&["check"]).code(3).says("missing");
        place.run(&["repair", "--dry-run"]).fails(3, "--accept-loss");
        place.run(&["repair"]).fails(3, "--accept-loss");
        assert_eq!(files(&place), before);
        fs::rename(&away, middle).unwrap();
        place.run(&["repair"]).ok();
        assert!(is_whole("moved away"));
    }

    let other = place.path(STORE).join("segment-0000-00000000000000000999.log");
    for name in [middle, &other] {
        place.damage(STORE, &format!("part 1 body 7 {}", "x".repeat(60)));
        place.run(&["repair"]).code(3).says("is lost");
        fs::write(name, &whole).unwrap();
        place.run(&["repair"]).ok();
        assert!(is_whole("a good copy"), "{}", name.display());
    }
}

/// A process has the store open: all faults are listed all the same, and nothing is changed.
#[test]
fn faults_are_listed_beside_a_process_that_has_the_store_open() {
    let bodies = bodies();
    let place = Place::with(&(bodies.join("\n") + "\n"));
    let served = Served::start(&place, STORE, &[]);
    let damaged = [&bodies[3], &bodies[20], &bodies[30]];
    for body in damaged {
        place.damage(STORE, body);
    }
    let before = files(&place);
    let check = place.run(&["check"]).code(3).says("3 errors");
    let dry = place.run(&["repair", "--dry-run"]).code(3);
    for (command, outcome) in [("check", &check), ("repair", &dry)] {
        for index in ["entry 3 ", "entry 20 ", "entry 30 "] {
            assert!(outcome.stderr.contains(index), "{command}: {outcome:?}");
        }
        assert!(!outcome.stderr.contains("in use"), "{command}: {outcome:?}");
    }
    for body in damaged {
        assert!(dry.text().contains(&id_of(body)), "{dry:?}");
    }
    place.run(&["repair", "--wait", "0"]).fails(1, "in use by process");
    assert_eq!(files(&place), before);
    // The entry that opening stops at is the one that is damaged.
    place.run(&["root"]).fails(3, "entry 3 ");
    served.stop();
}

/// A file is replaced as a whole: what another name of it shows stays.
#[test]
fn a_proof_file_is_replaced_at_once() {
    let place = Place::with("a\nb\n");
    let path = place.write("a.stemedb-proof", "what was there");
    fs::hard_link(&path, place.path("other")).unwrap();
    place.run(&["prove", &id_of("a"), "-o", "a.stemedb-proof"]).ok();
    assert!(fs::read_to_string(&path).unwrap().starts_with("stemedb.dev/set-proof@v1\n"));
    assert_eq!(fs::read_to_string(place.path("other")).unwrap(), "what was there");
    std::os::unix::fs::symlink("a.stemedb-proof", place.path("link")).unwrap();
    place.run(&["prove", &id_of("b"), "-o", "link"]).ok();
    assert!(fs::read_to_string(&path).unwrap().contains(&id_of("b")));
    let printed = place.run(&["prove", &id_of("b"), "-o", "/dev/stdout"]).ok();
    assert_eq!(printed.stdout, fs::read(&path).unwrap());
    place.run(&["prove", &id_of("b"), "-o", "no/where"]).fails(1, "cannot write the proof");
}

#[test]
fn a_proof_is_verified_for_the_id_that_is_asked() {
    let place = Place::with("a\nb\n");
    let root = place.run(&["root", "--json"]).ok();
    let root: serde_json::Value = serde_json::from_str(root.text()).unwrap();
    let root = root["set_root"].as_str().unwrap().to_owned();
    let (a, b) = (id_of("a"), id_of("b"));
    place.run(&["prove", &a, "-o", "a.stemedb-proof"]).ok();
    let verify = |id: &str| {
        place.run(&["verify", "a.stemedb-proof", "--root", &root, "--present", "--id", id])
    };
    verify(&a).ok();
    let other = verify(&b).code(3);
    assert!(other.stderr.contains(&b) && other.stderr.contains(&a), "{other:?}");
    verify("abc").code(2).says("64 hex digits");
    verify(&a.to_uppercase()).ok();
}
