//! The servers a trial runs on, named by the environment.

use crate::failure::{Failure, failure};

/// Where PostgreSQL and Kafka are.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    /// A superuser's URL.
    pub(crate) postgres: String,
    /// `host:port[,host:port]`.
    pub(crate) brokers: String,
}

impl Servers {
    /// Reads the environment.
    pub(crate) fn find() -> Result<Self, Failure> {
        Ok(Self {
            postgres: variable("EVENTFERRY_TEST_POSTGRES_URL")?,
            brokers: variable("EVENTFERRY_TEST_KAFKA_BROKERS")?,
        })
    }
}

fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| {
        failure(format!(
            "{name} is not set: run this through `cargo xtask`, or set it by `eval \"$(cargo xtask services env)\"`"
        ))
    })
}
