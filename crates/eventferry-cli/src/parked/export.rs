//! Writing parked events out whole, to be kept or mended elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

use eventferry::core::parked::{Desk, ParkedFilter};
use eventferry::core::store::Store;

use super::line::{Detail, EventLine};
use super::walk::Walk;
use super::{desk, filter};
use crate::arguments::ExportArguments;
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::table::counted;

/// Writes events to a file or to standard output.
pub(super) async fn export<S: Store>(store: S, arguments: &ExportArguments) -> Result<Ending, Trouble> {
    let filter = filter::of(&arguments.filter)?;
    let mut desk = desk(store).await?;
    let Some(path) = arguments.output.as_deref() else {
        write(&mut desk, &filter, arguments.limit, print).await?;
        return Ok(Ending::Done);
    };
    let mut file = BufWriter::new(made(path)?);
    let failed =
        |error: std::io::Error| Trouble::usage(format!("--output: `{path}` cannot be written: {error}"));
    let written =
        write(&mut desk, &filter, arguments.limit, |line| file.write_all(line.as_bytes()).map_err(failed));
    let written = match written.await {
        // On the disk before it is said: what is exported may be discarded next.
        Ok(written) => {
            file.flush().and_then(|()| file.get_ref().sync_all()).map(|()| written).map_err(failed)
        }
        Err(trouble) => Err(trouble),
    };
    if written.is_err() {
        // A part would pass for the whole.
        drop(std::fs::remove_file(path));
    }
    print(&format!("exported {} to {path}\n", counted(written?, "event")))?;
    Ok(Ending::Done)
}

/// A new file that only its owner reads: payloads are nobody else's business.
fn made(path: &str) -> Result<File, Trouble> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(Path::new(path)).map_err(|error| {
        Trouble::usage(format!(
            "--output: `{path}` cannot be made: {error}; name a file that does not exist yet"
        ))
    })
}

/// Writes events line by line; returns how many.
async fn write<D: Desk>(
    desk: &mut D,
    filter: &ParkedFilter,
    limit: Option<u64>,
    mut write: impl FnMut(&str) -> Result<(), Trouble>,
) -> Result<u64, Trouble> {
    let mut walk = Walk::new(desk, filter, limit);
    let mut written = 0;
    loop {
        let events = walk.next().await?;
        if events.is_empty() {
            return Ok(written);
        }
        for event in &events {
            write(&EventLine::of(event, Detail::Payload).json()?)?;
        }
        written += events.len() as u64;
    }
}
