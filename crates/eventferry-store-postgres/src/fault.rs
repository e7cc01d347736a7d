//! What an error of PostgreSQL or of its driver means now: one table, by SQLSTATE.
//!
//! Source: PostgreSQL 18 documentation, appendix A, "PostgreSQL Error Codes".
//!
//! `Misconfigured` ends the relay, so it is said only where waiting mends nothing: a person must change the schema, a
//! grant or a setting of ours. What the server's people mend while the relay waits is `Unavailable`, however bad: a
//! full disk, a corrupt page (they fail over, or restore), a server out of transaction ids. An outage is not a failure.
//!
//! No message shows data: where the server's words may repeat a value (a payload that cannot be read, what a trigger
//! of the user's says), the row's words stand in for them, and its DETAIL is never shown.

use std::error::Error;
use std::time::Duration;

use eventferry_core::StoreFault;
use eventferry_core::StoreFaultKind::{self, Contended, HistoryLost, Misconfigured, Unavailable};
use tokio_postgres::error::DbError;

use crate::{schema, tls};

/// What a code means for a relay.
struct Row {
    /// Codes, and classes: the two characters that codes begin with. A code goes before its class.
    of: &'static [&'static str],
    kind: StoreFaultKind,
    /// What it says, and why it is of this kind where that is not plain.
    why: &'static str,
    /// What people can do about it; nothing: it mends itself, or the server's words suffice.
    remedy: &'static str,
}

const fn row(
    of: &'static [&'static str],
    kind: StoreFaultKind,
    why: &'static str,
    remedy: &'static str,
) -> Row {
    Row { of, kind, why, remedy }
}

const INIT: &str = "run `eventferry init` with this version";
const ENTRY: &str = "check user and password in the store's URL (or what its passfile or password_command has), and \
                     the server's pg_hba.conf";
const RULES: &str = "check the user in the store's URL, and the server's pg_hba.conf: it may want TLS (sslmode), or a \
                     certificate of ours (sslcert, sslkey)";
const TRIGGER: &str =
    "look for triggers and rules of your own on the tables of schema `eventferry`, and drop them";
const POOLER: &str = "what answers there carries no replication, as poolers do not: name the server itself by \
                      `--replication-url`";
const SENDERS: &str =
    "raise max_wal_senders (or max_connections), or end others' readers: see pg_stat_replication";
const PRIMARY: &str = "point the URL to the primary";

