//! The secret, from the file that holds it.

use std::path::Path;

use stemedb::Secret;

use super::{failure::Failure, peer};

/// Reads a secret: the file's bytes without one trailing LF or CRLF.
pub(super) fn read(path: &Path) -> Result<Secret, Failure> {
    Secret::new(&read_bytes(path)?)
        .map_err(|source| Failure::SecretTooShort { path: path.to_path_buf(), source })
}

/// The bytes of a secret.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = peer::read(path, "read the secret")?;
    Ok(without_line_end(&bytes).to_vec())
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let Some(line) = bytes.strip_suffix(b"\n") else { return bytes };
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_goes_and_no_more() {
        for (file, secret) in [
            (&b"s"[..], &b"s"[..]),
            (b"s\n", b"s"),
            (b"s\r\n", b"s"),
            (b"s\n\n", b"s\n"),
            (b"s\r", b"s\r"),
            (b"s\r\r\n", b"s\r"),
            (b"\n", b""),
            (b"", b""),
        ] {
            assert_eq!(without_line_end(file), secret, "{file:?}");
        }
    }
}
