//! The certificates and the key of TLS, read from the files that the settings name, and again whenever they change.
//!
//! librdkafka reads them when a client is made, and can be told no others later, as it can be passwords
//! ([`Keeper`](super::Keeper)). So they are read here, tried, and handed over as texts; a client knows by its
//! [`Edition`] that there are newer ones, and is replaced. What cannot be used, such as a new certificate beside the
//! key of the former one, is left alone until it can be.

use std::future::pending;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use eventferry_core::{PublishFault, PublishFaultKind};
use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaType;
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

use super::keeper::{AGAIN, FILE_EVERY};
use super::text::Text;
use super::wrong;
use crate::config::{KafkaConfig, refused_property};
use crate::publisher::Quiet;

pub(super) const KEY_PASSWORD_FILE: &str = "ssl.key.password.file";
pub(super) const KEY_PASSWORD_COMMAND: &str = "ssl.key.password.command";
const KEY_PASSWORD: &str = "ssl.key.password";

/// Each text's property, and that of its file: of the authorities, our certificate, our key.
const PROPERTIES: [[&str; 2]; 3] = [
    ["ssl.ca.pem", "ssl.ca.location"],
    ["ssl.certificate.pem", "ssl.certificate.location"],
    ["ssl.key.pem", "ssl.key.location"],
];

/// The longest password of a key, in bytes: librdkafka hands it to OpenSSL in a buffer of that size.
const PASSWORD_BYTES_MAX: usize = 1024;

/// The certificates and the key, kept.
pub(crate) struct Certificates {
    /// As in [`PROPERTIES`].
    sources: [Option<Text>; 3],
    password: Option<Text>,
    /// Whom they are for, for the log.
    brokers: String,
    /// The settings of a client that connects to nothing.
    trial: ClientConfig,
    accepted: watch::Sender<Option<Arc<Texts>>>,
    /// Held while they are read: an older reading must not come after a newer one.
    reading: Mutex<()>,
    is_kept: AtomicBool,
}

/// What has been read, and can be used.
#[derive(Clone, PartialEq, Eq)]
struct Texts {
    /// As in [`PROPERTIES`].
    pems: [Option<String>; 3],
    password: Option<String>,
}

/// Which certificates a client was made with; by default with those that stay.
#[derive(Clone, Default)]
pub(crate) struct Edition(Option<watch::Receiver<Option<Arc<Texts>>>>);

impl Edition {
    /// Whether there are newer ones.
    pub(crate) fn is_outdated(&self) -> bool {
        self.0.as_ref().is_some_and(|accepted| accepted.has_changed().unwrap_or(false))
    }

    /// Whether there may ever be newer ones.
    pub(crate) fn may_change(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until there are newer ones.
    pub(crate) async fn outdated(mut self) {
        let changed = match &mut self.0 {
            Some(accepted) => accepted.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            pending().await
        }
    }
}

impl Certificates {
    /// Those of these settings; `None`: there is no TLS, or librdkafka finds them by itself.
    ///
    /// # Errors
    /// `Misconfigured`: settings that exclude or miss each other; they are named.
    pub(crate) fn of(config: &KafkaConfig) -> Result<Option<Self>, PublishFault> {
        let properties = &config.properties;
        let get = |name: &str| properties.get(name).map(String::as_str).unwrap_or_default();
        let source = |[text, file]: [&str; 2]| {
            // Into a folder librdkafka looks whenever it meets a certificate.
            let is_left = get(file) == "probe" || Path::new(get(file)).is_dir();
            Text::of(properties, [text, if is_left { "" } else { file }, ""])
        };
        let [authorities, certificate, key] = PROPERTIES;
        let sources = [source(authorities)?, source(certificate)?, source(key)?];
        let password = Text::of(properties, [KEY_PASSWORD, KEY_PASSWORD_FILE, KEY_PASSWORD_COMMAND])?;
        if let (Some(password), None) = (password.as_ref().filter(|from| from.may_change()), &sources[2]) {
            return Err(wrong(format!("{} needs {} or {} beside it", password.setting(), key[1], key[0])));
        }
        let has_tls =
            ["ssl", "sasl_ssl"].iter().any(|name| get("security.protocol").eq_ignore_ascii_case(name));
        if !has_tls || sources.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut trial = config.admin();
        trial.remove("bootstrap.servers");
        trial.set("security.protocol", "ssl");
        let (accepted, reading, is_kept) =
            (watch::Sender::default(), Mutex::default(), AtomicBool::default());
        let brokers = config.brokers.clone();
        Ok(Some(Self { sources, password, brokers, trial, accepted, reading, is_kept }))
    }

