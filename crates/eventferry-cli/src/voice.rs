//! How the program says what happens: on standard error, as lines for people or as JSON.

use std::fmt;
use std::io::IsTerminal;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::arguments::ProgramArguments;
use crate::ending::Trouble;
use crate::output::plain;
use crate::settings::Settings;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Text,
    Json,
}

/// Begins to say what happens, as the settings say; `level` unless they say otherwise.
///
/// # Errors
/// A format or level that is none.
pub(crate) fn begin(
    settings: &Settings,
    arguments: &ProgramArguments,
    level: LevelFilter,
) -> Result<(), Trouble> {
    let look = match settings.find("log_format", arguments.log_format.as_deref()) {
        Some(given) => given.parse(look)?,
        None => Look::Text,
    };
    let level = match settings.find("log_level", arguments.log_level.as_deref()) {
        Some(given) => given.parse(level_of)?,
        None => level,
    };
    // What libraries below say is for whoever asks for more.
    let others = if level > LevelFilter::INFO { level } else { level.min(LevelFilter::WARN) };
    // Of the collector's outages we speak ourselves, once and not with every batch.
    let telemetry = if level > LevelFilter::INFO { level } else { LevelFilter::OFF };
    let filter = Targets::new()
        .with_target("eventferry", level)
        .with_target("opentelemetry", telemetry)
        .with_default(others);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let begun = match look {
        Look::Json => {
            let lines = lines.json().flatten_event(true).with_target(false).with_timer(Clock);
            let subscriber = tracing_subscriber::registry().with(filter).with(lines);
            tracing::subscriber::set_global_default(subscriber)
        }
        Look::Text => {
            let lines = lines.with_ansi(is_colourful()).event_format(Line);
            let subscriber = tracing_subscriber::registry().with(filter).with(lines);
            tracing::subscriber::set_global_default(subscriber)
        }
    };
    begun.map_err(Trouble::bug)
}

fn look(text: &str) -> Result<Look, String> {
    match text {
        "text" => Ok(Look::Text),
        "json" => Ok(Look::Json),
        _ => Err(format!("`{text}` is not a format of logs; give text or json")),
    }
}

fn level_of(text: &str) -> Result<LevelFilter, String> {
    let known = ["error", "warn", "info", "debug", "trace"].contains(&text);
    text.parse()
        .ok()
        .filter(|_| known)
        .ok_or_else(|| format!("`{text}` is not a level of logs; give error, warn, info, debug or trace"))
}

/// Whether standard error may be coloured: a terminal, and nobody who set NO_COLOR.
pub(crate) fn is_colourful() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::stderr().is_terminal()
}

/// The time, in UTC, to the millisecond.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:.3}", Timestamp::now())
    }
}

/// A line for people: time, level, what happened, and its circumstances.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (colour, level) = match *event.metadata().level() {
            Level::ERROR => ("31", "ERROR"),
            Level::WARN => ("33", "WARN "),
            Level::INFO => ("32", "INFO "),
            Level::DEBUG => ("34", "DEBUG"),
            Level::TRACE => ("35", "TRACE"),
        };
        let mut words = Words::default();
        event.record(&mut words);
        let Words { message, fault, rest } = words;
        let now = Timestamp::now();
        if writer.has_ansi_escapes() {
            let rest = format_args!("\x1b[2m{rest}\x1b[0m");
            writeln!(writer, "\x1b[2m{now:.3}\x1b[0m \x1b[{colour}m{level}\x1b[0m {message}{fault}{rest}")
        } else {
            writeln!(writer, "{now:.3} {level} {message}{fault}{rest}")
        }
    }
}

/// An event's fields: the message, what went wrong after a colon, then ` name=value` for each of the rest. On one line,
/// and without a word to the terminal, whatever a topic or a broker's answer holds.
#[derive(Default)]
struct Words {
    message: String,
    fault: String,
    rest: String,
}

impl Words {
    fn add(&mut self, field: &Field, value: &str) {
        let value = plain(value);
        match field.name() {
            "message" => self.message.push_str(&value),
            "fault" => self.fault = format!(": {value}"),
            name => self.rest.push_str(&format!(" {name}={value}")),
        }
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_formats_are_named_in_their_refusal() {
        assert_eq!(level_of("debug"), Ok(LevelFilter::DEBUG));
        for wrong in ["verbose", "3", "INFO"] {
            assert!(level_of(wrong).unwrap_err().contains(wrong));
        }
        assert_eq!(look("json"), Ok(Look::Json));
        assert!(look("xml").unwrap_err().contains("xml"));
    }
}
