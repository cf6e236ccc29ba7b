//! The store as the store service sees it.

use crate::{
    Backend, Reason,
    backend::{
        EntriesWanted, Entry as RpcEntry, Failure, Head as RpcHead, Pending as RpcPending,
        Receipt as RpcReceipt, Which,
    },
};
use stemedb_merkle::{AssertionId, Hash, LogIndex, SetProof, Timestamp};
use stemedb_wal::error::AppendError as LogAppendError;

use stemedb_store::{
    AppendError, Entry, Head, LogId, Pending, ReadError, Receipt, ResolveError, Store,
};

impl Backend for Store {
    type Pending = Pending;

    async fn append(&self, body: Vec<u8>) -> Result<RpcReceipt, Failure> {
        Ok(self.append_async(body).await?.into())
    }

    fn submit(&self, bodies: Vec<Vec<u8>>) -> Pending {
        Self::submit(self, bodies)
    }

    fn body_len_max(&self) -> usize {
        Self::body_len_max(self)
    }

    fn head(&self) -> Result<RpcHead, Failure> {
        let Head { count, set_root, log_size, log_root, last_time } = Self::head(self)?;
        let (log_size, last_time) = (log_size.get(), last_time.as_ntp64());
        Ok(RpcHead { count, set_root, log_size, log_root, last_time })
    }

    fn find(&self, which: &Which) -> Result<RpcEntry, Failure> {
        let entry = match which {
            Which::Index(index) => self.entry(LogIndex(*index))?,
            Which::Id(id) => Self::find(self, id)?,
            Which::Prefix(prefix) => Self::find(self, &self.resolve(prefix)?)?,
        };
        Ok(entry_of(&entry.ok_or(Reason::NotFound)?))
    }

    fn body(&self, entry: &RpcEntry) -> Result<Vec<u8>, Failure> {
        self.body_of(LogIndex(entry.index), Timestamp::from_ntp64(entry.time), &entry.id)
            .map_err(Failure::from)
    }

    fn prove(&self, id: &AssertionId) -> Result<(SetProof, Hash), Failure> {
        let proven = Self::prove(self, id)?;
        Ok((proven.proof, proven.head.set_root))
    }

    fn log_id(&self) -> LogId {
        Self::log_id(self)
    }

    fn entries(&self, from: u64, wanted: &EntriesWanted) -> Result<Vec<RpcEntry>, Failure> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for entry in self.range(LogIndex(from)..).take(wanted.entries_max) {
            let entry = entry?;
            let short = wanted.body_len_max.is_some_and(|max| entry.len <= max as u64);
            let body = if short && !entry.hole { Self::get(self, &entry.id)? } else { None };
            bytes += body.as_ref().map_or(0, Vec::len);
            entries.push(RpcEntry { body, ..entry_of(&entry) });
            if bytes >= wanted.bytes_aim {
                break;
            }
        }
        Ok(entries)
    }

    async fn grown(&self, entries: u64) -> bool {
        self.growth().wait_for(|size| size.get() > entries).await.is_ok()
    }
}

impl RpcPending for Pending {
    fn wait(self) -> Result<Vec<RpcReceipt>, Failure> {
        Ok(Self::wait(self)?.into_iter().map(RpcReceipt::from).collect())
    }
}

impl From<Receipt> for RpcReceipt {
    fn from(receipt: Receipt) -> Self {
        let Receipt { id, index, time, duplicate, .. } = receipt;
        Self { id, index: index.get(), time: time.as_ntp64(), duplicate }
    }
}

fn entry_of(entry: &Entry) -> RpcEntry {
    let Entry { id, index, time, len, .. } = *entry;
    RpcEntry { id, index: index.get(), time: time.as_ntp64(), len, body: None }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let reason = match &error {
            AppendError::SecretMissing => Reason::SecretMissing,
            error if error.is_damage() => Reason::Damaged,
            AppendError::Log(LogAppendError::TooLong { .. }) => Reason::TooLarge,
            AppendError::Log(LogAppendError::Closed) => Reason::Stopping,
            _ => Reason::Failed,
        };
        let detail = match &error {
            AppendError::Log(LogAppendError::Poisoned(failure)) => Some(failure.without_path()),
            AppendError::ReadOnly => Some(error.to_string()),
            _ => None,
        };
        let failure = Self::new(reason, error);
        match detail {
            Some(detail) => failure.with_detail(detail),
            None => failure,
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let reason = match &error {
            ReadError::SecretMissing => Reason::SecretMissing,
            error if error.is_damage() => Reason::Damaged,
            _ => Reason::Failed,
        };
        Self::new(reason, error)
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        let reason = match error {
            ResolveError::Read(error) => return error.into(),
            ResolveError::Malformed { .. } => Reason::Malformed,
            ResolveError::NotFound { .. } => Reason::NotFound,
            ResolveError::Ambiguous { .. } => Reason::Ambiguous,
            _ => Reason::Failed,
        };
        Self::new(reason, error)
    }
}
