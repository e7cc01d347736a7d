//! Keeps what lets us in, asks for it anew in time, and tells every client that lives.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use eventferry_core::{PublishFault, PublishFaultKind};
use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::types::{RDKafka, RDKafkaRespErr};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use super::{OauthToken, Secret, Source, TokenFrom};

/// How often files are looked at.
pub(super) const FILE_EVERY: Duration = Duration::from_secs(5);

/// How often a command is asked for a password that nobody has refused.
const COMMAND_EVERY: Duration = Duration::from_secs(300);

/// How long what was asked for is used when a client is made: a relay makes several at once.
const FRESH: Duration = Duration::from_secs(30);

/// After which part of a token's life it is asked for anew.
const RENEW_AT: f64 = 0.7;

/// How long to wait after a source has failed, and after a broker has refused what came of it.
pub(super) const AGAIN: Duration = Duration::from_secs(10);
const REFUSED_AGAIN: Duration = Duration::from_secs(1);

/// A client that is to be told.
pub(crate) trait Holder: Send + Sync {
    /// librdkafka's own, which lives as long as this.
    fn native(&self) -> *mut RDKafka;
}

impl<C: ProducerContext + 'static> Holder for BaseProducer<C> {
    fn native(&self) -> *mut RDKafka {
        self.client().native_ptr()
    }
}

impl<C: ClientContext> Holder for AdminClient<C> {
    fn native(&self) -> *mut RDKafka {
        self.inner().native_ptr()
    }
}

impl<C: ConsumerContext> Holder for BaseConsumer<C> {
    fn native(&self) -> *mut RDKafka {
        self.client().native_ptr()
    }
}

/// What lets us in, kept.
pub(crate) struct Keeper {
    source: Source,
    held: tokio::sync::Mutex<Option<Held>>,
    holders: Mutex<Vec<Weak<dyn Holder>>>,
    /// Rung when a broker has refused it.
    doubted: Arc<Notify>,
    is_kept: AtomicBool,
}

struct Held {
    secret: Secret,
    asked_at: Instant,
}

impl Keeper {
    pub(crate) fn new(source: Source) -> Arc<Self> {
        Arc::new(Self {
            source,
            held: tokio::sync::Mutex::default(),
            holders: Mutex::default(),
            doubted: Arc::default(),
            is_kept: AtomicBool::new(false),
        })
    }

    /// What lets us in now; the first call begins to keep it.
    ///
    /// # Errors
    /// `Unavailable`: it cannot be had; the message names the setting.
    pub(crate) async fn secret(self: &Arc<Self>) -> Result<Secret, PublishFault> {
        let mut held = self.held.lock().await;
        let secret = match held.as_ref().filter(|held| self.is_fresh(held)) {
            Some(held) => held.secret.clone(),
            None => {
                let secret = self.source.ask().await;
                let secret = secret.map_err(|why| PublishFault::new(PublishFaultKind::Unavailable, why))?;
                *held = Some(Held { secret: secret.clone(), asked_at: Instant::now() });
                secret
            }
        };
        if !self.is_kept.swap(true, Ordering::AcqRel) {
            tokio::spawn(keep(Arc::downgrade(self), Arc::clone(&self.doubted)));
        }
        Ok(secret)
    }

    fn is_fresh(&self, held: &Held) -> bool {
        match (&self.source, &held.secret) {
            (
                Source::Token {
                    from: TokenFrom::Endpoint(_) | TokenFrom::Msk(_) | TokenFrom::Program(_),
                    ..
                },
                Secret::Token(token),
            ) => !renewal(token, held.asked_at).is_zero(),
            (source, _) => !source.is_cheap() && held.asked_at.elapsed() < FRESH,
        }
    }

    /// Tells a client what lets us in, and again whenever that changes; blocks.
    ///
    /// # Errors
    /// `Misconfigured`: librdkafka does not take it.
    pub(crate) fn admit(&self, holder: &Arc<impl Holder + 'static>) -> Result<(), PublishFault> {
        let weak = Arc::downgrade(holder);
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.retain(|holder| holder.strong_count() > 0);
        holders.push(weak);
        drop(holders);
        // Looked at only now: what changes from here on is told to all.
        match self.held.blocking_lock().as_ref() {
            Some(held) => self.source.tell(&**holder, &held.secret).map_err(super::wrong),
            None => Ok(()),
        }
    }

    /// A broker has refused it: it is asked for anew, and what comes of it is told to the client that was refused, too.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// How long what is held needs no look.
    async fn rest(&self) -> Duration {
        let held = self.held.lock().await;
        match (&self.source, held.as_ref().map(|held| (&held.secret, held.asked_at))) {
            (_, None) => AGAIN,
            (source, Some((Secret::Token(token), at))) if source.is_cheap() => {
                renewal(token, at).min(FILE_EVERY)
            }
            (_, Some((Secret::Token(token), at))) => renewal(token, at),
            (source, Some(_)) if source.is_cheap() => FILE_EVERY,
            (_, Some((_, at))) => COMMAND_EVERY.saturating_sub(at.elapsed()),
        }
    }

    /// Asks anew, and tells the clients if something changed.
    ///
    /// # Errors
    /// It cannot be had; what was had stays.
    async fn renew(self: Arc<Self>) -> Result<(), String> {
        // Held while it is asked for: an older answer must not come after a newer one.
        let mut held = self.held.lock().await;
        let secret = self.source.ask().await?;
        let before = held.replace(Held { secret: secret.clone(), asked_at: Instant::now() });
        drop(held);
        if before.is_some_and(|before| before.secret == secret) {
            return Ok(());
        }
        // A client that ends meanwhile ends there, which blocks.
        let told = spawn_blocking(move || {
            let holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let living: Vec<_> = holders.iter().filter_map(Weak::upgrade).collect();
            living.iter().try_for_each(|holder| self.source.tell(&**holder, &secret))
        });
        told.await.unwrap_or(Ok(()))
    }
}

