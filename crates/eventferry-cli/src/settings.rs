//! Where settings come from: flags, then `EVENTFERRY_*` variables, then a file. No other room knows of either.

mod clusters;
mod file;
mod schemas;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use eventferry::core::machine::{Delivery, Settings as Numbers};
use jiff::SignedDuration;

use crate::ending::Trouble;
pub(crate) use clusters::ClusterTable;
use file::{File, read_file};
#[cfg(feature = "schemas")]
pub(crate) use schemas::SchemaTable;
pub(crate) use schemas::SchemasTable;

/// What can be set in a file, and as a variable: `relay_id` is EVENTFERRY_RELAY_ID and `--relay-id`.
const KEYS: [&str; 25] = [
    "store",
    "publisher",
    "password_command",
    "listen_url",
    "doorbell",
    "feed",
    "replication_url",
    "delivery",
    "events",
    "events_strict",
    "envelope",
    "cloudevents_source",
    "dead_letter_topic",
    "dead_letter_detail",
    "on_dead",
    "retry_attempts",
    "retry_backoff",
    "relay_id",
    "lease",
    "grace",
    "retention",
    "log_kept_max",
    "listen",
    "log_format",
    "log_level",
];

/// What can be set for one topic, in the file's table `[topics."NAME"]`.
const TOPIC_KEYS: [&str; 6] =
    ["events_strict", "on_dead", "retry_attempts", "retry_backoff", "partitions", "replication"];

/// The file that is read if it is there and no other is named.
const FILE_DEFAULT: &str = "eventferry.toml";

/// The variable that names another file.
const FILE_VARIABLE: &str = "EVENTFERRY_CONFIG";

const PREFIX: &str = "EVENTFERRY_";

/// What can be set for one cluster, in the file's table `[clusters.NAME]`.
const CLUSTER_KEYS: [&str; 2] = ["url", "topics"];

/// Not ours, though they begin like ours: the servers of the tests, and what Kubernetes tells every container about a
/// service named `eventferry`.
const FOREIGN_PREFIXES: [&str; 3] = ["EVENTFERRY_TEST_", "EVENTFERRY_SERVICE_", "EVENTFERRY_PORT"];

/// No setting is longer than this: 1 year.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The variables and the file, read; flags are asked with each setting.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    variables: BTreeMap<&'static str, String>,
    file: File,
    /// What was found but is not known, said in full.
    pub(crate) warnings: Vec<String>,
}

/// A setting as it was given.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Given {
    text: String,
    /// Where, said for people.
    origin: String,
}

/// Without the text, which may hold a password.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the process's variables, and the file that `--config` or EVENTFERRY_CONFIG names, else the default one if
    /// it is there.
    ///
    /// # Errors
    /// A variable or the file cannot be read, or the file holds what is not known.
    pub(crate) fn read(config: Option<&str>) -> Result<Self, Trouble> {
        let mut settings = Self::default();
        let mut unknown = BTreeMap::new();
        let mut file = config.map(str::to_owned);
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            let Ok(value) = value.into_string() else {
                return Err(Trouble::usage(format!("{name}: the value is not UTF-8; give one that is")));
            };
            if value.is_empty() || FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            if name == FILE_VARIABLE {
                file = file.or(Some(value));
                continue;
            }
            match KEYS.into_iter().find(|key| variable(key) == name) {
                Some(key) => drop(settings.variables.insert(key, value)),
                None => drop(unknown.insert(name.to_owned(), value)),
            }
        }
        settings.file = match file {
            Some(path) => read_file(&path)?,
            None if Path::new(FILE_DEFAULT).exists() => read_file(FILE_DEFAULT)?,
            None => File::default(),
        };
        // Only the file says which variables there are for clusters.
        settings.file.clusters.iter_mut().for_each(|cluster| cluster.take_url(&mut unknown));
        settings.file.schemas.take_variables(&mut unknown);
        settings.warnings.extend(unknown.keys().map(|name| unknown_variable(name)));
        Ok(settings)
    }

    /// What a file with this text says.
    #[cfg(test)]
    pub(crate) fn of_file(text: &str) -> Self {
        Self { file: file::parsed("e.toml", text).unwrap_or_default(), ..Self::default() }
    }

    /// The setting `key`: from this flag if it was given, else from its variable, else from the file.
    pub(crate) fn find(&self, key: &'static str, flag: Option<&str>) -> Option<Given> {
        debug_assert!(KEYS.contains(&key), "{key} is not listed");
        if let Some(text) = flag {
            return Some(Given::flag(key, text));
        }
        if let Some(text) = self.variables.get(key) {
            return Some(Given { text: text.clone(), origin: variable(key) });
        }
        self.file.settings.get(key).cloned()
    }

    /// The setting `key`, which must be given.
    ///
    /// # Errors
    /// It was not; the message says where it can be.
    pub(crate) fn require(&self, key: &'static str, flag: Option<&str>) -> Result<Given, Trouble> {
        self.find(key, flag).ok_or_else(|| {
            Trouble::usage(format!(
                "no {key} is named; give --{key} URL, set {}, or write {key} = \"URL\" in {FILE_DEFAULT}",
                variable(key)
            ))
        })
    }

    /// The duration `key`, such as 250ms.
    ///
    /// # Errors
    /// It is no duration.
    pub(crate) fn duration(
        &self,
        key: &'static str,
        flag: Option<&str>,
    ) -> Result<Option<Duration>, Trouble> {
        self.find(key, flag).map(|given| given.parse(duration)).transpose()
    }
}

