//! Times between which a certificate is valid.

use std::{fmt, time::Duration};

use tokio_rustls::rustls::{
    self, CertificateError as RustlsCertificateError, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{
        CertificateDer, UnixTime,
        pem::{self, PemObject as _},
    },
    server::ParsedCertificate,
};

/// Certificates in one file.
const CERTIFICATES_MAX: usize = 1024;

/// Reason for which a certificate can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// There is none.
    #[error("no certificate as PEM in it")]
    Missing,
    /// It is not PEM.
    #[error("not PEM")]
    Pem(#[source] pem::Error),
    /// There are too many.
    #[error("more than {CERTIFICATES_MAX} certificates in it")]
    TooMany,
    /// It is not a certificate.
    #[error("not a certificate of X.509, version 3")]
    Malformed(#[source] rustls::Error),
    /// Its time is over.
    #[error("expired on {0}: renew it")]
    Expired(Moment),
    /// Its time has not come.
    #[error("not valid before {0}: see to the clock, or use another one")]
    NotYetValid(Moment),
}

/// A moment, in seconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|at| jiff::Timestamp::from_second(at).ok()) {
            Some(time) => time.fmt(f),
            None => write!(f, "{} s after 1970", self.0),
        }
    }
}

/// Times between which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Moment,
    /// The last moment.
    pub not_after: Moment,
}

/// All certificates of a file.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates = CertificateDer::pem_slice_iter(pem).take(CERTIFICATES_MAX + 1);
    let certificates =
        certificates.collect::<Result<Vec<_>, _>>().map_err(CertificateError::Pem)?;
    match certificates.len() {
        0 => Err(CertificateError::Missing),
        len if len > CERTIFICATES_MAX => Err(CertificateError::TooMany),
        _ => Ok(certificates),
    }
}

impl Validity {
    /// Validity of each certificate of a file, of which there is one at least.
    ///
    /// # Errors
    ///
    /// If there is none, or one that can't be used.
    pub fn all_of_pem(pem: &[u8]) -> Result<Vec<Self>, CertificateError> {
        certificates(pem)?.iter().map(Self::of).collect()
    }

    /// The library reports the times of a certificate in the error for a wrong time: before
    /// anything else it looks at that.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let parsed =
            ParsedCertificate::try_from(certificate).map_err(CertificateError::Malformed)?;
        let at = |seconds| {
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &RootCertStore::empty(),
                &[],
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                &[],
            )
        };
        let not_before = match at(0) {
            Err(rustls::Error::InvalidCertificate(
                RustlsCertificateError::NotValidYetContext { not_before, .. },
            )) => not_before.as_secs(),
            // It was valid in 1970 already.
            _ => 0,
        };
        match at(u64::MAX) {
            Err(rustls::Error::InvalidCertificate(RustlsCertificateError::ExpiredContext {
                not_after,
                ..
            })) => {
                Ok(Self { not_before: Moment(not_before), not_after: Moment(not_after.as_secs()) })
            }
            Err(error) => Err(CertificateError::Malformed(error)),
            Ok(()) => Err(CertificateError::Missing),
        }
    }

    pub(super) fn check(&self, now: UnixTime) -> Result<(), CertificateError> {
        if now.as_secs() < self.not_before.0 {
            return Err(CertificateError::NotYetValid(self.not_before));
        }
        if now.as_secs() > self.not_after.0 {
            return Err(CertificateError::Expired(self.not_after));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_times_of_a_certificate_are_read_and_held_to() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2024, 2, 29);
        params.not_after = date_time_ymd(2025, 1, 1);
        let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        let [validity] = Validity::all_of_pem(pem.as_bytes()).unwrap()[..] else { panic!("one") };
        assert_eq!(validity.not_before, Moment(1_709_164_800));
        assert_eq!(validity.not_after, Moment(1_735_689_600));
        let at = |seconds| {
            let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            validity.check(now).map_err(|error| error.to_string())
        };
        assert_eq!(at(1_709_164_800), Ok(()));
        assert_eq!(at(1_735_689_600), Ok(()));
        assert!(at(1_709_164_799).unwrap_err().contains("not valid before 2024-02-29T00:00:00Z"));
        assert!(at(1_735_689_601).unwrap_err().contains("expired on 2025-01-01T00:00:00Z"));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for bad in
            ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            Validity::all_of_pem(bad.as_bytes()).unwrap_err();
        }
    }
}
