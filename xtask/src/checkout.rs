//! Which clone of the repository this is.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::trouble::{Attempt, Trouble};

/// One clone or worktree of the repository. Servers belong to a checkout, so that two of them do not collide.
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout that holds this crate. Cargo names it at run time, which stays true when a binary is shared.
    pub(crate) fn find() -> Result<Self, Trouble> {
        let manifest =
            std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&manifest).join("..");
        let root =
            root.canonicalize().attempt(|| format!("cannot find the checkout at {}", root.display()))?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What `cargo metadata` says of the workspace's own packages; asks no registry.
    pub(crate) fn metadata(&self) -> Result<Value, Trouble> {
        let output = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .current_dir(&self.root)
            .output()
            .attempt(|| "cannot run cargo".to_owned())?;
        if !output.status.success() {
            return Err(Trouble::new(format!(
                "cargo metadata failed: {}",
                String::from_utf8_lossy(&output.stderr)
            )));
        }
        serde_json::from_slice(&output.stdout).attempt(|| "cannot read what cargo metadata says".to_owned())
    }

    /// A folder name for what belongs to this checkout: readable, and different for every path.
    pub(crate) fn key(&self) -> String {
        let name =
            self.root.file_name().map_or("root".to_owned(), |name| name.to_string_lossy().into_owned());
        let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(24).collect();
        format!("{name}-{:08x}", self.fingerprint() as u32)
    }

    /// FNV-1a over the path: the standard library's hasher may change between releases, and this names folders.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.root.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clones_of_one_name_have_different_keys() {
        let one = Checkout { root: PathBuf::from("/home/ann/eventferry") };
        let two = Checkout { root: PathBuf::from("/home/ann/second/eventferry") };
        assert!(one.key().starts_with("eventferry-"));
        assert_ne!(one.key(), two.key());
        assert_eq!(one.key(), Checkout { root: one.root.clone() }.key());
    }
}
