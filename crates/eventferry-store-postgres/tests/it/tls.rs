//! TLS: each `sslmode` on a real server that speaks it, and what is said where it fails.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use eventferry_core::StoreFaultKind::{self, Misconfigured, Unavailable};
use eventferry_core::store::{Prepare, Store as _};
use eventferry_store_postgres::{FeedChoice, PostgresConfig, PostgresStore};
use pkcs8::der::Decode as _;
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::{LineEnding, PrivateKeyInfoRef};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::own_server::{NEWEST, OLDEST, OwnServer, own};
use crate::server::{Database, enqueue, query, start_a_tail};
use crate::tail::come_to_the_tail;

/// The name in the server's certificate.
const NAME: &str = "db.example";

const ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// An authority and the files of those it has signed for.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        own(folder.path());
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server that lets the role `certified` in, who has to show a certificate.
    async fn mutual_server(&self) -> OwnServer {
        let server = self.server(NEWEST, 2100).await;
        let admin = crate::server::client(&server.url("postgres")).await;
        admin.batch_execute("CREATE ROLE certified SUPERUSER LOGIN").await.unwrap();
        server.lets_in("hostssl all certified 127.0.0.1/32 cert").await;
        server
    }

    /// A certificate for this name, in `NAME.pem` and `NAME.key`, valid until the first of January of a year.
    fn sign(&self, name: &str, year: i32) {
        self.sign_into(name, name, year);
    }

    /// The same in `FILE.pem` and `FILE.key`.
    fn sign_into(&self, file: &str, name: &str, year: i32) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{file}.pem")), certificate.pem()).unwrap();
        let path = self.file(&format!("{file}.key"));
        std::fs::write(&path, key.serialize_pem()).unwrap();
        // The server wants its key to be read by itself alone.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        own(&path);
    }

    /// A server with a certificate for [`NAME`].
    async fn server(&self, programs: &str, year: i32) -> OwnServer {
        self.server_with(programs, year, "").await
    }

    /// The same with more settings.
    async fn server_with(&self, programs: &str, year: i32, more: &str) -> OwnServer {
        self.sign(NAME, year);
        let settings = format!(
            "{more}\nssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'",
            self.file(&format!("{NAME}.pem")).display(),
            self.file(&format!("{NAME}.key")).display(),
            self.file("ca.pem").display()
        );
        OwnServer::start(programs, &settings).await
    }
}

/// The server under another name, with these options.
fn url(server: &OwnServer, name: &str, options: &str) -> String {
    let url = server.url("postgres").replace("127.0.0.1", name);
    format!("{url}?hostaddr=127.0.0.1&{options}")
}

/// The server for the role `certified`, with a certificate of these files.
fn certified(server: &OwnServer, signer: &Authority, file: &str, options: &str) -> String {
    let [certificate, key] =
        ["pem", "key"].map(|kind| signer.file(&format!("{file}.{kind}")).display().to_string());
    let options = format!("sslmode=require&sslcert={certificate}&sslkey={key}{options}");
    url(server, NAME, &options).replace("postgres@", "certified@")
}

fn root(file: &Path) -> String {
    format!("sslrootcert={}", file.display())
}

/// Whether a connection is encrypted.
async fn encrypted(url: &str) -> bool {
    let client = PostgresConfig::from_url(url).unwrap().connect().await.unwrap();
    query(&client, ENCRYPTED).await
}

/// A key as `openssl pkcs8 -topk8` encrypts it.
fn locked(key: &str, password: &str) -> String {
    let der = KeyPair::from_pem(key).unwrap().serialize_der();
    // Salt and vector may be anything in a test, and few rounds make it quick.
    let how = Parameters::generate_pbkdf2_sha256_aes256cbc(2048, &[7; 8], [9; 16]).unwrap();
    let locked = PrivateKeyInfoRef::from_der(&der).unwrap().encrypt_with_params(how, password).unwrap();
    locked.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).unwrap().to_string()
}