    /// Sets the newest that can be used in a client to be made.
    ///
    /// # Errors
    /// `Unavailable`, or `Misconfigured` where nothing is read from files: there are none that can be used; the message
    /// names the setting.
    pub(crate) async fn set(&self, client: &mut ClientConfig) -> Result<Edition, PublishFault> {
        let renewed = self.renew().await;
        let mut accepted = self.accepted.subscribe();
        let texts = accepted.borrow_and_update().clone();
        match (texts, renewed) {
            (Some(texts), _) => {
                texts.set(client);
                Ok(Edition(Some(accepted)))
            }
            (None, Err(why)) if self.may_change() => {
                Err(PublishFault::new(PublishFaultKind::Unavailable, why))
            }
            (None, renewed) => Err(wrong(renewed.err().unwrap_or_default())),
        }
    }

    /// Looks for newer ones from now on, until this is gone.
    pub(crate) fn keep(self: &Arc<Self>) {
        if self.may_change() && !self.is_kept.swap(true, Ordering::AcqRel) {
            tokio::spawn(keep(Arc::downgrade(self)));
        }
    }

    fn may_change(&self) -> bool {
        self.sources.iter().chain([&self.password]).flatten().any(Text::may_change)
    }

    /// Reads them, and if they are others than before, and can be used, all clients that were made before are outdated.
    /// Says whether that is so.
    ///
    /// # Errors
    /// They cannot be used; what was had stays.
    async fn renew(&self) -> Result<bool, String> {
        let _reading = self.reading.lock().await;
        let mut pems = [const { None }; 3];
        for (pem, source) in pems.iter_mut().zip(&self.sources) {
            if let Some(source) = source {
                *pem = Some(source.read_pem().await?);
            }
        }
        let before = self.accepted.borrow().clone();
        if before.as_ref().is_some_and(|before| before.pems == pems) {
            return Ok(false);
        }
        // A key's password is asked for with the key.
        let texts = Arc::new(Texts { pems, password: self.password().await? });
        self.attempt(&texts).await?;
        self.accepted.send_replace(Some(texts));
        Ok(before.is_some())
    }

    async fn password(&self) -> Result<Option<String>, String> {
        let Some(from) = &self.password else { return Ok(None) };
        let password = from.read().await?;
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(format!("{}: it is longer than {PASSWORD_BYTES_MAX} bytes", from.setting()));
        }
        Ok(Some(password))
    }

