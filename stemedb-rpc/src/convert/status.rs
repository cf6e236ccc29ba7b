//! The status of a node, and what it was asked to do.

use crate::Malformed;
use crate::{
    node::{Control, Controlled, Reloaded},
    proto::v1::{self, control_request::What, control_response::Done},
    status::{self, PauseReason},
};

/// Converts between messages and types that have the same fields.
macro_rules! same_fields {
    ($($name:ident { $($field:ident,)* })*) => {$(
        impl From<status::$name> for v1::$name {
            fn from(status::$name { $($field,)* }: status::$name) -> Self {
                Self { $($field,)* }
            }
        }

        impl From<v1::$name> for status::$name {
            fn from(v1::$name { $($field,)* }: v1::$name) -> Self {
                Self { $($field,)* }
            }
        }
    )*};
}

same_fields! {
    HeadStatus { count, set_root, log_size, log_root, }
    SessionStatus {
        time, outcome, layer, fetched, pushed, bytes_sent, bytes_received, millis,
    }
    SliceStatus {
        prefix, last_repaired, bytes_compared, bytes_transferred, sessions, mismatches,
    }
    DiskStatus { free, total, reserve, }
    ScrubStatus { position, began, last_pass, damaged, healed, }
    ArchiveStatus { url, log_size, last_sent, dropped_segments, error, }
}

/// The same, of those that have parts to be converted themselves.
macro_rules! same_names {
    (@ $from:ty, $into:ty, { $($field:ident: $part:ident => $converted:expr,)* }
        { $($plain:ident,)* }) => {
        impl From<$from> for $into {
            fn from(from: $from) -> Self {
                $(let $part = from.$field;)*
                Self { $($field: $converted,)* $($plain: from.$plain,)* }
            }
        }
    };
    ($($from:ty => $into:ty { $($field:ident: $part:ident => $converted:expr,)* } $rest:tt)*) => {$(
        same_names!(@ $from, $into, { $($field: $part => $converted,)* } $rest);
    )*};
}

same_names! {
    status::Problem => v1::Problem { code: code => code.into(), } { text, }
    v1::Problem => status::Problem { code: code => code.into(), } { text, }
    status::SyncStatus => v1::SyncStatus { paused: reason => reason.map(i32::from), }
        { running, append_p99_seconds, }
    v1::SyncStatus => status::SyncStatus { paused: reason => reason.map(PauseReason::from), }
        { running, append_p99_seconds, }
    status::PeerStatus => v1::PeerStatus {
        state: state => state.into(),
        last_session: session => session.map(Into::into),
    } {
        address, node, version, count, set_root, in_step, lag_seconds, last_repaired, failures,
        retry_at, remark, lag_entries, ahead_entries,
    }
    v1::PeerStatus => status::PeerStatus {
        state: state => state.into(),
        last_session: session => session.map(Into::into),
    } {
        address, node, version, count, set_root, in_step, lag_seconds, last_repaired, failures,
        retry_at, remark, lag_entries, ahead_entries,
    }
    status::Status => v1::StatusResponse {
        head: head => head.map(Into::into),
        not_ready: problems => problems.into_iter().map(Into::into).collect(),
        sync: sync => Some(sync.into()),
        peers: peers => peers.into_iter().map(Into::into).collect(),
        slices: slices => slices.into_iter().map(Into::into).collect(),
        disk: disk => Some(disk.into()),
        scrub: scrub => scrub.map(Into::into),
        archive: archive => archive.map(Into::into),
    } { version, node, store, epoch, address, time, uptime_seconds, joined, }
    v1::StatusResponse => status::Status {
        head: head => head.map(Into::into),
        not_ready: problems => problems.into_iter().map(Into::into).collect(),
        // A node of another version may have none.
        sync: sync => sync.unwrap_or_default().into(),
        peers: peers => peers.into_iter().map(Into::into).collect(),
        slices: slices => slices.into_iter().map(Into::into).collect(),
        disk: disk => disk.unwrap_or_default().into(),
        scrub: scrub => scrub.map(Into::into),
        archive: archive => archive.map(Into::into),
    } { version, node, store, epoch, address, time, uptime_seconds, joined, }
}