/// Every class of the appendix, and each code that means something else than its class or has a remedy of its own.
const TABLE: &[Row] = &[
    // Our own.
    row(&["EF001"], Misconfigured, "the role's transactions are not READ COMMITTED", ""),
    row(&["EF002"], HistoryLost, "positions of another timeline or cluster", ""),
    // Lost races: whoever asks again at once gets through.
    row(&["40"], Contended, "the transaction was rolled back in favour of another", ""),
    row(&["40001"], Contended, "serialization failure: the other transaction won", ""),
    row(&["40P01"], Contended, "deadlock: this one was chosen to end", ""),
    row(&["55P03"], Contended, "a lock was not to be had in the time we gave it", ""),
    row(&["72"], Contended, "the snapshot is too old: the next statement has a new one", ""),
    // Away, and back by itself.
    row(&["40003"], Unavailable, "statement completion unknown: it may have happened, and is repeated", ""),
    row(&["08"], Unavailable, "connection lost or refused; poolers say all their troubles so", ""),
    row(&["57"], Unavailable, "an operator intervened", ""),
    row(&["57014"], Unavailable, "query canceled: a statement timeout, or a person", ""),
    row(&["57P01"], Unavailable, "the server shuts down, or a person ended the session", ""),
    row(&["57P02"], Unavailable, "the server crashed and recovers", ""),
    row(&["57P03"], Unavailable, "the server is starting, stopping or recovering", ""),
    // A restore drops and makes anew; what comes back is known by its history.
    row(&["57P04"], Unavailable, "the database was dropped under us", "create it, or restore it"),
    row(&["57P05"], Unavailable, "the session idled too long (idle_session_timeout)", ""),
    row(
        &["25006"],
        Unavailable,
        "a read-only standby: a failover is under way, or the URL is wrong",
        PRIMARY,
    ),
    // Functions of the write-ahead log say so on a standby.
    row(&["55000"], Unavailable, "not in the state that this needs, as in recovery", PRIMARY),
    row(&["55"], Unavailable, "an object is not in the state that this needs", ""),
    // Away until its people mend it.
    row(&["53"], Unavailable, "insufficient resources", "look at the server's log"),
    row(&["53100"], Unavailable, "the server's disk is full", "free some space there"),
    row(&["53200"], Unavailable, "the server is out of memory", "look at its log and its memory settings"),
    row(
        &["53300"],
        Unavailable,
        "too many connections",
        "raise max_connections, or connect through a pooler",
    ),
    row(&["53400"], Unavailable, "over a limit of the server's", "raise the limit it names"),
    // Also what a server says that has no transaction ids left.
    row(&["54"], Unavailable, "over a limit of the program's; also: no transaction ids are left", ""),
    row(&["58"], Unavailable, "the server's system failed: a file or a disk", "look at the server's log"),
    row(&["F0"], Unavailable, "the server's configuration file is wrong", "correct it there"),
    row(&["XX"], Unavailable, "an internal error of the server", "look at the server's log"),
    // Waiting mends no page, but a failover or a restore does, and then nobody has to think of the relays.
    row(
        &["XX001"],
        Unavailable,
        "the server's data is corrupt",
        "fail over to a standby, or restore a backup",
    ),
    row(&["XX002"], Unavailable, "an index of the server's is corrupt", "REINDEX it, and look at the disk"),
    // The session is not as we left it: the server's word keeps the connection, its end makes another.
    row(&["00", "01", "02", "03"], Unavailable, "a word of the server that is no error", ""),
    row(&["0B", "24", "25", "2D", "3B"], Unavailable, "the session's transaction is not as we left it", ""),
    row(&["26", "34", "42P03", "42P05"], Unavailable, "a statement or cursor is not as we left it", ""),
    // Not let in. At the start somebody gave a wrong setting; later see `shut_out`.
    row(&["28"], Misconfigured, "not let in: wrong user, password or pg_hba rule", ENTRY),
    row(&["28000"], Misconfigured, "not let in: no such role, no LOGIN, or no pg_hba rule", RULES),
    row(&["28P01"], Misconfigured, "not let in: the password is wrong or expired", ENTRY),
    row(&["3D"], Misconfigured, "no such database", "create it, or correct the name in the store's URL"),
    row(
        &["42501"],
        Misconfigured,
        "a privilege is missing",
        "grant it by `SELECT eventferry.grant_relay('ROLE')` as the schema's owner",
    ),
    row(&["0L", "0P"], Misconfigured, "the role is not what a statement needs", ENTRY),
    row(
        &["22023", "55P02"],
        Misconfigured,
        "a parameter does not take its value",
        "check the parameters in the store's URL, and ALTER ROLE ... SET and ALTER DATABASE ... SET",
    ),
    // The schema is not this version's.
    row(&["3F"], Misconfigured, "no schema `eventferry`", INIT),
    row(&["42"], Misconfigured, "a statement of ours does not fit the schema", INIT),
    row(&["42P01"], Misconfigured, "a table is missing: the schema is older or broken", INIT),
    row(&["42883"], Misconfigured, "a function is missing: the schema is older or broken", INIT),
    row(&["42703"], Misconfigured, "a column is missing: the schema is older or broken", INIT),
    row(&["0A"], Misconfigured, "the server lacks something we need", "use PostgreSQL 14 to 18"),
    row(&["20", "21", "2F", "P0"], Misconfigured, "a function of ours or of a trigger's failed", TRIGGER),
    // What our books or the log hold is not what they must.
    row(
        &["22"],
        Misconfigured,
        "a value cannot be read or written",
        "check that the database's encoding is UTF8 (or fits its texts), and look at the server's log",
    ),
    row(
        &["23", "44"],
        Misconfigured,
        "a constraint of our own books is broken",
        "look for whoever writes to them, and at the server's log",
    ),
    // Other people's code and tables in place of ours.
    row(&["09", "27", "38", "39", "0Z"], Misconfigured, "a trigger or a foreign function failed", TRIGGER),
    row(
        &["HV"],
        Misconfigured,
        "a foreign server failed, and none of our tables may be foreign",
        "make it a table of this database",
    ),
    row(&["0F", "10", "2B"], Misconfigured, "something that no statement of ours does", TRIGGER),
];

