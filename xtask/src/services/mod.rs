//! The servers tests need, installed on first use and started on free loopback ports: no container, no root.

mod server;
mod postgres;
mod kafka;
mod schema_registry;
mod java;
mod maven;
mod tools;
mod cache;
mod account;
mod port;
mod process;
mod hired;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

pub(crate) use hired::{Hired, stand_aside_if_interrupted};

use account::Account;
use cache::{Cache, make_folder};
use kafka::Kafka;
use postgres::Postgres;
use schema_registry::SchemaRegistry;
use server::{Condition, Place, Server};

use crate::checkout::Checkout;
use crate::lock::lock;
use crate::trouble::Trouble;

/// The newest release, and the oldest that is supported.
static POSTGRES_18: Postgres = Postgres {
    name: "postgres-18",
    version: "18.1.0",
    address_variable: "EVENTFERRY_TEST_POSTGRES_URL",
    programs_variable: "EVENTFERRY_TEST_POSTGRES_BIN",
};
static POSTGRES_14: Postgres = Postgres {
    name: "postgres-14",
    version: "14.20.0",
    address_variable: "EVENTFERRY_TEST_POSTGRES_14_URL",
    programs_variable: "EVENTFERRY_TEST_POSTGRES_14_BIN",
};
static SERVERS: [&dyn Server; 4] = [&POSTGRES_18, &POSTGRES_14, &Kafka, &SchemaRegistry];

/// The servers of one checkout.
pub(crate) struct Services {
    cache: Cache,
    account: Option<Account>,
    run: PathBuf,
    fingerprint: u64,
    /// What this process has started, by name.
    started: Mutex<Vec<&'static str>>,
}

impl Services {
    pub(crate) fn of(checkout: &Checkout) -> Result<Self, Trouble> {
        let account = Account::to_switch_to()?;
        let cache = Cache::locate(account.is_some())?;
        let run = cache.folder().join("run").join(checkout.key());
        Ok(Self { cache, account, run, fingerprint: checkout.fingerprint(), started: Mutex::default() })
    }

    fn places(&self) -> Vec<Place<'_>> {
        let place = |(index, server): (u16, &&'static dyn Server)| Place {
            server: *server,
            cache: &self.cache,
            account: self.account.as_ref(),
            home: self.run.join(server.name()),
            port_wish: port::wish(self.fingerprint, index),
        };
        (0..).zip(&SERVERS).map(place).collect()
    }

    /// Brings up what is not up, all at once; what is up, or somebody else's, stays as it is.
    pub(crate) fn up(&self) -> Result<(), Trouble> {
        make_folder(&self.run)?;
        let _lock = lock(&self.run.join("lock"))?;
        let places = self.places();
        let outcomes: Vec<Result<(), Trouble>> = std::thread::scope(|scope| {
            let raise = |place| scope.spawn(move || self.raise(place));
            let threads: Vec<_> = places.iter().map(raise).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err(Trouble::new("a starting thread panicked")))
            };
            threads.into_iter().map(join).collect()
        });
        let failures: Vec<String> =
            outcomes.into_iter().filter_map(Result::err).map(|trouble| trouble.to_string()).collect();
        if failures.is_empty() { Ok(()) } else { Err(Trouble::new(failures.join("\nxtask: "))) }
    }

    fn raise(&self, place: &Place<'_>) -> Result<(), Trouble> {
        let (name, began) = (place.server.name(), Instant::now());
        if place.raise(&|| self.started_names().push(name))? {
            println!("{name}: up after {:.1} s", began.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn started_names(&self) -> std::sync::MutexGuard<'_, Vec<&'static str>> {
        self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Stops every server of this checkout and removes its data.
    pub(crate) fn down(&self) -> Result<(), Trouble> {
        make_folder(&self.run)?;
        let _lock = lock(&self.run.join("lock"))?;
        self.lower(|_| true)
    }

    /// Stops only what this process started. Takes no lock: it may be called, by Ctrl-C, in the middle of `up`.
    pub(crate) fn down_what_was_started(&self) -> Result<(), Trouble> {
        let names = std::mem::take(&mut *self.started_names());
        self.lower(|name| names.contains(&name))
    }

    fn lower(&self, wanted: impl Fn(&str) -> bool) -> Result<(), Trouble> {
        for place in self.places().iter().filter(|place| wanted(place.server.name())) {
            if place.lower()? {
                println!("{}: down", place.server.name());
            }
        }
        Ok(())
    }

    pub(crate) fn print_status(&self) {
        println!("{:<12} {:<8} {:>8}  ADDRESS", "SERVER", "STATE", "PID");
        for place in self.places() {
            let (state, pid, address) = match place.condition() {
                Condition::Given(address) => ("given", String::from("-"), address),
                Condition::Up(record) if place.server.answers(record.port) => {
                    ("up", record.process.pid.to_string(), record.address)
                }
                Condition::Up(record) => ("silent", record.process.pid.to_string(), record.address),
                Condition::Died(record) => ("died", record.process.pid.to_string(), record.address),
                Condition::Down => ("down", String::from("-"), String::from("-")),
            };
            println!("{:<12} {state:<8} {pid:>8}  {}", place.server.name(), without_password(&address));
        }
        println!("homes, with their logs: {}", self.run.display());
    }

    /// What tests read: addresses, and the folders of programs for those that start servers of their own.
    pub(crate) fn variables(&self) -> Result<Vec<(&'static str, String)>, Trouble> {
        let mut variables = Vec::new();
        for place in self.places() {
            let address = match place.condition() {
                Condition::Given(address) => address,
                Condition::Up(record) => record.address,
                Condition::Died(_) | Condition::Down => {
                    return Err(Trouble::new(format!(
                        "{} is not up: run `cargo xtask services up`, or set {}",
                        place.server.name(),
                        place.server.address_variable()
                    )));
                }
            };
            variables.push((place.server.address_variable(), address));
            if let Some(programs) = place.programs() {
                variables.push((place.server.programs_variable(), programs.display().to_string()));
            }
        }
        // Trials that break a server start one of their own, below here.
        variables.push(("EVENTFERRY_TEST_RUN", self.run.display().to_string()));
        if let Some(account) = &self.account {
            // A test that starts a PostgreSQL of its own is root here as well.
            variables.push(("EVENTFERRY_TEST_POSTGRES_RUN_AS", format!("{}:{}", account.uid, account.gid)));
        }
        Ok(variables)
    }
}

/// An address fit for the screen.
fn without_password(address: &str) -> String {
    let hidden = || {
        let (scheme, rest) = address.split_once("://")?;
        let (credentials, place) = rest.rsplit_once('@')?;
        let (user, _) = credentials.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{place}"))
    };
    hidden().unwrap_or_else(|| address.to_owned())
}

/// `value` as one word of a shell.
pub(crate) fn shell_quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:@.,_-+=".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_shows_no_password() {
        let shown = without_password("postgres://postgres:s3cret@127.0.0.1:20000/postgres");
        assert_eq!(shown, "postgres://postgres:***@127.0.0.1:20000/postgres");
        assert_eq!(without_password("127.0.0.1:9092"), "127.0.0.1:9092");
    }

    #[test]
    fn a_value_stays_one_word_in_a_shell() {
        assert_eq!(shell_quoted("postgres://a:b@127.0.0.1:1/x"), "postgres://a:b@127.0.0.1:1/x");
        assert_eq!(shell_quoted("a b'c"), r"'a b'\''c'");
        assert_eq!(shell_quoted(""), "''");
    }
}
