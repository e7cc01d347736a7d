//! What can go wrong, and how much of it.

use crate::agenda::{MILLISECOND, SECOND, Time};
use crate::dice::Dice;
use crate::plan::{Plan, Temper};

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: Time,
    pub(crate) kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FaultKind {
    /// A further relay starts.
    Join,
    /// A relay is asked to finish, and comes back under another name after this time.
    Leave {
        relay: usize,
        back: Time,
    },
    /// A relay's process is gone at once, and comes back, under the same name or another.
    Kill {
        relay: usize,
        back: Time,
        renamed: bool,
    },
    /// A relay's process stands still.
    Freeze {
        relay: usize,
        lasts: Time,
    },
    /// The database refuses connections; what ran is rolled back, and what was not on disk is lost.
    DatabaseCrash {
        lasts: Time,
    },
    /// The database cannot be reached; applications reach it.
    DatabaseAway {
        lasts: Time,
    },
    /// A copy that is so far behind takes over.
    Failover {
        behind: Time,
        lasts: Time,
    },
    /// A dump that is so old is restored into another cluster, whose transactions have other numbers.
    Restore {
        behind: Time,
        lasts: Time,
    },
    /// Calls of the database take up to this long.
    SlowDatabase {
        lasts: Time,
        up_to: Time,
    },
    /// So many calls in a hundred fail: before, after, or long before they happen.
    LossyDatabase {
        lasts: Time,
        percent: u64,
    },
    BrokerDown {
        lasts: Time,
    },
    /// The broker's process stands still: it takes what is sent, and works on it when it wakes.
    BrokerFrozen {
        lasts: Time,
    },
    /// Connections break, and so many answers in a hundred with them.
    BrokenConnections {
        lasts: Time,
        percent: u64,
    },
    /// Answers of the broker come so much later.
    Throttled {
        lasts: Time,
        by: Time,
    },
    /// A topic, the last of which is the dead-letter topic, is not there, and comes back.
    TopicGone {
        topic: usize,
        lasts: Time,
    },
    /// Writing to a topic is forbidden, though it can be looked at.
    TopicDenied {
        topic: usize,
        lasts: Time,
    },
    /// The broker forgets what it knew of producers.
    ProducersForgotten,
    /// The broker refuses everything, for want of replicas or by a quota.
    BrokerShort {
        lasts: Time,
        /// By a quota, for so long; if not, for want of replicas.
        quota: Option<Time>,
    },
    /// All relays are asked to finish, and whoever starts from now on delivers the other way: exactly once or at least
    /// once.
    OtherDelivery,
    /// There are newer certificates: every session ends by itself, whatever is in flight.
    NewCertificates,
}

/// An answer of the broker that is no later than this is certain to be waited for.
const LATE_AT_MOST: Time = 100 * MILLISECOND;

impl FaultKind {
    pub(crate) const NAMES: [&'static str; 20] = [
        "join",
        "leave",
        "kill",
        "freeze",
        "database-crash",
        "database-away",
        "failover",
        "slow-database",
        "lossy-database",
        "broker-down",
        "broker-frozen",
        "broken-connections",
        "throttled",
        "topic-gone",
        "topic-denied",
        "producers-forgotten",
        "broker-short",
        "restore",
        "other-delivery",
        "new-certificates",
    ];

    /// The number of a kind.
    pub(crate) fn any(dice: &mut Dice, temper: Temper) -> usize {
        const CALM: [usize; 7] = [0, 0, 1, 1, 12, 13, 14];
        // Failovers more often than others: most can go wrong there.
        const STORMY: [usize; 25] =
            [0, 1, 2, 2, 3, 4, 5, 6, 6, 6, 6, 7, 8, 9, 10, 11, 12, 12, 13, 13, 14, 15, 16, 17, 17];
        if temper == Temper::Calm { CALM[dice.index(CALM.len())] } else { STORMY[dice.index(STORMY.len())] }
    }