/// Codes of these classes, and what PL/pgSQL raises, come with words that may repeat a value.
const TELLS_VALUES: &[&str] = &["09", "22", "27", "38", "39", "HV", "P0"];

/// What a code that is in no row means: waiting loses nothing, and the message says that it is new.
const UNKNOWN: Row = row(&[], Unavailable, "a code this version does not know", "");

/// The row of this SQLSTATE.
fn row_of(code: &str) -> &'static Row {
    let class = code.get(..2).unwrap_or(code);
    let find = |wanted: &str| TABLE.iter().find(|row| row.of.contains(&wanted));
    find(code).or_else(|| find(class)).unwrap_or(&UNKNOWN)
}

/// The code or class under which the table knows this SQLSTATE.
fn class_of(code: &str) -> Option<&'static str> {
    let class = code.get(..2).unwrap_or(code);
    let of = row_of(code).of;
    of.iter().find(|listed| **listed == code).or_else(|| of.iter().find(|listed| **listed == class)).copied()
}

/// The fault for an error met while doing `what`.
pub(crate) fn fault(what: &str, error: tokio_postgres::Error) -> StoreFault {
    if let Some(refusal) = error.as_db_error() {
        return refusal_fault(what, refusal);
    }
    // The driver's own.
    let said = said(&error);
    if ["error serializing", "error deserializing", "invalid column", "number of columns", "parameters but"]
        .iter()
        .any(|words| said.contains(words))
    {
        let message = format!("{what}: {said}; the schema is not this version's, {INIT}");
        return StoreFault::new(Misconfigured, message).caused_by(error);
    }
    StoreFault::new(Unavailable, format!("{what}: {said}")).caused_by(error)
}

/// The fault for what the server said. All of it that may be shown is in the message: what lies below would show its
/// DETAIL, which may hold a row.
fn refusal_fault(what: &str, refusal: &DbError) -> StoreFault {
    let code = refusal.code().code();
    let row = row_of(code);
    let remedy = match code {
        "42501" if what == schema::APPLY => {
            "run it as the schema's owner, or as a role that may create one (GRANT CREATE ON DATABASE ... TO ...)"
        }
        _ => row.remedy,
    };
    let (words, hint) = if may_be_shown(refusal) {
        (refusal.message(), refusal.hint().unwrap_or_default())
    } else {
        (row.why, "")
    };
    let fault = StoreFault::new(row.kind, sentence(what, words, code, [hint, remedy]));
    match class_of(code) {
        Some(class) => fault.of_class(class),
        None => fault,
    }
}

/// What the server said, and what to do about it.
fn sentence(what: &str, words: &str, code: &str, more: [&str; 2]) -> String {
    let mut message = format!("{what}: {words} (SQLSTATE {code})");
    for more in more.into_iter().filter(|more| !more.is_empty()) {
        message.push_str("; ");
        message.push_str(more.trim_end_matches('.'));
    }
    message
}

