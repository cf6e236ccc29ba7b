//! Lists of what the store there holds, sizes, and proofs of its history.

use stemedb_store::{Entry, LogIndex, LogSize, Stats};

use super::{
    CallError, Client,
    entry_list::{EntryList, EntryRange},
    id_list::IdList,
};
use crate::{
    Malformed, Reason, Which,
    history::{Grown, Included},
    proto::v1,
};

impl Client {
    /// The entry of an assertion, without its body; `None` if the server says that its store does
    /// not hold it.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or with another entry.
    pub async fn find(&self, which: &Which) -> Result<Option<Entry>, CallError> {
        let request = v1::FindRequest { which: Some(which.into()) };
        let answer = self.call(|| {
            let (mut store, request) = (self.store.clone(), request.clone());
            async move { store.find(request).await }
        });
        let entry = match answer.await {
            Err(CallError::Refused { reason: Reason::NotFound, .. }) => return Ok(None),
            answer => answer?.entry.ok_or(Malformed::missing("entry"))?,
        };
        let (entry, _) = entry.try_into()?;
        self.fits(which, &entry)?;
        Ok(Some(entry))
    }

    /// The ids that the store there holds, sorted, in parts: each that it holds now, and some of
    /// those that come meanwhile.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn ids(&self) -> Result<IdList, CallError> {
        let mut list = IdList::new(self);
        list.begin().await?;
        Ok(list)
    }

    /// Entries of the log there, in parts: those that it has now, and some of those that come
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn entries(&self, range: &EntryRange) -> Result<EntryList, CallError> {
        let mut list = EntryList::new(self, range.clone());
        list.begin().await?;
        Ok(list)
    }

    /// Sizes and times of the store there, by its own account.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn stats(&self) -> Result<Stats, CallError> {
        let answer = self.call(|| {
            let mut store = self.store.clone();
            async move { store.stats(v1::StatsRequest {}).await }
        });
        Ok(answer.await?.try_into()?)
    }

    /// A proof that an entry is among the first `size` of the log there, or in all of it. It does
    /// verify against its own root, which means nothing unless that is trusted for another reason.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or with a proof of something else.
    pub async fn prove_inclusion(
        &self,
        index: LogIndex,
        size: Option<LogSize>,
    ) -> Result<Included, CallError> {
        let size = size.map(LogSize::get);
        let request = v1::ProveInclusionRequest { index: index.get(), size };
        let answer = self.call(|| {
            let mut store = self.store.clone();
            async move { store.prove_inclusion(request).await }
        });
        let included = Included::try_from(answer.await?)?;
        if included.entry.index != index || size.is_some_and(|size| included.head.size.0 != size) {
            return Err(Malformed::new("entry", "must be the one asked about").into());
        }
        included.verify().map_err(CallError::WrongHistoryProof)?;
        Ok(included)
    }

    /// A proof that the log there only grew from one size to another, or to what it is. It does
    /// verify against its own roots, of which one must be trusted for another reason.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or with a proof of something else.
    pub async fn prove_consistency(
        &self,
        old: LogSize,
        new: Option<LogSize>,
    ) -> Result<Grown, CallError> {
        let new_size = new.map(LogSize::get);
        let request = v1::ProveConsistencyRequest { old_size: old.get(), new_size };
        let answer = self.call(|| {
            let mut store = self.store.clone();
            async move { store.prove_consistency(request).await }
        });
        let grown = Grown::try_from(answer.await?)?;
        if grown.old.size != old || new.is_some_and(|new| grown.new.size != new) {
            return Err(Malformed::new("old_size", "must be the one asked about").into());
        }
        grown.verify().map_err(CallError::WrongHistoryProof)?;
        Ok(grown)
    }
}