    pub(crate) fn of(number: usize, dice: &mut Dice, plan: &Plan) -> Self {
        let relay = dice.index(plan.relays);
        let topic = dice.index(plan.partitions.len() + 1);
        let lasts = dice.between(100, 6_000) * MILLISECOND;
        match number {
            0 => Self::Join,
            1 => Self::Leave { relay, back: lasts },
            2 => Self::Kill { relay, back: dice.between(50, 4_000) * MILLISECOND, renamed: dice.chance(50) },
            3 => Self::Freeze { relay, lasts },
            4 => Self::DatabaseCrash { lasts: lasts / 4 },
            5 => Self::DatabaseAway { lasts },
            // Often quick, by a copy on which all leases seem to have run out.
            6 => Self::Failover {
                behind: dice.below(6_000) * MILLISECOND,
                lasts: if dice.chance(50) { lasts / 12 } else { lasts / 3 },
            },
            7 => Self::SlowDatabase { lasts, up_to: dice.between(20, 5_000) * MILLISECOND },
            8 => Self::LossyDatabase { lasts, percent: dice.between(5, 60) },
            9 => Self::BrokerDown { lasts },
            10 => Self::BrokerFrozen { lasts },
            11 => Self::BrokenConnections { lasts, percent: dice.between(5, 40) },
            // In calm weather well within the margin, for which the reports of a session with a refusal are waited for.
            12 if plan.temper == Temper::Calm => {
                Self::Throttled { lasts, by: dice.between(5_000, LATE_AT_MOST) }
            }
            12 => {
                let late = if dice.chance(50) { 400 } else { 4_000 };
                Self::Throttled { lasts, by: dice.between(5, late) * MILLISECOND }
            }
            13 => Self::TopicGone { topic, lasts },
            14 => Self::TopicDenied { topic, lasts },
            15 => Self::ProducersForgotten,
            16 => {
                let quota = dice.chance(50).then(|| dice.between(20, 800) * MILLISECOND);
                Self::BrokerShort { lasts: lasts / 2, quota }
            }
            _ => Self::Restore { behind: dice.below(6_000) * MILLISECOND, lasts: lasts / 3 },
        }
    }

    /// Whether the database forgets what it had confirmed.
    pub(crate) fn rewinds(self) -> bool {
        matches!(self, Self::Failover { .. } | Self::Restore { .. })
    }

    pub(crate) fn number(self) -> usize {
        match self {
            Self::Join => 0,
            Self::Leave { .. } => 1,
            Self::Kill { .. } => 2,
            Self::Freeze { .. } => 3,
            Self::DatabaseCrash { .. } => 4,
            Self::DatabaseAway { .. } => 5,
            Self::Failover { .. } => 6,
            Self::SlowDatabase { .. } => 7,
            Self::LossyDatabase { .. } => 8,
            Self::BrokerDown { .. } => 9,
            Self::BrokerFrozen { .. } => 10,
            Self::BrokenConnections { .. } => 11,
            Self::Throttled { .. } => 12,
            Self::TopicGone { .. } => 13,
            Self::TopicDenied { .. } => 14,
            Self::ProducersForgotten => 15,
            Self::BrokerShort { .. } => 16,
            Self::Restore { .. } => 17,
            Self::OtherDelivery => 18,
            Self::NewCertificates => 19,
        }
    }

    /// How long it lasts, its repair included.
    pub(crate) fn lasts(self) -> Time {
        match self {
            Self::Join | Self::ProducersForgotten | Self::OtherDelivery | Self::NewCertificates => 0,
            Self::Leave { back, .. } | Self::Kill { back, .. } => back,
            Self::Failover { behind, lasts } | Self::Restore { behind, lasts } => behind + lasts,
            Self::Freeze { lasts, .. }
            | Self::DatabaseCrash { lasts }
            | Self::DatabaseAway { lasts }
            | Self::SlowDatabase { lasts, .. }
            | Self::LossyDatabase { lasts, .. }
            | Self::BrokerDown { lasts }
            | Self::BrokerFrozen { lasts }
            | Self::BrokenConnections { lasts, .. }
            | Self::Throttled { lasts, .. }
            | Self::TopicGone { lasts, .. }
            | Self::TopicDenied { lasts, .. }
            | Self::BrokerShort { lasts, .. } => lasts,
        }
    }

    /// How long after its end it may still show, and how often it may make one event be delivered again; `None`:
    /// nothing about it is uncertain.
    pub(crate) fn aftermath(self) -> Option<(Time, u32)> {
        match self {
            Self::Join
            | Self::Leave { .. }
            | Self::TopicGone { .. }
            | Self::TopicDenied { .. }
            | Self::ProducersForgotten
            | Self::NewCertificates => None,
            Self::Throttled { by, .. } if by <= LATE_AT_MOST => None,
            // Owners are taken for dead, positions are old, and what was in flight is in flight still.
            Self::Failover { .. } | Self::Restore { .. } => Some((10 * SECOND, 6)),
            // A claim that comes late frees what was taken since, and takes it again under another epoch: each time
            // what is in flight is sent once more.
            Self::LossyDatabase { .. } => Some((10 * SECOND, 12)),
            // It happened, or not, and then it is asked again, or somebody else does.
            _ => Some((10 * SECOND, 2)),
        }
    }
}
