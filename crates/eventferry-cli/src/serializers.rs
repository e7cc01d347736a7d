//! What events go through in a relay before they are sent, as it is set: one after the other, each only if asked for.

use eventferry::cloudevents::{CloudEvents, Mode};
use eventferry::events::{Checks, Registry};

use crate::arguments::SerializerArguments;
use crate::ending::Trouble;
use crate::failures::yes_or_no;
use crate::schemas::{Schemas, schemas};
use crate::settings::Settings;

/// All of them, in the order in which an event meets them: what was enqueued is checked before it becomes something
/// else by a schema of a registry, and the envelope comes last, around whatever there is then.
pub(crate) type Serializers = (Option<Checks>, (Option<Schemas>, Option<CloudEvents>));

/// Reads the settings.
///
/// # Errors
/// A value cannot be, or a folder cannot be used; it is named with its place.
pub(crate) fn serializers(
    settings: &Settings,
    arguments: &SerializerArguments,
) -> Result<Serializers, Trouble> {
    Ok((checks(settings, arguments)?, (schemas(settings)?, envelope(settings, arguments)?)))
}

fn checks(settings: &Settings, arguments: &SerializerArguments) -> Result<Option<Checks>, Trouble> {
    let strict = settings.find("events_strict", arguments.events_strict.as_deref());
    let by_topic = settings.topics().filter_map(|(topic, table)| Some((topic, table.find("events_strict")?)));
    let by_topic: Vec<_> = by_topic.collect();
    let Some(folder) = settings.find("events", arguments.events.as_deref()) else {
        let needless = strict.into_iter().chain(by_topic.into_iter().map(|(_, given)| given)).next();
        let what = "there is nothing to be strict about; name a folder with --events DIR";
        return needless.map_or(Ok(None), |given| given.parse(|_| Err(what)));
    };
    let mut checks = Checks::new(folder.parse(|folder| Registry::load(folder))?);
    if let Some(strict) = strict {
        checks = checks.strict(strict.parse(yes_or_no)?);
    }
    for (topic, strict) in by_topic {
        checks = checks.strict_for(topic, strict.parse(yes_or_no)?);
    }
    Ok(Some(checks))
}

fn envelope(settings: &Settings, arguments: &SerializerArguments) -> Result<Option<CloudEvents>, Trouble> {
    let envelope = settings.find("envelope", arguments.envelope.as_deref());
    let mode = envelope.as_ref().map(|given| given.parse(mode)).transpose()?.flatten();
    let source = settings.find("cloudevents_source", arguments.cloudevents_source.as_deref());
    match (mode, envelope, source) {
        (Some(mode), _, Some(source)) => source.parse(|source| CloudEvents::new(mode, source)).map(Some),
        (Some(_), Some(envelope), None) => envelope.parse(|_| {
            Err("CloudEvents have a source; name one with --cloudevents-source URI, such as /shop/orders")
        }),
        _ => Ok(None),
    }
}

fn mode(envelope: &str) -> Result<Option<Mode>, String> {
    match envelope {
        "plain" => Ok(None),
        "cloudevents-binary" => Ok(Some(Mode::Binary)),
        "cloudevents-structured" => Ok(Some(Mode::Structured)),
        other => {
            Err(format!("`{other}` is no envelope; give plain, cloudevents-binary or cloudevents-structured"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, arguments: &SerializerArguments) -> Result<Serializers, String> {
        serializers(&Settings::of_file(file), arguments).map_err(|trouble| trouble.message)
    }

    fn said(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn without_settings_events_are_sent_as_they_are() {
        let (checks, (schemas, envelope)) = read("", &SerializerArguments::default()).unwrap();
        assert!(checks.is_none() && schemas.is_none() && envelope.is_none());
        let (_, (_, envelope)) = read("envelope = \"plain\"\n", &SerializerArguments::default()).unwrap();
        assert!(envelope.is_none());
    }

    #[test]
    fn an_envelope_has_a_source() {
        let arguments = SerializerArguments { envelope: said("cloudevents-binary"), ..Default::default() };
        let (_, (_, envelope)) = read("cloudevents_source = \"/shop\"\n", &arguments).unwrap();
        assert_eq!(envelope, Some(CloudEvents::new(Mode::Binary, "/shop").unwrap()));
        for (file, says) in [
            ("", "--envelope: CloudEvents have a source"),
            ("cloudevents_source = \"a b\"\n", "e.toml, line 1, cloudevents_source: `a b` is no source"),
        ] {
            let message = read(file, &arguments).unwrap_err();
            assert!(message.starts_with(says), "{message}");
        }
        let arguments = SerializerArguments { envelope: said("avro"), ..Default::default() };
        assert!(read("", &arguments).unwrap_err().starts_with("--envelope: `avro` is no envelope"));
    }

    #[test]
    fn strictness_without_a_folder_is_refused() {
        let arguments = SerializerArguments { events_strict: said("true"), ..Default::default() };
        assert!(read("", &arguments).unwrap_err().starts_with("--events-strict: there is nothing"));
        let message =
            read("[topics.\"t\"]\nevents_strict = true\n", &SerializerArguments::default()).unwrap_err();
        assert!(message.starts_with("e.toml, line 2, events_strict: there is nothing"), "{message}");
    }

    #[test]
    fn a_bad_folder_is_named_with_its_file_and_where_it_was_set() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("orders.v1.schema.json"), "{").unwrap();
        let arguments =
            SerializerArguments { events: said(&folder.path().display().to_string()), ..Default::default() };
        let message = read("", &arguments).unwrap_err();
        assert!(
            message.starts_with("--events: `")
                && message.contains("orders.v1.schema.json`: this is not JSON")
        );
    }
}
