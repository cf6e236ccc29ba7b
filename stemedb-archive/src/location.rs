//! From a URL and the environment to a store of objects.

use std::{ffi::OsString, path::Path as FilePath, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut},
    local::LocalFileSystem,
    path::Path,
};
use stemedb_wal::disk::FileDisk;

use super::{Archive, ArchiveError};

/// Time limit of a request, body included: 16 MiB at 60 KB/s.
const REQUEST_TIME_MAX: &str = "300 seconds";

const CONNECT_TIME_MAX: &str = "10 seconds";

/// A request is sent again at most so many times, and not after so much time.
const RETRIES_MAX: usize = 6;
const RETRY_TIME_MAX: Duration = Duration::from_secs(60);

/// Any of these says where credentials come from.
const CREDENTIALS: [&str; 6] = [
    "aws_access_key_id",
    "aws_container_credentials_relative_uri",
    "aws_container_credentials_full_uri",
    "aws_web_identity_token_file",
    "aws_metadata_endpoint",
    "aws_skip_signature",
];

pub(super) fn open(
    url: &str,
    create: bool,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Archive, ArchiveError> {
    let (objects, prefix): (Arc<dyn ObjectStore>, _) = if let Some(rest) = url.strip_prefix("s3://")
    {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = parse_prefix(prefix).filter(|_| is_bucket(bucket));
        let prefix = prefix.ok_or_else(|| ArchiveError::Url { url: url.to_owned() })?;
        (Arc::new(bucket_of(bucket, variables)?), prefix)
    } else if let Some(dir) = url.strip_prefix("file://").filter(|dir| dir.starts_with('/')) {
        (Arc::new(directory(FilePath::new(dir), create)?), String::new())
    } else {
        return Err(ArchiveError::Url { url: url.to_owned() });
    };
    Ok(Archive { objects, prefix, url: url.to_owned() })
}

fn is_bucket(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ['.', '-', '_'].contains(&c);
    (3..=255).contains(&name.len()) && name.chars().all(allowed)
}

/// The prefix with a slash at its end, unless it is empty.
fn parse_prefix(prefix: &str) -> Option<String> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.is_empty() {
        return Some(String::new());
    }
    Path::parse(prefix).ok().filter(|path| path.as_ref() == prefix).map(|path| format!("{path}/"))
}

fn directory(dir: &FilePath, create: bool) -> Result<LocalFileSystem, ArchiveError> {
    let made = if create { FileDisk::create(dir) } else { FileDisk::open(dir) };
    made.map_err(|source| ArchiveError::Directory { dir: dir.to_path_buf(), source })?;
    let files = LocalFileSystem::new_with_prefix(dir).map_err(ArchiveError::settings)?;
    Ok(files.with_fsync(true))
}

fn bucket_of(
    bucket: &str,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<AmazonS3, ArchiveError> {
    let texts = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let variables: Vec<(String, String)> = texts
        .filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty())
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    if !variables.iter().any(|(name, _)| CREDENTIALS.contains(&name.as_str())) {
        return Err(ArchiveError::NoCredentials);
    }
    // Of several providers that may be linked, the one that the rest of this program uses. Fails
    // if there is one already, and then that is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIME_MAX,
    };
    let client = AmazonS3ConfigKey::Client;
    let mut builder = AmazonS3Builder::new();
    for (name, value) in variables {
        // Variables for other programs are none of ours.
        if let Ok(key) = name.parse() {
            builder = builder.with_config(key, value);
        }
    }
    let builder = builder
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_config(client(ClientConfigKey::Timeout), REQUEST_TIME_MAX)
        .with_config(client(ClientConfigKey::ConnectTimeout), CONNECT_TIME_MAX)
        .with_retry(retry);
    let setting = |key| builder.get_config_value(&key);
    let endpoint =
        setting(AmazonS3ConfigKey::S3Endpoint).or_else(|| setting(AmazonS3ConfigKey::Endpoint));
    let allow_http = setting(client(ClientConfigKey::AllowHttp)).is_some_and(|allowed| {
        ["true", "1", "yes", "on"].contains(&allowed.to_lowercase().as_str())
    });
    if let Some(endpoint) = endpoint.filter(|endpoint| endpoint.starts_with("http://"))
        && !allow_http
    {
        return Err(ArchiveError::PlainHttp { endpoint });
    }
    builder.build().map_err(ArchiveError::settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_names_and_slashes() {
        assert_eq!(parse_prefix(""), Some(String::new()));
        assert_eq!(parse_prefix("a/b"), Some("a/b/".into()));
        assert_eq!(parse_prefix("a/b/"), Some("a/b/".into()));
        for bad in ["/a", "a//b", "../a", "a/./b", "a\u{0}b"] {
            assert_eq!(parse_prefix(bad), None, "{bad:?}");
        }
    }

    fn open_s3(variables: &[(&str, &str)]) -> Result<Archive, ArchiveError> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        open("s3://bucket/prefix", false, variables)
    }

    #[test]
    fn the_environment_is_looked_at_before_the_network() {
        let nobody = open_s3(&[("AWS_ACCESS_KEY_ID", ""), ("PATH", "/bin")]);
        assert!(matches!(nobody, Err(ArchiveError::NoCredentials)), "{nobody:?}");
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "key")];
        assert!(open_s3(&keys).is_ok());
        let plain = [&keys[..], &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")]].concat();
        let refused = open_s3(&plain);
        assert!(matches!(refused, Err(ArchiveError::PlainHttp { .. })), "{refused:?}");
        assert!(open_s3(&[&plain[..], &[("AWS_ALLOW_HTTP", "true")]].concat()).is_ok());
    }

    #[test]
    fn urls_of_other_kinds_are_refused() {
        for url in ["", "s3:/bucket", "s3://", "s3://b", "http://bucket/x", "file://dir", "dir"] {
            assert!(matches!(open(url, false, []), Err(ArchiveError::Url { .. })), "{url}");
        }
        let gone = open("file:///nowhere/at/all", false, []);
        assert!(matches!(gone, Err(ArchiveError::Directory { .. })), "{gone:?}");
    }
}
