//! Where servers are installed and run: one folder for all checkouts, outside of them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::account::everybody_may_pass;
use crate::lock::lock;
use crate::trouble::{Attempt, Trouble};

/// The cache folder. What is in it can be removed at any time while no server runs; it is then fetched again.
pub(crate) struct Cache {
    folder: PathBuf,
}

/// What decides the folder's place, apart from the disk.
struct Wishes {
    explicit: Option<PathBuf>,
    xdg: Option<PathBuf>,
    home: Option<PathBuf>,
    /// Servers run as somebody else, who must be able to reach the folder.
    for_somebody_else: bool,
}

impl Cache {
    pub(crate) fn locate(for_somebody_else: bool) -> Result<Self, Trouble> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let wishes = Wishes {
            explicit: variable("EVENTFERRY_CACHE"),
            xdg: variable("XDG_CACHE_HOME"),
            home: variable("HOME"),
            for_somebody_else,
        };
        let folder = wishes.folder(everybody_may_pass)?;
        make_folder(&folder)?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of `name`, if it has been installed.
    pub(crate) fn installed(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name)).filter(|folder| folder.is_dir())
    }

    /// Installs `name` unless it is there: `fill` gets an empty folder, which is renamed into place when it is done.
    /// One install at a time, over all processes: two Maven clients that fill one local repository spoil its files.
    pub(crate) fn install(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), Trouble>,
    ) -> Result<PathBuf, Trouble> {
        if let Some(folder) = self.installed(name) {
            return Ok(folder);
        }
        let _lock = lock(&self.folder.join("install.lock"))?;
        if let Some(folder) = self.installed(name) {
            return Ok(folder);
        }
        let (partial, folder) = (self.folder.join(format!("{name}.partial")), self.folder.join(name));
        if partial.exists() {
            // Left by an install that was interrupted: whoever holds the lock may clear it.
            fs::remove_dir_all(&partial).attempt(|| format!("cannot remove {}", partial.display()))?;
        }
        make_folder(&partial)?;
        fill(&partial)?;
        fs::rename(&partial, &folder).attempt(|| format!("cannot rename {}", partial.display()))?;
        Ok(folder)
    }
}

impl Wishes {
    /// The first place that will do. A place that was asked for by name is used or refused, never passed over.
    fn folder(&self, may_pass: impl Fn(&Path) -> bool) -> Result<PathBuf, Trouble> {
        let reachable = |folder: &Path| !self.for_somebody_else || may_pass(folder);
        if let Some(folder) = &self.explicit {
            if !folder.is_absolute() {
                return Err(Trouble::new("EVENTFERRY_CACHE must be an absolute path"));
            }
            if !reachable(folder) {
                return Err(Trouble::new(format!(
                    "EVENTFERRY_CACHE is {}, which the servers' user cannot enter (they do not run as root): \
                     choose a folder below one that everybody may pass, such as /var/cache/eventferry",
                    folder.display()
                )));
            }
            return Ok(folder.clone());
        }
        let at_home = || self.home.as_ref().map(|home| home.join(".cache"));
        let personal = self.xdg.clone().filter(|folder| folder.is_absolute()).or_else(at_home);
        let shared = self.for_somebody_else.then(|| PathBuf::from("/var/cache"));
        let places = personal.into_iter().chain(shared).map(|folder| folder.join("eventferry"));
        let found = places.into_iter().find(|folder| reachable(folder));
        Ok(found.unwrap_or_else(|| std::env::temp_dir().join("eventferry-cache")))
    }
}

/// Creates a folder that other users may enter, whatever the umask says.
pub(crate) fn make_folder(folder: &Path) -> Result<(), Trouble> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folder(parent)?;
    }
    let made = match fs::create_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
        .attempt(|| format!("cannot create {} (EVENTFERRY_CACHE names another place)", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes() -> Wishes {
        let home = Some(PathBuf::from("/home/ann"));
        Wishes { explicit: None, xdg: None, home, for_somebody_else: false }
    }

    #[test]
    fn the_cache_lies_in_the_users_cache_folder() {
        assert_eq!(wishes().folder(|_| false).unwrap(), Path::new("/home/ann/.cache/eventferry"));
        let xdg = Wishes { xdg: Some(PathBuf::from("/cache")), ..wishes() };
        assert_eq!(xdg.folder(|_| false).unwrap(), Path::new("/cache/eventferry"));
    }

    #[test]
    fn roots_private_home_is_passed_over_for_a_shared_place() {
        let root = Wishes { for_somebody_else: true, ..wishes() };
        let found = root.folder(|folder| !folder.starts_with("/home")).unwrap();
        assert_eq!(found, Path::new("/var/cache/eventferry"));
    }

    #[test]
    fn a_place_asked_for_by_name_is_used_or_refused() {
        let asked = Wishes { explicit: Some(PathBuf::from("/srv/x")), ..wishes() };
        assert_eq!(asked.folder(|_| false).unwrap(), Path::new("/srv/x"));
        let refused = Wishes { for_somebody_else: true, ..asked };
        assert!(refused.folder(|_| false).is_err());
        let relative = Wishes { explicit: Some(PathBuf::from("here")), ..wishes() };
        assert!(relative.folder(|_| true).is_err());
    }

    #[test]
    fn an_install_that_fails_leaves_nothing_behind_and_may_be_repeated() {
        let folder = std::env::temp_dir().join(format!("xtask-cache-{}", std::process::id()));
        let cache = Cache { folder: folder.clone() };
        make_folder(&folder).unwrap();
        let failed = cache.install("thing", |into| {
            fs::write(into.join("half"), "").unwrap();
            Err(Trouble::new("the network went away"))
        });
        assert!(failed.is_err() && cache.installed("thing").is_none());
        let installed =
            cache.install("thing", |into| fs::write(into.join("whole"), "").attempt(String::new)).unwrap();
        assert!(installed.join("whole").exists() && !installed.join("half").exists());
        cache.install("thing", |_| panic!("it is installed already")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
