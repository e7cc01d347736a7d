//! A secret as a text: as it stands in the settings, in a file, or as a command prints it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use eventferry_core::PublishFault;

use super::{command, wrong};

/// Where a text comes from.
#[derive(Clone)]
pub(crate) struct Text {
    setting: String,
    from: From,
}

#[derive(Clone)]
enum From {
    Settings(String),
    File(PathBuf),
    Command(String),
}

impl Text {
    /// The one that is set of three settings: for the text itself, for a file, for a command; `None` if none is.
    ///
    /// # Errors
    /// More than one is.
    pub(super) fn of(
        properties: &BTreeMap<String, String>,
        settings: [&str; 3],
    ) -> Result<Option<Self>, PublishFault> {
        let given = settings.iter().zip(0..).filter_map(|(setting, kind)| {
            let value = properties.get(*setting).filter(|value| !value.is_empty())?.clone();
            let from = match kind {
                0 => From::Settings(value),
                1 => From::File(value.into()),
                _ => From::Command(value),
            };
            Some(Self { setting: (*setting).to_owned(), from })
        });
        let mut given: Vec<_> = given.collect();
        match given.len() {
            0 | 1 => Ok(given.pop()),
            _ => {
                let names: Vec<_> = given.iter().map(Self::setting).collect();
                Err(wrong(format!("{} exclude each other: give one", names.join(" and "))))
            }
        }
    }

    /// The name of the setting.
    pub(super) fn setting(&self) -> &str {
        &self.setting
    }

    /// Whether it may be another later.
    pub(super) fn may_change(&self) -> bool {
        !matches!(self.from, From::Settings(_))
    }

    /// Whether reading it costs nothing worth saving.
    pub(super) fn is_cheap(&self) -> bool {
        !matches!(self.from, From::Command(_))
    }

    /// Reads it, without line ends behind it.
    ///
    /// # Errors
    /// What went wrong, after the setting's name.
    pub(super) async fn read(&self) -> Result<String, String> {
        self.read_as(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())).await
    }

    /// The same for PEM, which may have remarks in any encoding around it.
    ///
    /// # Errors
    /// As of [`Text::read`].
    pub(super) async fn read_pem(&self) -> Result<String, String> {
        let text = self.read_as(|bytes| Ok(String::from_utf8_lossy(&bytes).into_owned())).await?;
        // librdkafka takes what is whole of a bundle that is being written, and leaves the rest.
        if text.matches("-----BEGIN ").count() != text.matches("-----END ").count() {
            return Err(format!(
                "{}: what begins there does not end: it is being written, or damaged",
                self.setting
            ));
        }
        Ok(text)
    }

    async fn read_as(&self, text: impl FnOnce(Vec<u8>) -> Result<String, String>) -> Result<String, String> {
        let read = match &self.from {
            From::Settings(text) => Ok(text.clone()),
            From::File(path) => match tokio::fs::read(path).await {
                Ok(bytes) => text(bytes),
                Err(error) => Err(format!("the file cannot be read: {error}")),
            },
            From::Command(command) => command::printed(command).await,
        };
        let text = read.map_err(|why| format!("{}: {why}", self.setting))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() || text.contains('\0') {
            return Err(format!("{}: what is to be there is not", self.setting));
        }
        Ok(text.to_owned())
    }
}
