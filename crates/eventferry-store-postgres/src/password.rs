//! A password from a file of libpq's (<https://www.postgresql.org/docs/18/libpq-pgpass.html>), read for each connection:
//! so it may change while relays run, and stands in no URL.

use std::path::PathBuf;

use eventferry_core::{StoreFault, StoreFaultKind};
use tokio_postgres::config::Host;

use crate::options;

/// The variable that names the file.
const VARIABLE: &str = "PGPASSFILE";

/// The file in the user's home.
const DEFAULT: &str = ".pgpass";

/// Where a password is looked for that the URL does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passfile {
    /// Named by the URL.
    named: Option<PathBuf>,
}

impl Passfile {
    /// Takes the option out of a URL.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn take(url: &str) -> Result<(String, Self), String> {
        let (rest, [named]) = options::take(url, ["passfile"])?;
        Ok((rest, Self { named: named.map(PathBuf::from) }))
    }

    /// The driver's configuration with the password that the file has for it, if it has none of its own.
    ///
    /// # Errors
    /// `Misconfigured`: a file that was named cannot be read, or others may read it; or the URL's hosts have different
    /// passwords, and the driver takes one.
    pub(crate) fn complete(
        &self,
        driver: &tokio_postgres::Config,
    ) -> Result<tokio_postgres::Config, StoreFault> {
        let mut driver = driver.clone();
        if driver.get_password().is_some() {
            return Ok(driver);
        }
        let Some((path, is_named)) = self.path() else { return Ok(driver) };
        let text = match read(&path) {
            Ok(text) => text,
            Err(why) if is_named => return Err(wrong(&why)),
            Err(_) => return Ok(driver),
        };
        let mut found: Option<String> = None;
        for place in places(&driver) {
            let Some(password) = text.lines().find_map(|line| password(line, &place)) else { continue };
            if found.as_ref().is_some_and(|other| *other != password) {
                return Err(wrong("it has different passwords for the hosts of the URL; use one"));
            }
            found = Some(password);
        }
        if let Some(password) = found {
            driver.password(password);
        }
        Ok(driver)
    }

    /// The file, and whether somebody has named it.
    fn path(&self) -> Option<(PathBuf, bool)> {
        let variable = || std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(named) = self.named.clone().or_else(variable) {
            return Some((named, true));
        }
        std::env::home_dir().map(|home| (home.join(DEFAULT), false))
    }
}

fn wrong(why: &str) -> StoreFault {
    StoreFault::new(StoreFaultKind::Misconfigured, format!("passfile ({VARIABLE}): {why}"))
}

/// Reads the file, unless others may, too.
fn read(path: &std::path::Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return Err("others may read it: take that from them by `chmod 600`".into());
    }
    if !metadata.is_file() {
        return Err("it is no file".into());
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// What the first four fields of a line are held against, for each host.
fn places(driver: &tokio_postgres::Config) -> Vec<[String; 4]> {
    let user = driver.get_user().unwrap_or_default().to_owned();
    let database = driver.get_dbname().unwrap_or(&user).to_owned();
    let ports = driver.get_ports();
    let place = |(index, host): (usize, &Host)| {
        let port = ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
        let host = match host {
            Host::Tcp(name) => name.clone(),
            // As libpq has it.
            #[cfg(unix)]
            Host::Unix(_) => "localhost".into(),
        };
        [host, port.to_string(), database.clone(), user.clone()]
    };
    driver.get_hosts().iter().enumerate().map(place).collect()
}

/// The password of a line, if it is of this host, port, database and user.
fn password(line: &str, place: &[String; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    // Each field, and whether a part of it was escaped: then a star is a star.
    let mut fields = vec![(String::new(), false)];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let begins = character == ':' && fields.len() < 5;
        let (field, escaped) = fields.last_mut()?;
        match character {
            '\\' => {
                field.extend(characters.next());
                *escaped = true;
            }
            _ if begins => fields.push((String::new(), false)),
            other => field.push(other),
        }
    }
    let ((password, _), wanted) = fields.split_last().filter(|(_, wanted)| wanted.len() == 4)?;
    let is =
        |((wanted, escaped), is): (&(String, bool), &String)| wanted == is || (wanted == "*" && !escaped);
    wanted.iter().zip(place).all(is).then(|| password.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(fields: [&str; 4]) -> [String; 4] {
        fields.map(str::to_owned)
    }

    #[test]
    fn a_line_is_of_its_place_or_of_any() {
        let here = place(["db", "5432", "shop", "relay"]);
        for (line, found) in [
            ("db:5432:shop:relay:sesame", Some("sesame")),
            ("*:*:*:*:sesame", Some("sesame")),
            ("db:*:shop:*:se\\:sa\\\\me", Some("se:sa\\me")),
            ("db:5432:shop:relay:se:same", Some("se:same")),
            ("other:5432:shop:relay:sesame", None),
            ("db:5433:shop:relay:sesame", None),
            ("db:5432:shop:other:sesame", None),
            ("# db:5432:shop:relay:sesame", None),
            ("db:5432:shop", None),
            ("", None),
        ] {
            assert_eq!(password(line, &here).as_deref(), found, "{line}");
        }
        assert_eq!(password("\\*:*:*:*:x", &here), None, "an escaped star is a star");
    }

    #[test]
    fn a_socket_is_localhost_and_a_user_is_the_database() {
        let driver: tokio_postgres::Config = "postgres://u@/?host=/run/postgresql&port=1".parse().unwrap();
        assert_eq!(places(&driver), [place(["localhost", "1", "u", "u"])]);
    }
}
