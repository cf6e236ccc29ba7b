//! `demo`, from the first step to the last.

use super::binary::Place;

#[test]
fn the_demonstration_keeps_its_promises_and_leaves_nothing() {
    let place = Place::new();
    let temporary = place.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let run = |arguments: &[&str]| {
        let child = place.command(arguments).env("TMPDIR", &temporary).spawn().unwrap();
        super::binary::finish(child, b"").ok()
    };
    let story = run(&["demo"]);
    for word in [
        "Append",
        "Prove",
        "Verify",
        "Damage",
        "Crash",
        "Meet",
        "Copy",
        "Sync",
        "Fall behind",
        "0 lost",
    ] {
        assert!(story.text().contains(word), "{word}: {story:?}");
    }
    let json = run(&["demo", "--json"]);
    let json = json.json(&["input", "append", "proofs", "crash", "meeting", "sync", "seconds"]);
    assert_eq!(json["crash"]["lost"], 0);
    assert!(json["crash"]["acknowledged"].as_u64().unwrap() > 0);
    assert_eq!(json["proofs"]["damaged_refused"], true);
    assert_eq!(json["meeting"]["roots_equal"], true);
    assert!(json["meeting"]["copied"].as_u64().unwrap() > 3);
    let (first, second) = (&json["sync"][0], &json["sync"][1]);
    assert_eq!((&first["equal"], &second["equal"]), (&true.into(), &true.into()));
    assert!(first["fetched"].as_u64().unwrap() > 0 && first["pushed"].as_u64().unwrap() > 0);
    assert_eq!(second["layers"], serde_json::json!(["root", "cursor"]));
    assert_eq!(second["fetched"], 1_000);
    assert!(!place.path(".stemedb").exists());
    assert_eq!(std::fs::read_dir(temporary).unwrap().count(), 0);
}

#[test]
fn the_demonstration_can_be_kept() {
    let place = Place::new();
    place.run(&["demo", "--keep", "tour"]).ok();
    let root = |store: &str| place.run(&["root", "--store", store]).ok().lines()[1].clone();
    assert_eq!(root("tour/first"), root("tour/second"));
    assert_eq!(root("tour/north"), root("tour/south"));
    assert!(place.path("tour/present.stemedb-proof").exists());
    place.run(&["demo", "--keep", "tour"]).fails(1, "tour is not empty");
}
