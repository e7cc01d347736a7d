//! Whether and how connections are encrypted: libpq's options, by its names and with its meanings
//! (<https://www.postgresql.org/docs/18/libpq-ssl.html>).
//!
//! | file | idea |
//! |---|---|
//! | `rustls.rs` | the options as rustls has them; files are read for each connection, so that they may rotate |
//! | `key.rs` | private keys, encrypted ones too |
//! | `without.rs` | builds that have no TLS |

#[cfg_attr(feature = "tls", path = "tls/rustls.rs")]
#[cfg_attr(not(feature = "tls"), path = "tls/without.rs")]
mod library;

use std::fmt;

use eventferry_core::StoreFaultKind::{self, Misconfigured, Unavailable};
use tokio_postgres::config::SslMode;

use crate::options;

pub(crate) use library::{Connector, secure};

/// The stream of a connection of the driver's.
pub(crate) type Stream = <Connector as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream;

/// The value of `sslrootcert` that names the authorities the system trusts.
const SYSTEM: &str = "system";

/// How much is wanted: libpq's `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Disable,
    Allow,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: &[(&str, Mode)] = &[
    ("disable", Mode::Disable),
    ("allow", Mode::Allow),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

/// What of the server's certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verify {
    Nothing,
    /// Who has signed it.
    Chain,
    /// That, and that it names the host.
    ChainAndName,
}

/// The options of a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    mode: Mode,
    /// The file of the authorities that may sign the server's certificate, or `system`.
    root: Option<String>,
    identity: Option<Identity>,
}

/// Our own certificate and its key.
#[derive(Clone, PartialEq, Eq)]
struct Identity {
    /// Their files.
    certificate: String,
    key: String,
    /// What opens the key, where it is encrypted.
    password: Option<String>,
}

/// Without the password.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Takes the options out of a URL, whose rest is the driver's.
    ///
    /// # Errors
    /// What is wrong, and what to do; nothing of the URL is repeated but what of these options is wrong.
    pub(crate) fn take(url: &str) -> Result<(String, Self), String> {
        let (rest, [mode, root, certificate, key, password]) =
            options::take(url, ["sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword"])?;
        let mode = match mode {
            None if root.as_deref() == Some(SYSTEM) => Mode::VerifyFull,
            None => Mode::default(),
            Some(named) => {
                let known = MODES.iter().find(|(name, _)| *name == named);
                known.ok_or("sslmode: give disable, allow, prefer, require, verify-ca or verify-full")?.1
            }
        };
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                let password = password.filter(|password| !password.is_empty());
                Some(Identity { certificate, key, password })
            }
            _ => return Err("sslcert and sslkey go together: give the files of both".into()),
        };
        // Whom the system trusts can have a certificate for any name but the server's.
        if root.as_deref() == Some(SYSTEM) && mode != Mode::VerifyFull {
            return Err("sslrootcert=system needs sslmode=verify-full: anybody can have a certificate that the system \
                        trusts, for another host"
                .into());
        }
        if mode == Mode::VerifyCa && root.is_none() {
            return Err("sslmode=verify-ca needs sslrootcert: the file of the authorities to trust".into());
        }
        if mode >= Mode::Require && !library::HAS_TLS {
            return Err("sslmode wants TLS, which this build has not: build with the feature `tls`, or use \
                        sslmode=prefer on a network you trust"
                .into());
        }
        Ok((rest, Self { mode, root, identity }))
    }

    /// On a socket of this machine there is nobody in between: as libpq has it, `sslmode` says nothing there.
    pub(crate) fn never(self) -> Self {
        Self { mode: Mode::Disable, ..self }
    }

    /// Whether somebody in between would be noticed.
    pub(crate) fn is_verified(&self) -> bool {
        self.verify() != Verify::Nothing
    }

    /// The way to try, and the other one if the server's rules do not let us in by it, or hands could not be shaken.
    pub(crate) fn attempts(&self) -> (SslMode, Option<SslMode>) {
        match self.mode {
            Mode::Allow if library::HAS_TLS => (SslMode::Disable, Some(SslMode::Require)),
            Mode::Prefer if library::HAS_TLS => (SslMode::Prefer, Some(SslMode::Disable)),
            Mode::Disable | Mode::Allow | Mode::Prefer => (SslMode::Disable, None),
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => (SslMode::Require, None),
        }
    }

    fn verify(&self) -> Verify {
        match self.mode {
            Mode::VerifyFull => Verify::ChainAndName,
            Mode::VerifyCa => Verify::Chain,
            // As libpq has it: who names authorities wants them asked.
            Mode::Require if self.root.is_some() => Verify::Chain,
            _ => Verify::Nothing,
        }
    }
}

