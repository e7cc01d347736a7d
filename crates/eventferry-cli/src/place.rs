//! Stores and publishers by URL.

mod publisher;

use eventferry::core::StoreFault;
use eventferry::kafka::{KafkaConfig, KafkaPublisher};
use eventferry::postgres::{FeedChoice, PostgresConfig};
use eventferry::sqlite::SqliteConfig;

use crate::ending::Trouble;
use crate::settings::{Given, Settings};
pub(crate) use publisher::{PublisherPlace, Share, Shares, TAKEN_BY_NONE, one_cluster};

/// A database, by the scheme of its URL.
#[derive(Clone, Debug)]
pub(crate) enum StorePlace {
    /// `postgres://` or `postgresql://`.
    Postgres(PostgresConfig),
    /// `sqlite://` or `sqlite:`.
    Sqlite(SqliteConfig),
}

/// The kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Postgres,
    Sqlite,
}

impl StoreKind {
    /// The kind of store that a URL's scheme names.
    pub(crate) fn of(url: &str) -> Result<Self, String> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some("sqlite") => Ok(Self::Sqlite),
            _ => Err("a store's URL begins with postgres:// or sqlite://; \
                      give one like postgres://user:password@host:5432/database or sqlite:///var/lib/app/app.db"
                .into()),
        }
    }
}

impl StorePlace {
    /// Reads a URL, and what command prints the password for it, if the settings have one; connects to nothing.
    ///
    /// # Errors
    /// It is none; the message never repeats it, for it may hold a password. Or SQLite is to have a password.
    pub(crate) fn of(given: &Given, settings: &Settings) -> Result<Self, Trouble> {
        let command = settings.find("password_command", None);
        match (given.parse(StoreKind::of)?, command) {
            (StoreKind::Postgres, command) => {
                let config = given.parse(|url| PostgresConfig::from_url(url).map_err(message))?;
                Ok(Self::Postgres(match command {
                    Some(command) => config.password_command(command.text()),
                    None => config,
                }))
            }
            (StoreKind::Sqlite, None) => {
                given.parse(|url| SqliteConfig::from_url(url).map_err(message)).map(Self::Sqlite)
            }
            (StoreKind::Sqlite, Some(command)) => {
                command.parse(|_| Err("a SQLite file has no password; leave it out"))
            }
        }
    }
}

impl StorePlace {
    /// With a URL of its own to listen at.
    ///
    /// # Errors
    /// It is none; the message never repeats it. SQLite has nothing to listen at.
    pub(crate) fn listening_at(self, given: &Given) -> Result<Self, Trouble> {
        given.parse(|url| match self {
            Self::Postgres(config) => config.listen_url(url).map_err(message).map(Self::Postgres),
            Self::Sqlite(_) => Err("a SQLite file is watched by itself; leave it out".into()),
        })
    }

    /// With a doorbell hung or taken down.
    ///
    /// # Errors
    /// It is neither on nor off, or no PostgreSQL.
    pub(crate) fn with_doorbell(self, given: &Given) -> Result<Self, Trouble> {
        given.parse(|text| match (self, text) {
            (Self::Postgres(config), "on") => Ok(Self::Postgres(config.doorbell(true))),
            (Self::Postgres(config), "off") => Ok(Self::Postgres(config.doorbell(false))),
            (Self::Sqlite(_), _) => Err("SQLite needs no trigger to tell of new events; leave it out".into()),
            (_, other) => Err(format!("`{other}` is neither on nor off")),
        })
    }

    /// The same place, read by this feed; replication is had at the other URL, if one is given.
    ///
    /// # Errors
    /// There is no such feed, or not of this database; or the URL is none.
    pub(crate) fn fed(self, feed: Option<&Given>, replication: Option<&Given>) -> Result<Self, Trouble> {
        let choice = feed.map(|given| given.parse(feed_of)).transpose()?.unwrap_or_default();
        let Self::Postgres(mut config) = self else {
            return match feed.filter(|_| choice.is_tail()) {
                Some(given) => given.parse(|_| Err("only a PostgreSQL outbox has a tail; leave it out")),
                None => Ok(self),
            };
        };
        if let Some(given) = replication {
            config = given.parse(|url| config.replication_url(url).map_err(message))?;
        }
        Ok(Self::Postgres(config.feed(choice)))
    }
}

/// A feed by its name.
fn feed_of(name: &str) -> Result<FeedChoice, String> {
    match name {
        "table" => Ok(FeedChoice::Table),
        "tail" => Ok(FeedChoice::TailTable),
        "messages" => Ok(FeedChoice::TailMessages),
        _ => Err(format!("`{name}` is no feed; give table, tail or messages")),
    }
}

fn message(fault: StoreFault) -> String {
    fault.message().to_owned()
}

/// The publisher that a URL names; connects to nothing.
///
/// # Errors
/// It is none, or its options are not known or out of bounds.
fn publisher(given: &Given) -> Result<KafkaPublisher, Trouble> {
    let config = kafka(given)?;
    given.parse(|_| KafkaPublisher::new(config).map_err(|fault| fault.message().to_owned()))
}

/// The Kafka cluster that a URL names, for whoever reads from it.
///
/// # Errors
/// It is none, or its options are not known.
fn kafka(given: &Given) -> Result<KafkaConfig, Trouble> {
    given.parse(|url| {
        if !url.starts_with("kafka://") {
            return Err("a publisher's URL begins with kafka://; give one like kafka://host:9092".to_owned());
        }
        KafkaConfig::from_url(url).map_err(|fault| fault.message().to_owned())
    })
}

/// A URL as it may be shown: without user, password and options.
pub(crate) fn shown(url: &str) -> String {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let rest = url.get(scheme.len()..).unwrap_or_default();
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let options = rest.find('?');
    // A password may hold whatever divides a URL; where it is not certain that none is left, nothing is shown.
    let place = match (rest.find('@'), options) {
        (Some(at), Some(options)) if options < at => return format!("{scheme}://..."),
        (Some(at), _) => &rest[at + 1..],
        (None, _) => rest,
    };
    let place = place.split('?').next().unwrap_or_default();
    if place.contains('@') { format!("{scheme}://...") } else { format!("{scheme}://{place}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_holds_no_secret() {
        for (url, text) in [
            ("postgres://u:sesame@h:5432/d?options=x", "postgres://h:5432/d"),
            ("postgres://u:pa/sesame@h/d", "postgres://h/d"),
            ("postgres://u:pa?sesame@h/d", "postgres://..."),
            ("postgres://u:pa@sesame@h/d", "postgres://..."),
            ("postgres:///d?password=pa@sesame", "postgres://..."),
            ("postgres:///d?password=sesame", "postgres:///d"),
            ("sqlite:///var/lib/app.db", "sqlite:///var/lib/app.db"),
            ("sqlite:app.db", "sqlite://app.db"),
            ("kafka://one:9092,two:9092?sasl.password=sesame", "kafka://one:9092,two:9092"),
        ] {
            assert_eq!(shown(url), text, "{url}");
        }
    }

    #[test]
    fn a_store_is_known_by_its_scheme() {
        assert_eq!(StoreKind::of("postgresql://h/d"), Ok(StoreKind::Postgres));
        assert_eq!(StoreKind::of("postgres:"), Ok(StoreKind::Postgres));
        assert_eq!(StoreKind::of("sqlite:app.db"), Ok(StoreKind::Sqlite));
        assert!(StoreKind::of("mysql://h/d").is_err());
        assert!(StoreKind::of("app.db").is_err());
    }
}
