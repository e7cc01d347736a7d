//! CONTRACT.md says which clause applies to which back end; the back ends' own suites prove that they keep it.

use std::path::Path;

use eventferry::core::store::Store;
use eventferry::postgres::{PostgresConfig, PostgresStore};
use eventferry::sqlite::{SqliteConfig, SqliteStore};
use eventferry_conformance::{Declared, Writers, render_contract_md};

#[test]
fn the_page_says_what_the_back_ends_declare() {
    let postgres = PostgresStore::new(PostgresConfig::from_url("postgres://host/database").unwrap());
    let sqlite = SqliteStore::new(SqliteConfig::from_url("sqlite:///app.db").unwrap());
    let declared = [
        ("PostgreSQL", Declared { capabilities: postgres.capabilities(), writers: Writers::Many }),
        ("SQLite", Declared { capabilities: sqlite.capabilities(), writers: Writers::One }),
    ];
    let page = render_contract_md(&declared);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../CONTRACT.md");
    if std::env::var_os("EVENTFERRY_WRITE_CONTRACT").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        checked_in == page,
        "CONTRACT.md is not what the clauses say: run EVENTFERRY_WRITE_CONTRACT=1 cargo test -p eventferry \
         --features postgres,sqlite --test contract, and look at the difference"
    );
}
