//! TLS by rustls.

mod key;

use std::io;
use std::sync::Arc;

use eventferry_core::{StoreFault, StoreFaultKind};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect as _};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Identity, SYSTEM, Tls, Verify};
use crate::tail::Socket;

pub(super) const HAS_TLS: bool = true;

/// How the driver makes its connections safe; and we ours.
pub(crate) type Connector = MakeRustlsConnect;

impl Tls {
    /// Of these options and what is in their files now, for one connection.
    ///
    /// # Errors
    /// `Misconfigured`: a file cannot be read, or holds something else. The message names the option.
    pub(crate) fn connector(&self) -> Result<Connector, StoreFault> {
        // Other crates may bring rustls another one, so it is named.
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key, password }) => {
                let chain = certificates("sslcert", certificate)?;
                let key = key::read(key, password.as_deref()).map_err(wrong)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    wrong(format!("sslcert, sslkey: {error}; is the key the certificate's?"))
                })?
            }
        };
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(MakeRustlsConnect::new(config))
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, StoreFault> {
        let verify = self.verify();
        if verify == Verify::Nothing {
            return Ok(Arc::new(Lenient { chain: None, provider: Arc::clone(provider) }));
        }
        let mut roots = RootCertStore::empty();
        match self.root.as_deref().unwrap_or(SYSTEM) {
            SYSTEM => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(wrong(
                        "sslrootcert: this system trusts no authority; give a file of those to trust",
                    ));
                }
            }
            file => {
                for certificate in certificates("sslrootcert", file)? {
                    roots.add(certificate).map_err(|error| wrong(format!("sslrootcert: {error}")))?;
                }
            }
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| wrong(format!("sslrootcert: {error}")))?;
        if verify == Verify::ChainAndName {
            return Ok(chain);
        }
        Ok(Arc::new(Lenient { chain: Some(chain), provider: Arc::clone(provider) }))
    }
}

fn certificates(option: &str, file: &str) -> Result<Vec<CertificateDer<'static>>, StoreFault> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found =
        read.map_err(|error| wrong(format!("{option}: {error}; give a file of certificates in PEM")))?;
    if found.is_empty() {
        return Err(wrong(format!("{option}: the file holds no certificate in PEM")));
    }
    Ok(found)
}

fn wrong(message: impl Into<String>) -> StoreFault {
    StoreFault::new(StoreFaultKind::Misconfigured, message)
}

/// What asks for less than rustls does by itself: who has signed, or nothing. Signatures of the handshake hold in any
/// case.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // The name is looked at last, when all else holds.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// `SSLRequest`: its length, and its number (<https://www.postgresql.org/docs/18/protocol-message-formats.html>).
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Makes a connection of our own safe, as it is wanted: asks the server, and shakes hands if it has TLS.
pub(crate) async fn secure(
    mut socket: Socket,
    host: &str,
    mode: SslMode,
    connector: &Connector,
) -> io::Result<Socket> {
    if mode == SslMode::Disable {
        return Ok(socket);
    }
    socket.write_all(&REQUEST).await?;
    socket.flush().await?;
    // One byte and no more: what came with it unencrypted, an attacker may have put there.
    let has_tls = socket.read_u8().await? == b'S';
    if has_tls {
        let Ok(handshake) = MakeTlsConnect::<Socket>::make_tls_connect(&mut connector.clone(), host);
        return Ok(Box::pin(handshake.connect(socket).await?));
    }
    if mode == SslMode::Prefer { Ok(socket) } else { Err(io::Error::other("server does not support TLS")) }
}