/// What a start is told, where the driver connects and where the log's tail is had.
async fn told(url: &str, good: &str) -> [(StoreFaultKind, String); 2] {
    let of = |fault: eventferry_core::StoreFault| (*fault.kind(), fault.message().to_owned());
    let driver = PostgresConfig::from_url(url).unwrap().connect().await.map(drop).unwrap_err();
    let config = PostgresConfig::from_url(good).unwrap().feed(FeedChoice::TailTable);
    PostgresStore::new(config.clone()).prepare(Prepare::Apply).await.map(drop).unwrap();
    let config = config.replication_url(url).unwrap();
    let replication = PostgresStore::new(config).prepare(Prepare::Check).await.map(drop).unwrap_err();
    [of(driver), of(replication)]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_connects_as_it_says() {
    for programs in [NEWEST, OLDEST] {
        let authority = Authority::new("ours");
        let server = authority.server(programs, 2100).await;
        let root = root(&authority.file("ca.pem"));
        for (options, name, is_encrypted) in [
            (String::new(), "other.example", true),
            ("sslmode=disable".into(), "other.example", false),
            ("sslmode=allow".into(), "other.example", false),
            ("sslmode=prefer".into(), "other.example", true),
            ("sslmode=require".into(), "other.example", true),
            (format!("sslmode=require&{root}"), "other.example", true),
            (format!("sslmode=verify-ca&{root}"), "other.example", true),
            (format!("sslmode=verify-full&{root}"), NAME, true),
        ] {
            assert_eq!(encrypted(&url(&server, name, &options)).await, is_encrypted, "{options}");
        }
        let plain = OwnServer::start(programs, "").await;
        for mode in ["disable", "allow", "prefer"] {
            assert!(!encrypted(&url(&plain, NAME, &format!("sslmode={mode}"))).await, "{mode}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_as_safely_as_the_table() {
    for programs in [NEWEST, OLDEST] {
        let authority = Authority::new("ours");
        let server = authority.server(programs, 2100).await;
        let options = format!("sslmode=verify-full&{}", root(&authority.file("ca.pem")));
        let database = Database { url: url(&server, NAME, &options), feed: FeedChoice::TailTable };
        database.store().prepare(Prepare::Apply).await.unwrap();
        let app = crate::server::client(&server.url("postgres")).await;
        let mut relay = database.owner().await;
        come_to_the_tail(&mut relay, &app).await;
        enqueue(&app, "a", "1").await;
        assert_eq!(relay.read_all().await, ["a/1"]);
        let safe = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)";
        assert!(query::<bool>(&app, safe).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_safe_is_refused_by_the_name_of_the_setting() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("another"));
    let server = authority.server(NEWEST, 2100).await;
    let good = server.url("postgres");
    let (own_root, strange_root) = (root(&authority.file("ca.pem")), root(&stranger.file("ca.pem")));
    let namesake = Authority::new("ours");
    let impostor = root(&namesake.file("ca.pem"));
    let expired = Authority::new("ours");
    let late = expired.server(NEWEST, 2021).await;
    let plain = OwnServer::start(NEWEST, "").await;
    for (server, options, kind, words) in [
        (&server, format!("sslmode=verify-ca&{strange_root}"), Misconfigured, "sslrootcert: no authority"),
        (&server, format!("sslmode=verify-ca&{impostor}"), Misconfigured, "sslrootcert: no authority"),
        (&server, format!("sslmode=require&{strange_root}"), Misconfigured, "sslrootcert: no authority"),
        (
            &server,
            format!("sslmode=verify-full&{own_root}"),
            Misconfigured,
            "sslmode=verify-full: the server's",
        ),
        (&server, "sslmode=verify-full".into(), Misconfigured, "sslrootcert"),
        (&late, format!("sslmode=verify-ca&{}", root(&expired.file("ca.pem"))), Unavailable, "ssl_cert_file"),
        (&plain, "sslmode=require".into(), Misconfigured, "sslmode wants TLS and the server has none"),
        (&server, "sslmode=verify-ca&sslrootcert=/nowhere".into(), Misconfigured, "sslrootcert"),
        (&server, "sslcert=/nowhere&sslkey=/nowhere".into(), Misconfigured, "sslcert"),
    ] {
        let good = if std::ptr::eq(server, &raw const plain) { plain.url("postgres") } else { good.clone() };
        for (told, message) in told(&url(server, "other.example", &options), &good).await {
            assert!(told == kind && message.contains(words), "{options}: {told:?}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_wants_the_other_way_is_followed() {
    let authority = Authority::new("ours");
    let server = authority.server(NEWEST, 2100).await;
    let admin = crate::server::client(&server.url("postgres")).await;
    admin.batch_execute("CREATE ROLE ruled SUPERUSER LOGIN").await.unwrap();
    for (rule, mode, is_encrypted) in [("hostnossl", "allow", true), ("hostssl", "prefer", false)] {
        server.lets_in(&format!("{rule} all ruled 127.0.0.1/32 reject")).await;
        let url = url(&server, NAME, &format!("sslmode={mode}")).replace("postgres@", "ruled@");
        assert_eq!(encrypted(&url).await, is_encrypted, "{mode}");
        start_a_tail(PostgresConfig::from_url(&url).unwrap()).await;
        server.lets_in("host all ruled 127.0.0.1/32 trust").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_no_mode_may_follow_is_said_with_the_mode() {
    let authority = Authority::new("ours");
    let server = authority.server(NEWEST, 2100).await;
    let admin = crate::server::client(&server.url("postgres")).await;
    admin.batch_execute("CREATE ROLE ruled SUPERUSER LOGIN").await.unwrap();
    let rules: [(&str, &[&str]); 3] =
        [("hostnossl", &["disable"]), ("hostssl", &["require"]), ("host", &["allow", "prefer"])];
    for (rule, modes) in rules {
        server.lets_in(&format!("{rule} all ruled 127.0.0.1/32 reject")).await;
        for mode in modes {
            let url = url(&server, NAME, &format!("sslmode={mode}")).replace("postgres@", "ruled@");
            for (kind, message) in told(&url, &server.url("postgres")).await {
                assert!(kind == Misconfigured && message.contains("sslmode"), "{mode}: {kind:?}: {message}");
            }
        }
        server.lets_in("host all ruled 127.0.0.1/32 trust").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_ours_lets_us_in_and_none_or_anothers_does_not() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("another"));
    let server = authority.mutual_server().await;
    authority.sign_into("late", "certified", 2021);
    for signer in [&authority, &stranger] {
        signer.sign("certified", 2100);
    }
    let of = |signer: &Authority, file: &str| certified(&server, signer, file, "");
    let good = of(&authority, "certified");
    assert!(encrypted(&good).await);
    start_a_tail(PostgresConfig::from_url(&good).unwrap()).await;
    let none = url(&server, NAME, "sslmode=require").replace("postgres@", "certified@");
    for url in [of(&stranger, "certified"), of(&authority, "late"), none] {
        for (kind, message) in told(&url, &server.url("postgres")).await {
            assert!(kind == Misconfigured && message.contains("sslcert"), "{kind:?}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_certificate_is_read_for_each_connection() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("another"));
    let server = authority.mutual_server().await;
    authority.sign("certified", 2100);
    let config = PostgresConfig::from_url(&certified(&server, &authority, "certified", "")).unwrap();
    const SERIAL: &str = "SELECT client_serial::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let former = config.connect().await.unwrap();
    let serial: String = query(&former, SERIAL).await;
    authority.sign("certified", 2100);
    let later = config.connect().await.unwrap();
    assert_ne!(query::<String>(&later, SERIAL).await, serial);
    start_a_tail(config.clone()).await;

    stranger.sign("certified", 2100);
    let files = |signer: &Authority| ["pem", "key"].map(|kind| signer.file(&format!("certified.{kind}")));
    let [from, to] = [files(&stranger), files(&authority)];
    std::fs::copy(&from[0], &to[0]).unwrap();
    let half = config.connect().await.map(drop).unwrap_err();
    assert!(half.message().contains("is the key the certificate's"), "{half}");
    std::fs::copy(&from[1], &to[1]).unwrap();
    let refused = config.connect().await.map(drop).unwrap_err();
    assert!(refused.message().contains("sslcert, sslkey: the server refuses"), "{refused}");
    assert_eq!(query::<String>(&former, SERIAL).await, serial, "what is connected stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_opens_with_its_password_and_with_no_other() {
    let authority = Authority::new("ours");
    let server = authority.mutual_server().await;
    authority.sign("certified", 2100);
    let path = authority.file("certified.key");
    let key = std::fs::read_to_string(&path).unwrap();
    // As libpq has it, a password is passed over that nothing wants.
    assert!(encrypted(&certified(&server, &authority, "certified", "&sslpassword=sesame")).await);
    std::fs::write(&path, locked(&key, "sesame&")).unwrap();
    let good = certified(&server, &authority, "certified", "&sslpassword=sesame%26");
    assert!(encrypted(&good).await);
    start_a_tail(PostgresConfig::from_url(&good).unwrap()).await;
    for (options, words) in [
        ("&sslpassword=open", "sslpassword: it does not open the key in sslkey"),
        ("&sslpassword=", "sslpassword: the key in sslkey is encrypted"),
        ("", "sslpassword: the key in sslkey is encrypted"),
    ] {
        let url = certified(&server, &authority, "certified", options);
        for (kind, message) in told(&url, &server.url("postgres")).await {
            assert!(kind == Misconfigured && message.contains(words), "{options}: {message}");
            assert!(!message.contains("sesame") && !message.contains("=open"), "{message}");
        }
    }
    let block = |body: &str| {
        format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}-----END ENCRYPTED PRIVATE KEY-----\n")
    };
    let old =
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    for (text, words) in [
        (old.to_owned(), "openssl pkcs8 -topk8"),
        // An empty sequence of ASN.1.
        (block("MAA=\n"), "openssl pkcs8 -topk8"),
        (block("?\n"), "damaged"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n".to_owned(), "sslkey"),
        (String::new(), "sslkey"),
    ] {
        std::fs::write(&path, &text).unwrap();
        let said = PostgresConfig::from_url(&good).unwrap().connect().await.map(drop).unwrap_err();
        assert!(said.message().contains(words), "{text}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_may_rotate_while_a_relay_runs() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("another"));
    let server = authority.server(NEWEST, 2100).await;
    let file = stranger.file("trusted.pem");
    std::fs::copy(stranger.file("ca.pem"), &file).unwrap();
    let url = url(&server, NAME, &format!("sslmode=verify-full&{}", root(&file)));
    let config = PostgresConfig::from_url(&url).unwrap();
    assert!(config.connect().await.is_err());
    std::fs::copy(authority.file("ca.pem"), &file).unwrap();
    config.connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tls_is_only_preferred_it_may_fail() {
    let authority = Authority::new("ours");
    let old = "ssl_min_protocol_version = 'TLSv1'\nssl_max_protocol_version = 'TLSv1.1'";
    let server = authority.server_with(NEWEST, 2100, old).await;
    let preferred = url(&server, NAME, "sslmode=prefer");
    assert!(!encrypted(&preferred).await);
    start_a_tail(PostgresConfig::from_url(&preferred).unwrap()).await;
    for (kind, message) in told(&url(&server, NAME, "sslmode=require"), &server.url("postgres")).await {
        assert!(kind == Misconfigured && message.contains("in common"), "{kind:?}: {message}");
    }
}

/// A relay that was let in once waits for certificates to be put right.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_begun_anew_waits_for_certificates() {
    let authority = Authority::new("ours");
    let server = authority.server(NEWEST, 2100).await;
    let file = authority.file("trusted.pem");
    std::fs::copy(authority.file("ca.pem"), &file).unwrap();
    let options = format!("sslmode=verify-full&{}", root(&file));
    let database = Database { url: url(&server, NAME, &options), feed: FeedChoice::TailTable };
    database.store().prepare(Prepare::Apply).await.unwrap();
    let app = crate::server::client(&server.url("postgres")).await;
    let mut relay = database.owner().await;
    come_to_the_tail(&mut relay, &app).await;
    std::fs::write(&file, "").unwrap();
    app.batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication").await.unwrap();
    for _ in 0..3 {
        assert_eq!(*relay.try_read().await.unwrap_err().kind(), Unavailable);
    }
    std::fs::copy(authority.file("ca.pem"), &file).unwrap();
    enqueue(&app, "a", "1").await;
    relay.open_again().await;
    assert_eq!(relay.read_all().await, ["a/1"]);
}

/// The driver would have no name to look for.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_alone_will_do() {
    let authority = Authority::new("ours");
    let server = authority.server(NEWEST, 2100).await;
    let url = server.url("");
    let port = url.rsplit(':').next().unwrap().trim_end_matches('/');
    assert!(encrypted(&format!("postgres://postgres@/postgres?hostaddr=127.0.0.1&port={port}")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_bound_to_the_channel() {
    let authority = Authority::new("ours");
    let server = authority.server(NEWEST, 2100).await;
    let admin = crate::server::client(&server.url("postgres")).await;
    admin.batch_execute("CREATE ROLE bound LOGIN PASSWORD 'sesame'").await.unwrap();
    server.lets_in("host all bound 127.0.0.1/32 scram-sha-256").await;
    let with = |options: &str| {
        url(&server, NAME, &format!("channel_binding=require&{options}"))
            .replace("postgres@", "bound:sesame@")
    };
    assert!(encrypted(&with("sslmode=require")).await);
    let unbound = PostgresConfig::from_url(&with("sslmode=disable")).unwrap().connect().await;
    let unbound = unbound.map(drop).unwrap_err();
    assert!(*unbound.kind() == Misconfigured && unbound.message().contains("channel_binding"), "{unbound}");
    // Replication cannot be bound: it goes by the certificate, and the password itself is given to nobody.
    let config = PostgresConfig::from_url(&server.url("postgres")).unwrap().feed(FeedChoice::TailTable);
    PostgresStore::new(config.clone()).prepare(Prepare::Apply).await.unwrap();
    admin.batch_execute("ALTER ROLE bound SUPERUSER").await.unwrap();
    let replication = async |options: &str| {
        let config = config.clone().replication_url(&with(options)).unwrap();
        PostgresStore::new(config).prepare(Prepare::Check).await.map(drop)
    };
    let verified = format!("sslmode=verify-full&{}", root(&authority.file("ca.pem")));
    replication(&verified).await.unwrap();
    let unverified = replication("sslmode=require").await.unwrap_err();
    assert!(unverified.message().contains("channel_binding=require"), "{unverified}");
    server.lets_in("host all bound 127.0.0.1/32 password").await;
    let asked = replication(&verified).await.unwrap_err();
    assert!(asked.message().contains("asks for the password itself"), "{asked}");
}
