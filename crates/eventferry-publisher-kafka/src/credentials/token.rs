//! Tokens for OAUTHBEARER (RFC 7628): what they are, and reading them.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// How long a token lives that does not say.
const LIFE: Duration = Duration::from_secs(300);

/// Who the token is for, if it does not say; brokers go by the token itself.
const PRINCIPAL: &str = "eventferry";

/// A token for OAUTHBEARER.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OauthToken {
    /// The token itself.
    pub token: String,
    /// When it ends. It is asked for anew before.
    pub expires_at: SystemTime,
    /// Who it is for; brokers go by the token itself. Default: `eventferry`.
    pub principal: String,
}

impl OauthToken {
    /// A token that ends then.
    pub fn new(token: impl Into<String>, expires_at: SystemTime) -> Self {
        Self { token: token.into(), expires_at, principal: PRINCIPAL.into() }
    }
}

/// Without the token.
impl fmt::Debug for OauthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What a program's own source of tokens gives.
pub(crate) type Fetched = Result<OauthToken, Box<dyn Error + Send + Sync>>;

/// A program's own source of tokens.
pub(crate) trait TokenSource: Send + Sync + 'static {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Fetched> + Send + '_>>;
}

impl<F, T> TokenSource for F
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Fetched> + Send + 'static,
{
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Fetched> + Send + '_>> {
        Box::pin(self())
    }
}

/// The answer of a token endpoint, RFC 6749, section 5.1; tools print the same.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds; some send it as a text.
    expires_in: Option<serde_json::Value>,
}

/// What is read of a token that is a JWT (RFC 7519).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    exp: Option<f64>,
    sub: Option<String>,
}

impl OauthToken {
    /// Reads what a command prints, a file has or an endpoint answers: a token, or its answer as JSON.
    ///
    /// # Errors
    /// It is neither, or the token has ended.
    pub(super) fn read(text: &str, now: SystemTime) -> Result<Self, String> {
        let text = text.trim();
        let (token, seconds) = if text.starts_with('{') {
            let granted: Granted = serde_json::from_str(text).map_err(|_| {
                "there is no `access_token` in the JSON; give that, or the token alone".to_owned()
            })?;
            let seconds = granted.expires_in.as_ref().and_then(|value| {
                value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
            });
            (granted.access_token, seconds)
        } else {
            (text.to_owned(), None)
        };
        if token.is_empty() || token.contains(|c: char| c.is_control() || c == ' ') {
            return Err("it is no token: there is to be one, and nothing else".into());
        }
        let claims = claims(&token).unwrap_or_default();
        let ends = claims.exp.and_then(|at| UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(at).ok()?));
        let stated = seconds.and_then(|life| now.checked_add(Duration::try_from_secs_f64(life).ok()?));
        let expires_at = ends.or(stated).unwrap_or(now + LIFE);
        if expires_at <= now {
            return Err("the token has expired: renew it, or see the clocks".into());
        }
        let principal = claims.sub.filter(|sub| !sub.is_empty() && !sub.contains('\0'));
        Ok(Self { token, expires_at, principal: principal.unwrap_or_else(|| PRINCIPAL.into()) })
    }
}

fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("{}.{}.", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_says_itself_when_it_ends_or_what_it_came_in_does() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (text, expires_at, principal) in [
            (jwt("{\"exp\":1500,\"sub\":\"ferry\"}"), at(1500), "ferry"),
            (format!("{}\n", jwt("{\"exp\":1500.0}")), at(1500), PRINCIPAL),
            ("opaque".to_owned(), at(1300), PRINCIPAL),
            ("{\"access_token\":\"opaque\",\"expires_in\":60}".to_owned(), at(1060), PRINCIPAL),
            ("{\"access_token\":\"opaque\",\"expires_in\":\"60\"}".to_owned(), at(1060), PRINCIPAL),
            (
                format!("{{\"access_token\":\"{}\",\"expires_in\":60}}", jwt("{\"exp\":1500}")),
                at(1500),
                PRINCIPAL,
            ),
        ] {
            let token = OauthToken::read(&text, now).unwrap();
            assert_eq!((token.expires_at, token.principal.as_str()), (expires_at, principal), "{text}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        for text in [
            "",
            "secret and more",
            "secret\nsecret",
            "{\"secret\":1}",
            &jwt("{\"exp\":999,\"sub\":\"secret\"}"),
            "{\"access_token\":\"secret\",\"expires_in\":0}",
        ] {
            let said = OauthToken::read(text, now).unwrap_err();
            assert!(!said.contains("secret"), "{said}");
        }
        assert!(OauthToken::read(&jwt("{\"exp\":1000}"), now).unwrap_err().contains("has expired"));
    }
}