    /// Makes a client of them, and ends it.
    async fn attempt(&self, texts: &Texts) -> Result<(), String> {
        let mut trial = self.trial.clone();
        texts.set(&mut trial);
        let made = spawn_blocking(move || {
            let native = trial.create_native_config()?;
            Client::new(&trial, native, RDKafkaType::RD_KAFKA_PRODUCER, Quiet).map(drop)
        });
        match made.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(KafkaError::ClientCreation(why))) => Err(self.told(&why, texts)),
            Ok(Err(error)) => Err(refused_property(&error).message().to_owned()),
            Err(_) => Err("the runtime is shutting down".into()),
        }
    }

    /// Which setting is to blame that librdkafka made no client, by its words.
    fn told(&self, why: &str, texts: &Texts) -> String {
        let name = |place: usize| self.sources[place].as_ref().map_or(PROPERTIES[place][1], Text::setting);
        let is_encrypted = texts.pems[2].as_ref().is_some_and(|key| key.contains("ENCRYPTED"));
        if why.contains("ssl.ca.pem") {
            return format!("{}: there is no certificate in PEM, or one is damaged", name(0));
        }
        if why.contains("ssl.certificate.pem") {
            return format!("{}: there is no certificate in PEM, or one is damaged", name(1));
        }
        if why.contains("ssl.key.pem failed: not in PEM") {
            return match &self.password {
                Some(password) if is_encrypted => {
                    format!("{}: it does not open the key of {}", password.setting(), name(2))
                }
                None if is_encrypted => format!(
                    "{KEY_PASSWORD}: the key of {} is encrypted; give its password, or {KEY_PASSWORD_FILE} or \
                     {KEY_PASSWORD_COMMAND}",
                    name(2)
                ),
                _ => format!("{}: there is no private key in PEM", name(2)),
            };
        }
        if why.contains("ssl.key.pem") || why.contains("Private key check failed") {
            return format!("{}, {}: the key is not the certificate's", name(1), name(2));
        }
        format!("librdkafka does not take the settings: {why}")
    }
}

impl Texts {
    fn set(&self, client: &mut ClientConfig) {
        for ([text, file], pem) in PROPERTIES.iter().zip(&self.pems) {
            if let Some(pem) = pem {
                client.remove(file);
                client.set(*text, pem);
            }
        }
        if let Some(password) = &self.password {
            client.set(KEY_PASSWORD, password);
        }
    }
}

/// Looks for newer ones until nobody wants them.
async fn keep(certificates: Weak<Certificates>) {
    let mut said: Option<String> = None;
    loop {
        // waits: no file says that it has changed
        tokio::time::sleep(if said.is_some() { AGAIN } else { FILE_EVERY }).await;
        let Some(certificates) = certificates.upgrade() else { return };
        match certificates.renew().await {
            Ok(changed) => {
                said = None;
                if changed {
                    tracing::info!(
                        brokers = certificates.brokers,
                        "kafka: there are newer certificates; what was connected with former ones connects anew"
                    );
                }
            }
            Err(why) if said.as_ref() != Some(&why) => {
                tracing::warn!(
                    brokers = certificates.brokers,
                    "kafka: the certificates cannot be used, those we had are used as long as they hold: {why}"
                );
                said = Some(why);
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &str) -> Result<Option<Certificates>, PublishFault> {
        Certificates::of(&KafkaConfig::from_url(&format!("kafka://one?{options}")).unwrap())
    }

    #[test]
    fn only_what_is_a_file_or_a_text_is_read_here() {
        let folder = std::env::temp_dir().display().to_string();
        for options in [
            "",
            "ssl.ca.location=/nowhere",
            "security.protocol=ssl",
            "security.protocol=ssl&ssl.ca.location=probe",
            &format!("security.protocol=sasl_ssl&ssl.ca.location={folder}"),
        ] {
            assert!(of(options).unwrap().is_none(), "{options}");
        }
        for options in [
            "security.protocol=SSL&ssl.ca.location=/nowhere",
            "security.protocol=sasl_ssl&ssl.ca.pem=a",
            &format!("security.protocol=ssl&ssl.ca.location={folder}&ssl.key.location=/nowhere"),
        ] {
            assert!(of(options).unwrap().is_some(), "{options}");
        }
    }

    #[test]
    fn a_file_and_a_text_exclude_each_other() {
        for [text, file] in PROPERTIES {
            let said = of(&format!("security.protocol=ssl&{text}=a&{file}=b")).err().unwrap().to_string();
            assert!(said.contains(&format!("{text} and {file} exclude each other")), "{said}");
        }
    }
}
