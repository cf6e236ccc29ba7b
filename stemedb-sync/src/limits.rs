//! Everything that is limited, by name.

use core::time::Duration;

stemedb_merkle::options! {
    /// Limits of a session and a responder, for themselves and the other side.
    ///
    /// The two sides need not have the same limits, as long as each answers within the other's
    /// [`message_len_max`](Self::message_len_max).
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Limits {
        /// Bytes of the longest byte string in a message: 4 MiB less 16 KiB. A transport's own
        /// limit must be some 1 KiB higher, for what a message has beside it.
        pub message_len_max: usize = (4 << 20) - (16 << 10),
        /// Bytes of bodies in one part of an answer or a push: 256 KiB, so that bodies flow evenly.
        pub part_len_max: usize = 256 << 10,
        /// Bytes of bodies after which an answer ends and the rest has to be asked for: 4 MiB. As
        /// many answers as are in flight may be on their way when a disk falls behind.
        pub answer_len_aim: usize = 4 << 20,
        /// Bytes of a body: 16 MiB, a store's own default.
        pub body_len_max: usize = 16 << 20,
        /// Ids that a peer may say it holds: 2^40. More is no honest count.
        pub count_max: u64 = 1 << 40,
        /// Symbols asked for with `Hello`: 256. They come in parts, of which the first has 16; all
        /// of them find 150 differences, or tell more to a tenth.
        pub symbols_first: u32 = 256,
        /// Symbols of one request: 131,072.
        pub symbols_per_request_max: u32 = 1 << 17,
        /// Symbols in a session, before it falls back to descent: 160,000, for some 114,000
        /// differences. Peeling them takes up to 120 bytes each.
        pub symbols_max: u32 = 160_000,
        /// Ids or prefixes of ids in one message: 65,536.
        pub ids_per_message_max: usize = 1 << 16,
        /// Subtrees asked about in one message: 65,536.
        pub nodes_per_message_max: usize = 1 << 16,
        /// Levels asked for below each subtree where differences lie apart: 2, which is cheapest in
        /// bytes; 3 takes a third fewer rounds and a third more bytes.
        pub levels: u8 = 2,
        /// A subtree of at most so many ids is answered with them: 8.
        pub leaf_ids: u32 = 8,
        /// The most that a responder grants of [`leaf_ids`](Self::leaf_ids): 4,096.
        pub leaf_ids_max: u32 = 1 << 12,
        /// Entries of the log asked for at once: 65,536.
        pub entries_per_message_max: u64 = 1 << 16,
        /// Rounds of finding out what differs: 10,000. A descent takes some ten, times the number
        /// of messages that the hashes of a round fill.
        pub rounds_max: u64 = 10_000,
        /// Bytes both ways of finding out what differs: 4 GiB.
        pub reconcile_bytes_max: u64 = 4 << 30,
        /// Bytes of bodies both ways: no limit.
        pub body_bytes_max: u64 = u64::MAX,
        /// Time from the first message to the last: 24 hours.
        pub session_time_max: Duration = Duration::from_secs(24 * 60 * 60),
        /// Time without an answer after which a request is sent again: 15 seconds.
        pub answer_time_max: Duration = Duration::from_secs(15),
        /// How often a request is sent before the peer counts as gone: 5.
        pub tries_max: u32 = 5,
        /// Time that a session which ends early waits for the peer to take note of that: 1 second.
        pub leave_time_max: Duration = Duration::from_secs(1),
        /// How often a session starts again because the peer lost its snapshot: 3.
        pub restarts_max: u32 = 3,
        /// Requests for bodies, and pushes, under way at the same time: 4 each.
        pub in_flight_max: usize = 4,
        /// Bytes of bodies received and not yet durable above which no more are asked for: 16 MiB.
        pub pending_bytes_max: usize = 16 << 20,
        /// How far ahead a peer's clock may be without a remark: 10 seconds.
        pub clock_ahead_max: Duration = Duration::from_secs(10),
        /// Sessions open at a responder: 64. Each holds a snapshot.
        pub sessions_max: usize = 64,
        /// Of those, from one address: 32, whatever node ids are said there.
        pub sessions_per_address_max: usize = 32,
        /// Of those, from one address and with one node: 4. Its oldest gives way to a new one.
        pub sessions_per_peer_max: usize = 4,
        /// Time without a request after which a responder ends a session: 2 minutes.
        pub idle_time_max: Duration = Duration::from_secs(120),
        /// Ids that a responder remembers of a session, asked for or given: 1,048,576, of 32 bytes
        /// each.
        /// Beyond that it cannot check the end.
        pub ids_kept_max: usize = 1 << 20,
    }
}