impl Settings {
    /// The topics that have settings of their own, which only the file can give.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, TopicSettings<'_>)> {
        self.file.topics.iter().map(|(topic, table)| (topic.as_str(), TopicSettings(table)))
    }

    /// What is set for schemas.
    pub(crate) fn schemas(&self) -> &SchemasTable {
        &self.file.schemas
    }

    /// The clusters that the file names, in its order.
    pub(crate) fn clusters(&self) -> &[ClusterTable] {
        &self.file.clusters
    }
}

/// The settings of one topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicSettings<'a>(&'a file::TopicTable);

impl<'a> TopicSettings<'a> {
    /// The setting `key` of this topic.
    pub(crate) fn find(self, key: &'static str) -> Option<Given> {
        debug_assert!(TOPIC_KEYS.contains(&key), "{key} is not listed");
        self.0.settings.get(key).cloned()
    }

    /// The topic's own settings at the broker, as they are declared.
    pub(crate) fn config(self) -> impl Iterator<Item = (&'a str, &'a Given)> {
        self.0.config.iter().map(|(name, given)| (name.as_str(), given))
    }
}

impl Given {
    /// What a flag says, for a command that looks nowhere else.
    pub(crate) fn flag(key: &str, text: &str) -> Self {
        Self { text: text.to_owned(), origin: format!("--{}", key.replace('_', "-")) }
    }

    /// What the text means.
    ///
    /// # Errors
    /// `how` refuses it: its words, after where the text came from.
    pub(crate) fn parse<T, E: fmt::Display>(
        &self,
        how: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Trouble> {
        how(&self.text).map_err(|error| Trouble::usage(format!("{}: {error}", self.origin)))
    }

    /// The text itself.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Reads `10s`, `250ms`, `1h 30m`; from nothing to a year.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is not a duration from 0s to a year; give a number and a unit, as in 250ms, 10s, 5m or 1h"
        )
    };
    let signed: SignedDuration = text.trim().parse().map_err(|_| wrong())?;
    Duration::try_from(signed).ok().filter(|duration| *duration <= DURATION_MAX).ok_or_else(wrong)
}

/// Reads `512MiB`, `1GiB`, `2TB`; whole numbers, with a unit.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let read = UNITS.iter().find_map(|(unit, bytes)| {
        let number = text.trim().strip_suffix(unit)?.trim_end();
        number.parse::<u64>().ok()?.checked_mul(*bytes)
    });
    read.ok_or_else(|| {
        format!("`{text}` is no size; give a whole number and a unit, as in 512MiB, 1GiB or 10GB")
    })
}

