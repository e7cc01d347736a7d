//! PostgreSQL from the archives that embedded-postgres publishes: initdb, pg_ctl and postgres, no client.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cache::{Cache, make_folder};
use super::maven::{self, Artifact};
use super::server::{Launch, Server, Site};
use super::tools;
use crate::log::Log;
use crate::trouble::{Attempt, Trouble};

/// One release of PostgreSQL.
pub(crate) struct Postgres {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) address_variable: &'static str,
    pub(crate) programs_variable: &'static str,
}

/// A path of a Unix socket has at most 107 bytes; this is its longest part after the folder.
const SOCKET_FILE: &str = "/.s.PGSQL.32767.lock";
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl Postgres {
    fn folder_name(&self) -> String {
        format!("postgres-{}-{}", self.version, std::env::consts::ARCH)
    }

    fn artifact(&self) -> Result<String, Trouble> {
        let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => "linux-amd64",
            ("linux", "aarch64") => "linux-arm64v8",
            (os, arch) => {
                return Err(Trouble::new(format!(
                    "no {} is known to fetch for {os} on {arch}: set {} to a server of yours",
                    self.name, self.address_variable
                )));
            }
        };
        Ok(format!("io.zonky.test.postgres:embedded-postgres-binaries-{platform}:{}", self.version))
    }

    /// One of PostgreSQL's programs, ready for its arguments.
    fn program(&self, name: &str, site: &Site<'_>) -> Command {
        let mut command = Command::new(site.programs.join(name));
        // A developer's own PGDATA, PGPORT or PGOPTIONS must not reach this server.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command.env("LD_LIBRARY_PATH", site.programs.join("../lib")).env("LC_ALL", "C").env("TZ", "UTC");
        command.current_dir(site.home);
        if let Some(account) = site.account {
            account.apply_to(&mut command);
        }
        command
    }

    fn create_data(&self, site: &Site<'_>) -> Result<(), Trouble> {
        let partial = private_folder(site, "data.partial")?;
        let log = Log::at(site.home.join("initdb.log"));
        let mut command = self.program("initdb", site);
        command
            .args(["-U", "postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .arg("--pwfile")
            .arg(site.home.join("password"))
            .arg("-D")
            .arg(&partial);
        log.record(&mut command)?;
        let status = command.status().attempt(|| format!("cannot run initdb of {}", self.name))?;
        if !status.success() {
            return Err(Trouble::new(format!("initdb of {} failed; {}", self.name, log.tail(15))));
        }
        fs::rename(&partial, site.home.join("data"))
            .attempt(|| format!("cannot rename {}", partial.display()))
    }

    /// The whole configuration, so that a server is the same wherever it is started.
    fn configuration(port: u16, sockets: Option<&Path>) -> String {
        let sockets =
            sockets.map_or(String::new(), |folder| folder.display().to_string().replace('\'', "''"));
        format!(
            "listen_addresses = '127.0.0.1'\n\
             port = {port}\n\
             unix_socket_directories = '{sockets}'\n\
             password_encryption = 'scram-sha-256'\n\
             max_connections = 200\n\
             shared_buffers = '256MB'\n\
             wal_level = 'logical'\n\
             max_wal_senders = 32\n\
             max_replication_slots = 32\n\
             max_prepared_transactions = 64\n\
             max_wal_size = '4GB'\n\
             log_line_prefix = '%m [%p] '\n\
             timezone = 'UTC'\n"
        )
    }
}

impl Server for Postgres {
    fn name(&self) -> &'static str {
        self.name
    }

    fn address_variable(&self) -> &'static str {
        self.address_variable
    }

    fn programs_variable(&self) -> &'static str {
        self.programs_variable
    }

    fn installed(&self, cache: &Cache) -> Option<PathBuf> {
        cache.installed(&self.folder_name()).map(|folder| folder.join("bin"))
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf, Trouble> {
        let artifact = self.artifact()?;
        let needed = [("mvn", "maven"), ("java", "default-jre-headless"), ("tar", "tar"), ("xz", "xz-utils")];
        tools::need(&needed, &format!("installing {}", self.name), self.address_variable)?;
        let folder = cache.install(&self.folder_name(), |folder| {
            let unpacked = folder.join("jar");
            make_folder(&unpacked)?;
            maven::unpack_jars(&[Artifact(&artifact)], &unpacked)?;
            extract(&archive_in(&unpacked)?, folder)?;
            fs::remove_dir_all(&unpacked).attempt(|| format!("cannot remove {}", unpacked.display()))
        })?;
        Ok(folder.join("bin"))
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Launch, Trouble> {
        let password = password(site)?;
        let data = site.home.join("data");
        if !data.exists() {
            self.create_data(site)?;
        }
        let sockets = site.home.join("sockets");
        let fits = sockets.as_os_str().len() + SOCKET_FILE.len() <= SOCKET_PATH_BYTES_MAX;
        let sockets = if fits { Some(private_folder(site, "sockets")?) } else { None };
        let settings = data.join("postgresql.conf");
        fs::write(&settings, Self::configuration(site.port, sockets.as_deref()))
            .attempt(|| format!("cannot write {}", settings.display()))?;
        let mut command = self.program("postgres", site);
        command.arg("-D").arg(&data);
        Ok(Launch {
            command,
            address: format!("postgres://postgres:{password}@127.0.0.1:{}/postgres", site.port),
        })
    }

    fn answers(&self, port: u16) -> bool {
        asks_for_a_password(port).unwrap_or(false)
    }

    /// INT is a fast shutdown: it ends sessions rather than wait for them.
    fn stop_signal(&self) -> &'static str {
        "INT"
    }
}

