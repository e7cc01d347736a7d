//! Fetches artifacts through the ordinary Maven client, which knows the developer's mirrors and proxies.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::log::Log;
use crate::trouble::{Attempt, Trouble};

/// `group:artifact:version`, the way Maven prints it; `group:artifact:version:type:classifier` is a file by itself,
/// without what it needs, which is in it.
pub(crate) struct Artifact<'a>(pub(crate) &'a str);

/// Pinned: the version a bare `dependency:` means changes with the Maven installed.
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";

/// Copies the artifacts' jars, and those of everything they need, into `folder`.
pub(crate) fn copy_jars(artifacts: &[Artifact<'_>], folder: &Path) -> Result<(), Trouble> {
    run("copy-dependencies", artifacts, folder)
}

/// Unpacks the artifacts' jars into `folder`. Maven opens them itself, so neither unzip nor a JDK's `jar` is needed.
pub(crate) fn unpack_jars(artifacts: &[Artifact<'_>], folder: &Path) -> Result<(), Trouble> {
    run("unpack-dependencies", artifacts, folder)
}

fn run(goal: &str, artifacts: &[Artifact<'_>], folder: &Path) -> Result<(), Trouble> {
    let work = folder.join("maven");
    fs::create_dir_all(&work).attempt(|| format!("cannot create {}", work.display()))?;
    fs::write(work.join("pom.xml"), pom(artifacts))
        .attempt(|| format!("cannot write to {}", work.display()))?;
    let log = Log::at(work.join("maven.log"));
    let mut command = Command::new("mvn");
    command
        .args(["-q", "-B", "-ntp", "-Dstyle.color=never", "-DincludeScope=runtime"])
        .arg(format!("{PLUGIN}:{goal}"))
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .current_dir(&work);
    log.record(&mut command)?;
    let status = command.status().attempt(|| "cannot run mvn".to_owned())?;
    if !status.success() {
        return Err(Trouble::new(format!("Maven could not fetch {}; {}", list(artifacts), log.tail(15))));
    }
    fs::remove_dir_all(&work).attempt(|| format!("cannot remove {}", work.display()))
}

fn list(artifacts: &[Artifact<'_>]) -> String {
    artifacts.iter().map(|artifact| artifact.0).collect::<Vec<_>>().join(", ")
}

fn pom(artifacts: &[Artifact<'_>]) -> String {
    let mut text = String::from(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>eventferry</groupId><artifactId>services</artifactId><version>0</version>\
         <packaging>pom</packaging><dependencies>",
    );
    for artifact in artifacts {
        let mut parts = artifact.0.split(':');
        for (tag, close) in [
            ("<dependency><groupId>", "</groupId>"),
            ("<artifactId>", "</artifactId>"),
            ("<version>", "</version>"),
        ] {
            text.push_str(tag);
            text.push_str(parts.next().unwrap_or_default());
            text.push_str(close);
        }
        if let (Some(kind), Some(classifier)) = (parts.next(), parts.next()) {
            text.push_str(&format!(
                "<type>{kind}</type><classifier>{classifier}</classifier><exclusions><exclusion>\
                 <groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
            ));
        }
        text.push_str("</dependency>");
    }
    text.push_str("</dependencies></project>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pom_names_each_part_of_an_artifact() {
        let text = pom(&[Artifact("org.example:thing:1.2"), Artifact("org.example:other:3")]);
        assert!(text.contains(
            "<groupId>org.example</groupId><artifactId>thing</artifactId><version>1.2</version></dependency>"
        ));
        assert_eq!(text.matches("<dependency>").count(), 2);
        assert_eq!(text.matches("</dependency>").count(), 2);
    }

    #[test]
    fn a_file_by_itself_comes_without_what_it_needs() {
        let text = pom(&[Artifact("org.example:thing:1.2:zip:all")]);
        assert!(
            text.contains("<version>1.2</version><type>zip</type><classifier>all</classifier><exclusions>")
        );
    }
}
