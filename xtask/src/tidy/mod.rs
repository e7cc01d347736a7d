//! The rules of the house that a program can check. What is not checked here is only advice.

mod source;
mod lengths;
mod names;
mod core_purity;
mod arrows;
mod mirrors;
mod sql;
mod rooms;
mod patience;

use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::Value;

pub(crate) use source::SourceFile;

use crate::checkout::Checkout;
use crate::trouble::{Attempt, Trouble};

/// A place where the house breaks one of its rules.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
}

impl Finding {
    fn of_line(file: &SourceFile, line: usize, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line: Some(line), message: message.into() }
    }

    fn of_file(file: &SourceFile, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line: None, message: message.into() }
    }

    fn of_member(member: &Member, message: impl Into<String>) -> Self {
        Self { path: member.folder.clone(), line: None, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// A crate of the workspace.
pub(crate) struct Member {
    pub(crate) name: String,
    /// Below the root.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
}

pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) used_in: Use,
}

/// Which of a manifest's tables names a dependency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Use {
    Library,
    Build,
    Tests,
}

/// The workspace as the rules see it.
struct House {
    files: Vec<SourceFile>,
    members: Vec<Member>,
}

/// Rules that look at one file at a time.
const FILE_RULES: [fn(&SourceFile) -> Vec<Finding>; 8] = [
    lengths::file_lengths,
    lengths::line_lengths,
    names::file_names,
    names::module_names,
    core_purity::core_words,
    sql::sql_headers,
    patience::ignored_tests,
    patience::sleeps,
];

/// All that is wrong, in the order of the files.
pub(crate) fn findings(checkout: &Checkout) -> Result<Vec<Finding>, Trouble> {
    let House { files, members } = House::read(checkout)?;
    let mut findings: Vec<Finding> =
        files.iter().flat_map(|file| FILE_RULES.iter().flat_map(move |rule| rule(file))).collect();
    findings.extend(core_purity::core_dependencies(&members));
    findings.extend(arrows::arrows(&members));
    findings.extend(arrows::kept_crates(&members));
    findings.extend(mirrors::mirrors(&files));
    findings.extend(rooms::rooms(&files, &members));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(findings)
}

impl House {
    fn read(checkout: &Checkout) -> Result<Self, Trouble> {
        let mut files = Vec::new();
        read_folder(checkout.root(), checkout.root(), &mut files)?;
        Ok(Self { files, members: members(&checkout.metadata()?, checkout.root())? })
    }
}

/// Text files below `folder`, without hidden folders and without what a build wrote.
fn read_folder(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> Result<(), Trouble> {
    const EXTENSIONS: [&str; 4] = ["rs", "sql", "md", "toml"];
    let mut entries = fs::read_dir(folder)
        .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
        .attempt(|| format!("cannot read {}", folder.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for path in entries.iter().map(fs::DirEntry::path) {
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            // Cargo marks the folders it writes to.
            if !path.join("CACHEDIR.TAG").exists() {
                read_folder(root, &path, files)?;
            }
        } else if path.extension().is_some_and(|own| EXTENSIONS.iter().any(|extension| own == *extension)) {
            let text = fs::read_to_string(&path).attempt(|| format!("cannot read {}", path.display()))?;
            files.push(SourceFile::new(below(root, &path), text));
        }
    }
    Ok(())
}

fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

fn members(metadata: &Value, root: &Path) -> Result<Vec<Member>, Trouble> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let members = packages.map(|package| member(package, root)).collect::<Option<Vec<_>>>();
    members.ok_or_else(|| Trouble::new("cargo metadata describes a package without name or manifest"))
}

fn member(package: &Value, root: &Path) -> Option<Member> {
    let manifest = Path::new(package["manifest_path"].as_str()?);
    let dependency = |dependency: &Value| {
        let used_in = match dependency["kind"].as_str() {
            None => Use::Library,
            Some("build") => Use::Build,
            Some(_) => Use::Tests,
        };
        Some(Dependency { name: dependency["name"].as_str()?.to_owned(), used_in })
    };
    Some(Member {
        name: package["name"].as_str()?.to_owned(),
        folder: below(root, manifest.parent()?),
        dependencies: package["dependencies"].as_array()?.iter().map(dependency).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let findings = findings(&Checkout::find().unwrap()).unwrap();
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "not tidy:\n{}", lines.join("\n"));
    }

    #[test]
    fn the_rules_see_the_house() {
        let house = House::read(&Checkout::find().unwrap()).unwrap();
        assert!(house.files.iter().any(|file| file.path == "xtask/src/tidy/mod.rs"));
        assert!(house.files.iter().all(|file| !file.path.starts_with("target/")));
        let own = house.members.iter().find(|member| member.name == "xtask").expect("a member");
        assert_eq!(own.folder, "xtask");
        assert!(own.dependencies.iter().any(|dependency| dependency.name == "serde_json"));
    }

    #[test]
    fn a_manifests_tables_are_told_apart() {
        let metadata = serde_json::json!({"packages": [{
            "name": "a", "manifest_path": "/house/crates/a/Cargo.toml", "dependencies": [
                {"name": "one", "kind": null},
                {"name": "two", "kind": "dev"},
                {"name": "three", "kind": "build"},
            ],
        }]});
        let members = members(&metadata, Path::new("/house")).unwrap();
        assert_eq!((members[0].name.as_str(), members[0].folder.as_str()), ("a", "crates/a"));
        let uses: Vec<Use> = members[0].dependencies.iter().map(|dependency| dependency.used_in).collect();
        assert_eq!(uses, [Use::Library, Use::Tests, Use::Build]);
    }
}
