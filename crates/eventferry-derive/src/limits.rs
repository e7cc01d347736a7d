//! What a topic, a name and a version may be.

/// Kafka's own limit, in characters.
const TOPIC_CHARS_MAX: usize = 249;

/// The outbox's limit for an aggregate's type, in bytes.
const AGGREGATE_BYTES_MAX: usize = 1024;

/// A topic as Kafka takes it.
pub(crate) fn topic(topic: &str) -> Result<(), String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if topic.is_empty() {
        return Err("the topic is empty; name one".into());
    }
    if topic == "." || topic == ".." {
        return Err(format!("`{topic}` cannot be a topic's name in Kafka; choose another"));
    }
    if let Some(wrong) = topic.chars().find(|c| !is_legal(*c)) {
        return Err(format!(
            "the topic `{topic}` holds {wrong:?}; Kafka takes letters, digits, `.`, `_` and `-`"
        ));
    }
    let chars = topic.len();
    if chars > TOPIC_CHARS_MAX {
        return Err(format!("the topic has {chars} characters; Kafka takes {TOPIC_CHARS_MAX} at most"));
    }
    Ok(())
}

/// An aggregate's type.
pub(crate) fn aggregate(aggregate: &str) -> Result<(), String> {
    match aggregate.len() {
        0 => {
            Err("the aggregate is empty; say what kind of thing the event is about, such as \"order\"".into())
        }
        1..=AGGREGATE_BYTES_MAX if aggregate.contains('\0') => {
            Err("the aggregate holds a zero byte; leave it out".into())
        }
        1..=AGGREGATE_BYTES_MAX => Ok(()),
        bytes => Err(format!("the aggregate has {bytes} bytes; {AGGREGATE_BYTES_MAX} is the most")),
    }
}

/// An event's name.
pub(crate) fn name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(char::is_control) {
        return Err("an event's name is at least one character, and none of them a control character".into());
    }
    Ok(())
}

/// The payload's media type: some JSON, for that is what is written.
pub(crate) fn content_type(content_type: &str) -> Result<(), String> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.contains('/') && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(format!(
        "the payload of a typed event is JSON, which `{content_type}` is not; \
         give `application/json` or a type that ends in `+json`"
    ))
}
