//! Who runs the servers: PostgreSQL refuses to be root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::trouble::{Attempt, Trouble};

/// An unprivileged account that stands in for root.
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// In order of preference. Both come with the base system or with a PostgreSQL package; none is created here.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

impl Account {
    /// The account to switch to, or none where this process is not root and servers simply run as its user.
    pub(crate) fn to_switch_to() -> Result<Option<Self>, Trouble> {
        // Where there is no /proc, no server is started either; those that are given need no account.
        if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            return Ok(None);
        }
        let table = fs::read_to_string("/etc/passwd").attempt(|| "cannot read /etc/passwd".to_owned())?;
        let found = CANDIDATES.iter().find_map(|name| Self::in_table(&table, name));
        found.map(Some).ok_or_else(|| {
            Trouble::new(
                "PostgreSQL does not run as root and there is no user `postgres` or `nobody`: \
                 add one of them, or run this as an ordinary user",
            )
        })
    }

    fn in_table(table: &str, name: &str) -> Option<Self> {
        let line = table.lines().find(|line| line.split(':').next() == Some(name))?;
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        (uid != 0).then(|| Self { name: name.to_owned(), uid, gid })
    }

    /// Makes `command` run as this account, in no group but its own.
    pub(crate) fn apply_to(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Hands a file or folder over.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Trouble> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .attempt(|| format!("cannot give {} to user {}", path.display(), self.name))
    }
}

/// Whether everybody may pass through `path`, as far as it exists: the account must reach what lies below.
pub(crate) fn everybody_may_pass(path: &Path) -> bool {
    path.ancestors().all(|folder| match fs::metadata(folder) {
        Ok(metadata) => metadata.permissions().mode() & 0o001 != 0,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let table =
            "root:x:0:0:root:/root:/bin/sh\npostgresql:x:9:9::/:\npostgres:x:101:104:PG:/var/lib:/bin/sh\n";
        let account = Account::in_table(table, "postgres").expect("in the table");
        assert_eq!((account.uid, account.gid), (101, 104));
        assert!(Account::in_table(table, "nobody").is_none());
    }

    #[test]
    fn root_under_another_name_is_no_account_to_switch_to() {
        assert!(Account::in_table("postgres:x:0:0::/:/bin/sh\n", "postgres").is_none());
    }

    #[test]
    fn a_private_folder_lets_nobody_pass() {
        let folder = std::env::temp_dir().join(format!("xtask-pass-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(everybody_may_pass(&folder.join("not/there/yet")));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!everybody_may_pass(&folder.join("not/there/yet")));
        fs::remove_dir(&folder).unwrap();
    }
}
