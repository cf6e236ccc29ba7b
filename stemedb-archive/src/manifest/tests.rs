use super::*;

fn part(byte: u8) -> Hex32 {
    Hex32([byte; 32])
}

fn manifest() -> Manifest {
    let segment = |first_index, first_position, byte| ArchivedSegment {
        first_index,
        next_index: first_index + 10,
        first_position,
        len: 1000,
        parts: vec![part(byte)],
    };
    Manifest {
        format: FORMAT.into(),
        store_id: [1; 16],
        node_id: [2; 16],
        epoch: 3,
        generation: 4,
        salt_seed: [5; 16],
        secret: false,
        time: 1_700_000_000,
        log_size: 20,
        log_root: part(6),
        count: 19,
        set_root: part(7),
        holes: vec![part(8)],
        segments: vec![segment(0, 0, 9), segment(10, 1000, 10)],
        checkpoint: Some(ArchivedCheckpoint {
            log_size: 15,
            position: 1500,
            files: vec![ArchivedFile {
                name: "base-00000000000000001500.ckpt".into(),
                len: 17 << 20,
                parts: vec![part(11), part(12)],
            }],
        }),
    }
}

#[test]
fn what_was_written_is_read() {
    let manifest = manifest();
    assert_eq!(Manifest::parse(&manifest.encode().unwrap(), &manifest.log()), Ok(manifest.clone()));
    let other = LogName { epoch: 4, ..manifest.log() };
    assert_eq!(Manifest::parse(&manifest.encode().unwrap(), &other), Err(ManifestFault::OtherLog));
    let cut = manifest.encode().unwrap();
    for len in 0..cut.len() - 2 {
        let found = Manifest::parse(&cut[..len], &manifest.log());
        assert_eq!(found, Err(ManifestFault::Syntax), "cut to {len}");
    }
}

#[test]
fn contradictions_are_noticed() {
    type Change = fn(&mut Manifest);
    let changes: [Change; 20] = [
        |m| m.segments.clear(),
        |m| m.log_size = 21,
        |m| m.count = 20,
        |m| m.holes.clear(),
        |m| m.holes = vec![part(8), part(8)],
        |m| m.segments[0].first_index = 1,
        |m| m.segments[0].first_position = 1,
        |m| m.segments[1].first_position = 999,
        |m| m.segments[1].next_index = 10,
        |m| m.segments[1].len = u64::MAX,
        |m| m.segments[1].len = 0,
        |m| m.segments[1].parts.clear(),
        |m| m.segments[1].parts.push(part(1)),
        |m| m.segments.swap(0, 1),
        |m| m.checkpoint.as_mut().unwrap().log_size = 21,
        |m| m.checkpoint.as_mut().unwrap().position = 2097,
        |m| m.checkpoint.as_mut().unwrap().files.clear(),
        |m| m.checkpoint.as_mut().unwrap().files[0].name = "../IDENTITY".into(),
        |m| m.checkpoint.as_mut().unwrap().files[0].len = 1 << 50,
        |m| {
            let files = &mut m.checkpoint.as_mut().unwrap().files;
            files.push(files[0].clone());
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut manifest = manifest();
        change(&mut manifest);
        let found = Manifest::parse(&manifest.encode().unwrap(), &manifest.log());
        assert_eq!(found, Err(ManifestFault::Contradiction), "change {number}");
    }
    let text = String::from_utf8(manifest().encode().unwrap()).unwrap();
    let log = manifest().log();
    let parse = |text: String| Manifest::parse(text.as_bytes(), &log);
    assert_eq!(parse(text.replace("@v1", "@v2")), Err(ManifestFault::Format));
    assert_eq!(parse(text.replace("\"count\"", "\"counts\"")), Err(ManifestFault::Syntax));
    let upper = text.replace(&"0a".repeat(32), &"0A".repeat(32));
    assert_eq!(parse(upper), Err(ManifestFault::Syntax));
}

#[test]
fn names_are_read_back_and_nothing_else_is_a_name() {
    let log = manifest().log();
    assert_eq!(log.to_string().parse(), Ok(log));
    let text = log.to_string();
    for bad in ["", "-", &text[1..], &text.to_uppercase().replace('1', "A"), &format!("{text}-0")] {
        assert_eq!(bad.parse::<LogName>(), Err(ParseLogNameError), "{bad}");
    }
    assert_eq!(parse_manifest_name(&manifest_name(7)), Some(7));
    for bad in ["manifest-7.json", "manifest-00000000000000000007.json.tmp", "x"] {
        assert_eq!(parse_manifest_name(bad), None, "{bad}");
    }
}