/// Keeps a keeper's secret until it is gone.
async fn keep(keeper: Weak<Keeper>, doubted: Arc<Notify>) {
    let mut said: Option<String> = None;
    loop {
        let Some(rest) = keeper.upgrade() else { return };
        let rest = match &said {
            Some(_) => AGAIN,
            None => rest.rest().await,
        };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            // Brokers refuse again and again; a source is asked once in a while.
            () = doubted.notified() => tokio::time::sleep(REFUSED_AGAIN).await,
        }
        let Some(strong) = keeper.upgrade() else { return };
        match strong.renew().await {
            Ok(()) if said.take().is_some() => tracing::info!("kafka: what lets us in can be had again"),
            Ok(()) => {}
            Err(why) if said.as_ref() != Some(&why) => {
                tracing::warn!(
                    "kafka: what lets us in cannot be had anew, what we had is used as long as it holds: {why}"
                );
                said = Some(why);
            }
            Err(_) => {}
        }
    }
}

/// How long a token that was had at this time needs no renewal.
fn renewal(token: &OauthToken, had_at: Instant) -> Duration {
    let left = token.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
    // Of its whole life as we know it.
    let life = left + had_at.elapsed();
    life.mul_f64(RENEW_AT).saturating_sub(had_at.elapsed())
}

impl Source {
    /// Whether asking costs nothing worth saving.
    fn is_cheap(&self) -> bool {
        match self {
            Self::Password { from, .. } | Self::Token { from: TokenFrom::Text(from), .. } => from.is_cheap(),
            Self::Token { .. } => false,
        }
    }

    /// Asks for it.
    ///
    /// # Errors
    /// What went wrong, with the setting to look at.
    async fn ask(&self) -> Result<Secret, String> {
        match self {
            Self::Password { username, from } => {
                Ok(Secret::Password { username: username.clone(), password: from.read().await? })
            }
            Self::Token { from: TokenFrom::Text(text), .. } => {
                let token = OauthToken::read(&text.read().await?, SystemTime::now());
                token.map(Secret::Token).map_err(|why| format!("{}: {why}", text.setting()))
            }
            Self::Token { from: TokenFrom::Endpoint(endpoint), .. } => {
                endpoint.ask().await.map(Secret::Token)
            }
            Self::Token { from: TokenFrom::Msk(msk), .. } => msk.sign().await.map(Secret::Token),
            Self::Token { from: TokenFrom::Program(source), .. } => {
                let token = source
                    .fetch()
                    .await
                    .map_err(|error| format!("the program's own source of tokens: {error}"))?;
                match token.expires_at > SystemTime::now() {
                    true => Ok(Secret::Token(token)),
                    false => Err("the program's own source of tokens: the token has expired".into()),
                }
            }
        }
    }

    /// Tells a client.
    ///
    /// # Errors
    /// librdkafka does not take it; its words, which have no secret.
    fn tell(&self, holder: &dyn Holder, secret: &Secret) -> Result<(), String> {
        let text =
            |text: &str| CString::new(text).map_err(|_| "what lets us in has a zero byte in it".to_owned());
        match (secret, self) {
            (Secret::Password { username, password }, _) => {
                let (username, password) = (text(username)?, text(password)?);
                #[expect(unsafe_code, reason = "the binding has no way to change credentials")]
                // The client lives as long as the borrow; librdkafka copies the texts. What it gives back is ours.
                unsafe {
                    let error = native::rd_kafka_sasl_set_credentials(
                        holder.native(),
                        username.as_ptr(),
                        password.as_ptr(),
                    );
                    if !error.is_null() {
                        native::rd_kafka_error_destroy(error);
                        return Err("librdkafka takes neither user nor password: give both".into());
                    }
                }
                Ok(())
            }
            (Secret::Token(token), Self::Token { extensions, .. }) => set_token(holder, token, extensions),
            (Secret::Token(token), Self::Password { .. }) => set_token(holder, token, &[]),
        }
    }
}

/// Gives a client a token.
fn set_token(holder: &dyn Holder, token: &OauthToken, extensions: &[(String, String)]) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|_| "the token has a zero byte in it".to_owned());
    let (value, principal) = (text(&token.token)?, text(&token.principal)?);
    let extensions: Result<Vec<_>, _> =
        extensions.iter().flat_map(|(name, value)| [text(name), text(value)]).collect();
    let extensions = extensions?;
    let mut pointers: Vec<_> = extensions.iter().map(|text| text.as_ptr()).collect();
    let ends = token.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ends = i64::try_from(ends.as_millis()).unwrap_or(i64::MAX);
    let mut said = [0 as std::ffi::c_char; 512];
    #[expect(unsafe_code, reason = "the binding sets tokens only from a callback of clients that are polled")]
    // As above; its words end with a zero within the buffer.
    let code = unsafe {
        native::rd_kafka_oauthbearer_set_token(
            holder.native(),
            value.as_ptr(),
            ends,
            principal.as_ptr(),
            pointers.as_mut_ptr(),
            pointers.len(),
            said.as_mut_ptr(),
            said.len(),
        )
    };
    if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // Its words may repeat what they are about.
    Err(format!(
        "librdkafka does not take the token (code {}): see its form and sasl.oauthbearer.extensions",
        code as i32
    ))
}
