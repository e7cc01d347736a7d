//! One request to one server, over a small blocking client.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Deserialize;
use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::config::Place;

/// The largest answer that is read, in bytes: schemas are texts that people write.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// How long a connection may take to come about, at most.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// What registries of the Confluent kind speak.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// What is asked, of whichever server.
#[derive(Debug)]
pub(super) struct Request {
    /// Behind the base URL, with its slash.
    pub(super) path: String,
    /// What is posted; none: it is a `GET`.
    pub(super) body: Option<String>,
}

impl Request {
    pub(super) fn get(path: String) -> Self {
        Self { path, body: None }
    }

    pub(super) fn post(path: String, body: String) -> Self {
        Self { path, body: Some(body) }
    }

    /// What was asked, for people.
    pub(super) fn said(&self) -> String {
        let method = if self.body.is_some() { "POST" } else { "GET" };
        format!("{method} {}", self.path)
    }
}

/// What lets us in, read.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) authorization: Option<String>,
    pub(super) authorities: Option<String>,
    pub(super) identity: Option<(String, String)>,
}

/// An answer, good or not.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// The host to which it redirects.
    pub(super) elsewhere: Option<String>,
    pub(super) body: String,
}

/// What a registry says of its troubles.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Complaint {
    pub(super) error_code: u32,
    pub(super) message: String,
}

impl Answer {
    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it is no registry's: a proxy's page, a redirect, a path where nothing is.
    pub(super) fn is_foreign(&self) -> bool {
        match self.status {
            200..300 => serde_json::from_str::<serde::de::IgnoredAny>(&self.body).is_err(),
            300..400 => true,
            404 => self.complaint().error_code < 40_000,
            _ => false,
        }
    }

    pub(super) fn complaint(&self) -> Complaint {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Sends it; blocks.
///
/// # Errors
/// No answer came about; why, in words.
pub(super) fn send(
    place: &Place,
    request: &Request,
    access: &Access,
    timeout: Duration,
) -> Result<Answer, String> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .timeout_connect(Some(timeout.min(CONNECT_MAX)))
        .http_status_as_error(false)
        // Whoever redirects would get the credentials.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .tls_config(tls(place, access)?)
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let url = format!("{}{}", place.base, request.path);
    let sent = match &request.body {
        None => {
            let mut call = agent.get(&url).header("Accept", MEDIA_TYPE);
            if let Some(authorization) = &access.authorization {
                call = call.header("Authorization", authorization);
            }
            call.call()
        }
        Some(body) => {
            let mut call = agent.post(&url).header("Accept", MEDIA_TYPE).header("Content-Type", MEDIA_TYPE);
            if let Some(authorization) = &access.authorization {
                call = call.header("Authorization", authorization);
            }
            call.send(body)
        }
    };
    let mut answer = sent.map_err(|error| said(&error, timeout))?;
    let header = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
    let retry_after =
        header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let elsewhere = header("location").and_then(|url| {
        let place = url.split_once("://")?.1;
        let host = place.split(['/', '?', '#']).next()?.rsplit('@').next()?;
        Some(host.to_owned())
    });
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    let body = body.map_err(|error| format!("its answer cannot be read: {}", said(&error, timeout)))?;
    Ok(Answer { status, retry_after, elsewhere, body })
}

fn tls(place: &Place, access: &Access) -> Result<TlsConfig, String> {
    let roots = match &access.authorities {
        Some(pem) => {
            let roots = certificates(pem).ok_or("the authorities' certificates are no PEM")?;
            if roots.is_empty() {
                return Err("there is no certificate among the authorities'".into());
            }
            Arc::new(roots)
        }
        None if place.base.starts_with("https:") => trusted_by_the_system(),
        None => Arc::default(),
    };
    let identity = match &access.identity {
        Some((certificate, key)) => {
            let chain = certificates(certificate).filter(|chain| !chain.is_empty());
            let chain = chain.ok_or("there is no certificate in PEM in our own certificate's file")?;
            let key = private_key(key).ok_or("there is no unencrypted key in PEM in our own key's file")?;
            Some(ClientCert::new_with_certs(&chain, key))
        }
        None => None,
    };
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(roots))
        .client_cert(identity)
        // Another crate may have brought a second one along.
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// Whom the system trusts; read once, for it takes its time.
fn trusted_by_the_system() -> Arc<Vec<Certificate<'static>>> {
    static TRUSTED: OnceLock<Arc<Vec<Certificate<'static>>>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs().certs;
        Arc::new(
            found.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect(),
        )
    };
    Arc::clone(TRUSTED.get_or_init(read))
}

fn certificates(pem: &str) -> Option<Vec<Certificate<'static>>> {
    let items: Result<Vec<_>, _> = parse_pem(pem.as_bytes()).collect();
    let certificate = |item| if let PemItem::Certificate(found) = item { Some(found) } else { None };
    Some(items.ok()?.into_iter().filter_map(certificate).collect())
}

fn private_key(pem: &str) -> Option<ureq::tls::PrivateKey<'static>> {
    let mut items = parse_pem(pem.as_bytes()).filter_map(Result::ok);
    items.find_map(|item| if let PemItem::PrivateKey(found) = item { Some(found) } else { None })
}

/// An error of the client's; those with bodies or headers in them are not repeated.
fn said(error: &ureq::Error, timeout: Duration) -> String {
    const SEE: &str = "see the registry's authorities and our own certificate";
    match error {
        ureq::Error::Rustls(error) => format!("TLS fails: {error}; {SEE}"),
        // TLS fails within the reading of a socket.
        ureq::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            format!("TLS fails: {error}; {SEE}")
        }
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "its name does not resolve".into(),
        ureq::Error::Timeout(_) => format!("no answer within {timeout:?}"),
        ureq::Error::ConnectionFailed => "no connection".into(),
        ureq::Error::BodyExceedsLimit(_) => format!("it is larger than {ANSWER_BYTES_MAX} bytes"),
        _ => "no HTTP came about".into(),
    }
}
