//! `eventferry parked`: looking at parked events, and deciding on them.

mod decide;
mod export;
mod filter;
mod line;
mod table;
mod walk;

use eventferry::core::StoreFault;
use eventferry::core::parked::{Decision, Stage};
use eventferry::core::store::{Prepare, RelayId, Store};
use eventferry::postgres::PostgresStore;
use eventferry::sqlite::SqliteStore;
use jiff::Timestamp;

use crate::arguments::{ListArguments, ParkedArguments, ParkedCommand, ShowArguments};
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::place::StorePlace;
use crate::settings::Settings;
use line::{Detail, EventLine};
use walk::Walk;

/// How many events a table lists unless told otherwise.
const LISTED: u64 = 100;

/// How many events are shown in full unless told otherwise.
const SHOWN: u64 = 10;

/// Shows parked events, or decides on them.
pub(crate) async fn parked(settings: &Settings, arguments: ParkedArguments) -> Result<Ending, Trouble> {
    let command = arguments.command;
    let store = match &command {
        ParkedCommand::List(arguments) => &arguments.store,
        ParkedCommand::Show(arguments) => &arguments.store,
        ParkedCommand::Export(arguments) => &arguments.store,
        ParkedCommand::Retry(arguments)
        | ParkedCommand::Discard(arguments)
        | ParkedCommand::Release(arguments) => &arguments.store,
    };
    let store = settings.require("store", store.store.as_deref())?;
    match StorePlace::of(&store, settings)? {
        StorePlace::Postgres(config) => perform(PostgresStore::new(config), &command).await,
        StorePlace::Sqlite(config) => perform(SqliteStore::new(config), &command).await,
    }
}

async fn perform<S: Store>(store: S, command: &ParkedCommand) -> Result<Ending, Trouble> {
    match command {
        ParkedCommand::List(arguments) => list(store, arguments).await,
        ParkedCommand::Show(arguments) => show(store, arguments).await,
        ParkedCommand::Retry(arguments) => decide::decide(store, Decision::Retry, arguments).await,
        ParkedCommand::Discard(arguments) => decide::decide(store, Decision::Discard, arguments).await,
        ParkedCommand::Release(arguments) => decide::decide(store, Decision::Release, arguments).await,
        ParkedCommand::Export(arguments) => export::export(store, arguments).await,
    }
}

/// The desk of a store whose schema is as it should be.
pub(crate) async fn desk<S: Store>(mut store: S) -> Result<S::Desk, StoreFault> {
    store.prepare(Prepare::Check).await?;
    // A name to ask by; who never holds a lane never counts as a relay.
    Ok(store.roles(&RelayId("eventferry-desk".into())).desk)
}

async fn list<S: Store>(store: S, arguments: &ListArguments) -> Result<Ending, Trouble> {
    let filter = filter::of(&arguments.filter)?;
    let mut desk = desk(store).await?;
    let limit = if arguments.json { arguments.limit } else { arguments.limit.or(Some(LISTED)) };
    let mut walk = Walk::new(&mut desk, &filter, limit);
    let mut table = table::List::new(Timestamp::now());
    loop {
        let events = walk.next().await?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            if arguments.json {
                print(&EventLine::of(event, Detail::Place).json()?)?;
            } else {
                table.add(event);
            }
        }
    }
    if !arguments.json {
        print(&table.text(walk.was_cut()))?;
    }
    Ok(Ending::Done)
}

async fn show<S: Store>(store: S, arguments: &ShowArguments) -> Result<Ending, Trouble> {
    let filter = filter::of(&arguments.filter)?;
    let mut desk = desk(store).await?;
    let limit = if arguments.json { arguments.limit } else { arguments.limit.or(Some(SHOWN)) };
    let detail = if arguments.payload { Detail::Payload } else { Detail::Headers };
    let mut walk = Walk::new(&mut desk, &filter, limit);
    let mut found = false;
    loop {
        let events = walk.next().await?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            print(&match arguments.json {
                true => EventLine::of(event, detail).json()?,
                false => {
                    let gap = if found { "\n" } else { "" };
                    format!("{gap}{}", table::whole(event, detail, Timestamp::now()))
                }
            })?;
            found = true;
        }
    }
    if !arguments.json && !found {
        print(table::NOTHING)?;
    }
    if !arguments.json && walk.was_cut() {
        print("\nthere are more: say which, or give --limit\n")?;
    }
    Ok(Ending::Done)
}

/// A stage's name, as on the command line and in JSON.
pub(crate) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Topic => "topic",
        Stage::DeadLetterTopic => "dead-letter-topic",
        Stage::Waiting => "waiting",
        Stage::Held => "held",
    }
}

/// A decision's name, as on the command line and in JSON.
fn decision_name(decision: Decision) -> &'static str {
    match decision {
        Decision::Retry => "retry",
        Decision::Discard => "discard",
        Decision::Release => "release",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::StageArgument;
    use clap::ValueEnum;

    #[test]
    fn a_stage_has_the_same_name_everywhere() {
        for argument in StageArgument::value_variants() {
            let name = argument.to_possible_value().unwrap();
            assert_eq!(stage_name((*argument).into()), name.get_name());
        }
    }
}
