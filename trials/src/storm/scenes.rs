//! All scenes, as data.

use std::time::Duration;

use super::scene::BrokerNeed::{Encrypted, Given as GivenBroker, Guarded, OnSmallDisk, Own as OwnBroker};
use super::scene::DatabaseNeed::{
    AsynchronousStandby, Dumped, Given as GivenDatabase, Own as OwnDatabase, SynchronousStandby,
};
use super::scene::Side::{Broker, Database};
use super::scene::Step::{self, *};
use super::scene::{DeadLetters, Load, Scene, Tail, Tool, Way};

/// What comes from the broker is spoilt, twice.
const SPOILS_BROKER: &[Step] = &[
    Calm(1_500, 2_500),
    Spoil(Broker),
    Calm(50, 1_500),
    Clear(Broker),
    Calm(1_000, 2_000),
    Spoil(Broker),
    Calm(50, 1_500),
    Clear(Broker),
    Calm(2_000, 3_000),
];

/// Nothing of its own: the base of the others.
const PLAIN: Scene = Scene {
    name: "",
    sentence: "",
    database: GivenDatabase,
    broker: GivenBroker,
    way: Way::Straight,
    load: Load::Hostile(16),
    script: &[],
    tail: Tail::Kept,
    // Short, so that much happens in little time.
    lease: Duration::from_secs(2),
    limit_bytes: None,
    dead_letters: DeadLetters::Nowhere,
    recovers_within: Duration::from_secs(60),
    asks_for: &[],
};

/// One topic takes no message over this, and one event in some hundreds is larger.
const SMALL: Scene = Scene {
    limit_bytes: Some(20_000),
    load: Load::Hostile(8),
    recovers_within: Duration::from_secs(120),
    ..PLAIN
};

/// The lease of relays that are not told another.
const DEFAULT_LEASE: Duration = Duration::from_secs(10);

/// A lease that no trouble of such a scene outlasts, on a busy machine neither: nothing may come twice.
const LONG_LEASE: Duration = Duration::from_secs(30);

/// What a storm without a scene plays.
pub(super) const KILLED: Scene = Scene {
    name: "relays-killed",
    sentence: "relays are killed at random: what they had not settled comes again, and nothing else",
    script: &[Calm(4_500, 5_500), KillRelay],
    ..PLAIN
};

