//! Where the registry is, and what lets us in.

use std::time::Duration;

use eventferry::core::PublishFault;
use eventferry::schemas::{RegistryConfig, Secret};

use crate::ending::Trouble;
use crate::settings::{Given, SchemasTable, duration};

/// How long an answer may take at most: a relay that waits longer for one may as well ask again.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// The registry that is set.
///
/// # Errors
/// None is, or something of it cannot be; it is named with its place.
pub(super) fn config(table: &SchemasTable) -> Result<RegistryConfig, Trouble> {
    let Some(url) = table.find("url") else {
        return Err(Trouble::usage(
            "schemas are set and no registry is; write url = \"https://host:8081\" in [schemas], or set \
             EVENTFERRY_SCHEMAS_URL",
        ));
    };
    let mut config = url.parse(|text| RegistryConfig::new(text.split(',').map(str::trim)).map_err(words))?;
    let (user, password) =
        (table.find("user"), secret(table, ["password", "password_file", "password_command"])?);
    config = match (user, password) {
        (Some(user), Some((_, password))) => {
            user.parse(|user| config.basic(user, password).map_err(words))?
        }
        (Some(user), None) => return user.parse(|_| Err("a user has a password; set it, too")),
        (None, Some((given, _))) => return given.parse(|_| Err("a password has a user; set it, too")),
        (None, None) => config,
    };
    if let Some((given, token)) = secret(table, ["token", "token_file", "token_command"])? {
        config = given.parse(|_| config.bearer(token).map_err(words))?;
    }
    if let Some(file) = table.find("ca_file") {
        config = config.authorities(Secret::file(file.text()));
    }
    config = match (table.find("certificate_file"), table.find("key_file")) {
        (Some(certificate), Some(key)) => {
            config.identity(Secret::file(certificate.text()), Secret::file(key.text()))
        }
        (None, None) => config,
        (Some(one), None) => return one.parse(|_| Err("a certificate has a key; set key_file, too")),
        (None, Some(one)) => return one.parse(|_| Err("a key has a certificate; set certificate_file, too")),
    };
    if let Some(timeout) = table.find("timeout") {
        config = config.timeout(timeout.parse(|text| match duration(text)? {
            timeout if timeout.is_zero() || timeout > TIMEOUT_MAX => {
                Err(format!("`{text}` is no time for an answer; give 1ms to 5m, as in 10s"))
            }
            timeout => Ok(timeout),
        })?);
    }
    Ok(config)
}

/// The one that is set of three: the text itself, a file, a command.
fn secret<'t>(
    table: &'t SchemasTable,
    keys: [&'static str; 3],
) -> Result<Option<(&'t Given, Secret)>, Trouble> {
    let kinds: [fn(&str) -> Secret; 3] =
        [|text| Secret::text(text), |path| Secret::file(path), |line| Secret::command(line)];
    let mut given = keys.iter().zip(kinds).filter_map(|(key, kind)| Some((table.find(key)?, kind)));
    match (given.next(), given.next()) {
        (_, Some((other, _))) => {
            other.parse(|_| Err(format!("{} exclude each other; give one", keys.join(", "))))
        }
        (one, None) => Ok(one.map(|(given, kind)| (given, kind(given.text())))),
    }
}

fn words(fault: PublishFault) -> String {
    fault.message().to_owned()
}
