//! Which parked events a person means.

use eventferry::core::parked::ParkedFilter;

use crate::arguments::FilterArguments;
use crate::ending::Trouble;
use crate::settings::{Given, duration};

/// The filter that the arguments say.
///
/// # Errors
/// The age is no duration.
pub(super) fn of(arguments: &FilterArguments) -> Result<ParkedFilter, Trouble> {
    let FilterArguments { ids, aggregate_type, aggregate_id, topic, reason, stage, older_than } = arguments;
    let older_than = older_than.as_deref().map(|text| Given::flag("older_than", text).parse(duration));
    Ok(ParkedFilter {
        message_ids: ids.clone(),
        aggregate_type: aggregate_type.clone(),
        aggregate_id: aggregate_id.clone(),
        topic: topic.clone(),
        reason: reason.clone(),
        stage: stage.map(Into::into),
        parked_for: older_than.transpose()?,
    })
}

/// The filter of a decision, which is never taken on everything by leaving something out.
///
/// # Errors
/// Neither a filter nor `--all` was given, or both were.
pub(super) fn decided(arguments: &FilterArguments, all: bool) -> Result<ParkedFilter, Trouble> {
    let filter = of(arguments)?;
    match (filter == ParkedFilter::default(), all) {
        (true, false) => Err(Trouble::usage(
            "this would be decided on all parked events; say which by --id, --topic, --reason and so on, \
             or give --all",
        )),
        (false, true) => Err(Trouble::usage("--all means all parked events; give it or a filter, not both")),
        _ => Ok(filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::StageArgument;
    use eventferry::core::parked::Stage;
    use std::time::Duration;

    #[test]
    fn every_part_of_a_filter_is_kept() {
        let arguments = FilterArguments {
            ids: vec!["0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f".parse().unwrap()],
            aggregate_type: Some("order".into()),
            aggregate_id: Some("42".into()),
            topic: Some("orders.created".into()),
            reason: Some("too large".into()),
            stage: Some(StageArgument::Waiting),
            older_than: Some("10m".into()),
        };
        let filter = of(&arguments).unwrap();
        assert_eq!((filter.stage, filter.parked_for), (Some(Stage::Waiting), Some(Duration::from_secs(600))));
        assert_eq!(filter.message_ids, arguments.ids);
        let texts = [&filter.aggregate_type, &filter.aggregate_id, &filter.topic, &filter.reason];
        let texts = texts.map(|text| text.as_deref().unwrap());
        assert_eq!(texts, ["order", "42", "orders.created", "too large"]);
    }

    #[test]
    fn a_decision_on_everything_must_be_said() {
        let one = FilterArguments { topic: Some("t".into()), ..FilterArguments::default() };
        let none = FilterArguments::default();
        assert!(decided(&none, false).unwrap_err().message.contains("--all"));
        assert!(decided(&one, true).unwrap_err().message.contains("not both"));
        assert!(decided(&none, true).is_ok() && decided(&one, false).is_ok());
        let soon = FilterArguments { older_than: Some("soon".into()), ..FilterArguments::default() };
        assert!(of(&soon).unwrap_err().message.starts_with("--older-than: `soon`"));
    }
}
