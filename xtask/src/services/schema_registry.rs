//! Apicurio Registry: a schema registry that speaks Confluent's API. It keeps all in memory.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cache::Cache;
use super::java;
use super::maven::{self, Artifact};
use super::server::{Launch, Server, Site};
use super::tools;
use crate::trouble::{Attempt, Trouble};

/// The one release of the registry tests run against.
pub(crate) struct SchemaRegistry;

const FOLDER: &str = "apicurio-registry-2.6.13";
const ARTIFACT: Artifact<'static> = Artifact("io.apicurio:apicurio-registry-app:2.6.13.Final:zip:all");
/// Where Confluent's API is.
const API: &str = "/apis/ccompat/v7";

impl Server for SchemaRegistry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn address_variable(&self) -> &'static str {
        "EVENTFERRY_TEST_SCHEMA_REGISTRY_URL"
    }

    fn programs_variable(&self) -> &'static str {
        "EVENTFERRY_TEST_SCHEMA_REGISTRY_LIB"
    }

    fn installed(&self, cache: &Cache) -> Option<PathBuf> {
        cache.installed(FOLDER)
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf, Trouble> {
        let needed = [("mvn", "maven"), ("java", "default-jre-headless")];
        tools::need(&needed, "installing the schema registry", self.address_variable())?;
        cache.install(FOLDER, |folder| maven::unpack_jars(&[ARTIFACT], folder))
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Launch, Trouble> {
        java::check("the schema registry", self.address_variable())?;
        let data = site.home.join("data");
        fs::create_dir_all(&data).attempt(|| format!("cannot create {}", data.display()))?;
        let runner = runner_in(site.programs).ok_or_else(|| {
            let folder = site.programs.display();
            Trouble::new(format!(
                "there is no *-runner.jar in {folder}: remove the folder, so that it is fetched again"
            ))
        })?;
        let mut command = Command::new(java::program());
        // One compiler of the JVM's two starts it sooner, on less memory.
        command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
        command.arg("-Dquarkus.http.host=127.0.0.1");
        command.arg(format!("-Dquarkus.http.port={}", site.port));
        // On the command line, so that the process is known again by its home.
        command.arg(format!("-Djava.io.tmpdir={}", data.display()));
        command.arg("-jar").arg(runner).current_dir(site.home);
        Ok(Launch { command, address: format!("http://127.0.0.1:{}{API}", site.port) })
    }

    fn answers(&self, port: u16) -> bool {
        lists_its_subjects(port).unwrap_or(false)
    }

    fn stop_signal(&self) -> &'static str {
        "TERM"
    }
}

fn runner_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.to_string_lossy().ends_with("-runner.jar"))
}

fn lists_its_subjects(port: u16) -> std::io::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {API}/subjects HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head)?;
    Ok(head == *b"HTTP/1.1 200")
}