impl From<Control> for v1::ControlRequest {
    fn from(control: Control) -> Self {
        let what = match control {
            Control::Pause => What::Pause(v1::Pause {}),
            Control::Resume => What::Resume(v1::Resume {}),
            Control::SyncNow(peer) => What::SyncNow(v1::SyncNow { peer }),
            Control::Reload => What::Reload(v1::Reload {}),
            Control::Forget(peer) => What::Forget(v1::Forget { peer }),
        };
        Self { what: Some(what) }
    }
}

impl TryFrom<v1::ControlRequest> for Control {
    type Error = Malformed;

    fn try_from(request: v1::ControlRequest) -> Result<Self, Malformed> {
        Ok(match request.what.ok_or(Malformed::missing("what"))? {
            What::Pause(_) => Self::Pause,
            What::Resume(_) => Self::Resume,
            What::SyncNow(v1::SyncNow { peer }) => {
                Self::SyncNow(peer.filter(|peer| !peer.is_empty()))
            }
            What::Reload(_) => Self::Reload,
            What::Forget(v1::Forget { peer }) => Self::Forget(peer),
        })
    }
}

impl From<Controlled> for v1::ControlResponse {
    fn from(done: Controlled) -> Self {
        let done = match done {
            Controlled::Paused => Done::Paused(v1::Paused {}),
            Controlled::Resumed { still_paused } => {
                Done::Resumed(v1::Resumed { still_paused: still_paused.map(i32::from) })
            }
            Controlled::Meeting { peer, still_paused } => {
                let still_paused = still_paused.map(i32::from);
                Done::Meeting(v1::Meeting { peer, still_paused })
            }
            Controlled::Forgotten { peer } => Done::Forgotten(v1::Forgotten { peer }),
            Controlled::NobodyToMeet => Done::NobodyToMeet(v1::NobodyToMeet {}),
            Controlled::Reloaded(Reloaded { changed, at_restart }) => {
                Done::Reloaded(v1::Reloaded { changed, at_restart })
            }
            Controlled::Unknown => return Self { done: None },
        };
        Self { done: Some(done) }
    }
}