/// The fault for what the server said on a replication connection, by its code.
pub(crate) fn of_code(what: &str, code: &str, said: &str) -> StoreFault {
    // The slot is gone, or what it kept is: known, and mended, when lanes are opened again.
    let gone = code == "42704" || (code == "55000" && said.contains("slot"));
    let row = row_of(code);
    let (kind, remedy) = match code {
        _ if gone => (HistoryLost, ""),
        "55006" => (Unavailable, "another relay reads from it"),
        // PgBouncer refuses the parameter; others let it be, and the command is no SQL.
        "08P01" if said.contains("replication") => (Misconfigured, POOLER),
        "42601" => (Misconfigured, POOLER),
        "53300" => (row.kind, SENDERS),
        "42501" => (
            Misconfigured,
            "run ALTER ROLE ... REPLICATION for the relay's role (or what the service has for that)",
        ),
        "28000" => (
            row.kind,
            "let the role in for replication too: pg_hba.conf, which may want TLS (sslmode) or a certificate \
             (sslcert), and `--replication-url` beside a pooler",
        ),
        _ => (row.kind, row.remedy),
    };
    let words = if tells_values(code) { row.why } else { said };
    StoreFault::new(kind, sentence(what, words, code, ["", remedy]))
}

/// What a person has to set right.
pub(crate) fn misconfigured(message: impl Into<String>) -> StoreFault {
    StoreFault::new(Misconfigured, message)
}

/// Whether the server's words hold no value: those of most codes name tables and settings only, and functions of our
/// own never name one.
fn may_be_shown(refusal: &DbError) -> bool {
    let code = refusal.code().code();
    let ours = refusal.where_().is_some_and(|place| place.starts_with("PL/pgSQL function eventferry."));
    !tells_values(code) || (code == "P0001" && ours)
}

/// Whether words that come with this code may repeat a value.
fn tells_values(code: &str) -> bool {
    TELLS_VALUES.iter().any(|class| code.starts_with(class))
}

/// What a refused connection means to a role of a relay: its store was prepared, so it was let in before, and what let
/// it in may again. A password that is being changed, a role that is locked for a while, a database that is being
/// restored are outages like any other: wait, and say so. (At the start they are a wrong setting: see [`refused`].)
pub(crate) fn shut_out(fault: StoreFault) -> StoreFault {
    if *fault.kind() != Misconfigured {
        return fault;
    }
    let waiting = StoreFault::new(Unavailable, format!("{}; it was let in before: waiting", fault.message()));
    match fault.class() {
        Some(class) => waiting.of_class(class),
        None => waiting,
    }
}

/// The fault for an error met while connecting to the server at `place`, and what to do about it.
pub(crate) fn refused(place: &str, error: tokio_postgres::Error) -> StoreFault {
    let what = format!("connect to PostgreSQL at {place}");
    if error.as_db_error().is_some() {
        return fault(&what, error);
    }
    let said = said(&error);
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let (kind, remedy) = if let Some(remedy) = tls::remedy(&said) {
        remedy
    } else if has(&["password missing"]) {
        (Misconfigured, "the server asks for a password, and neither the store's URL nor a passfile has one")
    } else if has(&["invalid configuration"]) {
        (Misconfigured, "correct the store's URL")
    } else if has(&["did not use channel binding"]) {
        (
            Misconfigured,
            "channel_binding=require: there is one only with TLS (sslmode) and a password that the server keeps for \
             SCRAM",
        )
    } else if has(&["authentication error"]) {
        (Misconfigured, ENTRY)
    } else if has(&["does not allow writes", "is not read only"]) {
        (Unavailable, "target_session_attrs: no host of the store's URL that answers is as it wants them")
    } else if has(&["failed to lookup address", "could not resolve"]) {
        (Unavailable, "the name does not resolve: check it in the store's URL, and the name service")
    } else if has(&["unexpected message", "error parsing", "connection closed", "communicating"]) {
        (
            Unavailable,
            "check that host and port in the store's URL are PostgreSQL's, and look at the server's log",
        )
    } else {
        (Unavailable, "check host and port in the store's URL, and that the server runs")
    };
    let said = said.strip_prefix("error connecting to server: ").unwrap_or(&said);
    StoreFault::new(kind, format!("{what}: {said}; {remedy}")).caused_by(error)
}

