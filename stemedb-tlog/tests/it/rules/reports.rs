//! Reports of audits.

use serde_json::Value;
use stemedb_merkle::{AssertionId, LogIndex, LogSize};
use stemedb_tlog::{
    attestation::{Audit, AuditDepth},
    audit::{Finding, FindingKind, Report},
    name::KeyName,
};

#[test]
fn lines_are_json_with_all_fields_in_one_order() {
    let mut report = Report::new();
    let finding = Finding {
        kind: FindingKind::Body,
        index: Some(LogIndex(7)),
        id: Some(AssertionId([0xab; 32])),
        file: Some("segment \"1\"\\\u{1b}[31m\n"),
        offset: None,
        expected: Some("ü\u{1f600}"),
        found: None,
    };
    let line = report.line(&finding);
    assert!(line.ends_with("}\n") && line.is_ascii() && !line.contains('\u{1b}'), "{line}");
    let read: Value = serde_json::from_str(&line).unwrap();
    let fields: Vec<&str> = read.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["what", "index", "id", "file", "offset", "expected", "found"]);
    assert_eq!(read["what"], "body");
    assert_eq!(read["index"], 7);
    assert_eq!(read["id"], "ab".repeat(32));
    assert_eq!(read["file"], finding.file.unwrap());
    assert_eq!(read["expected"], finding.expected.unwrap());
    assert_eq!((&read["offset"], &read["found"]), (&Value::Null, &Value::Null));
    assert_eq!(report.findings(), 1);
    assert_eq!(report.hash(), *blake3::hash(line.as_bytes()).as_bytes());
    assert_eq!(Report::new().hash(), *blake3::hash(b"").as_bytes());
}

#[test]
fn the_summary_has_the_words_of_the_attestation() {
    let audit = Audit {
        log: Some(KeyName::new("log").unwrap()),
        size: LogSize(3),
        log_root: [1; 32].into(),
        set_root: [2; 32].into(),
        held: 1,
        erased: 1,
        holes: 1,
        depth: AuditDepth::Bodies,
        bytes: 10,
        findings: 0,
        unread: 0,
        time: 5,
        report: [3; 32],
    };
    let read: Value = serde_json::from_str(&audit.to_json()).unwrap();
    let text = audit.text();
    let words: Vec<&str> =
        text.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    let fields: Vec<&str> = read.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, words);
    for line in text.lines().skip(1) {
        let (word, value) = line.split_once(' ').unwrap();
        assert_eq!(read[word].to_string().trim_matches('"'), value);
    }
}
