//! The command line of eventferry: creates an outbox, carries its events to Kafka, shows how far they are, and puts
//! those that the broker refused into people's hands.
//!
//! Exit codes, the same for every command:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; for `run`: drained, everything in flight is settled; for `tail`: ended by Ctrl-C or SIGTERM |
//! | 1 | a promise was seen broken (`demo`), or a bug |
//! | 2 | the arguments, variables, file of settings or event cannot be used |
//! | 3 | the store is unreachable (not for `run`, which waits), or must be set right |
//! | 4 | the publisher is unreachable (`demo`, `dead-letters`, `tail`, `topics`), or must be set right |
//! | 5 | the grace time ran out: what was in flight is sent again by the next relay |
//! | 130, 143 | a second Ctrl-C or SIGTERM: ended at once, as after a crash |
//!
//! `run` waits for a store or broker that is away, however long, and says so; the other commands ask once.
//! Results go to standard output, everything else to standard error.

mod arguments;
mod bytes;
mod database;
mod dead_letters;
mod demo;
mod ending;
mod enqueue;
mod events;
mod failures;
mod health;
mod init;
mod output;
mod parked;
mod person;
mod place;
mod readiness;
mod run;
mod schemas;
mod serializers;
mod settings;
mod shutdown;
mod status;
mod table;
mod tail;
mod topics;
mod traces;
mod voice;

use arguments::{Arguments, Command};
use clap::Parser;
use ending::{Ending, Trouble};
use settings::Settings;
use tracing_subscriber::filter::LevelFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Has freed memory given back to the system at once. Left to itself the allocator keeps it for a second, and with
/// events of a megabyte what was freed within a second is more than what is held.
fn give_memory_back_at_once() {
    /// `mi_option_purge_delay`, by its place in `mi_option_e` of mimalloc.h, which keeps the places of its options.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    #[expect(unsafe_code, reason = "the binding has no safe way to set an option")]
    // Not safe beside other threads, of which there are none yet.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, 0);
    }
}

fn main() {
    give_memory_back_at_once();
    let ending = perform(Arguments::parse()).unwrap_or_else(|trouble| {
        eprintln!("error: {}", output::plain(&trouble.message));
        trouble.ending
    });
    // At once: what still runs in the background was given up.
    std::process::exit(ending.code());
}

fn perform(arguments: Arguments) -> Result<Ending, Trouble> {
    let Arguments { program, command } = arguments;
    let settings = match command {
        // It must never meet a real database because a variable or a file happens to name one.
        Command::Demo(_) => Settings::default(),
        _ => Settings::read(program.config.as_deref())?,
    };
    let is_run = matches!(command, Command::Run(_));
    let level = if is_run { LevelFilter::INFO } else { LevelFilter::WARN };
    voice::begin(&settings, &program, level)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::bug(format!("threads cannot be started: {error}")))?;
    let ending = runtime.block_on(async {
        match command {
            Command::Init(arguments) => init::init(&settings, &arguments).await,
            Command::Enqueue(arguments) => enqueue::enqueue(&settings, arguments).await,
            Command::Run(arguments) => Box::pin(run::run(&settings, &arguments)).await,
            Command::Status(arguments) => status::status(&settings, &arguments).await,
            Command::Parked(arguments) => parked::parked(&settings, arguments).await,
            Command::DeadLetters(arguments) => dead_letters::dead_letters(&settings, arguments).await,
            Command::Tail(arguments) => tail::tail(&settings, &arguments).await,
            Command::Topics(arguments) => topics::topics(&settings, arguments).await,
            Command::Events(arguments) => events::events(&arguments),
            Command::Demo(arguments) => demo::demo(&arguments).await,
        }
    });
    runtime.shutdown_background();
    match ending {
        // The last of its log lines, in the log's own format.
        Err(trouble) if is_run => {
            tracing::error!("{}", trouble.message);
            Ok(trouble.ending)
        }
        ending => ending,
    }
}
