//! `init`, and schemas that are not as they should be.

use crate::postgres::{Database, on_the_server, random};
use crate::program::Program;

#[test]
fn init_creates_an_outbox_once() {
    let (program, database) = (Program::new(), Database::new());
    let first = program.done(&["init", "--store", &database.url]);
    assert!(first.starts_with("created the outbox: schema version "), "{first}");
    let second = program.done(&["init", "--store", &database.url]);
    assert!(second.starts_with("the outbox is up to date"), "{second}");
}

#[test]
fn init_creates_an_outbox_in_a_new_sqlite_file() {
    let program = Program::new();
    let store = program.sqlite();
    assert!(program.done(&["init", "--store", &store]).starts_with("created the outbox"));
    assert!(program.done(&["init", "--store", &store]).starts_with("the outbox is up to date"));
    assert!(program.path("app.db").exists());
}

#[test]
fn the_printed_schema_makes_an_outbox_in_a_plain_client() {
    let (program, database) = (Program::new(), Database::new());
    // The scheme is enough: nothing is connected to.
    let sql = program.done(&["init", "--store", "postgres:", "--print-sql"]);
    database.sql(&sql);
    assert!(program.done(&["init", "--store", &database.url]).starts_with("the outbox is up to date"));

    let sql = program.done(&["init", "--store", "sqlite:", "--print-sql"]);
    rusqlite::Connection::open(program.path("app.db")).unwrap().execute_batch(&sql).unwrap();
    assert!(program.done(&["init", "--store", &program.sqlite()]).starts_with("the outbox is up to date"));
}

#[test]
fn without_a_schema_every_command_says_to_run_init() {
    let (program, database) = (Program::new(), Database::new());
    let event = ["--topic", "t", "--aggregate-type", "order", "--aggregate-id", "1", "--payload", "x"];
    let (postgres, sqlite) = (database.url.clone(), program.sqlite());
    for store in [&postgres, &sqlite] {
        program.run(&["status", "--store", store]).expect(3, &["error: ", "eventferry init"]);
        program.run(&[&["enqueue", "--store", store], &event[..]].concat()).expect(3, &["eventferry init"]);
        let run = ["run", "--store", store, "--publisher", "kafka://127.0.0.1:1"];
        program.run(&run).expect(3, &[" ERROR ", "eventferry init"]);
    }
}

#[test]
fn an_older_schema_is_upgraded_and_a_newer_one_is_left_alone() {
    let (program, database) = (Program::new(), Database::new());
    program.done(&["init", "--store", &database.url]);
    database.sql("INSERT INTO eventferry.migration (version) VALUES (99)");
    for command in ["init", "status"] {
        program
            .run(&[command, "--store", &database.url])
            .expect(3, &["has version 99", "use a newer program"]);
    }
    let run = ["run", "--store", &database.url, "--publisher", "kafka://127.0.0.1:1"];
    program.run(&run).expect(3, &["has version 99", "use a newer program"]);
    let newest = "DELETE FROM eventferry.migration WHERE version >= (SELECT max(version) FROM eventferry.migration \
                  WHERE version < 99)";
    database.sql(newest);
    program.run(&["status", "--store", &database.url]).expect(3, &["upgrade it by `eventferry init"]);
    program.run(&run).expect(3, &["upgrade it by `eventferry init"]);
}

#[test]
fn a_missing_privilege_is_named_with_its_remedy() {
    let (program, database) = (Program::new(), Database::new());
    let role = format!("eventferry_cli_{}", random());
    program.done(&["init", "--store", &database.url]);
    database.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'sesame'"));
    let store = database.url_as(&role, "sesame");
    program
        .run(&["status", "--store", &store])
        .expect(3, &["no privilege", "eventferry.grant_relay('ROLE')"]);
    let run = ["run", "--store", &store, "--publisher", "kafka://127.0.0.1:1"];
    program.run(&run).expect(3, &["no privilege", "eventferry.grant_relay('ROLE')"]);
    program.run(&["init", "--store", &store]).expect(3, &["no privilege", "connect as its owner"]);
    let event = ["--topic", "t", "--aggregate-type", "order", "--aggregate-id", "1", "--payload", "x"];
    let enqueue = [&["enqueue", "--store", &store], &event[..]].concat();
    program.run(&enqueue).expect(3, &["permission denied", "eventferry.grant_application('ROLE')"]);
    database.sql(&format!("SELECT eventferry.grant_application('{role}')"));
    program.done(&enqueue);
    database.sql(&format!("SELECT eventferry.grant_relay('{role}')"));
    assert!(program.done(&["status", "--store", &store]).contains("1 event"));
    database.sql(&format!("REVOKE INSERT ON eventferry.beat FROM {role}"));
    program.run(&run).expect(3, &["lacks privileges on eventferry.beat", "eventferry.grant_relay('ROLE')"]);
    database.sql("DROP SCHEMA eventferry CASCADE");
    program
        .run(&["init", "--store", &store])
        .expect(3, &["permission denied", "may create one (GRANT CREATE ON DATABASE"]);
    drop(database);
    on_the_server(&format!("DROP ROLE {role}"));
}
