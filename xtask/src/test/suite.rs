//! What a test run consists of, as data.

/// A named part of a test run.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// What it proves, for `--list`.
    pub(crate) proves: &'static str,
    /// It runs with the servers up and their addresses in its environment.
    pub(crate) needs_servers: bool,
    pub(crate) work: Work,
}

pub(crate) enum Work {
    /// The rules of the house; one test.
    Tidy,
    /// A cargo command that must succeed; one test.
    Cargo(&'static [&'static str]),
    /// Trials with their arguments, as `cargo xtask` runs them; as many tests.
    Trials(&'static [(&'static str, &'static [&'static str])]),
    /// Every test target of the workspace, doc tests and examples included; as many tests as ran.
    Tests {
        must_run: &'static [MustRun],
        /// What later suites build: tests wait much, so that is built beside them, out of their way.
        beside: &'static [&'static [&'static str]],
    },
}

/// A test target that fails the run if it runs nothing. Without this, a suite whose tests were all filtered,
/// or whose list of cases came out empty, would look like success.
pub(crate) struct MustRun {
    pub(crate) package: &'static str,
    /// As in `cargo test --test NAME`; a library's and a binary's own name is its crate's.
    pub(crate) target: &'static str,
}

/// Cheap ones first: what is wrong at a glance is said at once. All of them run, whichever fail.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "fmt",
        proves: "the code is formatted",
        needs_servers: false,
        work: Work::Cargo(&["fmt", "--all", "--check"]),
    },
    Suite { name: "tidy", proves: "the rules of the house hold", needs_servers: false, work: Work::Tidy },
    Suite {
        name: "clippy",
        proves: "the lints find nothing",
        needs_servers: false,
        work: Work::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Suite {
        name: "clippy-bare",
        proves: "the lints find nothing in a store built without TLS",
        needs_servers: false,
        work: Work::Cargo(&["clippy", "-p", "eventferry-store-postgres", "--", "-D", "warnings"]),
    },
    Suite {
        name: "tests",
        proves: "every test passes: unit, transcript, conformance, vendor and doc tests; the examples build",
        needs_servers: true,
        work: Work::Tests {
            // Each by itself, as those suites do: together they would be built with other features.
            beside: &[
                &["build", "--release", "--quiet", "-p", "eventferry-cli"],
                &["build", "--release", "--quiet", "-p", "trials"],
                &["build", "--profile", "checked", "--quiet", "-p", "eventferry-sim"],
            ],
            must_run: &[
                MustRun { package: "xtask", target: "xtask" },
                MustRun { package: "eventferry", target: "contract" },
                MustRun { package: "eventferry", target: "consuming" },
                MustRun { package: "eventferry", target: "events" },
                MustRun { package: "eventferry", target: "drivers" },
                MustRun { package: "eventferry", target: "schemas" },
                MustRun { package: "eventferry-schema-registry", target: "it" },
                MustRun { package: "eventferry-otel", target: "it" },
                MustRun { package: "eventferry-serializer-avro", target: "interop" },
                MustRun { package: "eventferry-serializer-protobuf", target: "interop" },
                MustRun { package: "eventferry-serializer-json-schema", target: "interop" },
                MustRun { package: "eventferry", target: "features" },
                MustRun { package: "orders-example", target: "orders" },
                MustRun { package: "eventferry-core", target: "eventferry_core" },
                MustRun { package: "eventferry-conformance", target: "saboteurs" },
                MustRun { package: "eventferry-conformance", target: "publisher_saboteurs" },
                MustRun { package: "eventferry-sim", target: "saboteurs" },
                MustRun { package: "eventferry-store-postgres", target: "conformance" },
                MustRun { package: "eventferry-store-postgres", target: "conformance_tail" },
                MustRun { package: "eventferry-store-postgres", target: "conformance_messages" },
                MustRun { package: "eventferry-store-postgres", target: "it" },
                MustRun { package: "eventferry-store-sqlite", target: "conformance" },
                MustRun { package: "eventferry-store-sqlite", target: "it" },
                MustRun { package: "eventferry-derive", target: "messages" },
                MustRun { package: "eventferry-events", target: "it" },
                MustRun { package: "eventferry-serializer-cloudevents", target: "it" },
                MustRun { package: "eventferry-consumer", target: "it" },
                MustRun { package: "eventferry-publisher-kafka", target: "conformance" },
                MustRun { package: "eventferry-publisher-kafka", target: "conformance_clusters" },
                MustRun { package: "eventferry-publisher-kafka", target: "it" },
            ],
        },
    },
    Suite {
        name: "sim",
        proves: "the promises hold for 20,000 seeded storms in virtual time, or for as many as two minutes have",
        needs_servers: false,
        // It fails if it ran nothing.
        work: Work::Cargo(&[
            "run",
            "--profile",
            "checked",
            "--quiet",
            "-p",
            "eventferry-sim",
            "--",
            "--seeds",
            "20000",
            "--minutes",
            "2",
        ]),
    },
    Suite {
        name: "demo",
        proves: "the demonstration ends well",
        needs_servers: false,
        work: Work::Cargo(&["run", "--release", "--quiet", "-p", "eventferry-cli", "--", "demo", "--json"]),
    },
    Suite {
        name: "memory",
        proves: "the program stays below 128 MiB, whatever the backlog or the transaction, with payloads of up to 1 MB",
        needs_servers: true,
        work: Work::Trials(&[
            ("memory", &["drain", "--events", "200000"]),
            ("memory", &["transaction", "--events", "200000"]),
            ("memory", &["large", "--events", "300"]),
        ]),
    },
    Suite {
        name: "storm",
        proves: "the promises hold on real servers while writers are hostile and relays, servers and networks fail",
        needs_servers: true,
        // Some of all scenes, the others come in `cargo xtask storm --minutes M`: each trouble of another kind.
        work: Work::Trials(&[
            ("storm", &["--scene", "relays-killed", "--seconds", "20"]),
            ("storm", &["--scene", "relay-frozen"]),
            ("storm", &["--scene", "hand-over"]),
            ("storm", &["--scene", "kafka-killed"]),
            ("storm", &["--scene", "kafka-spoilt-tls"]),
            ("storm", &["--scene", "poison-first"]),
            ("storm", &["--scene", "dead-letters-down"]),
            ("storm", &["--scene", "postgres-forgetful"]),
            ("storm", &["--scene", "login-revoked"]),
            ("storm", &["--scene", "failover-synchronous"]),
            ("storm", &["--scene", "failover-lost-tail"]),
            ("storm", &["--scene", "everything"]),
            ("storm", &["--scene", "poison-first", "--feed", "tail"]),
            ("storm", &["--scene", "failover-lost-tail", "--feed", "tail"]),
            ("storm", &["--scene", "postgres-forgetful", "--feed", "messages"]),
            ("storm", &["--scene", "relay-frozen", "--feed", "messages"]),
            ("storm", &["--scene", "relays-killed", "--feed", "exactly-once", "--seconds", "20"]),
        ]),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_a_name_of_its_own() {
        let mut names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SUITES.len());
    }
}
