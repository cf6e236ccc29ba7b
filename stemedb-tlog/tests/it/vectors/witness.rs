//! Requests to a witness, and its answers.

use stemedb_merkle::{
    LogSize, Root,
    history::{ConsistencyProof, TreeHead},
};
use stemedb_tlog::{
    checkpoint::Extensions,
    signed_checkpoint::UnverifiedCheckpoint,
    witness::{
        ClientStep, CosignedHead, Decision, WitnessClient, WitnessRequest, WitnessResponse, decide,
    },
};

use super::{bytes, cases, hash, private_key, text, verifier_key, verifier_keys};

#[test]
fn witness() {
    let mut accepted = 0;
    for case in cases("witness", "what logs witness now stored text status body") {
        let stored = case["stored"].as_object().map(|stored| CosignedHead {
            head: TreeHead {
                size: LogSize(stored["size"].as_u64().unwrap()),
                root: Root(hash(&stored["root_hex"])),
            },
            time: stored["time"].as_u64().unwrap(),
            note: String::new(),
        });
        let logs = verifier_keys(&case["logs"]);
        let now = case["now"].as_u64().unwrap();
        let response = match WitnessRequest::parse(&bytes(case), Extensions::Refuse) {
            Err(malformed) => WitnessResponse::malformed(false, &malformed),
            Ok(request) => match decide(request, &logs, stored.as_ref(), now) {
                Decision::Accepted(head) => {
                    let key = private_key(text(&case["witness"]));
                    let (new, body) = head.cosign(&[&key]).unwrap();
                    check_stored(&new, now);
                    accepted += 1;
                    WitnessResponse::cosigned(body)
                }
                rejected => {
                    let response = WitnessResponse::rejected(&rejected).unwrap();
                    let size = stored.map_or(0, |stored| stored.head.size.0).to_string();
                    assert!(response.status == 409 || !response.body.contains(&size));
                    response
                }
            },
        };
        assert_eq!(u64::from(response.status), case["status"].as_u64().unwrap(), "{case:#}");
        if let Some(body) = case["body"].as_str() {
            assert_eq!(response.body, body, "{}", case["what"]);
        }
        let size_type = response.content_type == "text/x.tlog.size";
        assert_eq!(size_type, response.status == 409);
    }
    assert_eq!(accepted, 6);
}

/// What a witness keeps can prove a fork, and is its latest cosignature.
fn check_stored(stored: &CosignedHead, now: u64) {
    let note = UnverifiedCheckpoint::parse(stored.note.as_bytes(), Extensions::Refuse).unwrap();
    let witness = [verifier_key("w1")];
    let verified = note.verify(&[verifier_key("log")], &witness).unwrap();
    assert_eq!(*verified.head(), stored.head);
    assert_eq!((stored.time, verified.cosignatures()[0].time()), (now, Some(now)));
    assert_eq!(verified.to_note(), stored.note);

    // The client takes the answer.
    let mut client = WitnessClient::new(verified.clone(), &witness, stored.head.size);
    let body = verified.cosignatures()[0].line() + "\n";
    let step = client.on_response(200, "text/plain", body.as_bytes());
    assert_eq!(step, ClientStep::Cosigned(verified.cosignatures().to_vec()));
    let request = client.request(&ConsistencyProof(Vec::new()));
    assert!(!request.contains("— witness"), "the log's own lines alone");
}
