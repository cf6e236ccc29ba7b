//! The client's side of a submission.

use stemedb_merkle::{LogSize, history::ConsistencyProof};
use stemedb_tlog::witness::{
    Alarm, ClientStep, CosignedHead, Decision, RETRIES_MAX, WitnessClient, WitnessFailure,
    WitnessResponse,
};

use super::{
    checkpoint, forked, sign,
    witness::{answer, stored},
};
use crate::vectors::{private_key, tree, verifier_key};

const NOW: u64 = 1_700_000_000;
const SIZE: &str = "text/x.tlog.size";

fn client(size: u64, learned: u64) -> WitnessClient {
    WitnessClient::new(sign(&checkpoint(size)), &[verifier_key("w1")], LogSize(learned))
}

/// Talks to a witness until it is done.
fn submit(mut client: WitnessClient, stored: Option<&CosignedHead>) -> (ClientStep, u32) {
    let mut requests = 0;
    loop {
        requests += 1;
        let proof = ConsistencyProof::prove(tree(), client.old(), client.new_size()).unwrap();
        let decision = answer(&client.request(&proof), stored, NOW);
        let response = match decision {
            Decision::Accepted(accepted) => {
                WitnessResponse::cosigned(accepted.cosign(&[&private_key("w1")]).unwrap().1)
            }
            rejected => WitnessResponse::rejected(&rejected).unwrap(),
        };
        let body = response.body.as_bytes();
        match client.on_response(response.status, response.content_type, body) {
            ClientStep::Retry { .. } => {}
            step => return (step, requests),
        }
    }
}

#[test]
fn a_client_proves_from_what_the_witness_has() {
    let last = stored(&sign(&checkpoint(10)), NOW);
    for (learned, expected) in [(10, 1), (0, 2), (4, 2), (20, 2), (1_000, 2)] {
        let (step, requests) = submit(client(20, learned), Some(&last));
        assert!(matches!(step, ClientStep::Cosigned(_)), "{step:?}");
        assert_eq!(requests, expected, "learned {learned}");
    }
    // The same size again, with nothing to prove.
    let (step, _) = submit(client(10, 3), Some(&last));
    assert!(matches!(step, ClientStep::Cosigned(_)), "{step:?}");
}

#[test]
fn another_history_is_an_alarm() {
    let larger = stored(&sign(&checkpoint(30)), NOW);
    let (step, _) = submit(client(20, 0), Some(&larger));
    assert_eq!(step, ClientStep::Alarm(Alarm::LargerHead { stored: LogSize(30) }));
    let other = stored(&sign(&forked(10)), NOW);
    let (step, _) = submit(client(20, 10), Some(&other));
    assert_eq!(step, ClientStep::Alarm(Alarm::Inconsistent));
}

#[test]
fn a_client_gives_up_in_the_end() {
    let mut client = client(20, 0);
    let mut waits = Vec::new();
    let failure = loop {
        match client.on_response(409, SIZE, b"5\n") {
            ClientStep::Retry { after_ms } => waits.push(after_ms),
            step => break step,
        }
    };
    assert_eq!(waits, [10, 20, 40]);
    assert_eq!(waits.len(), RETRIES_MAX as usize);
    assert_eq!(failure, ClientStep::Failed(WitnessFailure::TooManyRetries));
}

#[test]
fn answers_that_say_nothing_are_no_alarm() {
    let failed = |status, content_type: &str, body: &[u8]| {
        matches!(client(20, 0).on_response(status, content_type, body), ClientStep::Failed(_))
    };
    for status in [0, 301, 400, 403, 404, 429, 500, 503] {
        assert!(failed(status, "text/plain", b""), "{status}");
    }
    for (content_type, body) in [
        ("text/plain", &b"30\n"[..]),
        (SIZE, b"30"),
        (SIZE, b"030\n"),
        (SIZE, b"-1\n"),
        (SIZE, b"9223372036854775808\n"),
        (SIZE, b""),
    ] {
        assert!(failed(409, content_type, body), "{content_type} {body:?}");
    }
    for body in [&b""[..], b"\n", b"garbage\n", &vec![b'a'; 70_000]] {
        assert!(failed(200, "text/plain", body));
    }
}

#[test]
fn cosignatures_are_verified_and_unknown_ones_ignored() {
    let signed = sign(&checkpoint(20));
    let line = |name: &str| signed.cosign(&private_key(name), NOW).unwrap();
    let mut all = client(20, 0);
    let answer = line("w2") + &line("w1");
    let ClientStep::Cosigned(found) = all.on_response(200, "", answer.as_bytes()) else { panic!() };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key(), &verifier_key("w1"));
    let mut checkpoint_20 = signed.clone();
    checkpoint_20.add_cosignatures(found.clone());
    assert_eq!(checkpoint_20.cosignatures(), found);
    // Those of another checkpoint are not added.
    let mut other = sign(&checkpoint(21));
    other.add_cosignatures(found);
    assert!(other.cosignatures().is_empty());

    let of_other = sign(&checkpoint(21)).cosign(&private_key("w1"), NOW).unwrap();
    for answer in [of_other, line("w2"), line("w1") + &line("w1")] {
        let step = all.on_response(200, "", answer.as_bytes());
        assert!(matches!(step, ClientStep::Failed(WitnessFailure::Cosignatures(_))), "{step:?}");
    }
}