const STRANGER: &str =
    "sslrootcert: no authority in it has signed the server's certificate; give the file of the one that has";

/// What failed when a connection was to be made safe, by words of the error, and what to do about it.
const REMEDIES: &[(&str, StoreFaultKind, &str)] = &[
    (
        "server does not support TLS",
        Misconfigured,
        "sslmode wants TLS and the server has none: turn `ssl` on there, or use sslmode=prefer on a network you trust",
    ),
    (
        "certificate not valid for name",
        Misconfigured,
        "sslmode=verify-full: the server's certificate is another host's; give the store's URL a name that is in it, \
         or use sslmode=verify-ca",
    ),
    (
        "certificate expired",
        Unavailable,
        "the server's certificate is no longer valid: renew it there (ssl_cert_file), and look at both clocks",
    ),
    (
        "certificate not valid yet",
        Unavailable,
        "the server's certificate is not valid yet: look at both clocks",
    ),
    ("UnknownIssuer", Misconfigured, STRANGER),
    // One of the same name has not signed.
    ("BadSignature", Misconfigured, STRANGER),
    (
        "CaUsedAsEndEntity",
        Misconfigured,
        "the server's certificate is an authority's own: sign one for the server with it, and name the authority's in \
         sslrootcert",
    ),
    (
        "invalid peer certificate",
        Misconfigured,
        "the server's certificate does not do: make it one of version 3 that names its hosts (subjectAltName)",
    ),
    ("alert: UnknownCA", Misconfigured, REFUSED),
    ("alert: BadCertificate", Misconfigured, REFUSED),
    ("alert: Certificate", Misconfigured, REFUSED),
    ("alert: UnsupportedCertificate", Misconfigured, REFUSED),
    ("alert: DecryptError", Misconfigured, REFUSED),
    (
        "received fatal alert",
        Misconfigured,
        "the server and we have no version, cipher or signature of TLS in common: see its log, and its key",
    ),
];

const REFUSED: &str =
    "sslcert, sslkey: the server refuses our certificate; see ssl_ca_file there, and its log";

/// Whether this error of the driver's is that hands could not be shaken.
pub(crate) fn is_handshake(error: &tokio_postgres::Error) -> bool {
    error.to_string().starts_with("error performing TLS handshake")
}

/// What to do about an error, if it is one of TLS.
pub(crate) fn remedy(said: &str) -> Option<(StoreFaultKind, &'static str)> {
    let found = REMEDIES.iter().find(|(words, ..)| said.contains(words));
    found.map(|(_, kind, remedy)| (*kind, *remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_mean_what_they_mean_to_libpq() {
        for (options, verify, first) in [
            ("", Verify::Nothing, SslMode::Prefer),
            ("sslmode=disable", Verify::Nothing, SslMode::Disable),
            ("sslmode=allow", Verify::Nothing, SslMode::Disable),
            ("sslmode=require", Verify::Nothing, SslMode::Require),
            ("sslmode=require&sslrootcert=ca", Verify::Chain, SslMode::Require),
            ("sslmode=prefer&sslrootcert=ca", Verify::Nothing, SslMode::Prefer),
            ("sslmode=verify-ca&sslrootcert=ca", Verify::Chain, SslMode::Require),
            ("sslmode=verify-full", Verify::ChainAndName, SslMode::Require),
            ("sslrootcert=system", Verify::ChainAndName, SslMode::Require),
        ] {
            let (_, tls) = Tls::take(&format!("postgres://h/d?{options}")).unwrap();
            assert_eq!((tls.verify(), tls.attempts().0), (verify, first), "{options}");
        }
    }

    #[test]
    fn options_that_disagree_are_refused_by_name() {
        for (options, words) in [
            ("sslmode=on", "verify-full"),
            ("sslcert=a", "sslcert and sslkey"),
            ("sslkey=a", "sslcert and sslkey"),
            ("sslmode=require&sslrootcert=system", "sslrootcert=system needs sslmode=verify-full"),
            ("sslmode=verify-ca", "sslmode=verify-ca needs sslrootcert"),
        ] {
            let why = Tls::take(&format!("postgres://h/d?{options}")).unwrap_err();
            assert!(why.contains(words), "{options}: {why}");
        }
    }
}
