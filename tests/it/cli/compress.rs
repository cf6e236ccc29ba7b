//! Compressed segments: `compress`, and what a build without the feature says.

use super::binary::Place;

#[cfg(feature = "zstd")]
mod with_zstd {
    use std::fmt::Write as _;

    use super::{super::binary::argument, Place};

    /// Lines as programs log them.
    fn lines() -> String {
        (0..3000).fold(String::new(), |mut all, n| {
            let user = n * 7 % 50;
            writeln!(all, "{{\"event\": \"login\", \"user\": \"user{user}\", \"try\": {n}}}")
                .unwrap();
            all
        })
    }

    #[test]
    fn all_that_is_read_stays_as_it_is() {
        let place = Place::with(&lines());
        let archive = format!("file://{}", argument(&place.path("archive")));
        let before = place.run(&["export", "--format", "lines"]).ok().stdout;
        let root = place.run(&["root", "--json"]).ok().stdout;
        // The open segment stays as it is.
        let fields = ["segments", "bytes_freed"];
        let none = place.run(&["compress", "--json"]).ok().json(&fields);
        assert_eq!((none["segments"].as_u64(), none["bytes_freed"].as_str()), (Some(0), Some("0")));
        // Sealed, so that all is archived.
        place.run(&["archive", "push", &archive, "--all"]).ok();
        let one = place.run(&["compress", "--level", "9", "--json"]).ok().json(&fields);
        assert_eq!(one["segments"], 1);
        let freed: u64 = one["bytes_freed"].as_str().unwrap().parse().unwrap();
        assert!(freed > 100_000, "{freed}");
        assert!(place.run(&["compress"]).ok().text().contains("0 segments"));

        assert!(place.run(&["export", "--format", "lines"]).ok().stdout == before);
        assert_eq!(place.run(&["root", "--json"]).ok().stdout, root);
        place.run(&["check", "--deep"]).ok();
        place.run(&["scrub"]).ok();
        let stats: serde_json::Value =
            serde_json::from_str(place.run(&["stats", "--json"]).ok().text()).unwrap();
        let [log, stored] = ["log", "log_stored"]
            .map(|name| stats["bytes"][name].as_str().unwrap().parse::<u64>().unwrap());
        assert_eq!(log - stored, freed);
        assert!(place.run(&["stats"]).ok().text().contains("log on disk"));

        // The archive has plain segments, and takes those that come later from compressed ones.
        place.run(&["append", "--compress"]).ok();
        place.run_with(&["append", "--compress"], "one more\n").ok();
        place.run(&["archive", "push", &archive, "--all"]).ok();
        place.run(&["archive", "verify", &archive]).ok();
        place.run(&["archive", "restore", &archive, "--store", "again"]).ok();
        let again = place.run(&["export", "--format", "lines", "--store", "again"]).ok().stdout;
        assert!(again == [before.as_slice(), b"one more\n"].concat());
    }

    #[test]
    fn a_level_that_zstd_does_not_have_is_refused() {
        let place = Place::with("a\n");
        place.run(&["compress", "--level", "23"]).fails(2, "23");
        place.run(&["compress", "--level", "0"]).fails(2, "0");
    }
}

/// It is no damage, and `repair` leaves it alone.
#[cfg(not(feature = "zstd"))]
#[test]
fn a_build_that_cannot_read_it_says_so() {
    let place = Place::with("a\nb\n");
    let name = ".stemedb/segment-0000-00000000000000000000.log";
    let compressed = include_bytes!("../../../stemedb-wal/tests/data/compressed-v2.log");
    let path = place.write(name, compressed);
    for command in
        [&["root"][..], &["check"], &["repair"], &["repair", "--accept-loss"], &["append"]]
    {
        let outcome = place.run_with(command, "c\n").says("use a build with the feature `zstd`");
        assert!(outcome.says("segment-0000-00000000000000000000.log").code != 0, "{command:?}");
        assert_eq!(std::fs::read(&path).unwrap(), compressed, "{command:?}");
    }
}
