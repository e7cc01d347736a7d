//! Tokens of a token endpoint by client credentials (RFC 6749, section 4.4), under librdkafka's names.
//!
//! librdkafka would ask by libcurl, which its ordinary build does not find (the binding's `curl-static` builds libcurl,
//! and librdkafka's configure looks for the system's headers): `ureq`, a small blocking client, asks instead.

use std::collections::BTreeMap;

use eventferry_core::PublishFault;

use super::text::Text;
use super::{METHOD, OauthToken, required, wrong};

pub(super) const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
pub(super) const CLIENT_ID: &str = "sasl.oauthbearer.client.id";
pub(super) const CLIENT_SECRET: &str = "sasl.oauthbearer.client.secret";
pub(super) const CLIENT_SECRET_FILE: &str = "sasl.oauthbearer.client.secret.file";
pub(super) const CLIENT_SECRET_COMMAND: &str = "sasl.oauthbearer.client.secret.command";
pub(super) const SCOPE: &str = "sasl.oauthbearer.scope";
pub(super) const CA_FILE: &str = "https.ca.location";
pub(super) const CA_PEM: &str = "https.ca.pem";

/// An endpoint, and who we are there.
#[cfg_attr(not(feature = "oidc"), expect(dead_code, reason = "never asked without the feature"))]
pub(crate) struct Oidc {
    endpoint: String,
    client_id: String,
    secret: Text,
    scope: Option<String>,
    /// Who may have signed the endpoint's certificate; `None`: whom the system trusts.
    authorities: Option<Text>,
}

impl Oidc {
    /// Reads the settings.
    ///
    /// # Errors
    /// `Misconfigured`: one is missing or cannot be; it is named.
    pub(super) fn of(properties: &BTreeMap<String, String>) -> Result<Self, PublishFault> {
        if cfg!(not(feature = "oidc")) {
            return Err(wrong(format!("{METHOD}=oidc needs a build with the feature `oidc`")));
        }
        let endpoint = required(properties, ENDPOINT, &format!("{METHOD}=oidc"))?;
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(wrong(format!("{ENDPOINT} is no URL: give https://host/path")));
        }
        let secret = Text::of(properties, [CLIENT_SECRET, CLIENT_SECRET_FILE, CLIENT_SECRET_COMMAND])?;
        Ok(Self {
            endpoint: endpoint.to_owned(),
            client_id: required(properties, CLIENT_ID, &format!("{METHOD}=oidc"))?.to_owned(),
            secret: secret.ok_or_else(|| wrong(format!("{METHOD}=oidc needs {CLIENT_SECRET} beside it")))?,
            scope: properties.get(SCOPE).filter(|scope| !scope.is_empty()).cloned(),
            authorities: Text::of(properties, [CA_PEM, CA_FILE, ""])?,
        })
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// What went wrong, with the setting to look at.
    #[cfg(not(feature = "oidc"))]
    pub(super) async fn ask(&self) -> Result<OauthToken, String> {
        Err(format!("{METHOD}=oidc needs a build with the feature `oidc`"))
    }
}

#[cfg(feature = "oidc")]
mod asking {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::Deserialize;
    use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

    use super::{CA_FILE, CLIENT_ID, CLIENT_SECRET, ENDPOINT, OauthToken, Oidc, SCOPE};

    /// How long an answer may take.
    const ANSWER_MAX: Duration = Duration::from_secs(20);

    /// The largest answer that is read, in bytes.
    const ANSWER_BYTES_MAX: u64 = 1 << 20;

    /// Everything a request takes.
    struct Request {
        endpoint: String,
        authorization: String,
        scope: Option<String>,
        authorities: Option<String>,
    }

    /// A refusal, RFC 6749, section 5.2.
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Refusal {
        error: String,
    }

