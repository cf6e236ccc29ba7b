//! Fork evidence, and what proves no fork.

use stemedb_tlog::{
    error::Error,
    fork::{Fork, UnverifiedFork},
    policy::Policy,
};

use super::{bytes, cases, judge, proofs::policy, text};

fn verify(file: &[u8], policy: &Policy) -> Result<Fork, Error> {
    UnverifiedFork::parse(file)?.verify(policy)
}

#[test]
fn forks() {
    let policy = policy("log").unwrap();
    for case in cases("forks", "what text base64 verdict sizes why") {
        let Some(fork) = judge(case, verify(&bytes(case), &policy)) else { continue };
        let sizes = [fork.smaller(), fork.larger()].map(|head| head.head().size.0);
        let expected: Vec<u64> =
            case["sizes"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).collect();
        assert_eq!(sizes, expected[..], "{}", case["what"]);
        // What is written again is the file, but for lines of keys that the policy lacks.
        let written = fork.write();
        assert_eq!(verify(written.as_bytes(), &policy).unwrap(), fork);
        if case["what"] != "the witness's line first" {
            assert_eq!(written, text(&case["text"]));
        }
    }
}
