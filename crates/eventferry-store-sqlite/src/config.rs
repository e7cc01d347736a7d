//! Where the database is, and how to wait for it.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eventferry_core::lane::{LANES_DEFAULT, LANES_MAX};
use eventferry_core::{StoreFault, StoreFaultKind, Timestamp};

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
type LogSync = Arc<dyn Fn(&File) -> io::Result<()> + Send + Sync>;

/// Where the database is, and how to wait for it.
#[derive(Clone)]
pub struct SqliteConfig {
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    pub(crate) lanes: Option<u16>,
    pub(crate) clock: Clock,
    pub(crate) log_sync: LogSync,
}

/// How long a call waits for another writer.
const BUSY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

impl SqliteConfig {
    /// The database in the file at `path`, absolute or relative to the working directory.
    ///
    /// # Errors
    /// `Misconfigured`: the path is empty or names a database in memory, which only one connection could see.
    pub fn at(path: impl AsRef<Path>) -> Result<Self, StoreFault> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() {
            return Err(misconfigured(
                "the database has no path; name a file, as in sqlite:///var/lib/app/app.db".into(),
            ));
        }
        if path == Path::new(":memory:") {
            return Err(misconfigured(
                "a database in memory belongs to one connection, and the application and each role of a relay have \
                 their own; name a file, as in sqlite:///var/lib/app/app.db"
                    .into(),
            ));
        }
        Ok(Self {
            path: path.to_path_buf(),
            busy_timeout: BUSY_TIMEOUT_DEFAULT,
            lanes: None,
            clock: Arc::new(host_clock),
            log_sync: Arc::new(File::sync_data),
        })
    }

    /// Reads a URL: `sqlite:///path/file.db` (absolute), `sqlite://file.db` or `sqlite:file.db` (relative to the
    /// working directory). `%20` and the like stand for bytes; parameters after `?` are not known.
    ///
    /// # Errors
    /// `Misconfigured`: it is no such URL, or names a database in memory; the message says what to write instead.
    pub fn from_url(url: &str) -> Result<Self, StoreFault> {
        let Some(rest) = url.strip_prefix("sqlite:") else {
            return Err(misconfigured(
                "the store's URL does not begin with sqlite:; give one like sqlite:///var/lib/app/app.db"
                    .into(),
            ));
        };
        let path = rest.strip_prefix("//").unwrap_or(rest);
        // Not repeated: it may be the key of an encrypted file.
        if path.contains(['?', '#']) {
            return Err(misconfigured(
                "the store's URL has parameters, and a sqlite URL takes none; leave them out, and write %3F or %23 for \
                 a `?` or `#` in the file's name"
                    .into(),
            ));
        }
        Self::at(percent_decoded(path)?)
    }

    /// Which file it is, for an application that opens it too.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets how long a call waits for another writer before it answers `Contended`; default 5 s.
    ///
    /// Keep it below the lease: a relay that waits for its renewal any longer has lost its lanes anyway.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Sets the number of lanes of an outbox that is yet to be made: 1 to 1,024, default 64. It cannot be changed
    /// afterwards; applying the schema to an outbox that has another number is refused.
    ///
    /// # Errors
    /// `Misconfigured`: the number is out of bounds.
    pub fn lanes(mut self, lanes: u16) -> Result<Self, StoreFault> {
        if !(1..=LANES_MAX).contains(&lanes) {
            return Err(misconfigured(format!(
                "an outbox cannot have {lanes} lanes; give 1 to {LANES_MAX}, or leave it out for {LANES_DEFAULT}"
            )));
        }
        self.lanes = Some(lanes);
        Ok(self)
    }

    /// Sets the clock that judges leases and retention; default: the host's.
    ///
    /// Every relay on one database must go by the same clock, which the host's is: SQLite's locks do not reach
    /// beyond one host. For tests that jump in time.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets how the write-ahead log is made durable; default: `File::sync_data`. For tests that count or fail it.
    #[must_use]
    pub fn log_sync(mut self, sync: impl Fn(&File) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.log_sync = Arc::new(sync);
        self
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

impl FromStr for SqliteConfig {
    type Err = StoreFault;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        Self::from_url(url)
    }
}

impl fmt::Debug for SqliteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteConfig")
            .field("path", &self.path)
            .field("busy_timeout", &self.busy_timeout)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

/// The host's clock; a time that no file can hold counts as the last one that can be held.
pub(crate) fn host_clock() -> Timestamp {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    };
    Timestamp(micros)
}

/// A duration in microseconds, as the tables keep it.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn percent_decoded(text: &str) -> Result<String, StoreFault> {
    let wrong = || {
        misconfigured(
            "the store's URL has a `%` that begins no byte of UTF-8; write %25 for the sign itself".into(),
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| str::from_utf8(digits).ok()).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn misconfigured(message: String) -> StoreFault {
    StoreFault::new(StoreFaultKind::Misconfigured, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file() {
        for (url, path) in [
            ("sqlite:///var/lib/app.db", "/var/lib/app.db"),
            ("sqlite:/var/lib/app.db", "/var/lib/app.db"),
            ("sqlite://app.db", "app.db"),
            ("sqlite://data/app.db", "data/app.db"),
            ("sqlite:app.db", "app.db"),
            ("sqlite:my%20app%25.db", "my app%.db"),
        ] {
            assert_eq!(SqliteConfig::from_url(url).unwrap().path, Path::new(path), "{url}");
        }
    }

    #[test]
    fn a_wrong_url_says_what_to_write() {
        for (url, says) in [
            ("postgres://h/d", "begin with sqlite:"),
            ("app.db", "begin with sqlite:"),
            ("sqlite:", "name a file"),
            ("sqlite://", "name a file"),
            ("sqlite::memory:", "name a file"),
            ("sqlite://:memory:", "belongs to one connection"),
            ("sqlite:app.db?mode=rwc", "has parameters"),
            ("sqlite:///app.db?key=sesame", "has parameters"),
            ("sqlite:app.db#sesame", "write %3F or %23"),
            ("sqlite:sesame%2.db", "%25"),
            ("sqlite:app%2.db", "%25"),
            ("sqlite:app%ff.db", "%25"),
        ] {
            let fault = SqliteConfig::from_url(url).unwrap_err();
            assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
            assert!(
                fault.to_string().contains(says) && !fault.to_string().contains("sesame"),
                "{url}: {fault}"
            );
        }
    }

    #[test]
    fn the_number_of_lanes_has_bounds() {
        let config = || SqliteConfig::at("app.db").unwrap();
        assert!(config().lanes(0).is_err());
        assert!(config().lanes(LANES_MAX + 1).is_err());
        assert_eq!(config().lanes(LANES_MAX).unwrap().lanes, Some(LANES_MAX));
    }
}
