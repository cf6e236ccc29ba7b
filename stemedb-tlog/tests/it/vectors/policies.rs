//! Policies and their quorums.

use stemedb_tlog::{key_type::KeyType, policy::Policy};

use super::{bytes, cases, judge, takes_ml_dsa, text, vectors};

#[test]
fn policies() {
    let mut sets = 0;
    for case in cases("policies", "what text base64 verdict logs witnesses groups met why") {
        let Some(policy) = judge(case, Policy::parse(&bytes(case))) else { continue };
        let counts = [policy.logs().len(), policy.witnesses().len(), policy.group_count()];
        let expected = [&case["logs"], &case["witnesses"], &case["groups"]]
            .map(|count| usize::try_from(count.as_u64().unwrap()).unwrap());
        assert_eq!(counts, expected, "{}", case["what"]);
        for set in case["met"].as_array().unwrap() {
            let cosigned: Vec<&str> =
                set["cosigned_by"].as_array().unwrap().iter().map(text).collect();
            let vkeys: Vec<&str> =
                cosigned.iter().map(|name| text(&vectors()["keys"][*name]["vkey"])).collect();
            let met = policy.is_met(|witness| vkeys.contains(&witness.key.to_string().as_str()));
            assert_eq!(met, set["met"].as_bool().unwrap(), "{} {cosigned:?}", case["what"]);
            sets += 1;
        }
    }
    assert_eq!(sets, 23);
}

#[test]
fn policies_of_proofs_parse() {
    let policies = vectors()["proof_policies"].as_object().unwrap();
    for (name, policy) in policies {
        let parsed = Policy::parse(text(policy).as_bytes());
        let ml_dsa = takes_ml_dsa(policy) || name.starts_with("post-quantum");
        assert_eq!(parsed.is_ok(), !ml_dsa || KeyType::MlDsa44.is_supported(), "{name}");
    }
}
