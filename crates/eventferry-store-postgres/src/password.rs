//! Passwords that stand in no URL and may change while relays run: from a command, or from libpq's file
//! (<https://www.postgresql.org/docs/18/libpq-pgpass.html>), read for each connection.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventferry_core::{StoreFault, StoreFaultKind};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio_postgres::config::Host;

use crate::options;

/// How long what a command has said is used: a relay connects several times at once, and tokens live for minutes.
const KEEP: Duration = Duration::from_secs(30);

/// How long a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(20);

/// The variable that names the file.
const VARIABLE: &str = "PGPASSFILE";

/// The file in the user's home.
const DEFAULT: &str = ".pgpass";

/// Where a password comes from that the URL does not have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passwords {
    /// The file that the URL names.
    named: Option<PathBuf>,
    /// What says it, before any other.
    pub(crate) command: Option<Arc<Teller>>,
}

/// A command that prints a password.
#[derive(Debug)]
pub(crate) struct Teller {
    command: String,
    /// What it said last, and when.
    last: Mutex<Option<Said>>,
}

struct Said {
    at: Instant,
    password: String,
}

/// Without the password.
impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Said").finish_non_exhaustive()
    }
}

impl Teller {
    pub(crate) fn new(command: &str) -> Self {
        Self { command: command.to_owned(), last: Mutex::default() }
    }

    async fn tell(&self) -> Result<String, StoreFault> {
        let mut last = self.last.lock().await;
        if let Some(said) = last.as_ref().filter(|said| said.at.elapsed() < KEEP) {
            return Ok(said.password.clone());
        }
        *last = None;
        let password = self.ask().await.map_err(|why| {
            let message = format!("password_command: {why}; run it by hand, as the user that runs this");
            StoreFault::new(StoreFaultKind::Unavailable, message)
        })?;
        *last = Some(Said { at: Instant::now(), password: password.clone() });
        Ok(password)
    }

    /// Runs it. What it says of its troubles may hold secrets, and is not passed on.
    async fn ask(&self) -> Result<String, String> {
        let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
        let mut command = Command::new(shell);
        command.args([flag, &self.command]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(COMMAND_MAX, command.output());
        let output = output.await.map_err(|_| format!("it takes longer than {COMMAND_MAX:?}"))?;
        let output = output.map_err(|error| format!("it cannot be run: {error}"))?;
        if !output.status.success() {
            return Err(format!("it failed ({})", output.status));
        }
        let said = String::from_utf8(output.stdout).map_err(|_| "what it prints is not UTF-8".to_owned())?;
        let password = said.trim_end_matches(['\r', '\n']);
        if password.is_empty() || password.contains('\n') {
            return Err("it is to print the password, and nothing else".into());
        }
        Ok(password.to_owned())
    }
}

impl Passwords {
    /// Takes the option out of a URL.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn take(url: &str) -> Result<(String, Self), String> {
        let (rest, [named]) = options::take(url, ["passfile"])?;
        Ok((rest, Self { named: named.map(PathBuf::from), command: None }))
    }

    /// The driver's configuration with the password that the command prints; else, if it has none of its own, with the
    /// one that the file has for it.
    ///
    /// # Errors
    /// `Unavailable`: the command fails, which waiting may mend. `Misconfigured`: a file that was named cannot be read,
    /// or others may read it; or the URL's hosts have different passwords, and the driver takes one.
    pub(crate) async fn complete(
        &self,
        driver: &tokio_postgres::Config,
    ) -> Result<tokio_postgres::Config, StoreFault> {
        let mut driver = driver.clone();
        if let Some(command) = &self.command {
            driver.password(command.tell().await?);
            return Ok(driver);
        }
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
