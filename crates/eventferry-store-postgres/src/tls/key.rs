//! Private keys from files: as they are, or encrypted as PKCS #8 has it (RFC 5958), by PBES2 (RFC 8018).

use pkcs8::{Document, EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// How OpenSSL encrypted keys before PKCS #8, with a digest that nobody should use for it.
const OLD: &str = "Proc-Type: 4,ENCRYPTED";

const UNKNOWN: &str =
    "sslkey: it is encrypted in a way that is not known here: write it anew by `openssl pkcs8 -topk8`";

/// The private key of a file. A password for one that is not encrypted is passed over, as libpq does.
///
/// # Errors
/// What is wrong, after the option's name.
pub(super) fn read(file: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    const PLAIN: &str = "give a file with one private key in PEM";
    let bytes = std::fs::read(file).map_err(|error| format!("sslkey: {error}; {PLAIN}"))?;
    // What is not UTF-8 is a remark.
    let text = String::from_utf8_lossy(&bytes);
    let Some(block) = encrypted(&text) else {
        if text.contains(OLD) {
            return Err(UNKNOWN.into());
        }
        return PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| format!("sslkey: {error}; {PLAIN}"));
    };
    let password = password.ok_or("sslpassword: the key in sslkey is encrypted; give its password")?;
    let (_, locked) = Document::from_pem(block).map_err(|_| "sslkey: the encrypted key in it is damaged")?;
    let locked = EncryptedPrivateKeyInfoRef::try_from(locked.as_bytes()).map_err(|_| UNKNOWN)?;
    locked.encryption_algorithm.pbes2().ok_or(UNKNOWN)?;
    let key: SecretDocument =
        locked.decrypt(password).map_err(|_| "sslpassword: it does not open the key in sslkey")?;
    Ok(PrivateKeyDer::Pkcs8(key.as_bytes().to_vec().into()))
}

/// The encrypted key of a file, with what begins and ends it.
fn encrypted(text: &str) -> Option<&str> {
    let block = &text[text.find(BEGIN)?..];
    let end = block.find(END)? + END.len();
    Some(&block[..end])
}
