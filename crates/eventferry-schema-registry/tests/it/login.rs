//! What lets us in.

use eventferry_core::{PublishFault, PublishFaultKind};
use eventferry_schema_registry::{Registry, RegistryConfig, Secret};

use crate::authority::Authority;
use crate::stub::Stub;
use crate::toy;

/// `base64("ferry:sesame")`.
const BASIC: &str = "Basic ZmVycnk6c2VzYW1l";

fn stub() -> Stub {
    let stub = Stub::start();
    stub.latest("t-value", 7, "JSON", &toy::schema("Order", &[]));
    stub
}

async fn asks(config: RegistryConfig) -> Result<u32, PublishFault> {
    let registry = Registry::new(config);
    assert!(!format!("{registry:?}").contains("sesame"), "{registry:?}");
    registry.latest("t-value").await.map(|found| found.id.unwrap())
}

#[tokio::test]
async fn a_user_logs_in_by_url_or_setting_and_a_token_from_wherever_it_is() {
    let stub = stub();
    stub.wants(BASIC);
    let url = stub.url.replace("http://", "http://ferry:sesame@");
    assert_eq!(asks(RegistryConfig::new([url]).unwrap()).await.unwrap(), 7);
    let file = std::env::temp_dir().join(format!("eventferry-registry-{}", std::process::id()));
    std::fs::write(&file, "sesame\n").unwrap();
    for secret in [Secret::text("sesame"), Secret::file(&file), Secret::command("echo sesame")] {
        assert_eq!(asks(stub.config().basic("ferry", secret).unwrap()).await.unwrap(), 7);
    }
    stub.wants("Bearer sesame");
    for secret in [Secret::text("sesame"), Secret::file(&file), Secret::command("echo sesame")] {
        assert_eq!(asks(stub.config().bearer(secret).unwrap()).await.unwrap(), 7);
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn whoever_is_not_let_in_waits_and_is_told_whose_credentials_to_renew() {
    let stub = stub();
    stub.wants("Bearer other");
    let fault = asks(stub.config().bearer(Secret::text("sesame")).unwrap()).await.unwrap_err();
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::Unavailable, Some("RegistryLogin")));
    assert!(
        fault.message().contains("answers 401") && fault.message().contains("the registry's credentials"),
        "{fault}"
    );
    assert!(!fault.message().contains("sesame"), "{fault}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_an_outage_and_says_which() {
    let stub = stub();
    for (secret, says) in [
        (Secret::file("/no/such/file"), "its file cannot be read"),
        (Secret::command("echo sesame; exit 3"), "its command failed"),
        (Secret::command("true"), "what is to be there is not"),
        (Secret::command("echo sesame sesame"), "there is to be one, and nothing else"),
    ] {
        let fault = asks(stub.config().bearer(secret).unwrap()).await.unwrap_err();
        assert_eq!(*fault.kind(), PublishFaultKind::Unavailable);
        assert!(
            fault.message().starts_with("the schema registry's token: ") && fault.message().contains(says),
            "{fault}"
        );
        assert!(!fault.message().contains("sesame"), "{fault}");
    }
    assert!(stub.asked().is_empty());
}

#[tokio::test]
async fn what_a_command_printed_is_used_again_until_the_registry_refuses_it() {
    let stub = stub();
    let file = std::env::temp_dir().join(format!("eventferry-registry-command-{}", std::process::id()));
    std::fs::write(&file, "one").unwrap();
    stub.wants("Bearer one");
    let command = format!("cat {}", file.display());
    let registry = Registry::new(stub.config().bearer(Secret::command(command)).unwrap());
    registry.latest("t-value").await.unwrap();
    std::fs::write(&file, "two").unwrap();
    registry.latest("t-value").await.unwrap();
    stub.wants("Bearer two");
    registry.latest("t-value").await.unwrap();
    let logins: Vec<_> = stub.asked().into_iter().filter_map(|asked| asked.authorization).collect();
    assert_eq!(logins, ["Bearer one", "Bearer one", "Bearer one", "Bearer two"]);
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_certificate_of_our_own_lets_us_in_and_only_its_authority_is_trusted() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let stub = Stub::start_tls(&ours);
    stub.latest("t-value", 7, "JSON", &toy::schema("Order", &[]));
    let [key, certificate] = ours.sign("ferry");
    let of = |authority: &Authority| stub.config().authorities(Secret::text(authority.pem()));
    let identity = |config: RegistryConfig| config.identity(Secret::text(&certificate), Secret::text(&key));
    assert_eq!(asks(identity(of(&ours))).await.unwrap(), 7);
    for config in [of(&ours), identity(of(&others)), identity(stub.config())] {
        let fault = asks(config).await.unwrap_err();
        assert_eq!(*fault.kind(), PublishFaultKind::Unavailable);
        assert!(
            fault.message().contains("TLS fails") && fault.message().contains("see the registry's"),
            "{fault}"
        );
    }
    let [_, foreign] = others.sign("ferry");
    for (certificate, key, says) in
        [(&foreign, &certificate, "no unencrypted key in PEM"), (&key, &key, "no certificate in PEM")]
    {
        let config = of(&ours).identity(Secret::text(certificate), Secret::text(key));
        let fault = asks(config).await.unwrap_err();
        assert!(fault.message().contains(says), "{fault}");
    }
}
