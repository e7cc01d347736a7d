//! Standard output: results, and nothing else.

use std::io::{ErrorKind, Write};

use crate::ending::{Ending, Trouble};

/// Writes a result. A reader that has gone (`eventferry status | head`) has had enough.
pub(crate) fn print(text: &str) -> Result<(), Trouble> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let message = format!("the result cannot be written to standard output: {error}");
            Err(Trouble { ending: Ending::Broken, message })
        }
        _ => Ok(()),
    }
}
