//! Getting a body, in parts where it is long.

use stemedb_merkle::AssertionId;
use stemedb_sync::Keys;

use super::{CallError, Client};
use crate::{
    Malformed, Reason,
    backend::{Entry, Which},
    proto::v1,
};

impl Client {
    /// The entry and the body of an assertion; `None` if the server says that its store does not
    /// hold it.
    ///
    /// With the keys of the cluster the body is checked against its id, and no wrong one is given.
    /// A program that has none must not take the body for what it asked for.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or with another body.
    pub async fn get(
        &self,
        which: &Which,
        keys: Option<&Keys>,
    ) -> Result<Option<(Entry, Vec<u8>)>, CallError> {
        let Some((entry, mut body)) = self.part(which, 0).await? else { return Ok(None) };
        self.fits(which, &entry)?;
        let same = Which::Id(entry.id);
        while (body.len() as u64) < entry.len {
            let (again, part) = self
                .part(&same, body.len() as u64)
                .await?
                .ok_or(Malformed::new("entry", "must stay where it is"))?;
            if part.is_empty() || again.id != entry.id {
                return Err(Malformed::new("part", "must go on with the body").into());
            }
            body.extend_from_slice(&part);
        }
        if body.len() as u64 != entry.len {
            return Err(Malformed::new("part", "must end with the body").into());
        }
        match keys {
            Some(keys) if AssertionId(keys.id(&body)) != entry.id => {
                Err(CallError::WrongBody { id: entry.id })
            }
            _ => Ok(Some((entry, body))),
        }
    }

    async fn part(
        &self,
        which: &Which,
        offset: u64,
    ) -> Result<Option<(Entry, Vec<u8>)>, CallError> {
        let request = v1::GetRequest { which: Some(which.into()), offset };
        let answer = self.call(|| {
            let (mut store, request) = (self.store.clone(), request.clone());
            async move { store.get(request).await }
        });
        let v1::GetResponse { entry, part } = match answer.await {
            Err(CallError::Refused { reason: Reason::NotFound, .. }) => return Ok(None),
            answer => answer?,
        };
        let entry = entry.ok_or(Malformed::missing("entry"))?.try_into()?;
        Ok(Some((entry, part)))
    }

    /// Whether an entry is the one asked for, and not too long.
    fn fits(&self, which: &Which, entry: &Entry) -> Result<(), CallError> {
        let asked_for = match which {
            Which::Id(id) => entry.id == *id,
            Which::Prefix(prefix) => entry.id.to_string().starts_with(prefix),
            Which::Index(index) => entry.index == *index,
        };
        if !asked_for {
            return Err(Malformed::new("entry", "must be the one asked for").into());
        }
        if entry.len > self.options.body_len_max as u64 {
            return Err(Malformed::new("entry.len", "must be within the client's limit").into());
        }
        Ok(())
    }
}
