//! The programs this needs from the machine, and what to say where one is missing.

use std::path::PathBuf;

use crate::trouble::Trouble;

/// The file `program` on the search path, if there is one.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Fails unless all of `programs` can be run; `instead` names the variable that makes them unnecessary.
pub(crate) fn need(programs: &[(&str, &str)], purpose: &str, instead: &str) -> Result<(), Trouble> {
    for (name, package) in programs {
        if program(name).is_none() {
            return Err(Trouble::new(format!(
                "{purpose} needs `{name}`: install it (Debian: apt install {package}), or set {instead}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package_and_the_way_around() {
        let refused =
            need(&[("no-such-program", "its-package")], "thing 1", "THING_URL").unwrap_err().to_string();
        assert_eq!(
            refused,
            "thing 1 needs `no-such-program`: install it (Debian: apt install its-package), or set THING_URL"
        );
        assert!(need(&[("sh", "dash")], "thing 1", "THING_URL").is_ok());
    }
}
