use proptest::prelude::*;

use super::*;

fn example() -> ProofFile {
    ProofFile {
        proof: SetProof {
            id: [0xab; 32],
            count: 1_000_000,
            siblings: vec![[0; 32], [0x11; 32], [0xff; 32]],
            terminal: Terminal::Id([0xac; 32]),
        },
        root: Root([0x5a; 32]),
    }
}

/// The format, byte for byte. If this fails the format has changed: it is then another version.
#[test]
fn golden_bytes() {
    let text = "stemedb.dev/set-proof@v1\n\
        id abababababababababababababababababababababababababababababababab\n\
        root 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\n\
        count 1000000\n\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\
        ERERERERERERERERERERERERERERERERERERERERERE=\n\
        //////////////////////////////////////////8=\n\
        terminal acacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacac\n";
    assert_eq!(example().write(), text);
    assert_eq!(ProofFile::parse(text.as_bytes()), Ok(example()));
    let mut empty = example();
    empty.proof.terminal = Terminal::Empty;
    empty.proof.siblings.clear();
    empty.proof.count = u64::MAX;
    assert!(empty.write().ends_with("\ncount 18446744073709551615\nterminal empty\n"));
    assert_eq!(ProofFile::parse(empty.write().as_bytes()), Ok(empty));
}

/// Whatever one byte becomes, the bytes are no proof file or that of another proof.
#[test]
fn no_other_byte_gives_the_same_proof() {
    let text = example().write().into_bytes();
    for place in 0..text.len() {
        for byte in (0..=255).filter(|byte| *byte != text[place]) {
            let mut other = text.clone();
            other[place] = byte;
            if let Ok(parsed) = ProofFile::parse(&other) {
                assert_ne!(parsed, example(), "{place} {byte}");
                assert_eq!(parsed.write().into_bytes(), other, "{place} {byte}");
            }
        }
    }
}

#[test]
fn no_part_of_a_file_is_a_file() {
    let text = example().write();
    for end in 0..text.len() {
        let error = ProofFile::parse(&text.as_bytes()[..end]).unwrap_err();
        let whole_lines = text[..end].matches('\n').count();
        let line = whole_lines + 1;
        let cut = end > 0 && !text[..end].ends_with('\n');
        match error {
            ParseProofError::Unended { line: at } => assert!(cut && at == line, "{end}"),
            ParseProofError::Missing { line: at, .. } => assert!(!cut && at == line, "{end}"),
            other => panic!("{end}: {other}"),
        }
    }
}

