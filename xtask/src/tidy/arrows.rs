//! Which room may name which: the arrows between crates.

use super::{Finding, Member, Use};

/// What the rooms of a name, or of a family (`name-*`), may name of this workspace. Rooms not listed name anyone.
struct Arrows {
    from: &'static str,
    to: &'static [&'static str],
    to_in_tests: &'static [&'static str],
}

const ARROWS: [Arrows; 12] = [
    Arrows { from: "eventferry-core", to: &[], to_in_tests: &[] },
    Arrows {
        from: "eventferry-store-*",
        to: &["eventferry-core"],
        to_in_tests: &["eventferry-core", "eventferry-conformance"],
    },
    Arrows { from: "eventferry-relay", to: &["eventferry-core"], to_in_tests: &["*"] },
    Arrows {
        from: "eventferry-serializer-*",
        to: &["eventferry-core", "eventferry-schema-registry"],
        to_in_tests: &["eventferry-core", "eventferry-schema-registry"],
    },
    // The tests of these two see what applications see: the derive's own paths.
    Arrows { from: "eventferry-derive", to: &[], to_in_tests: &["eventferry"] },
    Arrows {
        from: "eventferry-events",
        to: &["eventferry-core", "eventferry-derive"],
        to_in_tests: &["eventferry-core", "eventferry"],
    },
    Arrows {
        from: "eventferry-schema-registry",
        to: &["eventferry-core"],
        to_in_tests: &["eventferry-core"],
    },
    Arrows {
        from: "eventferry-publisher-*",
        to: &["eventferry-core"],
        to_in_tests: &["eventferry-core", "eventferry-conformance"],
    },
    Arrows { from: "eventferry-otel", to: &["eventferry-core"], to_in_tests: &["*"] },
    Arrows { from: "eventferry-consumer", to: &["eventferry-core"], to_in_tests: &["eventferry-core"] },
    Arrows { from: "eventferry-conformance", to: &["eventferry-core"], to_in_tests: &["eventferry-core"] },
    Arrows { from: "eventferry-sim", to: &["eventferry-core"], to_in_tests: &["eventferry-core"] },
];

/// Foreign crates that one room keeps to itself.
const KEPT: [(&str, &str); 1] = [("toml", "eventferry-cli")];

pub(crate) fn arrows(members: &[Member]) -> Vec<Finding> {
    let is_ours = |name: &str| members.iter().any(|member| member.name == name);
    let mut findings = Vec::new();
    for member in members {
        let Some(rule) = ARROWS.iter().find(|rule| matches(rule.from, &member.name)) else { continue };
        // It may name itself, to test itself with more features.
        let is_another = |name: &str| is_ours(name) && name != member.name;
        for dependency in member.dependencies.iter().filter(|dependency| is_another(&dependency.name)) {
            let allowed = if dependency.used_in == Use::Tests { rule.to_in_tests } else { rule.to };
            if !allowed.iter().any(|to| matches(to, &dependency.name)) {
                let message = format!("names {}; it may name {allowed:?} only", dependency.name);
                findings.push(Finding::of_member(member, message));
            }
        }
    }
    findings
}