/// Reads a lease: long enough to be renewed over a network, and short enough for somebody to wait for its end.
pub(crate) fn lease(text: &str) -> Result<Duration, String> {
    const BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
    let lease = duration(text)?;
    if BOUNDS.contains(&lease) {
        return Ok(lease);
    }
    Err(format!(
        "`{text}` is no length for a lease, which is renewed four times before it ends; give 1s to 1h, as in 10s"
    ))
}

/// Reads how often an event comes to its consumers.
pub(crate) fn delivery(text: &str) -> Result<Delivery, String> {
    match text {
        "at-least-once" => Ok(Delivery::AtLeastOnce),
        "exactly-once" => Ok(Delivery::ExactlyOnce),
        _ => Err(format!("`{text}` is no way of delivering; give at-least-once or exactly-once")),
    }
}

/// The default numbers for this lease and grace time.
pub(crate) fn numbers(lease: Option<Duration>, grace: Option<Duration>) -> Numbers {
    let mut numbers = lease.map_or_else(Numbers::default, Numbers::with_lease);
    numbers.grace = grace.unwrap_or(numbers.grace);
    numbers
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

fn unknown_variable(name: &str) -> String {
    let key = name.trim_start_matches(PREFIX).to_lowercase();
    match nearest(&key, KEYS.into_iter().chain(["config"])) {
        Some(near) => {
            format!("the variable {name} is not known and does nothing; did you mean {}?", variable(near))
        }
        None => format!("the variable {name} is not known and does nothing"),
    }
}

/// The known name most like a wrong one, if one is like it at all.
fn nearest(wrong: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    const LIKE_ENOUGH: f64 = 0.6;
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(wrong, name), name))
        .filter(|(likeness, _)| *likeness >= LIKE_ENOUGH)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_before_a_variable_and_a_variable_before_the_file() {
        let mut settings = Settings {
            file: file::parsed("e.toml", "# the lease\n\nlease = \"3s\"").unwrap(),
            ..Settings::default()
        };
        assert_eq!(settings.duration("lease", None).unwrap(), Some(Duration::from_secs(3)));
        settings.variables.insert("lease", "2s".into());
        assert_eq!(settings.duration("lease", None).unwrap(), Some(Duration::from_secs(2)));
        assert_eq!(settings.duration("lease", Some("1s")).unwrap(), Some(Duration::from_secs(1)));
        assert_eq!(settings.duration("grace", None).unwrap(), None);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_place() {
        let mut settings =
            Settings { file: file::parsed("e.toml", "\nlease = \"ten\"").unwrap(), ..Settings::default() };
        let said = |flag| settings.duration("lease", flag).unwrap_err().message;
        assert!(said(Some("10")).starts_with("--lease: `10` is not a duration"));
        assert!(said(None).starts_with("e.toml, line 2, lease: `ten`"));
        settings.variables.insert("lease", "-1s".into());
        let message = settings.duration("lease", None).unwrap_err().message;
        assert!(message.starts_with("EVENTFERRY_LEASE: `-1s`"), "{message}");
    }

    #[test]
    fn durations_have_units() {
        for (text, millis) in
            [("250ms", 250), ("10s", 10_000), ("1h", 3_600_000), ("1m 30s", 90_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "ten", "-1s", "1 fortnight", "9000h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, size) in [("0B", 0), ("512MiB", 512 << 20), (" 1 GiB", 1 << 30), ("10GB", 10_000_000_000)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "1", "GiB", "1.5GiB", "-1B", "99999999TiB", "1 gib"] {
            assert!(bytes(text).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn a_lease_has_bounds() {
        for text in ["1s", "10s", "1h"] {
            assert!(lease(text).is_ok(), "{text}");
        }
        for text in ["0s", "999ms", "3601s", "ten"] {
            assert!(lease(text).unwrap_err().contains(text));
        }
    }

    #[test]
    fn an_unknown_variable_is_answered_with_the_nearest() {
        assert!(unknown_variable("EVENTFERRY_STOER").ends_with("did you mean EVENTFERRY_STORE?"));
        assert!(unknown_variable("EVENTFERRY_XYZZY").ends_with("does nothing"));
    }
}
