//! The certificates that `docs/operations.md` makes by OpenSSL.

use std::process::{Command, Stdio};

use super::{
    binary::{Place, lines},
    serving::Served,
};

const DOCUMENT: &str = include_str!("../../../docs/operations.md");

#[test]
#[ignore = "needs openssl: .ci/run"]
fn the_certificates_of_the_documents_are_good_for_both_sides() {
    let (_, section) = DOCUMENT.split_once("\n## Certificates\n").unwrap();
    let (_, commands) = section.split_once("```sh\n").unwrap();
    let (commands, _) = commands.split_once("```").unwrap();
    let place = Place::with(&lines("held", 0..3));
    let made = Command::new("sh")
        .args(["-euc", commands])
        .current_dir(place.path("."))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let complained = String::from_utf8_lossy(&made.stderr);
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success(), "{said}\n{complained}");
    assert_eq!(said.matches(".pem: OK\n").count(), 4, "{said}");

    let tls = [
        &["--tls-cert", "a.example.org.pem", "--tls-key", "a.example.org.key"][..],
        &["--client-ca", "authority.pem"],
    ];
    let served = Served::start(&place, ".stemedb", &tls.concat());
    let sync = |name: &str, certificate: &[&str]| {
        let trusted = ["--tls-ca", "authority.pem", "--tls-server-name", name];
        let peer = format!("https://{}", served.address);
        let command = ["sync", "--store", "b", "--json", &peer];
        place.run(&[&command[..], &trusted, certificate].concat())
    };
    let own = ["--tls-cert", "b.example.org.pem", "--tls-key", "b.example.org.key"];
    sync("a.example.org", &[]).code(1);
    sync("b.example.org", &own).code(1);
    assert!(sync("a.example.org", &own).ok().text().contains("\"equal\":true"));
    assert_eq!(place.run(&["root", "--store", "b"]).ok().lines()[0], "count     3");
}