/// In the order of `--minutes`. A script leaves time to recover only where the recovery is looked at by itself.
pub(super) const SCENES: &[Scene] = &[
    KILLED,
    Scene {
        name: "relay-frozen",
        sentence: "a relay is stopped past its lease and continued: it moves nothing and takes nothing new",
        script: &[Calm(1_500, 3_000), FreezeRelay, Calm(2_500, 6_000), ThawRelay, Calm(2_000, 3_000)],
        ..PLAIN
    },
    Scene {
        name: "take-over",
        sentence: "a killed relay's lanes have other owners within the lease and a second",
        script: &[Calm(2_500, 4_000), TakeOver, Calm(3_000, 4_000)],
        lease: DEFAULT_LEASE,
        ..PLAIN
    },
    Scene {
        name: "hand-over",
        sentence: "a relay that is asked to end hands its lanes over within a second, and nothing comes twice",
        load: Load::Hostile(4),
        script: &[Calm(2_500, 4_000), HandOver, Calm(3_000, 4_000), HandOver, Calm(1_000, 2_000)],
        lease: LONG_LEASE,
        ..PLAIN
    },
    Scene {
        name: "outage",
        sentence: "the broker is away under 1,000 events/s: nothing is parked, memory stays flat, a minute drains it",
        broker: OwnBroker,
        load: Load::Paced(1_000),
        script: &[
            Calm(2_000, 2_500),
            KillBroker,
            // Until memory is as full as it may be.
            CalmAsAsked(8_000),
            MeasureMemory,
            CalmAsAsked(12_000),
            MeasureMemory,
            StartBroker,
            Calm(5_000, 5_000),
        ],
        ..PLAIN
    },
    Scene {
        name: "kafka-killed",
        sentence: "the broker is killed and started again: what it has not acknowledged comes, in order",
        broker: OwnBroker,
        script: &[Calm(2_000, 4_000), KillBroker, Calm(100, 3_000), StartBroker, Calm(2_000, 4_000)],
        ..PLAIN
    },
    Scene {
        name: "kafka-frozen",
        sentence: "the broker stands still and goes on: what waited in its sockets counts once",
        broker: OwnBroker,
        script: &[Calm(2_000, 3_000), FreezeBroker, Calm(3_000, 9_000), ThawBroker, Calm(2_000, 3_000)],
        ..PLAIN
    },
    Scene {
        name: "kafka-disk-full",
        sentence: "the broker's disk is full, it gives up, has room again and is started: nothing acknowledged is lost",
        broker: OnSmallDisk,
        load: Load::Hostile(4),
        script: &[Calm(2_000, 3_000), FillBrokerDisk, Calm(2_000, 4_000), FreeBrokerDisk, Calm(2_000, 3_000)],
        asks_for: &[Tool::Root],
        ..PLAIN
    },
    Scene {
        name: "topic-recreated",
        sentence: "a topic is deleted when it has been read, and created again: its events wait, and all come",
        load: Load::Hostile(8),
        script: &[Calm(2_000, 3_000), DeleteTopic, Calm(500, 4_000), CreateTopic, Calm(2_000, 3_000)],
        lease: LONG_LEASE,
        ..PLAIN
    },
    Scene {
        name: "kafka-permission",
        sentence: "the permission to write to one topic is taken and given back: its events wait, nothing is parked",
        broker: Guarded,
        load: Load::Hostile(8),
        script: &[Calm(2_000, 3_000), DenyTopic, Calm(2_000, 4_000), AllowTopic, Calm(2_000, 3_000)],
        lease: LONG_LEASE,
        ..PLAIN
    },
    Scene {
        name: "kafka-cut",
        sentence: "connections to the broker are cut and refused for a while",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        script: &[
            Calm(1_500, 2_500),
            Cut(Broker),
            Calm(0, 50),
            Clear(Broker),
            Calm(1_000, 2_000),
            Cut(Broker),
            Calm(1_000, 4_000),
            Clear(Broker),
            Calm(2_000, 3_000),
        ],
        ..PLAIN
    },
    Scene {
        name: "kafka-half-open",
        sentence: "connections to the broker go silent and never speak again",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        load: Load::Hostile(8),
        script: &[Calm(1_500, 2_500), Silence(Broker), Calm(1_000, 4_000), Clear(Broker), Calm(2_000, 3_000)],
        recovers_within: Duration::from_secs(120),
        ..PLAIN
    },
    Scene {
        name: "kafka-spoilt",
        sentence: "what the broker answers is no message: the connection is torn, and nothing counts as an answer",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        script: SPOILS_BROKER,
        ..PLAIN
    },
    Scene {
        name: "kafka-spoilt-tls",
        sentence: "a bit changes under TLS, whichever way: the connection is torn, and nothing changed is carried",
        database: OwnDatabase,
        broker: Encrypted,
        way: Way::Proxies,
        script: SPOILS_BROKER,
        ..PLAIN
    },
    Scene {
        name: "kafka-deaf",
        sentence: "what is sent arrives at the broker, and no answer comes back for a while",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        load: Load::Hostile(8),
        script: &[Calm(1_500, 2_500), Deafen(Broker), Calm(1_000, 4_000), Clear(Broker), Calm(2_000, 3_000)],
        recovers_within: Duration::from_secs(120),
        ..PLAIN
    },
    Scene {
        name: "kafka-stalled",
        sentence: "what was sent to the broker arrives late, when relays have gone or given up",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        script: &[
            Calm(1_500, 2_500),
            Stall(Broker),
            Calm(500, 1_500),
            KillRelay,
            Calm(2_000, 4_000),
            Clear(Broker),
            Calm(2_000, 3_000),
        ],
        ..PLAIN
    },
    Scene {
        name: "slow-network",
        sentence: "everything takes 100 ms longer each way, at both sides: nothing comes twice",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        load: Load::Hostile(8),
        script: &[
            Calm(1_000, 2_000),
            Slow(Database, 100),
            Slow(Broker, 100),
            Calm(4_000, 6_000),
            Clear(Database),
            Clear(Broker),
            Calm(1_000, 2_000),
        ],
        lease: LONG_LEASE,
        ..PLAIN
    },
    Scene {
        name: "postgres-cut",
        sentence: "connections to the database are cut for a while: what was acknowledged is settled, not sent again",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        script: &[
            Calm(1_500, 2_500),
            Cut(Database),
            Calm(0, 50),
            Clear(Database),
            Calm(800, 1_500),
            Cut(Database),
            Calm(100, 1_000),
            Clear(Database),
            Calm(2_000, 3_000),
        ],
        lease: LONG_LEASE,
        ..PLAIN
    },
    Scene {
        name: "postgres-half-open",
        sentence: "connections to the database go silent and never speak again",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        load: Load::Hostile(8),
        script: &[
            Calm(1_500, 2_500),
            Silence(Database),
            Calm(500, 4_000),
            Clear(Database),
            Calm(2_000, 3_000),
        ],
        recovers_within: Duration::from_secs(90),
        ..PLAIN
    },
    Scene {
        name: "postgres-deaf",
        sentence: "what relays tell the database is done, and no answer comes back: told again, it changes nothing",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        load: Load::Hostile(8),
        script: &[
            Calm(1_500, 2_500),
            Deafen(Database),
            Calm(500, 4_000),
            Clear(Database),
            Calm(2_000, 3_000),
        ],
        recovers_within: Duration::from_secs(90),
        ..PLAIN
    },
    Scene {
        name: "postgres-stalled",
        sentence: "what relays told the database is done late, when others have their lanes: it moves nothing",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        script: &[
            Calm(1_500, 2_500),
            Stall(Database),
            Calm(500, 1_500),
            KillRelay,
            Calm(500, 3_000),
            Clear(Database),
            Calm(2_000, 3_000),
        ],
        recovers_within: Duration::from_secs(90),
        ..PLAIN
    },
    Scene {
        name: "postgres-frozen",
        sentence: "the database stands still for longer than the leases, and then does what it was told before",
        database: OwnDatabase,
        script: &[Calm(1_500, 2_500), FreezeDatabase, Calm(500, 5_000), ThawDatabase, Calm(2_000, 3_000)],
        recovers_within: Duration::from_secs(90),
        ..PLAIN
    },
    Scene {
        name: "postgres-spoilt",
        sentence: "what the database answers is no message: the connection is torn, and nothing wrong is carried",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        script: &[
            Calm(1_500, 2_500),
            Spoil(Database),
            Calm(50, 500),
            Clear(Database),
            Calm(1_000, 2_000),
            Spoil(Database),
            Calm(50, 500),
            Clear(Database),
            Calm(2_000, 3_000),
        ],
        lease: LONG_LEASE,
        ..PLAIN
    },
    Scene {
        name: "postgres-crashed",
        sentence: "the database crashes and is back at once: what was acknowledged is settled, not sent again",
        database: OwnDatabase,
        script: &[
            Calm(2_000, 3_000),
            CrashDatabase,
            StartDatabase,
            Calm(2_000, 3_000),
            CrashDatabase,
            StartDatabase,
            Calm(2_000, 3_000),
        ],
        lease: LONG_LEASE,
        ..PLAIN
    },
    Scene {
        name: "postgres-forgetful",
        sentence: "the database crashes again and again, and no commit waited for the disk: what it forgets was \
             not sent",
        database: OwnDatabase,
        load: Load::Forgetful(8),
        script: &[
            Calm(1_000, 1_500),
            CrashDatabase,
            StartDatabase,
            Calm(500, 1_500),
            CrashDatabase,
            StartDatabase,
            Calm(500, 1_500),
            CrashDatabase,
            StartDatabase,
            Calm(500, 1_500),
            CrashDatabase,
            StartDatabase,
            Calm(1_000, 2_000),
        ],
        ..PLAIN
    },
    Scene {
        name: "postgres-away",
        sentence: "the database is away for longer than the leases",
        database: OwnDatabase,
        script: &[Calm(2_000, 3_000), CrashDatabase, Calm(4_500, 7_000), StartDatabase, Calm(2_000, 3_000)],
        ..PLAIN
    },
    Scene {
        name: "failover-synchronous",
        sentence: "the primary crashes and a standby that every commit waited for takes over",
        database: SynchronousStandby,
        script: &[Calm(2_500, 4_000), FailOver, Calm(3_000, 4_000)],
        // Commits that asked not to wait may go, though others saw them.
        tail: Tail::Lost,
        ..PLAIN
    },
    Scene {
        name: "failover-lost-tail",
        sentence: "a standby takes over that had not heard the last seconds: ids are given anew, and all it has comes",
        database: AsynchronousStandby,
        script: &[Calm(2_500, 4_000), CutReplication, Calm(300, 2_000), FailOver, Calm(3_000, 4_000)],
        tail: Tail::Lost,
        ..PLAIN
    },
    Scene {
        name: "restored-elsewhere",
        sentence: "a dump is restored into another cluster, whose transaction ids mean something else",
        database: Dumped,
        broker: OwnBroker,
        way: Way::Proxies,
        load: Load::Hostile(8),
        script: &[Calm(3_000, 4_000), MoveToRestored, Calm(3_000, 5_000)],
        tail: Tail::Lost,
        asks_for: &[Tool::PgDump],
        ..PLAIN
    },
    Scene {
        name: "login-revoked",
        sentence: "the relays' role may not log in for longer than the leases, and then may again: relays wait",
        database: OwnDatabase,
        way: Way::Role,
        script: &[Calm(2_000, 3_000), RevokeLogin, Calm(1_000, 5_000), ReturnLogin, Calm(2_000, 3_000)],
        ..PLAIN
    },
    Scene {
        name: "long-transaction",
        sentence: "a transaction is open for the whole run: nobody waits for it, and its event comes when it commits",
        script: &[BeginLong, Calm(7_000, 9_000), CommitLong, Calm(500, 1_000)],
        lease: LONG_LEASE,
        ..PLAIN
    },
    Scene {
        name: "pooler",
        sentence: "PgBouncer in transaction mode lies between, and is killed",
        database: OwnDatabase,
        way: Way::Pooler,
        script: &[Calm(4_000, 5_000), KillPooler, Calm(100, 1_000), StartPooler, Calm(3_000, 4_000)],
        asks_for: &[Tool::PgBouncer],
        lease: LONG_LEASE,
        ..PLAIN
    },
    Scene {
        name: "big-events",
        sentence: "a topic takes no large messages, and there are some amid hot aggregates: they wait, others go on",
        script: &[Calm(6_000, 8_000)],
        ..SMALL
    },
    Scene {
        name: "poison-first",
        sentence: "the first event of each hot aggregate is refused for good: nothing else waits, whoever is killed",
        script: &[Poison, Calm(3_000, 4_000), KillRelay, Calm(3_000, 4_000)],
        ..SMALL
    },
    Scene {
        name: "dead-letters",
        sentence: "what is refused for good goes to the dead-letter topic, and its aggregates go on",
        script: &[Poison, Calm(3_000, 4_000), KillRelay, Calm(3_000, 4_000)],
        dead_letters: DeadLetters::There,
        asks_for: &[Tool::DeadLetters],
        ..SMALL
    },
    Scene {
        name: "dead-letters-down",
        sentence: "the dead-letter topic is missing for a while: what is for it waits, and nothing else",
        script: &[Poison, Calm(5_000, 7_000), CreateDeadLetterTopic, Calm(2_000, 3_000)],
        dead_letters: DeadLetters::Later,
        asks_for: &[Tool::DeadLetters],
        ..SMALL
    },
    Scene {
        name: "everything",
        sentence: "relays, database, broker and network fail one after the other and into each other",
        database: OwnDatabase,
        broker: OwnBroker,
        way: Way::Proxies,
        script: &[
            Calm(1_500, 2_500),
            ANYTHING,
            Calm(0, 1_500),
            ANYTHING,
            Calm(0, 1_500),
            ANYTHING,
            Calm(0, 1_500),
            ANYTHING,
            Calm(2_000, 3_000),
        ],
        recovers_within: Duration::from_secs(120),
        ..PLAIN
    },
];

