//! Everything that a server limits, by name.

use std::time::Duration;

use stemedb_sync::MemoryBudget;

/// The longest message, in bytes: 4 MiB, 16 KiB more than the longest byte string that a session
/// gives or takes by default
/// ([`message_len_max`](stemedb_sync::Limits::message_len_max)).
pub const MESSAGE_LEN_MAX: usize = 4 << 20;

/// How much of a body goes into one message, in bytes.
pub const PART_LEN_MAX: usize = 2 << 20;

/// Bodies in one message of a batch.
pub const BODIES_PER_MESSAGE_MAX: usize = 4096;

stemedb_merkle::options! {
    /// Limits of a server for its clients, all together and each.
    ///
    /// Memory that clients can make it set aside: [`calls_max`](Self::calls_max) and
    /// [`peer_calls_max`](Self::peer_calls_max) messages, which is 2 GiB of address space with the
    /// defaults, of which only what was really sent takes memory;
    /// [`batches_pending_max`](Self::batches_pending_max) and one body for all batches;
    /// [`reads_pending_max`](Self::reads_pending_max) and one body for all answers to clients; and
    /// [`sessions_memory_max`](Self::sessions_memory_max) for all sessions with peers.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ServerLimits {
        /// Connections in all: 256. Others wait to be accepted.
        pub connections_max: usize = 256,
        /// Connections from one address: 64. The first call of another one is refused as
        /// [`Busy`](crate::Reason::Busy), with this number, and the connection is closed soon
        /// after; where there are many others, some are closed at once.
        pub connections_per_address_max: usize = 64,
        /// Calls at the same time on one connection: 32. A client waits before it begins another
        /// one, and one that does not is refused.
        pub streams_per_connection_max: u32 = 32,
        /// Calls of clients at the same time in all: 256. Others are refused as
        /// [`Busy`](crate::Reason::Busy). Calls of the health service don't count, as it must
        /// answer a server that has much to do, too.
        pub calls_max: usize = 256,
        /// Calls of clients at the same time from one address: 128, so that one client that watches
        /// a lot leaves room for others. Others are refused as [`Busy`](crate::Reason::Busy).
        pub calls_per_address_max: usize = 128,
        /// Calls of peers at the same time in all, for sessions and gossip: 256, beside those of
        /// clients, so that neither take them from the others.
        pub peer_calls_max: usize = 256,
        /// Calls of peers at the same time from one address: 128.
        pub peer_calls_per_address_max: usize = 128,
        /// A message, in bytes: [`MESSAGE_LEN_MAX`]. A longer one is refused before memory is set
        /// aside.
        pub message_len_max: usize = MESSAGE_LEN_MAX,
        /// The headers of a call, in bytes: 8 KiB.
        pub headers_len_max: u32 = 8 << 10,
        /// A frame of HTTP/2, in bytes: 16 KiB, the least that there is.
        pub frame_len_max: u32 = 16 << 10,
        /// Bytes of a stream that can be under way unread: 1 MiB.
        pub stream_window: u32 = 1 << 20,
        /// Bytes of a connection that can be under way unread: 2 MiB.
        pub connection_window: u32 = 2 << 20,
        /// Time for a TLS handshake: 5 seconds.
        pub handshake_time_max: Duration = Duration::from_secs(5),
        /// Time from a connection to its first call: 15 seconds.
        pub first_call_time_max: Duration = Duration::from_secs(15),
        /// Time without a sign of life after which the other side is asked for one: 45 seconds,
        /// less than after which networks forget a connection that is silent.
        pub keepalive_interval: Duration = Duration::from_secs(45),
        /// Time for that sign: 10 seconds.
        pub keepalive_time_max: Duration = Duration::from_secs(10),
        /// Age at which a connection is asked to end, so that its certificate is looked at again: 1
        /// hour.
        pub connection_age_max: Duration = Duration::from_secs(60 * 60),
        /// Time that the calls of such a connection have to end: 30 seconds.
        pub connection_grace: Duration = Duration::from_secs(30),
        /// Time for a call to be answered, or for the first message of a stream: 10 seconds.
        /// Pushing bodies is measured from one message to the next.
        pub call_time_max: Duration = Duration::from_secs(10),
        /// Time from one message of a stream to the next, and for the client to take one in: 30
        /// seconds. What is held for a client that takes nothing is given back within twice that
        /// time.
        pub idle_time_max: Duration = Duration::from_secs(30),
        /// Bytes of bodies in one push that are being written before more of it is read: 4 MiB.
        /// What comes while others are written is written together.
        pub push_pending_max: usize = 4 << 20,
        /// Threads that take in pushes: 8. One push has one of them at most, and waits for it
        /// without a thread.
        pub push_threads_max: usize = 8,
        /// Bytes that all sessions with peers hold together: 256 MiB. It counts what sessions keep
        /// and what calls for them work on, after decompression; what is over it is refused with
        /// [`Refusal::Memory`](stemedb_sync::message::Refusal::Memory), and asked again later.
        pub sessions_memory_max: usize = MemoryBudget::DEFAULT,
        /// Bytes of bodies and receipts that all batches hold together, unfinished, being written,
        /// or not taken in: 256 MiB. One address has half of it at most, and one connection a
        /// quarter. What is over it waits for [`idle_time_max`](Self::idle_time_max) at most, but
        /// for one batch at a time, which may finish its body. What waits fills the window of its
        /// connection, and can hold up the other calls there for as long.
        pub batches_pending_max: usize = 256 << 20,
        /// Bytes that all answers to clients hold together until they are taken in, in bodies that
        /// were read and in lists of entries: 256 MiB. One address has half of it at most, and one
        /// connection a quarter. A body is read once there is room for it, which the client waits
        /// for as long as a call may take; of those that are longer than a connection may hold, one
        /// at a time.
        pub reads_pending_max: usize = 256 << 20,
        /// Time for running calls and sessions to end when the server stops: 10 seconds.
        pub stop_time_max: Duration = Duration::from_secs(10),
        /// Time without any call after which open sessions count as given up then: 2 seconds.
        pub stop_quiet_max: Duration = Duration::from_secs(2),
    }
}