#[test]
fn errors_name_the_line() {
    use Line::{Count, Id, Magic, Root, SiblingOrTerminal};
    let malformed = |line, expected| ParseProofError::Malformed { line, expected };
    let text = example().write();
    let terminal = "terminal acacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacac\n";
    let rows = [
        ("stemedb.dev/set-proof@v1", "stemedb.dev/set-proof@v2", malformed(1, Magic)),
        ("set-proof@v1\n", "set-proof@v1\r\n", malformed(1, Magic)),
        ("id abab", "id ABAB", malformed(2, Id)),
        ("id abab", "id  abab", malformed(2, Id)),
        ("id abab", "ID abab", malformed(2, Id)),
        ("id abab", "id abab0", malformed(2, Id)),
        ("root 5a", "root 5", malformed(3, Root)),
        ("root ", "", malformed(3, Root)),
        ("count 1", "count 01", malformed(4, Count)),
        ("count 1", "count +1", malformed(4, Count)),
        ("count 1", "count -1", malformed(4, Count)),
        ("count 1000000", "count", malformed(4, Count)),
        ("count 1000000", "count ", malformed(4, Count)),
        ("count 1000000", "count 1000000 ", malformed(4, Count)),
        ("count 1000000", "count 18446744073709551616", malformed(4, Count)),
        ("count 1000000", "count 00", malformed(4, Count)),
        ("count 1000000", "count \u{661}", malformed(4, Count)),
        // Unused bits that are not zero, no padding, another alphabet, an empty line.
        ("8=\nterm", "9=\nterm", malformed(7, SiblingOrTerminal)),
        ("8=\nterm", "8\nterm", malformed(7, SiblingOrTerminal)),
        ("//8=\nterm", "__8=\nterm", malformed(7, SiblingOrTerminal)),
        ("\nterminal", "\n\nterminal", malformed(8, SiblingOrTerminal)),
        (terminal, "terminal Empty\n", malformed(8, SiblingOrTerminal)),
        (terminal, "terminal empty \n", malformed(8, SiblingOrTerminal)),
        (terminal, "terminal  empty\n", malformed(8, SiblingOrTerminal)),
        (terminal, "terminal\n", malformed(8, SiblingOrTerminal)),
        (terminal, "terminal empty\n\n", ParseProofError::Surplus { line: 9 }),
        (terminal, "terminal empty\nterminal empty\n", ParseProofError::Surplus { line: 9 }),
        (terminal, "", ParseProofError::Missing { line: 8, expected: SiblingOrTerminal }),
        (terminal, "terminal empty", ParseProofError::Unended { line: 8 }),
        ("count 1000000\n", "", malformed(4, Count)),
    ];
    for (from, to, error) in rows {
        assert!(text.contains(from), "{from:?}");
        let edited = text.replacen(from, to, 1);
        assert_eq!(ProofFile::parse(edited.as_bytes()), Err(error), "{from:?} -> {to:?}");
    }
    assert_eq!(ProofFile::parse(b""), Err(ParseProofError::Missing { line: 1, expected: Magic }));
    let message = malformed(4, Count).to_string();
    assert_eq!(
        message,
        "line 4 is not `count` and a decimal number below 2^64 without leading zeros"
    );
}

#[test]
fn lengths_have_a_limit_and_the_longest_proof_is_below_it() {
    let mut file = example();
    file.proof.siblings = vec![[9; 32]; 257];
    file.proof.count = u64::MAX;
    // More than verify still parse: it is the verifier that refuses them.
    assert!(file.write().len() < PROOF_FILE_LEN_MAX);
    assert_eq!(ProofFile::parse(file.write().as_bytes()), Ok(file.clone()));
    file.proof.siblings = vec![[9; 32]; PROOF_FILE_LEN_MAX / 45];
    let text = file.write();
    assert_eq!(
        ProofFile::parse(text.as_bytes()),
        Err(ParseProofError::TooLong { len: text.len() })
    );
}

fn any_file() -> impl Strategy<Value = ProofFile> {
    let terminal = prop_oneof![Just(Terminal::Empty), any::<[u8; 32]>().prop_map(Terminal::Id)];
    let siblings = prop::collection::vec(any::<[u8; 32]>(), 0..40);
    (any::<[u8; 32]>(), any::<u64>(), siblings, terminal, any::<[u8; 32]>()).prop_map(
        |(id, count, siblings, terminal, root)| ProofFile {
            proof: SetProof { id, count, siblings, terminal },
            root: Root(root),
        },
    )
}

proptest! {
    #[test]
    fn round_trips(file in any_file()) {
        prop_assert_eq!(ProofFile::parse(file.write().as_bytes()), Ok(file));
    }

    #[test]
    fn what_parses_is_what_is_written(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(file) = ProofFile::parse(&bytes) {
            prop_assert_eq!(file.write().into_bytes(), bytes);
        }
    }

    #[test]
    fn edited_files_stay_canonical(
        file in any_file(),
        cut in any::<prop::sample::Index>(),
        removed in 0..3_usize,
        inserted in "[ -~\n\r]{0,3}",
    ) {
        let mut text = file.write();
        let start = cut.index(text.len());
        let end = (start + removed).min(text.len());
        text.replace_range(start..end, &inserted);
        if let Ok(parsed) = ProofFile::parse(text.as_bytes()) {
            prop_assert_eq!(parsed.write(), text);
        }
    }
}
