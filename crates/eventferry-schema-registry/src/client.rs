//! A registry of the Confluent kind, asked over its REST API.
//!
//! Requests block, so they are made on the runtime's threads for blocking calls; whoever waits for one blocks nobody.

mod config;
mod fault;
mod http;
mod schema;
mod secret;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eventferry_core::{PublishFault, PublishFaultKind};
use serde::de::DeserializeOwned;

pub use config::RegistryConfig;
use config::{Login, Place};
pub(crate) use fault::{
    REGISTRY_DENIES, SCHEMA_INVALID, SCHEMA_NOT_FOUND, SUBJECT_NOT_FOUND, SUBJECT_REFUSED, VERSION_NOT_FOUND,
    refused,
};
use fault::{SCHEMA_INCOMPATIBLE, Words, meaning_of, throttled_for, unavailable};
use http::{Access, Answer, Request};
use schema::{Checked, NewSchemaJson, RegisteredJson};
pub use schema::{NewSchema, Reference, Registered};
pub use secret::Secret;

use crate::format::SchemaSource;
use crate::framing::{Guid, SchemaId};

/// How many schemas one may refer to, all in all.
const REFERENCES_MAX: usize = 1_000;

/// A client of a schema registry; cheap to clone.
///
/// Faults of all its methods: `Unavailable`: no server answers, or not as a registry, or it wants other credentials;
/// ask again later. `Throttled`: it asks for less; until then it is not asked, and this is the answer. `TopicRefused`:
/// what is asked for is not there, or a schema is not taken; the message says what to do. Messages name a server's host
/// and what was asked, and no credentials.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: RegistryConfig,
    /// The server that answered last.
    first: AtomicUsize,
    /// Until when nothing is asked, because the registry wants it so.
    throttled_until: Mutex<Option<Instant>>,
}

