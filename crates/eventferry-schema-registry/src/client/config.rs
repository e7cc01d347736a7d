//! Where registries are, and what lets us in.

use std::fmt;
use std::time::Duration;

use eventferry_core::{PublishFault, PublishFaultKind};

use super::secret::Secret;

/// How long an answer may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a schema registry is, and what lets us in.
///
/// ```
/// use eventferry_schema_registry::{RegistryConfig, Secret};
///
/// let config = RegistryConfig::new(["https://one.example:8081", "https://two.example:8081"])?
///     .basic("ferry", Secret::file("/run/secrets/registry"))?;
/// # Ok::<(), eventferry_core::PublishFault>(())
/// ```
#[derive(Debug)]
pub struct RegistryConfig {
    pub(super) places: Vec<Place>,
    pub(super) login: Login,
    pub(super) authorities: Option<Secret>,
    /// A certificate, with those that signed it, and its key.
    pub(super) identity: Option<(Secret, Secret)>,
    pub(super) timeout: Duration,
}

/// One server of the registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its URL without user, password and last slash.
    pub(super) base: String,
    /// Its host and port.
    pub(super) host: String,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// Who asks.
#[derive(Debug)]
pub(super) enum Login {
    Nobody,
    Basic(String, Secret),
    Bearer(Secret),
}

