//! Objects that are named by what they hold, and manifests by number.

use object_store::{ObjectStoreExt as _, PutMode, PutOptions, path::Path};
use stemedb_merkle::{Hash, id::to_hex};

use super::{
    Archive, ArchiveError, Fault,
    blocking::blocking,
    manifest::{
        LogName, MANIFEST_LEN_MAX, Manifest, ManifestFault, manifest_name, parse_manifest_name,
    },
};

/// Whether a conditional put came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Done,
    /// There is something under that name already.
    Taken,
}

impl Archive {
    pub(super) fn object_path(&self, hash: &Hash) -> String {
        let [first, ..] = hash;
        format!("{}objects/{first:02x}/{}", self.prefix, to_hex(hash))
    }

    pub(super) fn logs_path(&self) -> String {
        format!("{}logs", self.prefix)
    }

    fn manifest_path(&self, log: &LogName, number: u64) -> String {
        format!("{}/{log}/{}", self.logs_path(), manifest_name(number))
    }

    pub(super) fn failed(
        action: &'static str,
        path: &str,
        source: object_store::Error,
    ) -> ArchiveError {
        ArchiveError::Remote { action, path: path.to_owned(), source: source.into() }
    }

    /// Puts bytes under a name if there is nothing yet.
    async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<Put, ArchiveError> {
        let options = PutOptions::from(PutMode::Create);
        match self.objects.put_opts(&parse(path)?, bytes.into(), options).await {
            Ok(_) => Ok(Put::Done),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Taken),
            Err(source) => Err(Self::failed("put", path, source)),
        }
    }

    /// Sends a part unless it is there; whether it was sent.
    pub(super) async fn put_part(&self, hash: Hash, bytes: Vec<u8>) -> Result<bool, ArchiveError> {
        if self.has_part(&hash, bytes.len() as u64).await? {
            return Ok(false);
        }
        let path = self.object_path(&hash);
        Ok(self.put(&path, bytes).await? == Put::Done)
    }

    /// Whether a part is there; only its length is looked at.
    async fn has_part(&self, hash: &Hash, expected: u64) -> Result<bool, ArchiveError> {
        let path = self.object_path(hash);
        match self.objects.head(&parse(&path)?).await {
            Ok(meta) if meta.size == expected => Ok(true),
            Ok(meta) => Err(Fault::Len { path, found: meta.size, expected }.into()),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(Self::failed("look for", &path, source)),
        }
    }

    /// The bytes of a part, which are what its name says.
    pub(super) async fn get_part(
        &self,
        hash: &Hash,
        expected: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        let path = self.object_path(hash);
        let failed = |source| Self::failed("get", &path, source);
        let found = match self.objects.get(&parse(&path)?).await {
            Ok(found) => found,
            Err(source) => {
                let error = failed(source);
                let missing = matches!(
                    &error, ArchiveError::Remote { source, .. } if source.is_missing()
                );
                return Err(if missing { Fault::Missing { path }.into() } else { error });
            }
        };
        // Before any memory is taken for it.
        if found.meta.size != expected {
            return Err(Fault::Len { path, found: found.meta.size, expected }.into());
        }
        let bytes = found.bytes().await.map_err(failed)?;
        let hash = *hash;
        blocking(move || {
            if *blake3::hash(&bytes).as_bytes() != hash {
                return Err(Fault::Content { path }.into());
            }
            Ok(bytes.into())
        })
        .await
    }

    /// Puts a manifest under a number, if that is free.
    pub(super) async fn put_manifest(
        &self,
        manifest: &Manifest,
        number: u64,
    ) -> Result<Put, ArchiveError> {
        let bytes = manifest.encode().map_err(|error| ArchiveError::System(error.into()))?;
        if bytes.len() as u64 > MANIFEST_LEN_MAX {
            let path = self.manifest_path(&manifest.log(), number);
            return Err(Fault::Manifest { path, fault: ManifestFault::Length }.into());
        }
        self.put(&self.manifest_path(&manifest.log(), number), bytes).await
    }

    /// The manifest with the highest number, and the number. `None` if the log has none.
    pub(super) async fn latest(
        &self,
        log: &LogName,
    ) -> Result<Option<(u64, Manifest)>, ArchiveError> {
        let dir = format!("{}/{log}", self.logs_path());
        let listed = self.objects.list_with_delimiter(Some(&parse(&dir)?)).await;
        let listed = listed.map_err(|source| Self::failed("list", &dir, source))?;
        let number_of = |path: &Path| path.filename().and_then(parse_manifest_name);
        let highest = listed.objects.iter().filter_map(|meta| number_of(&meta.location)).max();
        let Some(number) = highest else { return Ok(None) };
        Ok(Some((number, self.manifest(log, number).await?)))
    }

    async fn manifest(&self, log: &LogName, number: u64) -> Result<Manifest, ArchiveError> {
        let path = self.manifest_path(log, number);
        let failed = |source| Self::failed("get", &path, source);
        let found = self.objects.get(&parse(&path)?).await.map_err(failed)?;
        if found.meta.size > MANIFEST_LEN_MAX {
            return Err(Fault::Manifest { path, fault: ManifestFault::Length }.into());
        }
        let (bytes, log) = (found.bytes().await.map_err(failed)?, *log);
        blocking(move || {
            Manifest::parse(&bytes, &log).map_err(|fault| Fault::Manifest { path, fault }.into())
        })
        .await
    }
}

/// A path of ours as the library has it.
pub(super) fn parse(path: &str) -> Result<Path, ArchiveError> {
    Path::parse(path).map_err(|error| Archive::failed("name", path, error.into()))
}
