//! Which logs are in the archive.

use super::{
    Archive, ArchiveError,
    manifest::{LogName, Manifest},
    objects::parse,
};
use stemedb_merkle::{LogSize, Root, Timestamp};
use stemedb_store::Head;

/// A log in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Whose log it is.
    pub log: LogName,
    /// The number of its last manifest.
    pub manifest: u64,
    /// When that was written, in seconds since 1970.
    pub time: u64,
    /// Head of the archived log. The time of the last entry is unknown: 0.
    pub head: Head,
    /// How many segments.
    pub segments: u64,
    /// How many bytes they and the restart checkpoint have.
    pub bytes: u64,
    /// How many entries the restart checkpoint covers, if there is one.
    pub checkpoint_log_size: Option<LogSize>,
    /// Whether the store has a secret.
    pub secret: bool,
}

/// Which log of an archive is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// How its name begins, or the name of its node. `None` if there is only one.
    pub log: Option<String>,
}

impl Archive {
    /// The logs that are in the archive, by name. One request, and one for each log.
    ///
    /// # Errors
    ///
    /// If the storage can't be reached, or a manifest is damaged.
    pub async fn list(&self) -> Result<Vec<Listed>, ArchiveError> {
        let mut listed = Vec::new();
        for log in self.logs().await? {
            if let Some((number, manifest)) = self.latest(&log).await? {
                listed.push(listed_of(number, &manifest));
            }
        }
        Ok(listed)
    }

    async fn logs(&self) -> Result<Vec<LogName>, ArchiveError> {
        let dir = self.logs_path();
        let listed = self.objects.list_with_delimiter(Some(&parse(&dir)?)).await;
        let listed = listed.map_err(|source| Self::failed("list", &dir, source))?;
        let names = listed.common_prefixes.iter().filter_map(|path| path.filename()?.parse().ok());
        let mut names: Vec<LogName> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The last manifest of the log that is meant, and its number.
    pub(super) async fn select(
        &self,
        selection: &Selection,
    ) -> Result<(u64, Manifest), ArchiveError> {
        let (url, name) = (self.url.clone(), selection.log.clone());
        let mut logs = self.logs().await?;
        if let Some(front) = &name {
            logs.retain(|log| {
                let log = log.to_string();
                let node = log.split_once('-').map_or("", |(_, node)| node);
                log.starts_with(front) || node.starts_with(front)
            });
        }
        match *logs.as_slice() {
            [] => Err(ArchiveError::NoLog { url, name }),
            [log] => self.latest(&log).await?.ok_or(ArchiveError::NoLog { url, name }),
            _ => {
                let names = logs.iter().map(ToString::to_string).collect();
                Err(ArchiveError::SeveralLogs { url, names })
            }
        }
    }
}

pub(super) fn listed_of(number: u64, manifest: &Manifest) -> Listed {
    Listed {
        log: manifest.log(),
        manifest: number,
        time: manifest.time,
        head: head_of(manifest),
        segments: manifest.segments.len() as u64,
        bytes: manifest.bytes(),
        checkpoint_log_size: manifest
            .checkpoint
            .as_ref()
            .map(|checkpoint| LogSize(checkpoint.log_size)),
        secret: manifest.secret,
    }
}

/// Archived log as its manifest describes it.
pub(super) fn head_of(manifest: &Manifest) -> Head {
    Head {
        count: manifest.count,
        set_root: Root(manifest.set_root.0),
        log_size: LogSize(manifest.log_size),
        log_root: Root(manifest.log_root.0),
        last_time: Timestamp::MIN,
    }
}
