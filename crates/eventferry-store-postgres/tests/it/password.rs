//! Passwords that are in no URL.

use std::os::unix::fs::PermissionsExt as _;

use eventferry_core::StoreFaultKind::Misconfigured;
use eventferry_core::store::{Prepare, Store as _};
use eventferry_store_postgres::{FeedChoice, PostgresConfig, PostgresStore};
use tokio_postgres::Client;

use crate::own_server::{NEWEST, OwnServer};
use crate::server::{client, start_a_tail};

/// A server that wants a password, `sesame`, of the role `secret`; and who may change that.
async fn guarded() -> (OwnServer, Client) {
    let server = OwnServer::start(NEWEST, "").await;
    let admin = client(&server.url("postgres")).await;
    admin.batch_execute("CREATE ROLE secret SUPERUSER LOGIN PASSWORD 'sesame'").await.unwrap();
    server.lets_in("host all secret 127.0.0.1/32 scram-sha-256").await;
    (server, admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_be_what_a_command_prints() {
    let (server, _) = guarded().await;
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let url = server.url("postgres").replace("postgres@", "secret:wrong@");
    let config = PostgresConfig::from_url(&url).unwrap();
    let with = |command: &str| config.clone().password_command(command);
    let counted = with(&format!("echo >> {}; echo sesame", runs.display()));
    counted.connect().await.unwrap();
    // A relay makes several connections, and replication is one of them.
    let tail = counted.feed(FeedChoice::TailTable);
    PostgresStore::new(tail.clone()).prepare(Prepare::Apply).await.unwrap();
    PostgresStore::new(tail.replication_url(&url).unwrap()).prepare(Prepare::Check).await.unwrap();
    assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), 1);
    for (command, words) in [
        ("echo sesame >&2; exit 7", "it failed (exit status: 7)"),
        ("true", "it is to print the password"),
        ("echo sesame; echo sesame", "it is to print the password"),
        ("no-such-command sesame", "it failed"),
        // The server's word.
        ("echo open", "check user and password"),
    ] {
        let fault = with(command).connect().await.map(drop).unwrap_err();
        assert!(fault.message().contains("password_command") && fault.message().contains(words), "{fault}");
        assert!(!fault.message().contains("sesame"), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_lie_in_a_file_and_change_there() {
    let (server, admin) = guarded().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pass");
    let write = |text: &str, mode: u32| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let url = server.url("postgres").replace("postgres@", "secret@");
    let config = PostgresConfig::from_url(&format!("{url}?passfile={}", file.display())).unwrap();
    let refused = async || config.connect().await.map(drop).unwrap_err();
    assert!(refused().await.message().contains("passfile"), "it is not there");
    write("127.0.0.1:*:postgres:other:sesame\n", 0o600);
    assert!(refused().await.message().contains("nor a passfile"), "it has none for us");
    write("# ours\n127.0.0.1:*:postgres:secret:sesame\n", 0o644);
    let open = refused().await;
    assert!(*open.kind() == Misconfigured && open.message().contains("chmod 600"), "{open}");
    write("# ours\n127.0.0.1:*:postgres:secret:sesame\n", 0o600);
    config.connect().await.unwrap();
    // Replication, too.
    start_a_tail(config.clone()).await;
    admin.batch_execute("ALTER ROLE secret PASSWORD 'open'").await.unwrap();
    let wrong = refused().await;
    assert!(wrong.message().contains("passfile") && !wrong.message().contains("sesame"), "{wrong}");
    write("127.0.0.1:*:postgres:secret:open\n", 0o600);
    config.connect().await.unwrap();
}
