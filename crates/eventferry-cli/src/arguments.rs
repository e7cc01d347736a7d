//! What can be said on the command line.

mod dead_letters;
mod events;
mod parked;
mod tail;
mod topics;

use clap::{Args, Parser, Subcommand, value_parser};

pub(crate) use dead_letters::{
    DeadLettersArguments, DeadLettersCommand, ReplayArguments, ReplayFilterArguments,
};
pub(crate) use events::{
    EventsArguments, EventsCommand, ExportEventsArguments, ExportFormat, FolderArguments, SerializerArguments,
};
#[cfg(test)]
pub(crate) use parked::StageArgument;
pub(crate) use parked::{
    DecideArguments, ExportArguments, FilterArguments, ListArguments, ParkedArguments, ParkedCommand,
    PersonArguments, ShowArguments,
};

pub(crate) use tail::{FromArgument, TailArguments};
pub(crate) use topics::{
    CheckArguments, ClusterArguments, DescribeArguments, EnsureArguments, ListTopicsArguments,
    TopicsArguments, TopicsCommand,
};

use crate::ending::EXIT_CODES;

/// The transactional outbox as a log: carries events from a database to Kafka, in order, without loss.
///
/// Settings come from flags, then from EVENTFERRY_* variables (EVENTFERRY_STORE for --store), then from a file
/// (eventferry.toml in the working directory, or --config). A variable that is empty counts as not set.
#[derive(Debug, Parser)]
#[command(name = "eventferry", version, max_term_width = 100, after_help = EXIT_CODES, subcommand_required = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) program: ProgramArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes. All texts: where a setting comes from is known only once all places were looked at.
#[derive(Debug, Default, Args)]
pub(crate) struct ProgramArguments {
    /// The file of settings [default: eventferry.toml, if it is there]
    #[arg(long, global = true, value_name = "PATH", display_order = 100)]
    pub(crate) config: Option<String>,
    /// How to say what happens: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT", display_order = 100)]
    pub(crate) log_format: Option<String>,
    /// What to say: error, warn, info, debug or trace [default: info; warn but for `run`]
    #[arg(long, global = true, value_name = "LEVEL", display_order = 100)]
    pub(crate) log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the outbox in a database, or upgrade it to this version
    Init(InitArguments),
    /// Append one event, in a transaction of its own, and print its message id
    Enqueue(EnqueueArguments),
    /// Carry events until SIGTERM or Ctrl-C
    Run(RunArguments),
    /// Show lag, owners, relays and refused events
    Status(StatusArguments),
    /// Look at parked events, which the broker refused, and decide on them
    Parked(ParkedArguments),
    /// Send dead letters back to where they belonged
    DeadLetters(DeadLettersArguments),
    /// Print a topic's records as they come, decoded
    ///
    /// Each record is shown with what eventferry's headers say of it, its own headers and its payload; one of another
    /// program's is shown as it is. Of transactions, only what is committed. Goes on until Ctrl-C, and joins no
    /// consumer group.
    Tail(TailArguments),
    /// Look at the broker's topics, check them, and make those that are declared
    Topics(TopicsArguments),
    /// Look at a folder of event types: check it, or tell others what is in it
    Events(EventsArguments),
    /// See it work: a shop, a relay, a broker and a checker in this process
    ///
    /// A shop writes orders and their events in one transaction each, some of them rolled back; a relay carries the
    /// events over Kafka's protocol; a consumer reads them back, and what it read is held against what was committed.
    /// Ends with an error if a promise broke. Looks at no variable and no file of settings.
    Demo(DemoArguments),
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgument {
    /// The database: postgres://user:password@host:5432/database or sqlite:///path/app.db; a password is better
    /// kept in EVENTFERRY_STORE
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    #[command(flatten)]
    pub(crate) store: StoreArgument,
    /// Make the replication slot too, for relays that read the log's tail (--feed tail or messages)
    #[arg(long, conflicts_with = "print_sql")]
    pub(crate) tail: bool,
    /// With --tail: accept that what a lost slot held is gone, and make a new one
    #[arg(long, requires = "tail")]
    pub(crate) accept_loss: bool,
    /// With --tail: let nobody but the schema's owner write raw messages into the log, as a superuser
    #[arg(long, requires = "tail")]
    pub(crate) close_messages: bool,
    /// Print the schema as SQL for a migration tool instead; connects to nothing, and `--store postgres:` is enough
    #[arg(long)]
    pub(crate) print_sql: bool,
    /// Whether inserts wake sleeping relays, by a trigger: on or off; PostgreSQL only [default: as it is; at first on,
    /// but where the server lets transactions be prepared]
    #[arg(long, value_name = "on|off")]
    pub(crate) doorbell: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EnqueueArguments {
    #[command(flatten)]
    pub(crate) store: StoreArgument,
    /// The broker's topic
    #[arg(long)]
    pub(crate) topic: String,
    /// What kind of thing the event is about, such as `order`
    #[arg(long, value_name = "TYPE")]
    pub(crate) aggregate_type: String,
    /// Which one it is about; events of one aggregate arrive in order
    #[arg(long, value_name = "ID")]
    pub(crate) aggregate_id: String,
    /// The message's bytes: @FILE, @- for standard input, or the text itself (@@ begins a text with an @)
    #[arg(long, value_name = "@FILE|@-|TEXT", required_unless_present = "tombstone")]
    pub(crate) payload: Option<String>,
    /// Send a message without a payload
    #[arg(long, conflicts_with = "payload")]
    pub(crate) tombstone: bool,
    /// The message's key [default: the aggregate's id]
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// A header; may be given again, and names may repeat
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) header: Vec<String>,
    /// The payload's media type, sent as the header content-type
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    /// The message's UUID [default: a random one]
    #[arg(long, value_name = "UUID")]
    pub(crate) message_id: Option<String>,
    /// The partition to send to [default: chosen from the key]
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<i32>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct RunArguments {
    /// The database: postgres://user:password@host:5432/database or sqlite:///path/app.db; a password is better
    /// kept in EVENTFERRY_STORE
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// The same PostgreSQL database without a pooler between, to listen there for new events [default: --store]
    #[arg(long, value_name = "URL")]
    pub(crate) listen_url: Option<String>,
    /// How to read a PostgreSQL outbox: table; tail (its inserts, by logical replication) or messages (what was emitted
    /// into the log) after `eventferry init --tail` [default: table]
    #[arg(long, value_name = "FEED")]
    pub(crate) feed: Option<String>,
    /// The database itself, for --feed tail and messages where --store is a pooler [default: the store's URL]
    #[arg(long, value_name = "URL")]
    pub(crate) replication_url: Option<String>,
    /// The broker: kafka://host:9092[,host:9092][?option=value]
    #[arg(long, value_name = "URL")]
    pub(crate) publisher: Option<String>,
    /// at-least-once, or exactly-once to consumers that read what is committed (isolation.level=read_committed): one
    /// relay carries at a time, and others stand by [default: at-least-once]
    #[arg(long, value_name = "HOW")]
    pub(crate) delivery: Option<String>,
    #[command(flatten)]
    pub(crate) serializers: SerializerArguments,
    #[command(flatten)]
    pub(crate) failures: FailureArguments,
    /// What this relay calls itself, unlike any other on the database [default: the host's name and random digits]
    #[arg(long, value_name = "ID")]
    pub(crate) relay_id: Option<String>,
    /// How long its lanes stay its own if it vanishes [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) lease: Option<String>,
    /// How long it drains after SIGTERM or Ctrl-C [default: 8s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) grace: Option<String>,
    /// How long settled events stay in the database [default: 1h]
    #[arg(long, value_name = "DURATION")]
    pub(crate) retention: Option<String>,
    /// Warn when the database keeps more than this of its log for relays that read its tail, as in 512MiB
    /// [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) log_kept_max: Option<String>,
    /// Serve /livez and /readyz here, as in 127.0.0.1:8080 [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
}

/// What becomes of events that the broker refuses.
#[derive(Debug, Default, Args)]
pub(crate) struct FailureArguments {
    /// The topic for events that are given up on; {topic} in it stands for the event's own, as in {topic}.dlq
    /// [default: none, they stay parked]
    #[arg(long, value_name = "TOPIC")]
    pub(crate) dead_letter_topic: Option<String>,
    /// Say in each dead letter where it was given up (the header dlq-detail) [default: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) dead_letter_detail: Option<String>,
    /// What follows a dead letter: its aggregate goes on, or waits for a person (continue or hold)
    /// [default: continue]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_dead: Option<String>,
    /// How many attempts a refused event has, the first included [default: 5]
    #[arg(long, value_name = "N")]
    pub(crate) retry_attempts: Option<String>,
    /// How long to wait between them: exponential:MIN:MAX, linear:STEP:MAX or fixed:PAUSE
    /// [default: exponential:200ms:30s]
    #[arg(long, value_name = "BACKOFF")]
    pub(crate) retry_backoff: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) store: StoreArgument,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Show every lane rather than one line for each owner
    #[arg(long, conflicts_with = "json")]
    pub(crate) lanes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// How many events to commit [default: 100000; from PostgreSQL 20000, for each sale there waits for the disk]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=100_000_000))]
    pub(crate) events: Option<u64>,
    /// How many orders they are about
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) aggregates: u32,
    /// Events a second [default: as many as it can]
    #[arg(long, value_name = "R", value_parser = value_parser!(u64).range(1..))]
    pub(crate) rate: Option<u64>,
    /// Says which orders change and what is rolled back [default: random]
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Print the table and nothing else
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Sell from this database instead of a temporary SQLite file; what is made there is removed in the end
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Carry to this Kafka cluster instead of one in this process; the topic made there is removed in the end
    #[arg(long, value_name = "URL")]
    pub(crate) publisher: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    /// The commands in the code blocks of a page, without their comments.
    fn commands(page: &str) -> Vec<String> {
        let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        let lines = blocks.flat_map(str::lines).filter(|line| line.starts_with("eventferry "));
        lines.map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned()).collect()
    }

    #[test]
    fn every_command_that_the_docs_show_can_be_said() {
        for (name, page, least) in [
            ("README.md", include_str!("../../../README.md"), 3),
            ("docs/operating.md", include_str!("../../../docs/operating.md"), 3),
            ("docs/failures.md", include_str!("../../../docs/failures.md"), 10),
            ("docs/consuming.md", include_str!("../../../docs/consuming.md"), 2),
            ("docs/kafka.md", include_str!("../../../docs/kafka.md"), 4),
            ("docs/events.md", include_str!("../../../docs/events.md"), 5),
        ] {
            let commands = commands(page);
            assert!(commands.len() >= least, "{name}: {commands:#?}");
            for command in commands {
                let said = Arguments::try_parse_from(words(&command));
                assert!(said.is_ok(), "{name}: {command}: {}", said.unwrap_err());
            }
        }
    }

    /// The words of a command, as a shell divides it: what is in quotes is one.
    fn words(command: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        for character in command.chars() {
            match (quote, character) {
                (None, '\'' | '"') => quote = Some(character),
                (None, ' ') => words.push(String::new()),
                (Some(open), _) if open == character => quote = None,
                _ => words.last_mut().into_iter().for_each(|word| word.push(character)),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }
}
