//! The clusters that the file of settings names.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::file::{CLUSTERS, ONE_CLUSTER, Page, given, known};
use super::{Given, variable};
use crate::ending::Trouble;

/// What the file says of one cluster, in a table `[clusters.NAME]`.
#[derive(Clone, Debug)]
pub(crate) struct ClusterTable {
    pub(crate) name: String,
    /// Which topics it takes; none: what no other does.
    pub(crate) topics: Vec<String>,
    url: Option<Given>,
    /// The file's name.
    pub(crate) file: String,
    /// Where its table is, said for people.
    pub(crate) origin: String,
}

impl ClusterTable {
    /// Its URL.
    ///
    /// # Errors
    /// There is none; the message says where it can be given.
    pub(crate) fn url(&self) -> Result<&Given, Trouble> {
        self.url.as_ref().ok_or_else(|| {
            Trouble::usage(format!(
                "{}: the cluster has no url; write url = \"kafka://host:9092\" in its table, or set {}",
                self.origin,
                self.variable()
            ))
        })
    }

    /// Takes its URL from among these variables, if it is there: a variable goes before the file.
    pub(super) fn take_url(&mut self, variables: &mut BTreeMap<String, String>) {
        let name = self.variable();
        if let Some(text) = variables.remove(&name) {
            self.url = Some(Given { text, origin: name });
        }
    }

    fn variable(&self) -> String {
        variable(&format!("clusters_{}_url", self.name.replace('-', "_")))
    }
}

/// The tables for clusters, in the order of the file: the first one that takes a topic has it.
pub(super) fn tables(
    page: Page<'_>,
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<ClusterTable>, Trouble> {
    let how = "write a table for each cluster, as in [clusters.payments]";
    let DeValue::Table(tables) = value.get_ref() else {
        return Err(page.trouble(name.span().start, &format!("`{CLUSTERS}` is not a table; {how}")));
    };
    let mut found = Vec::new();
    for (name, value) in tables {
        let DeValue::Table(table) = value.get_ref() else {
            let what = format!("the cluster `{}` has no table; {how}", name.get_ref());
            return Err(page.trouble(name.span().start, &what));
        };
        let (mut url, mut topics) = (None, Vec::new());
        for (name, value) in table {
            match known(page, name, &ONE_CLUSTER)? {
                "topics" => topics = patterns(page, name, value)?,
                key => url = Some(given(page, name, key, value)?),
            }
        }
        let start = name.span().start;
        let name = name.get_ref().to_string();
        let origin = page.origin(start, &format!("{CLUSTERS}.{name}"));
        found.push((start, ClusterTable { name, topics, url, file: page.path.to_owned(), origin }));
    }
    found.sort_by_key(|(start, _)| *start);
    Ok(found.into_iter().map(|(_, table)| table).collect())
}

/// A list of texts.
fn patterns(
    page: Page<'_>,
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<String>, Trouble> {
    let wrong = || {
        let how = "write topics = [\"payments.*\", \"refunds\"], or leave it out for the cluster that takes all others";
        page.trouble(name.span().start, &format!("`topics` is no list of patterns; {how}"))
    };
    let DeValue::Array(all) = value.get_ref() else { return Err(wrong()) };
    let texts = all.iter().map(|one| one.get_ref().as_str().map(str::to_owned));
    texts.collect::<Option<Vec<_>>>().filter(|texts| !texts.is_empty()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::super::file::{parsed, refusal};
    use super::*;

    #[test]
    fn clusters_come_in_the_order_of_the_file() {
        let text = "[clusters.payments]\nurl = \"kafka://two\"\ntopics = [\"payments.*\"]\n\
                    [clusters.a]\ntopics = [\"a\", \"b\"]\n[clusters.main]\nurl = \"kafka://one\"\n";
        let clusters = parsed("e.toml", text).unwrap().clusters;
        let named: Vec<_> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        assert_eq!(named, ["payments", "a", "main"]);
        assert_eq!((&clusters[0].topics[..], clusters[2].topics.len()), (&["payments.*".to_owned()][..], 0));
        assert_eq!(clusters[0].url().unwrap().origin, "e.toml, line 2, url");
        let message = clusters[1].url().unwrap_err().message;
        assert!(message.starts_with("e.toml, line 4, clusters.a: the cluster has no url"), "{message}");
        assert!(message.ends_with("or set EVENTFERRY_CLUSTERS_A_URL"), "{message}");
    }

    #[test]
    fn a_url_may_be_in_a_variable_which_goes_before_the_file() {
        let mut variables = BTreeMap::from([
            ("EVENTFERRY_CLUSTERS_EU_WEST_URL".to_owned(), "kafka://variable".to_owned()),
            ("EVENTFERRY_CLUSTERS_OTHER_URL".to_owned(), "kafka://other".to_owned()),
        ]);
        let text = "[clusters.eu-west]\nurl = \"kafka://file\"\n";
        let mut cluster = parsed("e.toml", text).unwrap().clusters.remove(0);
        cluster.take_url(&mut variables);
        assert_eq!(cluster.url().unwrap().text(), "kafka://variable");
        assert_eq!(variables.into_keys().collect::<Vec<_>>(), ["EVENTFERRY_CLUSTERS_OTHER_URL"]);
    }

    #[test]
    fn what_is_wrong_in_a_clusters_table_is_named_with_its_line() {
        for (text, says) in [
            ("clusters = \"kafka://a\"", "line 1: `clusters` is not a table; write a table for each"),
            ("[clusters]\na = \"kafka://a\"", "line 2: the cluster `a` has no table"),
            ("[clusters.a]\nurls = \"x\"", "line 2: the key `urls` is not known; did you mean `url`?"),
            (
                "[clusters.a]\nlease = \"1s\"",
                "line 2: `lease` cannot be set for one cluster; known there are url and topics",
            ),
            ("[clusters.a]\ntopics = \"a\"", "line 2: `topics` is no list of patterns"),
            ("[clusters.a]\ntopics = [1]", "line 2: `topics` is no list of patterns"),
            ("[clusters.a]\ntopics = []", "or leave it out for the cluster that takes all others"),
            ("[clusters.a]\n[clusters.a]\n", "line 2: this name was given before"),
            ("[cluster.a]\n", "line 1: the key `cluster` is not known; did you mean `clusters`?"),
        ] {
            let message = refusal(text);
            assert!(message.contains(says), "{message}");
        }
    }
}