impl From<v1::ControlResponse> for Controlled {
    fn from(response: v1::ControlResponse) -> Self {
        let Some(done) = response.done else { return Self::Unknown };
        match done {
            Done::Paused(_) => Self::Paused,
            Done::Resumed(v1::Resumed { still_paused }) => {
                Self::Resumed { still_paused: still_paused.map(PauseReason::from) }
            }
            Done::Meeting(v1::Meeting { peer, still_paused }) => {
                Self::Meeting { peer, still_paused: still_paused.map(PauseReason::from) }
            }
            Done::Forgotten(v1::Forgotten { peer }) => Self::Forgotten { peer },
            Done::NobodyToMeet(_) => Self::NobodyToMeet,
            Done::Reloaded(v1::Reloaded { changed, at_restart }) => {
                Self::Reloaded(Reloaded { changed, at_restart })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{PeerState, ProblemCode, Status};

    /// The words of JSON and metrics are those of the protocol files.
    #[test]
    fn words_have_the_numbers_of_the_protocol() {
        fn check<W: Copy + Into<i32> + From<i32> + PartialEq + std::fmt::Debug + ToString>(
            words: &[W],
            unknown: W,
            name_of: impl Fn(i32) -> Option<&'static str>,
            prefix: &str,
        ) {
            for word in words {
                let number: i32 = (*word).into();
                let name = word.to_string().to_uppercase().replace('-', "_");
                assert_eq!(name_of(number), Some(format!("{prefix}_{name}").as_str()));
                assert_eq!(W::from(number), *word);
            }
            assert_eq!(Into::<i32>::into(unknown), 0);
            for other in [0, -1, i32::MAX] {
                assert_eq!(W::from(other), unknown);
            }
            let behind = i32::try_from(words.len()).unwrap() + 1;
            assert_eq!(name_of(behind), None, "all are known");
        }
        let problem = |n| v1::ProblemCode::try_from(n).ok().map(|code| code.as_str_name());
        check(ProblemCode::ALL, ProblemCode::Unknown, problem, "PROBLEM_CODE");
        let pause = |n| v1::PauseReason::try_from(n).ok().map(|reason| reason.as_str_name());
        check(PauseReason::ALL, PauseReason::Unknown, pause, "PAUSE_REASON");
        let state = |n| v1::PeerState::try_from(n).ok().map(|state| state.as_str_name());
        check(PeerState::ALL, PeerState::Unknown, state, "PEER_STATE");
    }

    #[test]
    fn a_status_comes_back_as_it_was() {
        let status: Status = serde_json::from_str(
            r#"{
                "version": "0.1.0", "node": "ab12", "store": "cd34", "epoch": 1,
                "address": "10.0.0.1:7845", "time": 1000.5, "uptime_seconds": 11520,
                "joined": true,
                "head": { "count": 12345, "set_root": "2a0f", "log_size": 12400, "log_root": "f" },
                "not_ready": [{ "code": "disk", "text": "it is full" }],
                "sync": { "paused": "window", "running": 3, "append_p99_seconds": 0.0031 },
                "peers": [
                    { "address": "10.0.0.2:7845", "node": "ef", "version": "0.1.0",
                      "state": "quarantined", "count": 12345, "set_root": "2a0f", "in_step": true,
                      "lag_seconds": 0.5, "last_repaired": 988.0, "failures": 4, "retry_at": 7.0,
                      "last_session": { "time": 988.0, "outcome": "complete", "layer": "symbols",
                        "fetched": 3, "pushed": 1, "bytes_sent": 1024, "bytes_received": 1126,
                        "millis": 38 },
                      "remark": "it broke the protocol", "lag_entries": 7, "ahead_entries": 3 },
                    { "address": "c.example:7845", "state": "down" }
                ],
                "slices": [{ "prefix": "0", "last_repaired": 990.0, "bytes_compared": 1024,
                    "bytes_transferred": 2048, "sessions": 4, "mismatches": 1 }],
                "disk": { "free": 12, "total": 100, "reserve": 1 },
                "scrub": { "position": 6200, "began": 900.0, "last_pass": 3.0, "damaged": 2,
                    "healed": 1 },
                "archive": { "url": "s3://b", "log_size": 12000, "last_sent": 990.0,
                    "dropped_segments": 3, "error": "no such bucket" }
            }"#,
        )
        .unwrap();
        for status in [status, Status::default()] {
            assert_eq!(Status::from(v1::StatusResponse::from(status.clone())), status);
        }
        assert_eq!(Status::from(v1::StatusResponse::default()), Status::default());
    }

    #[test]
    fn control_comes_back_as_it_was() {
        let peer = Some("10.0.0.2:7845".to_owned());
        for control in [
            Control::Pause,
            Control::Resume,
            Control::SyncNow(None),
            Control::SyncNow(peer.clone()),
            Control::Reload,
            Control::Forget("10.0.0.2:7845".to_owned()),
        ] {
            let request = v1::ControlRequest::from(control.clone());
            assert_eq!(Control::try_from(request).unwrap(), control);
        }
        let reloaded = |changed: &[&str], at_restart: &[&str]| {
            let owned = |keys: &[&str]| keys.iter().map(ToString::to_string).collect();
            Controlled::Reloaded(Reloaded {
                changed: owned(changed),
                at_restart: owned(at_restart),
            })
        };
        let meeting = |peer, still_paused| Controlled::Meeting { peer, still_paused };
        for (done, text) in [
            (Controlled::Paused, "no session begins until sync is resumed"),
            (Controlled::Resumed { still_paused: None }, "sessions begin again"),
            (
                Controlled::Resumed { still_paused: Some(PauseReason::Disk) },
                "sync is still paused: disk",
            ),
            (meeting(None, None), "every peer is met as soon as it can be"),
            (meeting(peer.clone(), None), "10.0.0.2:7845 is met as soon as it can be"),
            (
                meeting(peer, Some(PauseReason::Asked)),
                "10.0.0.2:7845 is met once sync goes on: it is paused (asked)",
            ),
            (Controlled::Forgotten { peer: "c:1".to_owned() }, "c:1 is forgotten"),
            (Controlled::NobodyToMeet, "this node knows of no peer to meet"),
            (reloaded(&[], &[]), "nothing has changed"),
            (reloaded(&["a", "b"], &[]), "changed: a, b"),
            (reloaded(&[], &["c"]), "nothing changes before the next start, then: c"),
            (reloaded(&["a"], &["c"]), "changed: a; at the next start: c"),
            (Controlled::Unknown, "done"),
        ] {
            assert!(done.to_string().starts_with(text), "{done}");
            let response = v1::ControlResponse::from(done.clone());
            assert_eq!(Controlled::from(response), done);
        }
        assert!(Control::try_from(v1::ControlRequest::default()).is_err());
    }
}
