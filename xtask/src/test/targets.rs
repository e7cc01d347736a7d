//! The programs that `cargo test` is about to run.

use serde_json::Value;

use super::suite::MustRun;

/// A built test program.
#[derive(Debug, PartialEq)]
pub(crate) struct Target {
    /// Its file name, with the hash that tells it from its namesakes in other crates.
    pub(crate) program: String,
    name: String,
    manifest: String,
}

/// The programs named in what `cargo test --no-run --message-format=json` prints.
pub(crate) fn targets(messages: &str) -> Vec<Target> {
    messages.lines().filter_map(|line| target(&serde_json::from_str(line).ok()?)).collect()
}

fn target(message: &Value) -> Option<Target> {
    let is_test = message["profile"]["test"].as_bool()?;
    let executable = message["executable"].as_str()?;
    is_test.then_some(Target {
        program: executable.rsplit('/').next()?.to_owned(),
        name: message["target"]["name"].as_str()?.to_owned(),
        manifest: message["manifest_path"].as_str()?.to_owned(),
    })
}

/// The program of a target that must run, if it was built.
pub(crate) fn program_of<'a>(targets: &'a [Target], metadata: &Value, must: &MustRun) -> Option<&'a str> {
    let mut packages = metadata["packages"].as_array()?.iter();
    let package = packages.find(|package| package["name"] == must.package)?;
    let is_it = |target: &&Target| target.name == must.target && package["manifest_path"] == *target.manifest;
    targets.iter().find(is_it).map(|target| target.program.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_one_name_are_told_apart_by_their_package() {
        let message = |crate_name: &str, hash: &str| {
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": format!("/house/{crate_name}/Cargo.toml"),
                "target": {"name": "it"}, "profile": {"test": true}, "executable": format!("/t/deps/it-{hash}"),
            })
        };
        let library = "{\"reason\":\"compiler-artifact\",\"profile\":{\"test\":false},\"executable\":null}";
        let messages = format!("{}\n{library}\n{}\nnot json\n", message("a", "11"), message("b", "22"));
        let targets = targets(&messages);
        let metadata = serde_json::json!({"packages": [
            {"name": "a", "manifest_path": "/house/a/Cargo.toml"},
            {"name": "b", "manifest_path": "/house/b/Cargo.toml"},
        ]});
        let program = |package| program_of(&targets, &metadata, &MustRun { package, target: "it" });
        assert_eq!((program("a"), program("b"), program("c")), (Some("it-11"), Some("it-22"), None));
    }
}
