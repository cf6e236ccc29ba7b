//! `scrub`: what it finds, and heals from a served store.

use super::binary::{Place, id_of, lines};
use super::serving::Served;

const SCRUB: [&str; 7] = ["whole", "entries", "bytes", "damaged", "healed", "faults", "millis"];

#[test]
fn a_whole_store_is_whole() {
    let place = Place::with(&lines("assertion", 0..500));
    let scrub = place.run(&["scrub", "--json"]).ok().json(&SCRUB);
    assert_eq!((&scrub["whole"], &scrub["entries"]), (&true.into(), &500.into()));
    assert_eq!((&scrub["damaged"], &scrub["faults"]), (&0.into(), &serde_json::json!([])));
    assert!(place.run(&["scrub"]).ok().text().starts_with("store    whole\n"));
    place.run(&["scrub", "--store", "none"]).fails(4, "no store at");
    // More than 350 KB at 200 KB a second.
    place.run_with(&["append"], lines("more", 0..5_000)).ok();
    let scrub = place.run(&["scrub", "--rate", "200K", "--json"]).ok().json(&SCRUB);
    assert!(scrub["millis"].as_f64().unwrap() > 900.0, "{scrub}");
}

#[test]
fn damage_is_healed_from_a_served_store() {
    let body = "the body that is going to be damaged in the middle";
    let place = Place::with(&format!("first\n{body}\nlast\n{}", lines("assertion", 0..100)));
    let other = format!("{body}\n{}", lines("something else", 0..50));
    place.run_with(&["append", "--store", "peer"], other).ok();
    place.run_with(&["append", "--store", "stranger"], "nothing\n").ok();
    // Opening reads what no checkpoint covers, and would meet it first.
    place.run(&["checkpoint"]).ok();
    place.damage(".stemedb", body);
    place.run(&["get", &id_of(body)]).fails(3, "error: ");

    let scrub = place.run(&["scrub", "--json"]).code(3).says("--from").json(&SCRUB);
    assert_eq!((&scrub["whole"], &scrub["damaged"]), (&false.into(), &1.into()));
    let fault = &scrub["faults"][0];
    assert_eq!((&fault["id"], &fault["entry"]), (&id_of(body).into(), &1.into()));
    assert_eq!(fault["outcome"], "no donor");
    let stranger = Served::start(&place, "stranger", &[]);
    place.run(&["scrub", "--from", &stranger.address]).code(3).says("no peer gave its body");

    let peer = Served::start(&place, "peer", &[]);
    let scrub = place.run(&["scrub", "--from", &peer.address, "--json"]).code(0).json(&SCRUB);
    assert_eq!((&scrub["whole"], &scrub["healed"]), (&true.into(), &1.into()));
    assert_eq!(place.run(&["get", &id_of(body)]).ok().text(), body);
    place.run(&["check", "--deep"]).ok();
    let stats = place.run(&["stats", "--json"]).ok();
    let stats: serde_json::Value = serde_json::from_str(stats.text()).unwrap();
    assert_eq!(stats["bytes"]["quarantined"], "1", "{stats}");
    place.run(&["scrub"]).ok();
}
