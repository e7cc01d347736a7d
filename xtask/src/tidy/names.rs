//! No name that says nothing.

use std::path::Path;

use super::{Finding, SourceFile};

/// Whatever is put there has no name yet: ask what it is about.
const BANNED: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];

/// Files and folders.
pub(crate) fn file_names(file: &SourceFile) -> Vec<Finding> {
    let path = Path::new(&file.path);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folders = path.parent().into_iter().flat_map(Path::components);
    let mut names = folders.map(|folder| folder.as_os_str().to_string_lossy()).chain([stem]);
    let banned = names.find(|name| BANNED.contains(&&**name));
    banned.map(|name| finding(file, None, &name)).into_iter().collect()
}

/// Modules written inside another file.
pub(crate) fn module_names(file: &SourceFile) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let banned_in = |line: &str| {
        let name =
            line.split_once("mod ").filter(|(before, _)| !before.ends_with(|c: char| c.is_alphanumeric()))?.1;
        let name = name.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_');
        BANNED.contains(&name).then(|| name.to_owned())
    };
    let lines = file.code_lines().into_iter();
    lines.filter_map(|(number, line)| Some(finding(file, Some(number), &banned_in(&line)?))).collect()
}

fn finding(file: &SourceFile, line: Option<usize>, name: &str) -> Finding {
    let message = format!("`{name}` says nothing: name it for what it is about");
    Finding { path: file.path.clone(), line, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_or_folder_with_a_banned_name_is_found() {
        for path in ["a/src/utils.rs", "a/tests/common/mod.rs", "helpers/x.sql", "a/misc.md"] {
            assert_eq!(file_names(&SourceFile::new(path, "")).len(), 1, "{path}");
        }
        for path in ["a/src/utility_bill.rs", "a/src/uncommon.rs", "README.md"] {
            assert_eq!(file_names(&SourceFile::new(path, "")).len(), 0, "{path}");
        }
    }

    #[test]
    fn a_module_with_a_banned_name_is_found() {
        let found = |text: &str| module_names(&SourceFile::new("a.rs", text)).len();
        assert_eq!(found("pub(crate) mod util {\n"), 1);
        assert_eq!(found("mod helpers;\n"), 1);
        assert_eq!(found("mod commonplace;\n// mod util;\nlet common = 1;\n"), 0);
    }
}
