//! How to reach the database.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use eventferry_core::{StoreFault, StoreFaultKind};

/// How to reach the database.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(crate) driver: tokio_postgres::Config,
    pub(crate) call_timeout: Duration,
    pub(crate) slot: Option<Duration>,
}

/// How long a call may take before its connection is given up.
const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

impl PostgresConfig {
    /// Reads a URL such as `postgres://user:password@host:5432/database`.
    ///
    /// Connection parameters of libpq that the driver knows may follow as a query; the connection names itself
    /// `eventferry` unless `application_name` says otherwise.
    ///
    /// # Errors
    /// `Misconfigured`: it is no such URL; the message says why and never repeats it, for it may hold a password.
    pub fn from_url(url: &str) -> Result<Self, StoreFault> {
        let misconfigured = |text: String| StoreFault::new(StoreFaultKind::Misconfigured, text);
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(misconfigured(
                "the store's URL does not begin with postgres:// or postgresql://; \
                 give one like postgres://user:password@host:5432/database"
                    .into(),
            ));
        }
        let mut driver = tokio_postgres::Config::from_str(url).map_err(|error| {
            let below = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            misconfigured(format!(
                "the store's URL cannot be read: {error}{below}; give one like postgres://user:password@host:5432/database"
            ))
        })?;
        if driver.get_ssl_mode() == tokio_postgres::config::SslMode::Require {
            return Err(misconfigured(
                "sslmode=require: this version connects without TLS; use sslmode=prefer on a network you trust".into(),
            ));
        }
        if driver.get_application_name().is_none() {
            driver.application_name("eventferry");
        }
        if driver.get_connect_timeout().is_none() {
            driver.connect_timeout(Duration::from_secs(5));
        }
        driver.keepalives_idle(Duration::from_secs(10));
        driver.tcp_user_timeout(Duration::from_secs(20));
        Ok(Self { driver, call_timeout: CALL_TIMEOUT_DEFAULT, slot: None })
    }

    /// Sets how long each of the outbox's 8 slots is written to before the next one is; whole seconds, at least 1;
    /// default what the schema has, which is 15 minutes at first. Events are removed slot by slot, so retention can be
    /// as long as 6 slots. Takes effect when the schema is applied.
    #[must_use]
    pub fn slot(mut self, slot: Duration) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Sets how long a call may take before its connection is given up; default 30 s.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }
}

/// Without the password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("hosts", &self.driver.get_hosts())
            .field("ports", &self.driver.get_ports())
            .field("user", &self.driver.get_user())
            .field("database", &self.driver.get_dbname())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_refused_without_being_repeated() {
        for url in [
            "mysql://u:sesame@h/d",
            "postgres://u:sesame@h:notaport/d",
            "postgres://u:sesame@h/d?sslmode=require",
        ] {
            let fault = PostgresConfig::from_url(url).unwrap_err();
            assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
            assert!(!fault.to_string().contains("sesame"), "{fault}");
        }
    }

    #[test]
    fn debugging_shows_no_password() {
        let config = PostgresConfig::from_url("postgres://u:sesame@h:1/d").unwrap();
        assert!(!format!("{config:?}").contains("sesame"));
    }
}
