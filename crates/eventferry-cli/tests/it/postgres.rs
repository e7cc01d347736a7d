//! A database for each test, on the server of the tests.

use tokio_postgres::{NoTls, SimpleQueryMessage};

fn server() -> String {
    let variable = "EVENTFERRY_TEST_POSTGRES_URL";
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set; start the servers and set it as `cargo xtask services env` prints it")
    })
}

/// A database of its own, dropped with this.
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) url: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        let name = format!("eventferry_cli_{}", random());
        execute(&server(), &format!("CREATE DATABASE {name}"));
        Self { url: url_of(&server(), None, &name), name }
    }

    /// Runs SQL and returns the first column of the first row, if there is one.
    pub(crate) fn sql(&self, sql: &str) -> Option<String> {
        execute(&self.url, sql)
    }

    /// Locks a table until it is dropped.
    pub(crate) fn locked(&self, table: &str) -> Locked {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&format!("BEGIN; LOCK TABLE {table}")).await.unwrap();
            client
        });
        Locked { _client: client, _runtime: runtime }
    }

    /// The same database for another role.
    pub(crate) fn url_as(&self, user: &str, password: &str) -> String {
        url_of(&server(), Some((user, password)), &self.name)
    }

    /// The same database at another address.
    pub(crate) fn url_at(&self, address: &str) -> String {
        self.url.replacen(&address_of(&self.url), address, 1)
    }

    /// The server's host and port.
    pub(crate) fn address(&self) -> String {
        address_of(&self.url)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A database with a slot cannot be dropped, nor a slot that is read from.
        let readers = format!("FROM pg_replication_slots WHERE database = '{}'", self.name);
        while execute(&server(), &format!("SELECT count(*) {readers}")).as_deref() != Some("0") {
            execute(&server(), &format!("SELECT pg_terminate_backend(active_pid) {readers} AND active"));
            execute(
                &server(),
                &format!("SELECT pg_drop_replication_slot(slot_name) {readers} AND NOT active"),
            );
        }
        execute(&server(), &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// A lock on a table.
pub(crate) struct Locked {
    _client: tokio_postgres::Client,
    _runtime: tokio::runtime::Runtime,
}

pub(crate) fn random() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(12).collect()
}

/// Runs SQL on a database of the server that is no test's own.
pub(crate) fn on_the_server(sql: &str) {
    execute(&server(), sql);
}

/// What the server says to SQL that it refuses; `None`: it does not.
pub(crate) fn refusal(url: &str, sql: &str) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let error = client.simple_query(sql).await.err()?;
        Some(error.as_db_error().unwrap().message().to_owned())
    })
}

pub(crate) fn execute(url: &str, sql: &str) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
    })
}

fn address_of(url: &str) -> String {
    let place = url.rsplit('@').next().unwrap();
    place.strip_prefix("postgres://").unwrap_or(place).split('/').next().unwrap().to_owned()
}

/// The server's URL with another database and, if given, another user.
fn url_of(server: &str, user: Option<(&str, &str)>, database: &str) -> String {
    let rest = server.split_once("://").unwrap().1;
    let credentials = match user {
        Some((user, password)) => format!("{user}:{password}@"),
        None => rest.split_once('@').map(|(credentials, _)| format!("{credentials}@")).unwrap_or_default(),
    };
    format!("postgres://{credentials}{}/{database}", address_of(server))
}
