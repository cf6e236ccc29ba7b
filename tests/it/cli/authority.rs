//! An authority for certificates, and those that it gives out, in the files of a place.

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

use super::binary::Place;

/// An authority, whose certificate is in a file of its name.
pub(super) struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// Makes an authority, and `NAME.pem`.
    pub(super) fn new(place: &Place, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        place.write(&format!("{name}.pem"), params.self_signed(&key).unwrap().pem());
        Self(Issuer::new(params, key))
    }

    /// Makes `FILE.pem` and `FILE.key` for 127.0.0.1.
    pub(super) fn issue(&self, place: &Place, file: &str) {
        self.issue_for(place, file, 1975, 4096);
    }

    /// The same, valid from the beginning of a year until that of another.
    pub(super) fn issue_for(&self, place: &Place, file: &str, from: i32, until: i32) {
        let years = [from, until].map(|year| date_time_ymd(year, 1, 1));
        self.sign(place, file, |params| [params.not_before, params.not_after] = years);
    }

    /// The same, valid for some days from now.
    pub(super) fn issue_for_days(&self, place: &Place, file: &str, days: u64) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let end = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(days * 24 * 60 * 60);
        self.sign(place, file, |params| params.not_after = end);
    }

    fn sign(&self, place: &Place, file: &str, set_times: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        set_times(&mut params);
        place.write(&format!("{file}.pem"), params.signed_by(&key, &self.0).unwrap().pem());
        place.write(&format!("{file}.key"), key.serialize_pem());
    }
}