/// Each puts right what it breaks.
const ANYTHING: Step = OneOf(&[
    &[KillRelay],
    &[FreezeRelay, Calm(500, 4_000), ThawRelay],
    &[KillBroker, Calm(0, 1_500), StartBroker],
    &[FreezeBroker, Calm(500, 4_000), ThawBroker],
    &[CrashDatabase, StartDatabase],
    &[CrashDatabase, Calm(1_000, 4_000), StartDatabase],
    &[Cut(Database), Calm(0, 2_500), Clear(Database)],
    &[Cut(Broker), Calm(0, 2_500), Clear(Broker)],
    &[Silence(Database), Calm(200, 2_500), Clear(Database)],
    &[Deafen(Database), Calm(200, 2_500), Clear(Database)],
    &[Deafen(Broker), Calm(200, 2_500), Cut(Broker), Clear(Broker)],
    &[Stall(Database), Calm(200, 1_500), KillRelay, Calm(0, 2_500), Clear(Database)],
    &[Stall(Broker), Calm(200, 1_500), KillRelay, Calm(0, 2_500), Clear(Broker)],
    &[Stall(Broker), Calm(200, 1_500), FreezeRelay, Calm(1_000, 3_000), Clear(Broker), ThawRelay],
    &[FreezeDatabase, Calm(500, 4_000), ThawDatabase],
    &[FreezeDatabase, Calm(200, 1_500), KillRelay, Calm(500, 3_000), ThawDatabase],
    &[Spoil(Database), Calm(50, 500), Clear(Database)],
    &[Spoil(Broker), Calm(50, 500), Clear(Broker)],
    &[Slow(Database, 200), Calm(500, 1_500), KillRelay, Clear(Database)],
    &[Slow(Broker, 200), Calm(500, 1_500), KillRelay, Clear(Broker)],
    &[FreezeBroker, Calm(200, 1_500), KillRelay, Calm(0, 3_000), ThawBroker],
    &[FreezeRelay, Calm(200, 1_500), CrashDatabase, StartDatabase, Calm(0, 2_000), ThawRelay],
    &[FreezeRelay, Calm(1_500, 3_000), KillBroker, StartBroker, ThawRelay],
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_has_a_name_of_its_own_and_something_happens_in_it() {
        let mut names: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENES.len());
        for scene in SCENES {
            let happens = scene.script.iter().any(|step| !matches!(step, Calm(..)));
            assert!(happens || scene.limit_bytes.is_some(), "{}", scene.name);
            assert!(!scene.sentence.is_empty(), "{}", scene.name);
        }
    }

    #[test]
    fn what_a_script_breaks_is_there_to_be_broken_and_is_put_right() {
        for scene in SCENES {
            let mut broken = 0i32;
            for step in scene.script {
                match step {
                    KillBroker | FreezeBroker => assert_ne!(scene.broker, GivenBroker, "{}", scene.name),
                    CrashDatabase | RevokeLogin => {
                        assert_ne!(scene.database, GivenDatabase, "{}", scene.name)
                    }
                    Cut(_) | Slow(..) | Silence(_) | Deafen(_) | Stall(_) | Spoil(_) | Clear(_) => {
                        assert_eq!(scene.way, Way::Proxies, "{}", scene.name);
                    }
                    _ => {}
                }
                broken += match step {
                    FreezeRelay | KillBroker | FreezeBroker | FillBrokerDisk | DeleteTopic | DenyTopic
                    | CrashDatabase | FreezeDatabase | RevokeLogin | BeginLong | KillPooler => 1,
                    ThawRelay | StartBroker | ThawBroker | FreeBrokerDisk | CreateTopic | AllowTopic
                    | StartDatabase | ThawDatabase | ReturnLogin | CommitLong | StartPooler => -1,
                    _ => 0,
                };
            }
            assert_eq!(broken, 0, "{}", scene.name);
        }
    }
}