    impl Oidc {
        /// Asks for a token.
        ///
        /// # Errors
        /// What went wrong, with the setting to look at.
        pub(in crate::credentials) async fn ask(&self) -> Result<OauthToken, String> {
            let secret = self.secret.read().await?;
            let authorities = match &self.authorities {
                Some(authorities) => Some(authorities.read().await?),
                None => None,
            };
            // Both are form-encoded before they are joined, section 2.3.1.
            let login = STANDARD.encode(format!("{}:{}", encoded(&self.client_id), encoded(&secret)));
            let request = Request {
                endpoint: self.endpoint.clone(),
                authorization: format!("Basic {login}"),
                scope: self.scope.clone(),
                authorities,
            };
            let asked = tokio::task::spawn_blocking(move || request.send());
            let (status, body) = asked.await.map_err(|_| "the runtime is shutting down".to_owned())??;
            if !(200..300).contains(&status) {
                return Err(refused(status, &body));
            }
            let token = OauthToken::read(&body, SystemTime::now());
            token.map_err(|why| format!("{ENDPOINT}: in the endpoint's answer {why}"))
        }
    }

    impl Request {
        /// Sends it; blocks. Gives the answer's status and body.
        fn send(&self) -> Result<(u16, String), String> {
            let config = ureq::Agent::config_builder()
                .timeout_global(Some(ANSWER_MAX))
                .http_status_as_error(false)
                // Whoever redirects it would get the secret.
                .max_redirects(0)
                .max_redirects_will_error(false)
                .tls_config(self.tls()?)
                .build();
            let agent = ureq::Agent::new_with_config(config);
            let mut form = vec![("grant_type", "client_credentials")];
            form.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
            let sent = agent
                .post(&self.endpoint)
                .header("Authorization", &self.authorization)
                .header("Accept", "application/json")
                .send_form(form);
            let mut answer =
                sent.map_err(|error| format!("{ENDPOINT}: the endpoint cannot be asked: {}", said(&error)))?;
            let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
            let body = body.map_err(|_| format!("{ENDPOINT}: the endpoint's answer cannot be read"))?;
            Ok((answer.status().as_u16(), body))
        }

        fn tls(&self) -> Result<TlsConfig, String> {
            let roots: Vec<Certificate<'static>> = match &self.authorities {
                Some(pem) => {
                    let items: Result<Vec<_>, _> = parse_pem(pem.as_bytes()).collect();
                    let items = items.map_err(|_| format!("{CA_FILE} or https.ca.pem: this is no PEM"))?;
                    let certificate =
                        |item| if let PemItem::Certificate(found) = item { Some(found) } else { None };
                    items.into_iter().filter_map(certificate).collect()
                }
                None if self.endpoint.starts_with("https:") => {
                    let found = rustls_native_certs::load_native_certs().certs;
                    found
                        .iter()
                        .map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned())
                        .collect()
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
    }

    /// A text in a form.
    fn encoded(text: &str) -> String {
        let byte = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        };
        text.bytes().map(byte).collect()
    }

    /// What a refusal means. Of the body only the standard's words are told.
    fn refused(status: u16, body: &str) -> String {
        let Refusal { error } = serde_json::from_str(body).unwrap_or_default();
        let (word, remedy) = match error.as_str() {
            "invalid_client" => ("invalid_client", format!("check {CLIENT_ID} and {CLIENT_SECRET}")),
            "unauthorized_client" => {
                ("unauthorized_client", format!("let the client of {CLIENT_ID} use client credentials"))
            }
            "invalid_scope" => ("invalid_scope", format!("check {SCOPE}")),
            "unsupported_grant_type" => (
                "unsupported_grant_type",
                "it grants nothing for client credentials: use a token command".into(),
            ),
            "invalid_request" => {
                ("invalid_request", format!("check {SCOPE} and whether this is a token endpoint"))
            }
            _ if [401, 403].contains(&status) => {
                ("no reason", format!("check {CLIENT_ID} and {CLIENT_SECRET}"))
            }
            _ => ("no reason", "check whether this is a token endpoint, and whether it is well".into()),
        };
        format!("{ENDPOINT}: the endpoint answers {status} ({word}): {remedy}")
    }

    /// An error of the client's; those with bodies or headers in them are not repeated.
    fn said(error: &ureq::Error) -> String {
        match error {
            ureq::Error::Rustls(error) => format!("{error}: see {CA_FILE}"),
            // TLS fails within the reading of a socket.
            ureq::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                format!("{error}: see {CA_FILE}")
            }
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::HostNotFound => "its name does not resolve".into(),
            ureq::Error::Timeout(_) => format!("no answer within {ANSWER_MAX:?}"),
            ureq::Error::ConnectionFailed => "no connection".into(),
            _ => "no HTTP came about".into(),
        }
    }
}