/// The one archive that a jar of these holds.
fn archive_in(folder: &Path) -> Result<PathBuf, Trouble> {
    let entries = fs::read_dir(folder).attempt(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| file.extension().is_some_and(|extension| extension == "txz")).ok_or_else(|| {
        Trouble::new(format!("the jar unpacked in {} holds no .txz archive", folder.display()))
    })
}

/// The archive names files but not all of their folders: the umask decides whether the server's user may enter those.
fn extract(archive: &Path, folder: &Path) -> Result<(), Trouble> {
    let output = Command::new("sh")
        .args(["-c", "umask 022 && exec tar --no-same-owner -xJf \"$1\" -C \"$2\"", "tar"])
        .args([archive, folder])
        .output()
        .attempt(|| "cannot run tar".to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    Err(Trouble::new(format!(
        "tar cannot extract {}: {}",
        archive.display(),
        String::from_utf8_lossy(&output.stderr)
    )))
}

/// An empty folder in the server's home that only the server may enter.
fn private_folder(site: &Site<'_>, name: &str) -> Result<PathBuf, Trouble> {
    let folder = site.home.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).attempt(|| format!("cannot remove {}", folder.display()))?;
    }
    std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700)
        .create(&folder)
        .attempt(|| format!("cannot create {}", folder.display()))?;
    if let Some(account) = site.account {
        account.own(&folder)?;
    }
    Ok(folder)
}

/// The superuser's password, kept for as long as the home: random, since every user of the machine can connect.
fn password(site: &Site<'_>) -> Result<String, Trouble> {
    let file = site.home.join("password");
    if let Ok(known) = fs::read_to_string(&file)
        && !known.is_empty()
    {
        return Ok(known);
    }
    let write = || {
        let mut bytes = [0_u8; 16];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut options = fs::OpenOptions::new();
        let mut handle = options.create(true).write(true).truncate(true).mode(0o600).open(&file)?;
        handle.write_all(password.as_bytes())?;
        std::io::Result::Ok(password)
    };
    let password = write().attempt(|| format!("cannot write {}", file.display()))?;
    if let Some(account) = site.account {
        account.own(&file)?;
    }
    Ok(password)
}

/// Sends a startup message. A server that is ready asks for authentication (`R`); one that is still starting, or
/// recovering, refuses with an error (`E`).
fn asks_for_a_password(port: u16) -> std::io::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&startup_message())?;
    let mut kind = [0_u8; 1];
    stream.read_exact(&mut kind)?;
    Ok(kind == *b"R")
}

/// Protocol 3.0: length in bytes with itself, version, then name and value pairs that end with an empty name.
fn startup_message() -> Vec<u8> {
    let pairs = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(8 + pairs.len()).unwrap_or_default();
    [&length.to_be_bytes(), &196_608_u32.to_be_bytes(), pairs.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_startup_message_says_its_own_length() {
        let message = startup_message();
        assert_eq!(message[..4], u32::try_from(message.len()).unwrap().to_be_bytes());
        assert_eq!(message.last(), Some(&0));
    }

    #[test]
    fn a_quote_in_the_socket_folder_is_doubled() {
        let text = Postgres::configuration(20_000, Some(Path::new("/home/o'neil/sockets")));
        assert!(text.contains("unix_socket_directories = '/home/o''neil/sockets'\n"));
        assert!(Postgres::configuration(20_000, None).contains("unix_socket_directories = ''\n"));
    }
}
