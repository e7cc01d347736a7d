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
    /// What became of parked events is noted whatever the version of the position.
    ChangesWithoutVersion,
    /// What became of parked events is noted whoever says it.
    ChangesWithoutFence,
    /// A dead letter that holds its aggregate is taken for settled.
    ForgetsHolds,
    /// Settled parked events are removed at once.
    LeavesNoTombstone,
    /// Settled parked events are removed before the log's rows of them.
    SweepsTombstones,
    /// Settled parked events are listed too.
    ListsTombstones,
    /// An event of a held topic is parked with an attempt.
    CountsHeldTopics,
    /// A due event comes whether or not those before it are due.
    DueOvertakes,
    /// A due event comes on a later page although one before it fell due since.
    DueContinuesRuns,
    /// What is due is asked of whatever history there is.
    DueIgnoresHistory,
    /// Due events come in the order in which they fell due.
    DueByTime,
    /// A person's discard settles the event at once.
    DecidesAtOnce,
    /// A person's retry is taken for an event that was given up.
    RetriesTheDying,
    /// What is parked, or was, is read again from the log.
    ReadsParked,
    /// After a restore lanes are read on from where the dump had them.
    RestoresPositions,
    /// A failover keeps positions, and not what was parked with them.
    FailsOverWithoutParked,
    /// Retention removes what is old and below a settled id.
    SweepsUnread,
    /// Retention keeps writers out while it works.
    SweepLocksOut,
    /// Whoever lies down at the doorbell does not look once more.
    LiesDownBlindly,
    /// Nobody rings the doorbell.
    RingsForNobody,
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
    /// A dead letter handed to the client is taken for acknowledged.
    LettersNeedNoAnswer,
    /// A dead letter that is refused is taken for acknowledged.
    LetterRefusalIsAnswer,
    // Transactions.
    /// What was committed last is read before anybody is fenced.
    ReadsBeforeFencing,
    /// Only one transactional id is taken from its former owner.
    FencesOneId,
    /// A transaction is ended for whoever began it.
    FencesNobody,
    /// A transaction counts as readable everywhere when the next one has begun.
    EndsAreReadable,
    /// A transaction is committed before its intent is on disk.
    CommitsBeforeIntent,
    /// An intent is taken from whoever sends it.
    IntendsWithoutEpoch,
    /// An intent says nothing of what is parked.
    IntendsNoParks,
    /// An intent says nothing of what became of parked events.
    IntendsNoChanges,
    /// What was shipped before is told to whoever asks.
    ResolvesWithoutEpoch,
    /// What was shipped before is told, and the rest forgotten, by a call that comes late.
    ResolvesLate,
    /// What was committed is not carried out.
    ResolvesNothing,
    /// The newest intent is taken for committed.
    TrustsTheNewestIntent,
    /// Intents of transactions that were aborted are carried out too.
    CarriesOutTheAborted,
    /// Intents are carried out though the broker's last transaction is not known.
    CarriesOutTheUnknown,
    /// Intents of another cluster are carried out.
    CarriesOutElsewhere,
    /// Intents are carried out though they are settled.
    CarriesOutTwice,
    /// Intents stay when lanes are settled without transactions.
    KeepsOldIntents,
    /// A transaction of which nobody said that it was committed is taken for aborted.
    DoubtIsAborted,
    // The engine.
    /// An event that was given up goes to its own topic.
    SendsTheDyingHome,
    /// A dead letter is sent when death is to be told, not when it was.
    CarriesBeforeDecided,
    /// A relay that is asked to leave gives its lanes up before it has settled anything.
    LeavesAtOnce,
    /// A relay on its way out tells nothing of what became of parked events.
    LeavesInSilence,
    /// The relay's clock stands still while it is frozen.
    ClockStopsWhenFrozen,
    /// The list of parked events is not asked for.
    ListsNoParked,
    /// A settlement that failed is taken for done.
    SettlesOnce,
    /// A position is moved as far as was read.
    SettlesWhatWasRead,
    /// A relay at the doorbell does nothing until it rings.
    SleepsUntilRung,
    /// A ring is taken for a getting up.
    TakesRingForGettingUp,
    /// More is read than there is room for.
    ReadsBeyondRoom,
}
