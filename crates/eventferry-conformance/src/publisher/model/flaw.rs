//! Deliberate flaws of the model publisher.

crate::model::flaws! {
    // What is sent.
    /// What is acknowledged was not written.
    AcknowledgesUnwritten,
    /// Each message is written twice.
    WritesTwice,
    /// Messages that are in flight together are written in the opposite order.
    Reorders,
    /// A tombstone is written as an empty payload.
    TombstoneIsEmpty,
    /// Of headers with one name the last is kept.
    HeadersAreAMap,
    /// Header values that are no text are replaced.
    HeadersAreText,
    /// A message has ten headers at most.
    HeadersEndAtTen,
    /// A message's time is the publisher's.
    StampsItsOwnTime,

    // Where it goes.
    /// Messages go to the partitions in turns, whatever their keys.
    RoutesInTurns,
    /// Where a key goes depends on the publisher.
    RoutesByInstance,
    /// The partition that an event asks for is not looked at.
    IgnoresPartitions,
    /// A dead letter goes to the partition that its event asked for.
    SendsTheDeadWhereTheyAsked,
    /// What was not learned is routed all the same.
    RoutesUnlearned,
    /// Any topic is learned, whether it is there or not.
    LearnsAnything,
    /// What was once learned of a topic is not looked at again.
    LearnsOnce,

    // What is reported.
    /// A message is reported twice.
    ReportsTwice,
    /// A message is never reported.
    LosesReports,
    /// Reports are lost when nobody waits for them any more.
    DroppedWaitLoses,
    /// A session that says it is full has taken the message.
    FullTakesIt,

    // What is refused.
    /// A refused message was written.
    RefusesTheWritten,
    /// A refused message is reported as uncertain.
    SaysUncertain,
    /// What travels with a refused message is refused.
    RefusesNeighbours,
    /// What was sent after a refused message is written.
    WritesOnAfterRefusal,
    /// After a refusal a session goes on taking messages.
    TakesAfterTheEnd,

    // What travels in transactions.
    /// What a transaction holds is read before it is committed.
    ShowsTheUncommitted,
    /// What was committed is not read at once.
    CommitsShowLate,
    /// A commit is of the transaction begun last.
    CommitsTheLatest,
    /// What is thrown away is read.
    AbortCommits,
    /// A session ends with a transaction that is thrown away.
    AbortEndsTheSession,
    /// No stamp comes back.
    ForgetsStamps,
    /// The first stamp comes back.
    TellsTheFirstStamp,
    /// The stamp of a transaction comes back that was not committed.
    TellsTheNewestStamp,
    /// Who takes over fences nobody.
    TakeOverFencesNobody,
    /// Who takes over commits what was open.
    TakeOverCommitsTheOpen,
    /// All outboxes are one.
    OneOutboxForAll,

    // How it ends.
    /// Messages in flight are not answered when their session ends.
    AbandonForgets,
    /// A message that was reported is reported again when its session ends.
    AbandonRepeats,
    /// A session that ends waits for no report.
    AbandonsAtOnce,
    /// What was in flight when its session ended is written later.
    AbandonLingers,
    /// With one session all end.
    AbandonEndsAll,
}
