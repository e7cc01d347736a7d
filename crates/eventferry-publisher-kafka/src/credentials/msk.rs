//! Tokens for AWS MSK with IAM: a request to log in, signed with what AWS's own tools find on the machine.

use std::collections::BTreeMap;

use eventferry_core::PublishFault;

use super::{METHOD, OauthToken, required, wrong};

pub(super) const REGION: &str = "aws.region";

/// The value of `sasl.oauthbearer.method`.
pub(super) const NAME: &str = "aws-msk-iam";

/// A region whose clusters are logged in to.
#[derive(Debug)]
#[cfg_attr(not(feature = "msk-iam"), expect(dead_code, reason = "never signed without the feature"))]
pub(crate) struct Msk {
    region: String,
}

impl Msk {
    /// Reads the settings.
    ///
    /// # Errors
    /// `Misconfigured`: one is missing.
    pub(super) fn of(properties: &BTreeMap<String, String>) -> Result<Self, PublishFault> {
        if cfg!(not(feature = "msk-iam")) {
            return Err(wrong(format!("{METHOD}={NAME} needs a build with the feature `msk-iam`")));
        }
        Ok(Self { region: required(properties, REGION, &format!("{METHOD}={NAME}"))?.to_owned() })
    }

    /// Signs one.
    ///
    /// # Errors
    /// What went wrong.
    #[cfg(not(feature = "msk-iam"))]
    pub(super) async fn sign(&self) -> Result<OauthToken, String> {
        Err(format!("{METHOD}={NAME} needs a build with the feature `msk-iam`"))
    }

    /// Signs one.
    ///
    /// # Errors
    /// What went wrong.
    #[cfg(feature = "msk-iam")]
    pub(super) async fn sign(&self) -> Result<OauthToken, String> {
        use std::time::{Duration, UNIX_EPOCH};

        let region = aws_types::region::Region::new(self.region.clone());
        let signed = aws_msk_iam_sasl_signer::generate_auth_token(region).await;
        let (token, ends) = signed.map_err(|error| {
            format!("{METHOD}={NAME}: {error}: see that AWS's own tools find credentials here, and {REGION}")
        })?;
        // Milliseconds since 1970.
        let ends = UNIX_EPOCH + Duration::from_millis(u64::try_from(ends).unwrap_or(0));
        Ok(OauthToken::new(token, ends))
    }
}

#[cfg(all(test, feature = "msk-iam"))]
mod tests {
    use std::time::{Duration, SystemTime};

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[tokio::test]
    async fn a_token_is_a_signed_request_to_log_in_of_this_region() {
        // The credentials of AWS's own examples; the only test of this feature, so nobody else reads them.
        for (variable, value) in [
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ] {
            #[expect(
                unsafe_code,
                reason = "AWS's chain has no other place to look at without a machine of theirs"
            )]
            // Nothing else of this process reads the environment meanwhile.
            unsafe {
                std::env::set_var(variable, value);
            }
        }
        let properties = BTreeMap::from([(REGION.to_owned(), "eu-central-1".to_owned())]);
        let token = Msk::of(&properties).unwrap().sign().await.unwrap();
        let left = token.expires_at.duration_since(SystemTime::now()).unwrap();
        assert!(left > Duration::from_secs(600) && left <= Duration::from_secs(900), "{left:?}");
        let url = String::from_utf8(URL_SAFE_NO_PAD.decode(&token.token).unwrap()).unwrap();
        assert!(url.starts_with("https://kafka.eu-central-1.amazonaws.com/?"), "{url}");
        for part in
            ["Action=kafka-cluster%3AConnect", "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE", "X-Amz-Signature="]
        {
            assert!(url.contains(part), "{part} is not in {url}");
        }
        assert!(!url.contains("wJalrXUtnFEMI"));
    }
}