/// The fault of a server that takes a connection and then says nothing.
pub(crate) fn unanswered(place: &str, limit: Duration) -> StoreFault {
    let message = format!(
        "connect to PostgreSQL at {place}: no answer within {limit:?}; check that host and port in the store's URL are \
         PostgreSQL's, and that the server is not frozen"
    );
    StoreFault::new(Unavailable, message)
}

/// An error and what lies below it, in one line.
fn said(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(source) = below {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        below = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio_postgres::NoTls;
    use tokio_postgres::error::SqlState;

    use super::*;

    /// A server that says this to whoever connects.
    struct Server(Vec<u8>);

    impl AsyncRead for Server {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            into.put_slice(&std::mem::take(&mut self.get_mut().0));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Server {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// The fault for a server's word: fields as the protocol has them, `M` the message, `D` the detail, `H` the hint,
    /// `W` where.
    async fn faulted(code: &str, fields: &[(char, &str)]) -> StoreFault {
        let mut said = Vec::new();
        for (name, text) in [('S', "ERROR"), ('C', code)].iter().chain(fields) {
            said.extend_from_slice(format!("{name}{text}\0").as_bytes());
        }
        said.push(0);
        let mut message = vec![b'E'];
        message.extend_from_slice(&(said.len() as u32 + 4).to_be_bytes());
        message.extend_from_slice(&said);
        let connected = tokio_postgres::Config::new().user("u").connect_raw(Server(message), NoTls).await;
        fault("read", connected.err().unwrap())
    }

    /// Every code that the driver has a constant for: it lists them nowhere, but knows each when asked.
    fn known() -> Vec<String> {
        const CHARACTERS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let is_known = |code: &str| !format!("{:?}", SqlState::from_code(code)).contains("Other");
        let longer = |start: &str| {
            let start = start.to_owned();
            CHARACTERS.iter().map(move |character| format!("{start}{}", char::from(*character)))
        };
        let classes =
            longer("").flat_map(|one| longer(&one)).filter(|class| is_known(&format!("{class}000")));
        let codes = classes.flat_map(|class| longer(&class)).flat_map(|code| longer(&code));
        codes.flat_map(|code| longer(&code)).filter(|code| is_known(code)).collect()
    }

    #[test]
    fn every_code_of_the_driver_has_a_row() {
        let known = known();
        assert!(known.len() > 250, "the driver knows only {} codes", known.len());
        let missing: Vec<_> = known.iter().filter(|code| row_of(code).of.is_empty()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_class_of_the_appendix_has_a_row_of_its_own() {
        for class in
            "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 \
                      42 44 53 54 55 57 58 72 F0 HV P0 XX"
                .split_whitespace()
        {
            assert_eq!(class_of(&format!("{class}ZZZ")), Some(class));
        }
    }

    #[test]
    fn each_code_is_listed_once_and_differs_from_its_class() {
        let listed: Vec<&str> = TABLE.iter().flat_map(|row| row.of.iter().copied()).collect();
        for (at, code) in listed.iter().enumerate() {
            assert!(matches!(code.len(), 2 | 5), "{code}");
            assert!(!listed[..at].contains(code), "{code} is listed twice");
        }
        for row in TABLE {
            assert!(!row.why.is_empty());
            for code in row.of.iter().filter(|code| code.len() == 5) {
                let class = row_of(&code[..2]);
                let same = (row.kind, row.remedy, row.why) == (class.kind, class.remedy, class.why);
                assert!(!same, "{code} needs no row of its own");
            }
        }
    }

    #[test]
    fn the_codes_that_decide_most_are_as_promised() {
        for (kind, codes) in [
            (Contended, "40001 40P01 40002 55P03 72000"),
            (HistoryLost, "EF002"),
            (Unavailable, "57P01 57P02 57P03 57P04 57P05 57014 40003 08006 08P01 25006 25P03 25P04 26000"),
            (Unavailable, "53000 53100 53200 53300 53400 54000 55000 58030 XX000 XX001 XX002 F0000"),
            (Misconfigured, "28000 28P01 3D000 3F000 42P01 42883 42703 42501 0A000 23505 22021 P0001 EF001"),
        ] {
            for code in codes.split(' ') {
                assert_eq!(row_of(code).kind, kind, "{code}");
            }
        }
    }

    #[tokio::test]
    async fn a_hint_is_kept_and_a_detail_is_not() {
        let fields =
            [('M', "no place is left"), ('D', "Failing row contains (sesame)."), ('H', "Make some.")];
        let fault = faulted("53100", &fields).await;
        assert_eq!((*fault.kind(), fault.class()), (Unavailable, Some("53100")));
        let words = "read: no place is left (SQLSTATE 53100); Make some; free some space there";
        assert_eq!(said(&fault), words);
    }

    #[tokio::test]
    async fn words_that_may_repeat_a_value_are_not_shown() {
        for code in ["22P02", "22021", "P0001", "38000", "09000"] {
            let fields =
                [('M', "not a number: sesame"), ('H', "no sesame"), ('D', "sesame"), ('W', "sesame")];
            let text = said(&faulted(code, &fields).await);
            assert!(!text.contains("sesame") && text.contains(&format!("(SQLSTATE {code}); ")), "{text}");
        }
    }

    #[tokio::test]
    async fn what_a_function_of_ours_raises_is_shown() {
        let place = ('W', "PL/pgSQL function eventferry.set_slot(integer) line 3 at RAISE");
        let text = said(&faulted("P0001", &[('M', "a slot lasts at least 1 second, not 0"), place]).await);
        assert!(text.starts_with("read: a slot lasts at least 1 second, not 0 (SQLSTATE P0001)"), "{text}");
    }

    #[test]
    fn words_on_a_replication_connection_show_no_value_either() {
        for code in ["22P02", "22021", "P0001", "38000", "09000"] {
            let fault = of_code("read", code, "not a number: sesame");
            assert!(!fault.to_string().contains("sesame"), "{fault}");
            assert!(fault.message().ends_with(row_of(code).remedy), "{fault}");
        }
        let fault = of_code("read", "53300", "too many standbys");
        assert!(
            fault.message().starts_with("read: too many standbys (SQLSTATE 53300); raise max_wal_senders")
        );
    }

    #[test]
    fn a_pooler_is_known_by_how_it_refuses_replication() {
        for (code, said) in [
            ("08P01", "unsupported startup parameter: replication"),
            ("42601", "syntax error at or near \"IDENTIFY_SYSTEM\""),
        ] {
            let fault = of_code("connect for replication", code, said);
            assert_eq!(*fault.kind(), Misconfigured, "{fault}");
            assert!(fault.message().contains("--replication-url"), "{fault}");
        }
        assert_eq!(*of_code("connect for replication", "08P01", "server login failed").kind(), Unavailable);
    }

    #[test]
    fn an_unknown_code_waits() {
        assert_eq!(row_of("ZZ999").kind, Unavailable);
        assert_eq!(row_of("é").kind, Unavailable);
        assert_eq!(class_of("ZZ999"), None);
    }
    #[test]
    fn who_was_let_in_before_waits_to_be_let_in_again() {
        let wrong = || StoreFault::new(Misconfigured, "connect: no").of_class("28P01");
        assert_eq!((shut_out(wrong()).kind(), shut_out(wrong()).class()), (&Unavailable, Some("28P01")));
        assert!(shut_out(wrong()).message().starts_with("connect: no; "));
        assert_eq!(*shut_out(StoreFault::new(HistoryLost, "connect: no")).kind(), HistoryLost);
    }
}
