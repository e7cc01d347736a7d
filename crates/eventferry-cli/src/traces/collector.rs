//! Requests to the collector, and what is said of its outages.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::variables::Variables;
use crate::ending::Trouble;

/// The largest answer that is read, in bytes. Nothing in it is acted on.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// An outage is told of no more often than this.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The exporter's client: it blocks, on the thread that does nothing but export.
#[derive(Debug)]
pub(crate) struct Collector {
    agent: ureq::Agent,
    shown: String,
    timeout: Duration,
    outage: Mutex<Outage>,
}

/// Whether the collector takes spans, and what was said of it.
#[derive(Debug, Default)]
struct Outage {
    is_told: bool,
    told_at: Option<Instant>,
}

impl Collector {
    /// A client for what the variables say; connects to nothing.
    ///
    /// # Errors
    /// The file of certificates cannot be used.
    pub(crate) fn new(variables: &Variables) -> Result<Self, Trouble> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(variables.timeout()))
            .http_status_as_error(false)
            // Whoever redirects it would get the headers, which may hold a key.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("eventferry/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls(variables)?)
            .build();
        Ok(Self {
            agent: ureq::Agent::new_with_config(config),
            shown: variables.shown().to_owned(),
            timeout: variables.timeout(),
            outage: Mutex::default(),
        })
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let answered = self.agent.run(Request::from_parts(parts, &body[..]));
        let mut answer = answered.map_err(|error| {
            let why = self.said(&error);
            self.failed(&why);
            HttpError::from(why)
        })?;
        if answer.status().is_success() {
            self.works();
        } else {
            // Its body is the collector's own words, and may repeat what it was sent.
            self.failed(&format!("it answers {}", answer.status().as_u16()));
        }
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = answer.status();
        Ok(response)
    }

    fn failed(&self, why: &str) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = outage.told_at.is_none_or(|told| told.elapsed() >= TOLD_EVERY);
        if !outage.is_told && is_due {
            *outage = Outage { is_told: true, told_at: Some(Instant::now()) };
            tracing::warn!(
                "the collector at {} takes no spans: {why}; they are dropped while that lasts, \
                 events are carried as before",
                self.shown
            );
        }
    }

    fn works(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut outage.is_told) {
            tracing::info!("the collector at {} takes spans again", self.shown);
        }
    }

    /// What went wrong, without what was asked.
    fn said(&self, error: &ureq::Error) -> String {
        match error {
            ureq::Error::Rustls(error) => error.to_string(),
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::HostNotFound => "its name does not resolve".into(),
            ureq::Error::Timeout(_) => format!("no answer within {:?}", self.timeout),
            ureq::Error::ConnectionFailed => "no connection".into(),
            _ => "no HTTP came about".into(),
        }
    }
}

impl HttpClient for Collector {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move { self.send(request) })
    }
}

fn tls(variables: &Variables) -> Result<TlsConfig, Trouble> {
    let roots: Vec<Certificate<'static>> = match variables.certificate() {
        Some((name, path)) => {
            let cannot =
                |what: &str| Trouble::usage(format!("{name}: the file {what}; give one of PEM certificates"));
            let pem = std::fs::read(path).map_err(|error| cannot(&format!("cannot be read: {error}")))?;
            let certificate = |item| match item {
                Ok(PemItem::Certificate(found)) => Some(found),
                _ => None,
            };
            let found: Vec<_> = parse_pem(&pem).filter_map(certificate).collect();
            if found.is_empty() {
                return Err(cannot("holds no certificate"));
            }
            found
        }
        None if variables.endpoint().starts_with("https:") => {
            let found = rustls_native_certs::load_native_certs().certs;
            found.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect()
        }
        None => Vec::new(),
    };
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        // Another crate may have brought a second one along.
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}
