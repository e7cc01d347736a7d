//! What to do where no broker lets us in, by the words in which librdkafka says why.
//!
//! It has one code for all that fails before a session, and tells in words alone what it was.

/// Words of a reason, and which settings to look at. The first row that fits counts.
const REMEDIES: &[(&[&str], &str)] = &[
    (
        &["certificate verify failed"],
        "the broker's certificate does not hold: no authority in ssl.ca.location has signed it, it has expired, or it \
         is another host's than the URL names (ssl.endpoint.identification.algorithm)",
    ),
    (
        &[
            "alert bad certificate",
            "alert certificate",
            "alert unknown ca",
            "alert unsupported certificate",
            "certificate required",
        ],
        "the broker wants a certificate of ours, or not this one: ssl.certificate.location, ssl.key.location",
    ),
    (&["PLAINTEXT broker listener"], "there is no TLS there: security.protocol, or another port"),
    (
        &["SSL connection closed by peer"],
        "the broker hung up in the middle of TLS: there is none there (security.protocol, or another port), or it \
         wants another certificate of ours (ssl.certificate.location)",
    ),
    (
        &["SSL handshake failed", "SSL routines"],
        "TLS did not come about: security.protocol, ssl.ca.location, and the versions and ciphers of the broker",
    ),
    (
        &["mechanism handshake failed", "Unsupported SASL mechanism"],
        "the broker takes another way to log in: sasl.mechanisms",
    ),
    (
        &["invalid_token", "invalid_scope", "OAUTHBEARER"],
        "the broker does not take the token: whom it is for, its scope and its issuer, and the clocks; see where \
         sasl.oauthbearer.* has it from",
    ),
    (
        &["SASL authentication error", "SASL authentication failed", "Authentication failed"],
        "check sasl.username and sasl.password, and whether the broker knows the user under sasl.mechanisms",
    ),
    (
        &["wants TLS", "SSL listener", "SASL listener", "security.protocol"],
        "the broker wants TLS or a login there: security.protocol",
    ),
    // What it says of a broker that hangs up, it says to nobody but its log.
    (
        &[NOTHING],
        "check address, network and broker, and whether it wants TLS or a login there (security.protocol)",
    ),
];

/// The reason where librdkafka has given none.
pub(crate) const NOTHING: &str = "no connection came about";

/// What to look at, for this reason.
pub(crate) fn remedy(reason: &str) -> &'static str {
    let fits = |words: &&[&str]| words.iter().any(|words| reason.contains(words));
    let found = REMEDIES.iter().find(|(words, _)| fits(words));
    found.map_or("check address, network, credentials and broker", |(_, remedy)| *remedy)
}
