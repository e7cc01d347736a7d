//! Saboteurs: each breaks one rule in the models or in the engine, so that the checkers can be seen to find it.

macro_rules! flaws {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// One way of breaking a rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Flaw {
            $($(#[doc = $doc])+ $name,)+
        }

        /// Every flaw there is.
        pub const FLAWS: &[Flaw] = &[$(Flaw::$name,)+];
    };
}

flaws! {
    // The database: reading.
    /// The sequence's last value is read after the xid that it is kept with.
    ReadsFloorAfterXid,
    /// What runs at or above a snapshot's xmax is taken for seen.
    TakesXmaxForNext,
    /// A window is read in the order of xids.
    OrdersByXid,
    /// A window shows no rows of transactions that the one before saw running.
    ForgetsLateRows,
    /// Rows that are not committed are read too.
    ReadsUncommitted,
    /// Rows of savepoints that were rolled back are read too.
    IgnoresSavepoints,
    /// A new owner finishes a half-read window up to a snapshot of its own.
    ReopensHalfReadWindow,
    /// What is visible is shipped, on disk or not.
    ShipsBeforeFlush,
    /// Nobody looks whether the database is on another timeline.
    IgnoresHistory,
    /// Opening lanes on another timeline says nothing of those that were open before.
    OpensInSilence,
    // The database: owning and settling.
    /// A lane that names this relay, but is not kept, is left alone.
    FreesNothing,
    /// A lane changes hands without a new epoch.
    EpochStays,
    /// A heartbeat counts for half of what was asked.
    LapsesEarly,
    /// A settlement follows whatever version of a position is there.
    SettlesWithoutVersion,
    /// A settlement is taken from whoever sends it.
    SettlesWithoutEpoch,
    /// A position is moved, and nothing is parked with it.
    ParksNothing,
    /// Lanes are taken whether or not their owner lives.
    TakesFromTheLiving,
    /// Parked events are listed as a statement sees them that had waited for the lane to change hands.
    ListsStaleParked,
    /// Retention removes what is old and below a settled id.
    SweepsUnread,
    /// Retention keeps writers out while it works.
    SweepLocksOut,
    // The broker and its client.
    /// The main session goes on after a refusal.
    GoesOnAfterRefusal,
    /// A session's first records in a partition are pipelined.
    PipelinesFirst,
    /// Records that take long are given up one by one, and those behind them go on.
    TimesOutEach,
    /// A refusal of a batch is taken for one of each record in it.
    BelievesBatchRefusal,
    /// One session's records go through two producers.
    SplitsSession,
    /// All topics of an aggregate are taken for one order domain.
    OneDomainForAll,
    /// Ending a session waits for no report.
    WaitsForNoReport,
    /// Ending a session leaves its queue to be sent.
    PurgesNothing,
    /// A connection that breaks is taken for a refusal.
    OutageIsRefusal,
    /// A topic that is refused is taken for bad records.
    TopicRefusalIsRecords,
    /// What was handed to the network is taken for acknowledged.
    AcknowledgesOnSend,
    /// What is uncertain when a session ends is taken for acknowledged.
    UncertainIsAcknowledged,
    // The engine.
    /// The relay's clock stands still while it is frozen.
    ClockStopsWhenFrozen,
    /// The list of parked events is not asked for.
    ListsNoParked,
    /// A settlement that failed is taken for done.
    SettlesOnce,
    /// A position is moved as far as was read.
    SettlesWhatWasRead,
    /// More is read than there is room for.
    ReadsBeyondRoom,
}
