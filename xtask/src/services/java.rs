//! The Java that servers run on.

use std::path::PathBuf;
use std::process::Command;

use crate::trouble::Trouble;

/// Kafka 4 and the schema registry are compiled for this one.
const RELEASE_MIN: u32 = 17;

/// The `java` to run: that of JAVA_HOME, or the one on the search path.
pub(crate) fn program() -> PathBuf {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    let in_home = home.map(|home| PathBuf::from(home).join("bin/java")).filter(|java| java.is_file());
    in_home.unwrap_or_else(|| PathBuf::from("java"))
}

/// Fails unless there is one that is new enough for `who`; `instead` names the variable that makes it unnecessary.
pub(crate) fn check(who: &str, instead: &str) -> Result<(), Trouble> {
    let advice =
        format!("install one (Debian: apt install openjdk-17-jre-headless), or set JAVA_HOME or {instead}");
    let output = Command::new(program()).arg("-version").output().map_err(|_| {
        Trouble::new(format!("{who} needs Java {RELEASE_MIN} or newer and there is no `java`: {advice}"))
    })?;
    match release(&String::from_utf8_lossy(&output.stderr)) {
        Some(found) if found < RELEASE_MIN => Err(Trouble::new(format!(
            "{who} needs Java {RELEASE_MIN} or newer, and `java` is {found}: {advice}"
        ))),
        _ => Ok(()),
    }
}

/// The release in what `java -version` says: `openjdk version "17.0.15" 2025-04-15`, or `"1.8.0_402"` of old.
fn release(said: &str) -> Option<u32> {
    let version = said.split('"').nth(1)?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    match numbers.next()? {
        1 => numbers.next(),
        release => Some(release),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_says_its_release_in_two_ways() {
        assert_eq!(release("openjdk version \"17.0.15\" 2025-04-15"), Some(17));
        assert_eq!(release("java version \"1.8.0_402\""), Some(8));
        assert_eq!(release("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(release("no java here"), None);
    }
}
