//! Locks between processes.

use std::fs::File;
use std::path::Path;

use crate::trouble::{Attempt, Trouble};

/// Waits for the lock file at `path`; the lock ends with the returned handle, or with this process. The file stays.
pub(crate) fn lock(path: &Path) -> Result<File, Trouble> {
    let file = File::create(path).attempt(|| format!("cannot create {}", path.display()))?;
    file.lock().attempt(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
