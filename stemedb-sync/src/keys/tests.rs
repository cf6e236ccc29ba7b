use super::*;
use crate::message::LogHead;

fn hello() -> Hello {
    Hello {
        version: 1,
        node: [1; 16],
        epoch: 2,
        proof: [0; 16],
        set: SetHead { count: 3, root: [4; 32] },
        time: 5,
        cursor: Some(Cursor { epoch: 6, size: 7, root: [8; 16] }),
        symbols: 9,
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        node: [1; 16],
        epoch: 2,
        nonce: [3; 16],
        proof: [0; 16],
        set: Some(SetHead { count: 4, root: [5; 32] }),
        log: LogHead { size: 6, root: [7; 32] },
        time: 8,
        cursor: CursorState::Good,
        symbols: vec![9],
    }
}

#[test]
fn ids_are_those_of_the_specification() {
    assert_eq!(Keys::new(None).id(b"body"), *blake3::hash(b"body").as_bytes());
    let secret = [7; 16];
    let key = derive("assertion id", &secret);
    assert_eq!(Keys::new(Some(&secret)).id(b"body"), *blake3::keyed_hash(&key, b"body").as_bytes());
}

#[test]
fn the_proof_of_hello_covers_every_field_and_the_secret() {
    let keys = Keys::new(Some(&[1; 16]));
    let session = [1; 16];
    let proof = keys.initiator_proof(&session, &hello());
    let mut changed: Vec<Hello> = (0..9).map(|_| hello()).collect();
    changed[0].version += 1;
    changed[1].node[15] ^= 1;
    changed[2].epoch += 1;
    changed[3].set.count += 1;
    changed[4].set.root[31] ^= 1;
    changed[5].time += 1;
    changed[6].cursor = None;
    changed[7].cursor.as_mut().unwrap().root[15] ^= 1;
    changed[8].symbols += 1;
    for hello in changed {
        assert_ne!(keys.initiator_proof(&session, &hello), proof, "{hello:?}");
    }
    assert_ne!(keys.initiator_proof(&[2; 16], &hello()), proof);
    assert_ne!(Keys::new(Some(&[2; 16])).initiator_proof(&session, &hello()), proof);
    assert_ne!(Keys::new(None).initiator_proof(&session, &hello()), proof);
}

#[test]
fn the_proof_of_welcome_covers_every_field_but_the_symbols() {
    let keys = Keys::new(None);
    let echo = Echo { session: [1; 16], snapshot: 2, request: 1 };
    let proof = keys.responder_proof(&echo, &hello(), &welcome());
    let mut changed: Vec<Welcome> = (0..10).map(|_| welcome()).collect();
    changed[0].version += 1;
    changed[1].node[0] ^= 1;
    changed[2].epoch += 1;
    changed[3].nonce[3] ^= 1;
    changed[4].set = None;
    changed[5].set.as_mut().unwrap().root[0] ^= 1;
    changed[6].log.size += 1;
    changed[7].log.root[9] ^= 1;
    changed[8].time += 1;
    changed[9].cursor = CursorState::Rewritten;
    for welcome in changed {
        assert_ne!(keys.responder_proof(&echo, &hello(), &welcome), proof, "{welcome:?}");
    }
    let other = Hello { proof: [1; 16], ..hello() };
    assert_ne!(keys.responder_proof(&echo, &other, &welcome()), proof);
    let other = Echo { snapshot: 3, ..echo };
    assert_ne!(keys.responder_proof(&other, &hello(), &welcome()), proof);
    assert_eq!(
        keys.responder_proof(&echo, &hello(), &Welcome { symbols: vec![], ..welcome() }),
        proof,
        "symbols are checked by what follows from them"
    );
}

#[test]
fn a_token_depends_on_both_sides() {
    let keys = Keys::new(None);
    assert_ne!(keys.token(&[1; 16], &[2; 16]), keys.token(&[1; 16], &[3; 16]));
    assert_ne!(keys.token(&[1; 16], &[2; 16]), keys.token(&[4; 16], &[2; 16]));
    assert!(same(&[1; 16], &[1; 16]));
    assert!(!same(&[1; 16], &core::array::from_fn(|at| u8::from(at != 15))));
}