impl Registry {
    /// A client; connects to nothing.
    pub fn new(config: RegistryConfig) -> Self {
        let inner = Inner { config, first: AtomicUsize::new(0), throttled_until: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The registry's servers, for people: hosts and ports.
    pub fn hosts(&self) -> String {
        let hosts: Vec<_> = self.inner.config.places.iter().map(|place| place.host.as_str()).collect();
        hosts.join(", ")
    }

    /// The latest version of a subject's schema.
    ///
    /// # Errors
    /// Those of [`Registry`].
    pub async fn latest(&self, subject: &str) -> Result<Registered, PublishFault> {
        let path = format!("/subjects/{}/versions/latest", encoded(subject));
        self.ask::<RegisteredJson>(Request::get(path)).await?.with_text()?.read()
    }

    /// A version of a subject's schema; versions count from 1.
    ///
    /// # Errors
    /// Those of [`Registry`].
    pub async fn version(&self, subject: &str, version: u32) -> Result<Registered, PublishFault> {
        let path = format!("/subjects/{}/versions/{version}", encoded(subject));
        self.ask::<RegisteredJson>(Request::get(path)).await?.with_text()?.read()
    }

    /// A schema by what a message says of it.
    ///
    /// # Errors
    /// Those of [`Registry`].
    pub async fn schema(&self, id: SchemaId) -> Result<Registered, PublishFault> {
        let path = match id {
            SchemaId::Id(id) => format!("/schemas/ids/{id}"),
            SchemaId::Guid(guid) => format!("/schemas/guids/{guid}"),
        };
        let mut found = self.ask::<RegisteredJson>(Request::get(path)).await?.with_text()?.read()?;
        match id {
            SchemaId::Id(id) => found.id = Some(id),
            SchemaId::Guid(guid) => found.guid = Some(guid),
        }
        Ok(found)
    }

    /// This schema as it is registered under a subject, in whatever version.
    ///
    /// # Errors
    /// Those of [`Registry`].
    pub async fn find(&self, subject: &str, schema: &NewSchema) -> Result<Registered, PublishFault> {
        let body = self.new_schema(schema).await?;
        let path = format!("/subjects/{}", encoded(subject));
        let mut found = self.ask::<RegisteredJson>(Request::post(path, body)).await?;
        // It was found as one of this format, whether the registry says so (Confluent's does) or not (Apicurio's).
        found.schema_type = Some(schema.schema_type.name().to_owned());
        found.read()
    }

    /// Whether the subject's compatibility lets this schema follow its latest one; a subject that is not there yet
    /// takes any.
    ///
    /// # Errors
    /// Those of [`Registry`]; `TopicRefused` of class `SchemaIncompatible`, with the registry's reasons, if not.
    pub async fn check(&self, subject: &str, schema: &NewSchema) -> Result<(), PublishFault> {
        let body = self.new_schema(schema).await?;
        let path = format!("/compatibility/subjects/{}/versions/latest?verbose=true", encoded(subject));
        match self.ask::<Checked>(Request::post(path, body)).await {
            Ok(Checked { is_compatible: true, .. }) => Ok(()),
            Ok(Checked { messages, .. }) => Err(refused(
                SCHEMA_INCOMPATIBLE,
                format!(
                    "the schema given for subject {subject} is not compatible with its latest one: change it, or the \
                     subject's compatibility ({})",
                    fault::shortened(&messages.join("; "))
                ),
            )),
            Err(fault) if matches!(fault.class(), Some(SUBJECT_NOT_FOUND | VERSION_NOT_FOUND)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Registers a schema under a subject; one that is there stays as it is. What comes back has an id, and a GUID if
    /// the registry gives them.
    ///
    /// # Errors
    /// Those of [`Registry`].
    pub async fn register(&self, subject: &str, schema: &NewSchema) -> Result<Registered, PublishFault> {
        let body = self.new_schema(schema).await?;
        let path = format!("/subjects/{}/versions", encoded(subject));
        let mut made = self.ask::<RegisteredJson>(Request::post(path, body)).await?;
        // Older registries answer with the id alone.
        made.schema_type = Some(schema.schema_type.name().to_owned());
        made.schema = schema.text.clone();
        let mut made = made.read()?;
        made.references = self.settled(&schema.references).await?;
        Ok(made)
    }

    /// A schema's text, and those of all it refers to.
    ///
    /// # Errors
    /// Those of [`Registry`]; `TopicRefused` too if one name stands for two schemas.
    pub async fn source(&self, schema: &Registered) -> Result<SchemaSource, PublishFault> {
        let references = self.referred(&schema.references).await?;
        Ok(SchemaSource { text: schema.text.clone(), references })
    }

    /// The texts of these and of all they refer to, each before whoever refers to it.
    async fn referred(&self, references: &[Reference]) -> Result<Vec<(String, String)>, PublishFault> {
        enum Step {
            Enter(Reference),
            Leave(String, String),
        }
        let enter = |references: &[Reference]| -> Vec<Step> {
            references.iter().rev().cloned().map(Step::Enter).collect()
        };
        let (mut steps, mut texts) = (enter(references), Vec::new());
        let mut met: Vec<Reference> = Vec::new();
        while let Some(step) = steps.pop() {
            let reference = match step {
                Step::Leave(name, text) => {
                    texts.push((name, text));
                    continue;
                }
                Step::Enter(reference) => reference,
            };
            if let Some(before) = met.iter().find(|met| met.name == reference.name) {
                // Of two versions the one that was met first counts, as by the vendor's clients.
                if before.subject != reference.subject {
                    let what =
                        format!("two schemas are referred to as {}: let both be one subject", reference.name);
                    return Err(refused(SCHEMA_INVALID, what));
                }
                continue;
            }
            if met.len() == REFERENCES_MAX {
                let what =
                    format!("a schema refers to more than {REFERENCES_MAX} others: let it refer to fewer");
                return Err(refused(SCHEMA_INVALID, what));
            }
            let found = match reference.version {
                Some(version) => self.version(&reference.subject, version).await?,
                None => self.latest(&reference.subject).await?,
            };
            steps.push(Step::Leave(reference.name.clone(), found.text));
            steps.extend(enter(&found.references));
            met.push(reference);
        }
        Ok(texts)
    }

    /// References of which each has a version.
    async fn settled(&self, references: &[Reference]) -> Result<Vec<Reference>, PublishFault> {
        let mut settled = references.to_vec();
        for reference in settled.iter_mut().filter(|reference| reference.version.is_none()) {
            reference.version = self.latest(&reference.subject).await?.version;
        }
        Ok(settled)
    }

    /// A schema as it is posted.
    async fn new_schema(&self, schema: &NewSchema) -> Result<String, PublishFault> {
        let references = self.settled(&schema.references).await?;
        let json = NewSchemaJson::of(schema, &references);
        serde_json::to_string(&json)
            .map_err(|error| unavailable(format!("a request cannot be written: {error}")))
    }
}

impl Registry {
    /// Asks, and reads the answer.
    async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, PublishFault> {
        let request = Arc::new(request);
        self.not_throttled()?;
        let mut anew = false;
        loop {
            let access = self.inner.access(anew).await?;
            let (inner, asked) = (Arc::clone(&self.inner), Arc::clone(&request));
            let called = tokio::task::spawn_blocking(move || inner.send(&asked, &access));
            let (place, answer) = called.await.map_err(|error| {
                unavailable(if error.is_panic() {
                    "our own certificate and key do not belong together"
                } else {
                    "the runtime is shutting down"
                })
            })??;
            // What a command printed may have been taken back since.
            if answer.status == 401 && !anew && self.inner.login_may_be_renewed() {
                anew = true;
                continue;
            }
            return self.read(&place, &request, &answer);
        }
    }

    fn read<T: DeserializeOwned>(
        &self,
        place: &Place,
        request: &Request,
        answer: &Answer,
    ) -> Result<T, PublishFault> {
        let asked = request.said();
        if answer.is_good() {
            let read = serde_json::from_str(&answer.body);
            return read.map_err(|_| {
                unavailable(format!(
                    "what answers at {} to {asked} is no schema registry: see its URL, with its path",
                    place.host
                ))
            });
        }
        let complaint = answer.complaint();
        let words = Words {
            status: answer.status,
            code: complaint.error_code,
            message: &complaint.message,
            retry_after: answer.retry_after,
        };
        let meaning = meaning_of(answer.status, complaint.error_code);
        let fault = meaning.fault(&place.host, &asked, &words);
        if let PublishFaultKind::Throttled(pause) = fault.kind() {
            let until = Instant::now() + *pause;
            *self.inner.throttled_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
        match &answer.elsewhere {
            Some(host) if (300..400).contains(&answer.status) => {
                Err(unavailable(format!("{} (it names {host}): give its URL instead", fault.message())))
            }
            _ => Err(fault),
        }
    }

    /// Whether it may be asked now.
    fn not_throttled(&self) -> Result<(), PublishFault> {
        let until = *self.inner.throttled_until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(());
        }
        let what = format!("the schema registry asks for less: it is not asked for {} ms", left.as_millis());
        let fault = PublishFault::new(PublishFaultKind::Throttled(throttled_for(Some(left))), what);
        Err(fault.of_class(fault::REGISTRY_UNAVAILABLE))
    }
}

impl Inner {
    /// Reads what lets us in.
    async fn access(&self, anew: bool) -> Result<Access, PublishFault> {
        let config = &self.config;
        let unread = |what: &str, why: String| unavailable(format!("the schema registry's {what}: {why}"));
        let authorization = match &config.login {
            Login::Nobody => None,
            Login::Basic(user, password) => {
                let password = password.read(anew).await.map_err(|why| unread("password", why))?;
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Login::Bearer(token) => {
                let token = token.read(anew).await.map_err(|why| unread("token", why))?;
                if token.contains(|c: char| c.is_control() || c == ' ') {
                    return Err(unread("token", "there is to be one, and nothing else".into()));
                }
                Some(format!("Bearer {token}"))
            }
        };
        let authorities = match &config.authorities {
            Some(pem) => Some(pem.read(false).await.map_err(|why| unread("authorities", why))?),
            None => None,
        };
        let identity = match &config.identity {
            Some((certificate, key)) => {
                let certificate =
                    certificate.read(false).await.map_err(|why| unread("own certificate", why))?;
                Some((certificate, key.read(false).await.map_err(|why| unread("own key", why))?))
            }
            None => None,
        };
        Ok(Access { authorization, authorities, identity })
    }

    fn login_may_be_renewed(&self) -> bool {
        match &self.config.login {
            Login::Nobody => false,
            Login::Basic(_, secret) | Login::Bearer(secret) => secret.may_be_renewed(),
        }
    }

    /// Asks one server after the other until one answers for itself; blocks.
    fn send(&self, request: &Request, access: &Access) -> Result<(Place, Answer), PublishFault> {
        let places = &self.config.places;
        let first = self.first.load(Ordering::Relaxed);
        let mut silent = Vec::new();
        let mut unwell = None;
        for at in (0..places.len()).map(|step| (first + step) % places.len()) {
            let place = &places[at];
            match http::send(place, request, access, self.config.timeout) {
                // Another one may be well.
                Ok(answer) if answer.status >= 500 || answer.is_foreign() => {
                    unwell = Some((place.clone(), answer))
                }
                Ok(answer) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok((place.clone(), answer));
                }
                Err(why) => silent.push(format!("{}: {why}", place.host)),
            }
        }
        unwell
            .ok_or_else(|| unavailable(format!("the schema registry does not answer: {}", silent.join("; "))))
    }
}

/// A part of a path.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// The GUID in an answer.
fn guid(text: Option<&str>) -> Option<Guid> {
    text.and_then(|text| text.parse().ok())
}