pub(crate) fn kept_crates(members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members {
        for (foreign, keeper) in KEPT {
            let depends = member.dependencies.iter().any(|dependency| dependency.name == foreign);
            if depends && member.name != keeper {
                let message = format!("depends on {foreign}, which is for {keeper} alone");
                findings.push(Finding::of_member(member, message));
            }
        }
    }
    findings
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::Dependency;

    fn member(name: &str, dependencies: &[(&str, Use)]) -> Member {
        let dependency =
            |(name, used_in): &(&str, Use)| Dependency { name: (*name).to_owned(), used_in: *used_in };
        let dependencies = dependencies.iter().map(dependency).collect();
        Member { name: name.to_owned(), folder: format!("crates/{name}"), dependencies }
    }

    /// How many arrows are wrong in a house where `name` has these dependencies.
    fn wrong(name: &str, dependencies: &[(&str, Use)]) -> usize {
        let mut house: Vec<Member> =
            ["core", "store-a", "store-b", "publisher-a", "relay", "conformance", "cli"]
                .iter()
                .map(|room| member(&format!("eventferry-{room}"), &[]))
                .filter(|member| member.name != name)
                .collect();
        house.push(member(name, dependencies));
        arrows(&house).len()
    }

    #[test]
    fn a_store_names_no_publisher_no_relay_and_no_other_store() {
        for other in ["eventferry-publisher-a", "eventferry-relay", "eventferry-store-b", "eventferry-cli"] {
            assert_eq!(wrong("eventferry-store-a", &[(other, Use::Library)]), 1, "{other}");
            assert_eq!(wrong("eventferry-store-a", &[(other, Use::Tests)]), 1, "{other}");
        }
        assert_eq!(
            wrong("eventferry-store-a", &[("eventferry-core", Use::Library), ("tokio", Use::Library)]),
            0
        );
    }

    #[test]
    fn a_room_may_name_itself() {
        assert_eq!(wrong("eventferry-publisher-a", &[("eventferry-publisher-a", Use::Tests)]), 0);
    }

    #[test]
    fn conformance_is_named_in_tests_only_and_names_only_core() {
        assert_eq!(wrong("eventferry-store-a", &[("eventferry-conformance", Use::Tests)]), 0);
        assert_eq!(wrong("eventferry-store-a", &[("eventferry-conformance", Use::Library)]), 1);
        assert_eq!(wrong("eventferry-conformance", &[("eventferry-store-a", Use::Tests)]), 1);
        assert_eq!(wrong("eventferry-conformance", &[("eventferry-core", Use::Library)]), 0);
    }

    #[test]
    fn those_who_consume_need_no_store_no_publisher_and_no_relay() {
        assert_eq!(wrong("eventferry-consumer", &[("eventferry-core", Use::Library)]), 0);
        for other in ["eventferry-store-a", "eventferry-publisher-a", "eventferry-relay"] {
            assert_eq!(wrong("eventferry-consumer", &[(other, Use::Library)]), 1, "{other}");
            assert_eq!(wrong("eventferry-consumer", &[(other, Use::Tests)]), 1, "{other}");
        }
    }

    #[test]
    fn typed_events_need_no_store_no_publisher_and_no_relay() {
        assert_eq!(wrong("eventferry-events", &[("eventferry-core", Use::Library)]), 0);
        for other in ["eventferry-store-a", "eventferry-publisher-a", "eventferry-relay", "eventferry-cli"] {
            assert_eq!(wrong("eventferry-events", &[(other, Use::Library)]), 1, "{other}");
            assert_eq!(wrong("eventferry-derive", &[(other, Use::Library)]), 1, "{other}");
        }
    }

    #[test]
    fn traces_are_for_whoever_has_a_store_a_publisher_or_a_consumer_of_their_own() {
        assert_eq!(wrong("eventferry-otel", &[("eventferry-core", Use::Library)]), 0);
        assert_eq!(wrong("eventferry-otel", &[("eventferry-relay", Use::Library)]), 1);
        assert_eq!(wrong("eventferry-otel", &[("eventferry-relay", Use::Tests)]), 0);
    }

    #[test]
    fn the_simulator_names_only_core() {
        assert_eq!(wrong("eventferry-sim", &[("eventferry-core", Use::Library)]), 0);
        assert_eq!(wrong("eventferry-sim", &[("eventferry-relay", Use::Library)]), 1);
        assert_eq!(wrong("eventferry-sim", &[("eventferry-conformance", Use::Tests)]), 1);
    }

    #[test]
    fn a_relay_knows_no_store_but_its_tests_may() {
        assert_eq!(wrong("eventferry-relay", &[("eventferry-store-a", Use::Library)]), 1);
        assert_eq!(wrong("eventferry-relay", &[("eventferry-store-a", Use::Tests)]), 0);
    }

    #[test]
    fn configuration_files_are_for_the_command_line_alone() {
        let found = |name| kept_crates(&[member(name, &[("toml", Use::Library)])]).len();
        assert_eq!(found("eventferry-relay"), 1);
        assert_eq!(found("eventferry-cli"), 0);
    }
}
