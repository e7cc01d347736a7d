//! A database of a trial's own, with a random name, on the server the environment names.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use eventferry::core::store::{Prepare, Prepared, Store as _};
use eventferry::postgres::{PostgresConfig, PostgresStore};
use tokio_postgres::{Client, NoTls};

use crate::failure::{Attempt as _, Failure, failure};
use crate::servers::Servers;

/// A database of a trial's own. It is dropped by [`Database::remove`], not by going out of scope.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    server: Arc<Mutex<String>>,
    name: String,
}

impl Database {
    /// Creates an empty one.
    pub(crate) async fn create(servers: &Servers) -> Result<Self, Failure> {
        let this = Self::on(&servers.postgres);
        let statement = format!("CREATE DATABASE {}", this.name);
        connect(&this.server()).await?.batch_execute(&statement).await.attempt("create a database")?;
        Ok(this)
    }

    /// Creates one like this one, which nobody may be connected to.
    pub(crate) async fn copy(&self) -> Result<Self, Failure> {
        let copy = Self::on(&self.server());
        let server = connect(&copy.server()).await?;
        // Files are copied as they are: no round pays for the log of its own making.
        let version: String = server.query_one("SHOW server_version_num", &[]).await?.get(0);
        let strategy = if version.as_str() >= "150000" { "STRATEGY file_copy" } else { "" };
        let statement = format!("CREATE DATABASE {} TEMPLATE {} {strategy}", copy.name, self.name);
        server.batch_execute(&statement).await.attempt("copy a database")?;
        Ok(copy)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its URL.
    pub(crate) fn url(&self) -> Result<String, Failure> {
        with_database(&self.server(), &self.name)
    }

    /// It is on another server from now on, for all clones of this.
    pub(crate) fn move_to(&self, server: &str) {
        server.clone_into(&mut self.server.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// One on this server that is not created.
    pub(crate) fn on(server: &str) -> Self {
        let server = Arc::new(Mutex::new(server.to_owned()));
        Self { server, name: random_name("eventferry_trial") }
    }

    fn server(&self) -> String {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection to it.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        connect(&self.url()?).await
    }

    /// Drops it, whoever is connected. A failure is said and passed over: the trial's outcome does not hang on it.
    pub(crate) async fn remove(self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // A database with a replication slot is not dropped, nor a slot that is read from.
        let slots = format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = '{0}' AND active;
             SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{0}'",
            self.name
        );
        for _ in 0..100 {
            let server = connect(&self.server()).await;
            let Ok(server) = server else { break };
            if server.batch_execute(&slots).await.is_ok() {
                break;
            }
        }
        let dropped =
            async { connect(&self.server()).await?.batch_execute(&statement).await.attempt("drop") };
        if let Err(failure) = dropped.await {
            eprintln!("trials: database {} stays behind: {failure}", self.name);
        }
    }
}

/// Makes eventferry's schema, and by a log's tail the slot and the publication, as `eventferry init` does.
pub(crate) async fn prepare(config: PostgresConfig) -> Result<Prepared, Failure> {
    PostgresStore::new(config).prepare(Prepare::Apply).await.attempt("create the schema")
}

/// Connects to the database a URL names.
pub(crate) async fn connect(url: &str) -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.attempt("connect to PostgreSQL")?;
    // Its end is seen by the next statement.
    tokio::spawn(connection);
    Ok(client)
}

/// A name nobody else has.
pub(crate) fn random_name(prefix: &str) -> String {
    format!("{prefix}_{:012x}", RandomState::new().build_hasher().finish() & 0xffff_ffff_ffff)
}

/// The URL with another database's name.
pub(crate) fn with_database(url: &str, name: &str) -> Result<String, Failure> {
    let (place, query) = url.split_once('?').map_or((url, None), |(place, query)| (place, Some(query)));
    let (scheme, rest) = place.split_once("://").ok_or_else(|| failure("the PostgreSQL URL has no `://`"))?;
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("{scheme}://{authority}/{name}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_changes() {
        for (url, other) in [
            ("postgres://u:p@h:1/postgres", "postgres://u:p@h:1/d"),
            ("postgres://u:p@h:1", "postgres://u:p@h:1/d"),
            ("postgres://h/x?sslmode=disable", "postgres://h/d?sslmode=disable"),
        ] {
            assert_eq!(with_database(url, "d").unwrap(), other);
        }
    }
}
