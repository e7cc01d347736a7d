//! What lets us in and may change while relays run: passwords and tokens from files, commands, an endpoint or the
//! program; certificates and keys from files.
//!
//! librdkafka is told passwords and tokens when a client is made, and again whenever they change ([`Keeper`]): a
//! connection that is open stays so, the next one is made with what is new. Certificates it takes only when a client is
//! made, so newer ones take newer clients ([`Certificates`]).

mod certificates;
mod command;
mod keeper;
mod msk;
mod oidc;
mod text;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use eventferry_core::PublishFault;
use rdkafka::ClientConfig;

pub(crate) use certificates::{Certificates, Edition};
pub(crate) use keeper::Keeper;
use msk::Msk;
use oidc::Oidc;
use text::Text;
pub use token::OauthToken;
pub(crate) use token::TokenSource;

use crate::config::{KafkaConfig, wrong};
use crate::url::pairs;

/// The properties that we read ourselves and do not hand to librdkafka. Those of `sasl.oauthbearer.` that bear its
/// names mean what they mean to it; it would need libcurl for them.
const OURS: &[&str] = &[
    PASSWORD_FILE,
    PASSWORD_COMMAND,
    TOKEN_FILE,
    TOKEN_COMMAND,
    METHOD,
    EXTENSIONS,
    oidc::ENDPOINT,
    oidc::CLIENT_ID,
    oidc::CLIENT_SECRET,
    oidc::CLIENT_SECRET_FILE,
    oidc::CLIENT_SECRET_COMMAND,
    oidc::SCOPE,
    oidc::CA_FILE,
    oidc::CA_PEM,
    msk::REGION,
    certificates::KEY_PASSWORD_FILE,
    certificates::KEY_PASSWORD_COMMAND,
];

const USERNAME: &str = "sasl.username";
const PASSWORD: &str = "sasl.password";
const PASSWORD_FILE: &str = "sasl.password.file";
const PASSWORD_COMMAND: &str = "sasl.password.command";
const TOKEN_FILE: &str = "sasl.oauthbearer.token.file";
const TOKEN_COMMAND: &str = "sasl.oauthbearer.token.command";
const METHOD: &str = "sasl.oauthbearer.method";
const EXTENSIONS: &str = "sasl.oauthbearer.extensions";

/// librdkafka's own tokens without a signature, which nobody takes but in a trial.
const UNSECURED: &str = "enable.sasl.oauthbearer.unsecure.jwt";

/// Whether a property is read here.
pub(crate) fn is_ours(property: &str) -> bool {
    OURS.contains(&property)
}

/// The settings of a client to be made, with all that lets it in.
pub(crate) struct Equipped {
    pub(crate) settings: ClientConfig,
    pub(crate) edition: Edition,
}

/// Puts what lets us in into the settings of a client to be made, as far as it is not there.
///
/// # Errors
/// Those of [`Keeper::secret`] and [`Certificates::set`].
pub(crate) async fn equip(
    mut settings: ClientConfig,
    keeper: Option<&Arc<Keeper>>,
    certificates: Option<&Certificates>,
) -> Result<Equipped, PublishFault> {
    if let Some(keeper) = keeper {
        keeper.secret().await?.set(&mut settings);
    }
    let edition = match certificates {
        Some(certificates) => certificates.set(&mut settings).await?,
        None => Edition::default(),
    };
    Ok(Equipped { settings, edition })
}

/// Where what lets us in comes from.
pub(crate) enum Source {
    /// A password that may change, of this user.
    Password { username: String, from: Text },
    /// A token.
    Token { from: TokenFrom, extensions: Vec<(String, String)> },
}

pub(crate) enum TokenFrom {
    Text(Text),
    Endpoint(Oidc),
    Msk(Msk),
    Program(Arc<dyn TokenSource>),
}

/// What lets us in, now.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    Password { username: String, password: String },
    Token(OauthToken),
}

/// Without the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { .. } => f.write_str("Password"),
            Self::Token(token) => token.fmt(f),
        }
    }
}

impl Secret {
    /// Sets it in a client to be made. A token is told to the client once it is there.
    pub(crate) fn set(&self, client: &mut ClientConfig) {
        if let Self::Password { username, password } = self {
            client.set(USERNAME, username).set(PASSWORD, password);
        }
    }
}

impl Source {
    /// Where it comes from by these settings; `None`: all is in librdkafka's properties.
    ///
    /// # Errors
    /// `Misconfigured`: settings that exclude or miss each other; they are named.
    pub(crate) fn of(config: &KafkaConfig) -> Result<Option<Self>, PublishFault> {
        let properties = &config.properties;
        let get = |name: &str| properties.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let mechanism = get("sasl.mechanisms").or(get("sasl.mechanism")).unwrap_or_default();
        let is_token = mechanism.eq_ignore_ascii_case("OAUTHBEARER");
        let password = Text::of(properties, [PASSWORD, PASSWORD_FILE, PASSWORD_COMMAND])?;
        let from = token_from(config)?;
        match (password.filter(Text::may_change), from) {
            (Some(password), _) if is_token || mechanism.is_empty() => {
                Err(wrong(format!("{} is for sasl.mechanisms=PLAIN or SCRAM", password.setting())))
            }
            (Some(from), _) => match get(USERNAME) {
                Some(username) => Ok(Some(Self::Password { username: username.to_owned(), from })),
                None => Err(wrong(format!("{} needs {USERNAME} beside it", from.setting()))),
            },
            (None, Some(_)) if !is_token => Err(wrong(
                "a token is for sasl.mechanisms=OAUTHBEARER: set it, or leave out what begins with sasl.oauthbearer.",
            )),
            (None, Some(from)) => {
                Ok(Some(Self::Token { from, extensions: extensions(get(EXTENSIONS).unwrap_or_default())? }))
            }
            (None, None) if is_token && get(UNSECURED) != Some("true") => Err(wrong(format!(
                "sasl.mechanisms=OAUTHBEARER needs a token: give {TOKEN_COMMAND}, {TOKEN_FILE}, {METHOD}=oidc with \
                 its endpoint, or in a program KafkaConfig::oauth_token"
            ))),
            (None, None) => Ok(None),
        }
    }
}

