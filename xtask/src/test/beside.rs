//! What is built while tests run.

use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;

use crate::log::Log;
use crate::trouble::Trouble;

/// Builds that go on beside something else.
pub(super) struct Beside(JoinHandle<()>);

/// Begins these cargo commands, one after the other, at the lowest priority.
pub(super) fn build(
    root: &Path,
    logs: &Path,
    builds: &'static [&'static [&'static str]],
) -> Result<Beside, Trouble> {
    let log = Log::at(logs.join("beside.log"));
    log.clear()?;
    let root = root.to_owned();
    let build = move || {
        for arguments in builds {
            let mut command = Command::new("nice");
            command.args(["-n", "19", "cargo"]).args(*arguments).current_dir(&root);
            // Whoever needs what was built builds it again if it is not there, and says what is wrong.
            let _ = log.record(&mut command).map(|()| command.status());
        }
    };
    Ok(Beside(std::thread::spawn(build)))
}

impl Beside {
    /// Waits for what is not built yet.
    pub(super) fn finish(self) {
        // It has nothing to panic about, and what it built is built again if it is not there.
        drop(self.0.join());
    }
}
