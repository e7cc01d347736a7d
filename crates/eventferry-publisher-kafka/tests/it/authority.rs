//! Authorities and certificates of the tests' own.

use std::time::SystemTime;

use pkcs8::der::Decode as _;
use pkcs8::{LineEnding, PrivateKeyInfoRef};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// An authority, and the files of those it has signed for.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// The file of its own certificate.
    pub(crate) fn file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// A certificate for this name, valid until the first of January of a year: its key's file, and its own, which has
    /// the key, too.
    pub(crate) fn sign(&self, name: &str, year: i32) -> [String; 2] {
        let since_1970 = (date_time_ymd(year, 1, 1) - date_time_ymd(1970, 1, 1)).unsigned_abs();
        self.sign_until(name, SystemTime::UNIX_EPOCH + since_1970)
    }

    /// The same, valid until then.
    pub(crate) fn sign_until(&self, name: &str, end: SystemTime) -> [String; 2] {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), end.into());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let file = |kind: &str| self.folder.path().join(format!("{name}-{end}.{kind}"));
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        std::fs::write(file("pem"), format!("{}{certificate}", key.serialize_pem())).unwrap();
        ["key", "pem"].map(|kind| file(kind).display().to_string())
    }
}

/// The file of a key, encrypted with this password into another file, as `openssl pkcs8 -topk8` does it.
pub(crate) fn locked(key: &str, password: &str) -> String {
    let pair = KeyPair::from_pem(&std::fs::read_to_string(key).unwrap()).unwrap();
    let der = pair.serialize_der();
    // Salt and vector may be anything in a test, and few rounds make it quick.
    let how =
        pkcs8::pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(2048, &[7; 8], [9; 16]).unwrap();
    let locked = PrivateKeyInfoRef::from_der(&der).unwrap().encrypt_with_params(how, password).unwrap();
    let file = format!("{key}.locked");
    std::fs::write(&file, locked.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).unwrap().as_bytes())
        .unwrap();
    file
}