/// Where tokens come from, if from anywhere.
fn token_from(config: &KafkaConfig) -> Result<Option<TokenFrom>, PublishFault> {
    let properties = &config.properties;
    let text = Text::of(properties, ["", TOKEN_FILE, TOKEN_COMMAND])?.map(TokenFrom::Text);
    let endpoint = match properties.get(METHOD).map(String::as_str) {
        Some("oidc") => Some(TokenFrom::Endpoint(Oidc::of(properties)?)),
        Some(msk::NAME) => Some(TokenFrom::Msk(Msk::of(properties)?)),
        None | Some("" | "default") => None,
        Some(_) => return Err(wrong(format!("{METHOD} is not known: give oidc, {} or default", msk::NAME))),
    };
    let program = config.token_source.clone().map(TokenFrom::Program);
    match (text, endpoint, program) {
        (Some(from), None, None) | (None, Some(from), None) | (None, None, Some(from)) => Ok(Some(from)),
        (None, None, None) => Ok(None),
        _ => Err(wrong(format!(
            "there is more than one source of tokens: give one of {TOKEN_COMMAND}, {TOKEN_FILE}, {METHOD}=oidc, or the \
             program's own"
        ))),
    }
}

/// `key=value,key=value`, as librdkafka has it.
fn extensions(text: &str) -> Result<Vec<(String, String)>, PublishFault> {
    pairs(text, '=')
        .ok_or_else(|| wrong(format!("{EXTENSIONS} is no list of them: give name=value,name=value")))
}

/// A property that must be there.
fn required<'a>(
    properties: &'a BTreeMap<String, String>,
    name: &str,
    beside: &str,
) -> Result<&'a str, PublishFault> {
    let value = properties.get(name).filter(|value| !value.is_empty());
    value.map(String::as_str).ok_or_else(|| wrong(format!("{beside} needs {name} beside it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(options: &str) -> String {
        let config = KafkaConfig::from_url(&format!("kafka://one?{options}")).unwrap();
        Source::of(&config).err().unwrap_or_else(|| panic!("{options} is taken")).to_string()
    }

    fn source(options: &str) -> Option<Source> {
        Source::of(&KafkaConfig::from_url(&format!("kafka://one?{options}")).unwrap()).unwrap()
    }

    #[test]
    fn a_source_is_found_only_where_something_may_change() {
        for options in [
            "",
            "sasl.mechanisms=PLAIN&sasl.username=u&sasl.password=p",
            "sasl.mechanisms=OAUTHBEARER&enable.sasl.oauthbearer.unsecure.jwt=true",
        ] {
            assert!(source(options).is_none(), "{options}");
        }
        for options in [
            "sasl.mechanisms=PLAIN&sasl.username=u&sasl.password.file=f",
            "sasl.mechanism=SCRAM-SHA-256&sasl.username=u&sasl.password.command=c",
            "sasl.mechanisms=OAUTHBEARER&sasl.oauthbearer.token.command=c&sasl.oauthbearer.extensions=a=b,c=d",
        ] {
            assert!(source(options).is_some(), "{options}");
        }
    }

    #[test]
    fn settings_that_exclude_or_miss_each_other_are_named() {
        for (options, named) in [
            ("sasl.mechanisms=PLAIN&sasl.username=u&sasl.password=p&sasl.password.file=f", PASSWORD_FILE),
            (
                "sasl.mechanisms=PLAIN&sasl.username=u&sasl.password.command=c&sasl.password.file=f",
                PASSWORD_COMMAND,
            ),
            ("sasl.mechanisms=PLAIN&sasl.password.file=f", USERNAME),
            ("sasl.username=u&sasl.password.file=f", "sasl.mechanisms=PLAIN or SCRAM"),
            ("sasl.mechanisms=OAUTHBEARER", TOKEN_COMMAND),
            ("sasl.mechanisms=PLAIN&sasl.oauthbearer.token.file=f", "sasl.mechanisms=OAUTHBEARER"),
            ("sasl.mechanisms=OAUTHBEARER&sasl.oauthbearer.method=magic", METHOD),
            (
                "sasl.mechanisms=OAUTHBEARER&sasl.oauthbearer.token.file=f&sasl.oauthbearer.extensions=a",
                EXTENSIONS,
            ),
            #[cfg(not(feature = "msk-iam"))]
            ("sasl.mechanisms=OAUTHBEARER&sasl.oauthbearer.method=aws-msk-iam", "the feature `msk-iam`"),
            #[cfg(feature = "msk-iam")]
            ("sasl.mechanisms=OAUTHBEARER&sasl.oauthbearer.method=aws-msk-iam", msk::REGION),
            #[cfg(feature = "oidc")]
            ("sasl.mechanisms=OAUTHBEARER&sasl.oauthbearer.method=oidc", oidc::ENDPOINT),
            #[cfg(not(feature = "oidc"))]
            ("sasl.mechanisms=OAUTHBEARER&sasl.oauthbearer.method=oidc", "the feature `oidc`"),
        ] {
            let said = refusal(options);
            assert!(said.contains(named), "{options}: {said}");
        }
    }
}
