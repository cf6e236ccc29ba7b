//! Message with sizes and times of a store.

use stemedb_store::{LogSize, Stats, Timestamp};

use super::array;
use crate::{Malformed, proto::v1};

impl From<Stats> for v1::StatsResponse {
    fn from(stats: Stats) -> Self {
        let time = |time: Option<Timestamp>| time.map(Timestamp::as_ntp64);
        Self {
            head: Some(stats.head.into()),
            holes: stats.holes,
            store_id: stats.store_id.to_vec(),
            epoch: stats.epoch,
            generation: stats.generation,
            secret: stats.secret,
            segments: stats.segments,
            log_bytes: stats.log_bytes,
            spare_bytes: stats.spare_bytes,
            history_bytes: stats.history_bytes,
            checkpoints: stats.checkpoints,
            checkpoint_bytes: stats.checkpoint_bytes,
            checkpoint_log_size: stats.checkpoint_log_size.get(),
            quarantined_bytes: stats.quarantined_bytes,
            memory_bytes: stats.memory_bytes,
            first_time: time(stats.first_time),
            last_time: time(stats.last_time),
            checkpoint_time: time(stats.checkpoint_time),
            subtrees: stats.subtrees.to_vec(),
            log_stored_bytes: stats.log_stored_bytes,
        }
    }
}

impl TryFrom<v1::StatsResponse> for Stats {
    type Error = Malformed;

    fn try_from(message: v1::StatsResponse) -> Result<Self, Malformed> {
        let time = |time: Option<u64>| time.map(Timestamp::from_ntp64);
        let subtrees = message.subtrees.try_into();
        Ok(Self {
            head: message.head.ok_or(Malformed::missing("head"))?.try_into()?,
            holes: message.holes,
            store_id: array("store_id", &message.store_id)?,
            epoch: message.epoch,
            generation: message.generation,
            secret: message.secret,
            segments: message.segments,
            log_bytes: message.log_bytes,
            log_stored_bytes: message.log_stored_bytes,
            spare_bytes: message.spare_bytes,
            history_bytes: message.history_bytes,
            checkpoints: message.checkpoints,
            checkpoint_bytes: message.checkpoint_bytes,
            checkpoint_log_size: LogSize(message.checkpoint_log_size),
            quarantined_bytes: message.quarantined_bytes,
            memory_bytes: message.memory_bytes,
            first_time: time(message.first_time),
            last_time: time(message.last_time),
            checkpoint_time: time(message.checkpoint_time),
            subtrees: subtrees.map_err(|_| Malformed::new("subtrees", "must be 256 numbers"))?,
        })
    }
}
