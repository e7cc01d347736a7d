//! A small disk, to be filled: a tmpfs, which only root may mount.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::process::run;
use crate::failure::{Attempt as _, Failure};

/// A file system of its own; unmounted when this is dropped.
#[derive(Debug)]
pub(in crate::storm) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts one of this size below a folder.
    pub(in crate::storm) async fn mount(folder: &Path, mebibytes: u32) -> Result<Self, Failure> {
        let at = folder.join("disk");
        std::fs::create_dir(&at).attempt("make a folder for a disk")?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]).arg(&at);
        run("mount a small disk (only root may)", mount).await?;
        Ok(Self { at })
    }

    /// Where it is.
    pub(in crate::storm) fn path(&self) -> &Path {
        &self.at
    }

    /// Writes until nothing more goes in.
    pub(in crate::storm) fn fill(&self) -> Result<(), Failure> {
        let mut file = std::fs::File::create(self.ballast()).attempt("fill a disk")?;
        let block = vec![1; 64 << 10];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        Ok(())
    }

    /// Removes what filled it.
    pub(in crate::storm) fn free(&self) -> Result<(), Failure> {
        std::fs::remove_file(self.ballast()).attempt("free a disk")
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may have files open for a moment.
        let unmounted = std::process::Command::new("umount").arg("-l").arg(&self.at).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("trials: {} stays mounted", self.at.display());
        }
    }
}