impl RegistryConfig {
    /// A registry at these URLs, each of one of its servers: they are tried in turn, beginning with the one that
    /// answered last. A URL is `http://` or `https://`, a host, perhaps a port and a path below which the API is
    /// (Apicurio's is `/apis/ccompat/v7`). User and password may stand before the host, percent-encoded, the same in
    /// all URLs.
    ///
    /// Defaults: an answer may take 10 s; those whom the system trusts may have signed a server's certificate. A
    /// redirect is never followed: whoever redirects would get the credentials.
    ///
    /// # Errors
    /// `Misconfigured`: there is no URL, or one cannot be; the message never repeats it, for it may hold a password.
    pub fn new(urls: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, PublishFault> {
        let (mut places, mut users) = (Vec::new(), Vec::new());
        for (url, number) in urls.into_iter().zip(1..) {
            let (place, user) = parsed(url.as_ref()).map_err(|why| wrong(format!("URL {number} {why}")))?;
            places.push(place);
            users.push(user);
        }
        if places.is_empty() {
            return Err(wrong("it has no URL: give one like https://registry.example:8081"));
        }
        users.dedup();
        let login = match (users.pop().flatten(), users.is_empty()) {
            (_, false) => return Err(wrong("its URLs name different users: give all of them the same")),
            (Some((user, password)), true) => Login::Basic(user, Secret::text(password)),
            (None, true) => Login::Nobody,
        };
        Ok(Self { places, login, authorities: None, identity: None, timeout: TIMEOUT })
    }

    /// Logs in by user and password (HTTP Basic, RFC 7617).
    ///
    /// # Errors
    /// `Misconfigured`: there is a login already, or the user's name has a colon in it.
    pub fn basic(self, user: impl Into<String>, password: Secret) -> Result<Self, PublishFault> {
        let user = user.into();
        if user.is_empty() || user.contains(':') {
            return Err(wrong("a user's name is not empty and has no colon in it"));
        }
        self.login(Login::Basic(user, password))
    }

    /// Logs in by a token (HTTP Bearer, RFC 6750).
    ///
    /// # Errors
    /// `Misconfigured`: there is a login already.
    pub fn bearer(self, token: Secret) -> Result<Self, PublishFault> {
        self.login(Login::Bearer(token))
    }

    fn login(self, login: Login) -> Result<Self, PublishFault> {
        match self.login {
            Login::Nobody => Ok(Self { login, ..self }),
            _ => Err(wrong(
                "there is more than one login: give a user in the URLs, a user with a password, or a token",
            )),
        }
    }

    /// Whose signatures on a server's certificate are taken: certificates in PEM, instead of those the system trusts.
    #[must_use]
    pub fn authorities(mut self, pem: Secret) -> Self {
        self.authorities = Some(pem);
        self
    }

    /// A certificate of our own, with those that signed it, and its key, both in PEM and not encrypted.
    #[must_use]
    pub fn identity(mut self, certificate: Secret, key: Secret) -> Self {
        self.identity = Some((certificate, key));
        self
    }

    /// How long an answer may take, from the first byte sent to the last one read, per server.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// A setting that cannot be.
pub(super) fn wrong(what: impl fmt::Display) -> PublishFault {
    PublishFault::new(PublishFaultKind::Misconfigured, format!("schema registry: {what}"))
}

/// A user's name and password.
type User = Option<(String, String)>;

/// A URL's place and user.
fn parsed(url: &str) -> Result<(Place, User), &'static str> {
    let (scheme, rest) =
        url.split_once("://").ok_or("is none: give one like https://registry.example:8081")?;
    if !["http", "https"].contains(&scheme) {
        return Err("begins with neither http:// nor https://");
    }
    if rest.contains(['?', '#']) {
        return Err("has a `?` or `#`, which no registry's has; in a password write %3F or %23");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if path.contains('@') {
        return Err("has an `@` behind a `/`; in a password write %40 and %2F");
    }
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty() || host.starts_with(':') || !host.chars().all(is_host) {
        return Err("has no host, or one that cannot be");
    }
    if path.chars().any(|c| c.is_control() || c == ' ') {
        return Err("has a path that cannot be");
    }
    let user = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        Some((user, password)) => match (decoded(user), decoded(password)) {
            (Some(user), Some(password)) if !user.is_empty() && !password.is_empty() => {
                Some((user, password))
            }
            _ => return Err("has no user with a password before its `@`; both are percent-encoded UTF-8"),
        },
        None => None,
    };
    let base = format!("{scheme}://{host}{}", path.trim_end_matches('/'));
    Ok((Place { base, host: host.to_owned() }, user))
}

/// Percent-encoded UTF-8.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = rest.get(2..)?;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_perhaps_a_user_and_perhaps_a_path() {
        for (url, base, user) in [
            ("http://registry:8081", "http://registry:8081", None),
            ("https://r.example/apis/ccompat/v7/", "https://r.example/apis/ccompat/v7", None),
            ("https://u:p%40%2f:x@r.example:1", "https://r.example:1", Some(("u", "p@/:x"))),
            ("http://[::1]:8081", "http://[::1]:8081", None),
        ] {
            let (place, found) = parsed(url).unwrap();
            assert_eq!(place.base, base);
            assert_eq!(found, user.map(|(user, password)| (user.to_owned(), password.to_owned())));
        }
    }

    #[test]
    fn a_url_that_cannot_be_is_refused_and_never_shown() {
        for url in [
            "sesame",
            "ftp://u:sesame@h",
            "http://u:sesame@",
            "http://u:ses?ame@h",
            "http://u:ses/ame@h",
            "http://u:%zz@h",
            "http://u@h",
            "http://:8081",
            "http://h:1/sesame me",
            "http://ses ame",
        ] {
            let fault = RegistryConfig::new([url]).unwrap_err();
            assert_eq!(*fault.kind(), PublishFaultKind::Misconfigured);
            assert!(!fault.message().contains("ame") || !url.contains("sesame"), "{}", fault.message());
        }
        assert!(RegistryConfig::new([""; 0]).unwrap_err().message().contains("no URL"));
    }

    #[test]
    fn there_is_one_login() {
        assert!(RegistryConfig::new(["http://a:b@h", "http://a:b@i"]).is_ok());
        assert!(RegistryConfig::new(["http://a:b@h", "http://i"]).is_err());
        let config = RegistryConfig::new(["http://a:sesame@h"]).unwrap();
        assert!(!format!("{config:?}").contains("sesame"));
        assert!(config.bearer(Secret::text("sesame")).is_err());
    }
}
