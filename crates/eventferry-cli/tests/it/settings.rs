//! Flags, variables and the file.

use crate::program::Program;

fn write(program: &Program, name: &str, text: &str) {
    std::fs::write(program.path(name), text).unwrap();
}

#[test]
fn flags_go_before_variables_and_variables_before_the_file() {
    let program = Program::new().with("EVENTFERRY_STORE", "sqlite:variable.db");
    write(&program, "eventferry.toml", "store = \"sqlite:file.db\"\n");
    program.done(&["init"]);
    program.done(&["init", "--store", "sqlite:flag.db"]);
    assert!(program.path("variable.db").exists() && program.path("flag.db").exists());
    assert!(!program.path("file.db").exists());

    let program = Program::new().with("EVENTFERRY_STORE", "");
    write(&program, "eventferry.toml", "store = \"sqlite:file.db\"\n");
    program.done(&["init"]);
    assert!(program.path("file.db").exists(), "an empty variable counts as not set");
}

#[test]
fn another_file_is_read_if_it_is_named() {
    let program = Program::new();
    write(&program, "other.toml", "store = \"sqlite:other.db\"\n");
    program.done(&["--config", "other.toml", "init"]);
    program.done(&["init", "--config", "other.toml"]);
    assert!(program.path("other.db").exists());
    program.run(&["init", "--config", "none.toml"]).expect(2, &["`none.toml` cannot be read"]);

    let program = program.with("EVENTFERRY_CONFIG", "other.toml");
    program.done(&["init"]);
}

#[test]
fn an_unknown_key_is_an_error_with_its_line_and_the_nearest_known_key() {
    let program = Program::new();
    write(&program, "eventferry.toml", "store = \"sqlite:app.db\"\n\nleese = \"10s\"\n");
    let says = ["eventferry.toml, line 3: the key `leese` is not known; did you mean `lease`?"];
    program.run(&["init"]).expect(2, &says);
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let program = Program::new().with("EVENTFERRY_STOER", "x").with("EVENTFERRY_SERVICE_HOST", "10.0.0.1");
    let ended = program.run(&["init", "--store", "sqlite:app.db"]);
    ended.expect(0, &["WARN", "EVENTFERRY_STOER is not known", "did you mean EVENTFERRY_STORE?"]);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

#[test]
fn what_cannot_be_is_named_with_its_place() {
    let program = Program::new().with("EVENTFERRY_GRACE", "8");
    let base = ["run", "--store", "sqlite:app.db", "--publisher", "kafka://127.0.0.1:1"];
    let refused = |more: &[&str], says: &[&str]| program.run(&[&base, more].concat()).expect(2, says);
    refused(&[], &["EVENTFERRY_GRACE: `8` is not a duration"]);
    refused(&["--grace", "8s", "--lease", "0s"], &["--lease: `0s`", "give 1s to 1h"]);
    let says = ["grace (8s) and lease (5s)", "a grace of at most 4s, or a lease of at least 10s"];
    refused(&["--grace", "8s", "--lease", "5s"], &says);
    refused(&["--grace", "8s", "--log-format", "xml"], &["--log-format: `xml`", "text or json"]);
    refused(&["--grace", "8s", "--log-level", "loud"], &["--log-level: `loud`"]);
    refused(&["--grace", "8s", "--listen", "8080"], &["--listen: `8080` is not an address"]);
    refused(&["--grace", "8s", "--relay-id", ""], &["relay id"]);
    refused(&["--grace", "8s", "--dead-letter-topic", ""], &["dead-letter topic is empty"]);
    program.run(&["run"]).expect(2, &["no store is named", "EVENTFERRY_STORE"]);
    program.run(&["run", "--store", "sqlite:app.db"]).expect(2, &["no publisher is named"]);
    program.run(&["status", "--store", "app.db"]).expect(2, &["postgres:// or sqlite://"]);
    program.run(&["frobnicate"]).expect(2, &["Usage"]);
}

#[test]
fn what_becomes_of_refused_events_is_set_like_everything_else() {
    let program = Program::new();
    let base = ["run", "--store", "sqlite:app.db", "--publisher", "kafka://127.0.0.1:1"];
    let refused = |more: &[&str], says: &[&str]| program.run(&[&base, more].concat()).expect(2, says);
    refused(&["--retry-attempts", "0"], &["--retry-attempts: `0` is no number of attempts"]);
    refused(
        &["--retry-backoff", "200ms"],
        &["--retry-backoff: `200ms` is no way to back off", "fixed:PAUSE"],
    );
    refused(&["--on-dead", "stop"], &["--on-dead: `stop`", "continue or hold"]);
    refused(&["--dead-letter-detail", "yes"], &["--dead-letter-detail: `yes` is neither true nor false"]);
    refused(&["--dead-letter-topic", "{topic}"], &["such as `{topic}.dlq`"]);
    let file = |text: &str, says: &[&str]| {
        write(&program, "eventferry.toml", text);
        program.run(&base).expect(2, says);
    };
    let topic = "[topics.\"orders.created\"]";
    file(&format!("{topic}\non_dead = \"stop\""), &["eventferry.toml, line 2, on_dead: `stop`"]);
    file(&format!("{topic}\nlease = \"10s\""), &["line 2: `lease` cannot be set for one topic"]);
    file(
        &format!("{topic}\nretry_atempts = 3"),
        &["line 2: the key `retry_atempts`", "did you mean `retry_attempts`?"],
    );
    file("[topics.orders.created]\non_dead = \"hold\"", &["line 1", "put the topic's name in quotes"]);
    // All of it is good: what is in the way then is that there is no database.
    write(
        &program,
        "eventferry.toml",
        &format!("retry_attempts = 3\n{topic}\nretry_backoff = \"fixed:1s\"\n"),
    );
    let more = ["--on-dead", "hold", "--dead-letter-topic", "{topic}.dlq", "--dead-letter-detail"];
    program.run(&[&base[..], &more].concat()).expect(3, &["eventferry init"]);
}

#[test]
fn the_help_tells_the_exit_codes() {
    let help = Program::new().done(&["--help"]);
    assert!(help.contains("Exit codes:") && help.contains("130"), "{help}");
}
