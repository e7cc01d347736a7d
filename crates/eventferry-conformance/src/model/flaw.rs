//! Deliberate flaws: each makes the model break the contract in one way, so that clauses can be seen to fail.

use eventferry_core::Event;

macro_rules! flaws {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// One way of breaking the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Flaw {
            $($(#[doc = $doc])+ $name,)+
        }

        /// Every flaw there is.
        pub const FLAWS: &[Flaw] = &[$(Flaw::$name,)+];
    };
}

pub(crate) use flaws;

flaws! {
    // What applications enqueue.
    /// Events are in the log as soon as they are enqueued.
    ShowsUncommitted,
    /// A rollback commits.
    CommitsOnRollback,
    /// A lost connection commits.
    CommitsLostConnections,
    /// Rolling back to a savepoint does nothing.
    IgnoresSavepoints,
    /// Rolling back to a savepoint rolls back the whole transaction's events.
    SavepointTakesAll,
    /// The last event of a transaction with several is lost.
    LosesLastOfTransaction,
    /// A transaction's events come in the opposite order.
    ReversesTransactions,
    /// Events over a limit are accepted.
    ChecksNoLimits,
    /// What stands before a refused event in its call is added.
    AddsBeforeRefusing,
    /// Enqueueing no events is an error.
    RefusesNothing,
    /// Enqueueing fails until a relay has come.
    NeedsARelay,
    /// Enqueueing fails while something was read and not settled.
    WaitsForReaders,
    /// After a sweep beside an open transaction nobody else can enqueue.
    SweepLocksOut,

    // What an event carries.
    /// A message id that was given is replaced.
    IgnoresGivenIds,
    /// Message ids are a counter.
    CountsMessageIds,
    /// A message id is another one at each reading.
    NamesAtReading,
    /// An event's time is when it is read.
    TimesAtReading,
    /// Payloads go through a text column: bytes that are no UTF-8 are replaced.
    PayloadIsText,
    /// Payloads end after 64 KiB.
    PayloadIsCut,
    /// An empty payload comes back as none.
    EmptyIsNone,
    /// No key comes back as an empty one.
    NoKeyIsEmpty,
    /// Of headers with one name the last is kept.
    HeadersAreAMap,
    /// Blanks around texts are dropped.
    TrimsText,
    /// Texts end after 255 characters.
    CutsText,
    /// Partition 0 comes back as none.
    PartitionZeroIsNone,
    /// Lanes come from another hash.
    HashesItsOwnWay,

    // Where events stand.
    /// An event gets its place when it is enqueued, so that a late commit lands behind the position.
    PlacesAtEnqueue,
    /// A new owner skips what was enqueued before the last settled event.
    NewOwnerForgetsTheLate,
    /// Events that are read together are ordered by when their transaction began.
    OrdersByTransaction,
    /// Late commits come after newer events that are read together with them.
    LateComeLast,
    /// Events that are read together come newest first.
    NewestComeFirst,
    /// A page that does not hold everything is in the opposite order.
    ReversesCutPages,

    // How they are read.
    /// The first relay starts at the log's end.
    StartsAtTheEnd,
    /// The first relay is told that it continues.
    AlwaysContinues,
    /// Reopening starts after what was read, settled or not.
    ForgetsTheUnsettled,
    /// Reopening starts at the beginning, settled or not.
    StartsOver,
    /// Closing and opening a lane again changes nothing.
    ReopensWhereItWas,
    /// Each reading starts with the last record of the one before.
    RepeatsItself,
    /// How far was read is kept for all lanes together.
    OneCursorForAllLanes,
    /// Every open lane is read.
    IgnoresTheWish,
    /// What was enqueued after the slowest open transaction began is held back.
    WaitsForTheSlow,
    /// At the end of what was there when it began to read, a feed says that all is quiet.
    QuietTooSoon,
    /// A feed that holds events back says that there are none.
    WaitsInSilence,
    /// Passed marks cover what a page had no room for.
    PassesUnread,
    /// Pages have any number of records.
    IgnoresRecordsMax,
    /// Pages have any number of bytes.
    IgnoresBytesMax,
    /// An event larger than the wish's bytes is not read.
    SkipsTheOversized,

    // How they are settled.
    /// Settlements under any epoch are applied.
    IgnoresEpochs,
    /// If one lane of a call is fenced, all are.
    OneFenceForAll,
    /// A fenced settlement moves nothing but parks.
    FencedStillParks,
    /// A repeated settlement is answered Fenced.
    RepeatIsFenced,
    /// A settlement that comes late moves the position back.
    OlderMovesBack,
    /// Settling a mark that is no record's is answered Fenced.
    RefusesPassedMarks,
    /// A settlement settles all that was read of its lane.
    SettlesWhatWasRead,
    /// A settlement in the middle of a transaction settles all of it.
    SettlesWholeTransactions,
    /// A settlement moves every lane's position.
    SettlesEveryLane,
    /// Events to park are settled and forgotten.
    ParksNothing,
    /// Parking does not move the position.
    ParksInPlace,
    /// A repeated settlement parks again.
    ParksTwice,
    /// Events that wait behind a refused one are settled and forgotten.
    ForgetsWhoWaits,
    /// The broker's words are not kept.
    ForgetsReasons,
    /// Parked events are listed from the newest.
    ListsBackward,
    /// Each page of parked events starts at the first.
    ListsFromTheStart,
    /// Parked events are listed without their sizes.
    ListsNoSizes,
    /// An empty payload is parked as none.
    ParkedEmptyIsNone,
    /// Of the headers with one name the last is parked.
    ParkedHeadersAreAMap,

    // When parked events are due.
    /// A refused event is due at once, whatever its pause.
    RetriesAtOnce,
    /// An event parked because its topic takes nothing has an attempt counted.
    HeldTopicCounts,
    /// An event that waits for a person is due.
    WaitingIsDue,
    /// An event that was given up is due for its own topic.
    ForgetsWhoDies,
    /// An event that was given up has lost the words of its refusal.
    DiesWithoutAWord,
    /// An event that was given up was refused last when it is handed over.
    DiesWhenRead,
    /// What waits behind an event that is not due is due.
    OvertakesWhatWaits,
    /// Due events come newest first.
    DueComesBackward,
    /// Due events come from the first, whatever is in hand.
    DueFromTheStart,
    /// What stands behind an event in hand comes with the next page, if that one is due.
    GoesOnInARun,
    /// What stands behind an event in hand, or one that was passed over, comes with the next page.
    ForgetsWhatIsInHand,
    /// What is due is handed over once.
    HandsOverOnce,
    /// Events of every lane are due.
    DueOfEveryLane,
    /// Topics that are left out are not.
    LeavesOutNothing,
    /// What waits behind an event of a topic that is left out is due.
    LeavesOutOnlyTheEvent,
    /// With a topic, the dead letters of its events are left out.
    LeavesOutTheDying,
    /// An event that is not due holds back its whole lane.
    WaitingStopsItsLane,
    /// Of those that are not due yet, the last one's time is told.
    NextIsTheLast,
    /// The next one's time is told of topics that are left out.
    NextCountsWhatIsLeftOut,
    /// Pages of due events have any number of records.
    DueIgnoresRecordsMax,
    /// Pages of due events have any number of bytes.
    DueIgnoresBytesMax,
    /// A due event larger than the ask's bytes is not handed over.
    DueSkipsTheOversized,
    /// A page of due events says that there are no more.
    DueSaysNoMore,
    /// A feed that starts over reads what is parked.
    RereadsTheParked,
    /// A feed that starts over reads what was parked and is settled.
    RereadsTheSettled,

    // What becomes of parked events.
    /// A fenced settlement moves nothing but tells its changes.
    FencedStillChanges,
    /// A settlement without a mark does nothing.
    NoMarkNoChange,
    /// A settlement that parks tells no changes.
    ParkingDropsChanges,
    /// The changes of a settlement are told from the last to the first.
    ChangesComeBackward,
    /// A settlement that comes late tells its changes again.
    LateChangesCount,
    /// Each refusal adds an attempt, whatever its number says.
    RefusalsAddUp,
    /// A refusal with fewer attempts than are known counts.
    OlderRefusalCounts,
    /// The first refusal's cause stays.
    KeepsTheFirstCause,
    /// A refusal takes an event back from the dead-letter topic.
    RefusalRevivesTheDead,
    /// A retry takes an event back from the dead-letter topic.
    RetriedRevivesTheDead,
    /// Postponing counts an attempt.
    PostponedCounts,
    /// What is postponed is due at once.
    PostponesNothing,
    /// A retry keeps the attempts.
    RetriedKeepsAttempts,
    /// An event whose aggregate is held is due.
    HeldIsDue,
    /// What waits behind an event whose aggregate is held is due.
    HeldLetsGo,
    /// What is settled stays in the list.
    SettledStaysListed,
    /// The figures count what is settled.
    CountsTheSettled,
    /// What is settled holds back its aggregate.
    SettledHoldsBack,
    /// A change of a settled event unsettles it.
    SettledComesBack,
    /// A change of an event that is not there is answered Fenced.
    MissingIsFenced,

    // What people see and decide.
    /// Each page for people starts at the first.
    ShowsFromTheStart,
    /// Pages for people have any number of records.
    ShowIgnoresRecordsMax,
    /// Pages for people have any number of bytes.
    ShowIgnoresBytesMax,
    /// Decisions are not shown.
    ShowsNoDecision,
    /// Filters know no message ids.
    FilterForgetsMessages,
    /// Filters know no aggregate types.
    FilterForgetsTypes,
    /// Filters know no aggregate ids.
    FilterForgetsIds,
    /// Filters know no topics.
    FilterForgetsTopics,
    /// Filters know no reasons.
    FilterForgetsReasons,
    /// Reasons are compared with their case.
    ReasonKnowsCase,
    /// A reason is a pattern in which some characters stand for any.
    ReasonIsAPattern,
    /// A reason is sought in the words of a refusal alone.
    ReasonIsWordsOnly,
    /// Filters know no stages.
    FilterForgetsStages,
    /// Filters know no age.
    FilterForgetsAge,
    /// Decisions are written onto everything.
    DecidesEverything,
    /// Decisions are written whether they fit or not.
    DecidesWhateverStage,
    /// What only waits behind another is to be retried.
    RetriesWhoWaitsBehind,
    /// A decision takes the place of another.
    ReplacesDecisions,
    /// Owners are told of no decision.
    DecisionsGoUnheard,
    /// Owners are told only of decisions on events that are not in hand.
    DecisionsFollowAfter,
    /// Any number of decisions is told at once.
    DecisionsHaveNoBound,
    /// An event on which a decision is not carried out is due.
    DecidedIsDue,
    /// A decision that was carried out stays.
    DecisionStays,
    /// A decision that does not fit any more settles its event.
    RefusedDecisionTakesAll,
    /// Nothing is audited.
    AuditsNothing,
    /// A decision on several events leaves one line.
    AuditsTheCall,
    /// The audit does not say why.
    AuditForgetsWhy,
    /// The audit does not say of which message.
    AuditForgetsWhich,
    /// What is about no single event is not audited.
    RecordsNothing,

    // The doorbell.
    /// The bell never rings.
    BellStaysSilent,
    /// The bell rings only for what is committed while it is waited for.
    BellForgetsWhatCameBefore,
    /// The bell has rung, and rings no more for what is committed before it is waited for again.
    BellForgetsBetweenWaits,
    /// The bell rings only for who waits for it the first time.
    BellIsForTheFirstWait,
    /// The log stands still when nobody enqueues into the relay's own lanes.
    StillIsItsOwnLanes,

    // What is settled with a transaction of the broker's.
    /// An intent is carried out when it is written down.
    IntendingSettles,
    /// Intents forget what they park.
    IntendsNoParks,
    /// Intents forget what became of parked events.
    IntendsNoChanges,
    /// Intents are written down under any epoch.
    IntendsWithoutEpoch,
    /// An intent is held against the leases of those lanes alone that it settles.
    IntendsByItsOwnLanes,
    /// An intent that comes after a later one, or again, is written down.
    LateIntentCounts,
    /// Nothing is ever carried out.
    ResolvesNothing,
    /// Of what was committed the last transaction alone is carried out.
    CarriesOutTheLastAlone,
    /// What was aborted before the last transaction is carried out too.
    CarriesOutTheAborted,
    /// The newest intent is carried out, whatever the broker committed last.
    TrustsTheNewestIntent,
    /// What is settled already is carried out again.
    CarriesOutTwice,
    /// A settlement does not note which transactions it settles.
    SettlingCarriesNothing,
    /// A transaction is known by its number alone.
    ForgetsNonces,
    /// What was carried out is forgotten by name too.
    ForgetsTheCommitted,
    /// Intents stay when database and broker have parted.
    PartedKeepsIntents,
    /// A broker that has committed nothing agrees with any intents.
    NoStampIsAgreed,
    /// What was shipped is resolved under any epoch.
    ResolvesWithoutEpoch,
    /// What was shipped is resolved by whoever holds a part of the lanes.
    ResolvesByItsOwnLanes,
    /// Numbers of forgotten intents are given out again.
    NumbersComeAgain,
    /// A settlement without transactions leaves intents alone.
    KeepsIntentsForEver,
    /// A fenced settlement without transactions forgets intents.
    FencedForgetsIntents,
    /// A sweep removes intents.
    SweepsIntents,
    /// Whoever wants all lanes gets those that are free.
    WholeTakesWhatIsFree,
    /// Whoever wants all lanes gets as many as it names.
    WholeIsUnheard,
    /// The outbox has a new name at each start.
    NamesTheOutboxAnew,
    /// All outboxes have one name.
    NamesAllOutboxesAlike,

    // Who owns what.
    /// Lanes are taken though their owner lives.
    TakesFromTheLiving,
    /// Whoever asks for a lane gets all that are free.
    TakesEverything,
    /// A lane that is left out stays with its relay.
    FreesNothing,
    /// Every beat frees the relay's lanes, kept or not.
    FreesKept,
    /// An epoch grows with each renewal.
    RenewalCounts,
    /// An epoch never changes.
    EpochStays,
    /// An epoch is the owner's number, so a relay that comes back has its former one.
    EpochNamesTheOwner,
    /// A lease ends at its half.
    LapsesEarly,
    /// A dead relay keeps its lanes.
    NeverLapses,
    /// A relay is told that it holds what it asked to keep.
    TellsOfLostLeases,
    /// A relay that comes back after its lease loses lanes that nobody took.
    DropsTheLapsed,
    /// A relay that leaves keeps its lanes until they are taken from it.
    LeavesHolding,
    /// A relay that left counts as alive for another ten seconds.
    CountsLeavers,
    /// Relays whose heartbeat ran out are counted.
    CountsTheDead,
    /// Two relays of one name are not noticed.
    SharesNames,
    /// A restarted relay is kept away from its lanes by its own heartbeat.
    RestartWaits,

    // What is kept, and what is said.
    /// A missing schema passes the check.
    MissesNoSchema,
    /// Applying the schema again makes it anew.
    ApplyStartsOver,
    /// A sweep removes what is old, settled or not.
    SweepsTheUnsettled,
    /// A sweep knows no retention.
    SweepsEarly,
    /// A sweep removes nothing.
    SweepsNothing,
    /// Places start at 1 again when the log is empty.
    PlacesStartAgain,
    /// A sweep removes what is parked.
    SweepsTheParked,
    /// Lag includes what is settled.
    CountsWhatWasSettled,
    /// The figures know no owner.
    TellsNoOwner,
    /// The figures leave out parked events that wait behind others.
    CountsOnlyTheRefused,
}

impl Flaw {
    /// Spoils the columns of an event on its way into the log.
    pub(super) fn spoil(self, event: &mut Event) {
        match self {
            Self::PayloadIsText => {
                let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned().into_bytes();
                event.payload = event.payload.take().map(text);
            }
            Self::PayloadIsCut => {
                if let Some(payload) = &mut event.payload {
                    payload.truncate(64 << 10);
                }
            }
            Self::EmptyIsNone => event.payload = event.payload.take().filter(|bytes| !bytes.is_empty()),
            Self::NoKeyIsEmpty => event.key = Some(event.key.take().unwrap_or_default()),
            Self::HeadersAreAMap => keep_last_of_each_name(event),
            Self::TrimsText => {
                for text in [&mut event.topic, &mut event.aggregate.kind, &mut event.aggregate.id] {
                    *text = text.trim().into();
                }
            }
            Self::CutsText => {
                for text in [&mut event.topic, &mut event.aggregate.kind, &mut event.aggregate.id] {
                    *text = text.chars().take(255).collect();
                }
            }
            Self::PartitionZeroIsNone => {
                event.partition = event.partition.filter(|partition| *partition != 0)
            }
            _ => {}
        }
    }
}

fn keep_last_of_each_name(event: &mut Event) {
    let headers = std::mem::take(&mut event.headers);
    for header in headers {
        match event.headers.iter_mut().find(|kept| kept.name == header.name) {
            Some(kept) => *kept = header,
            None => event.headers.push(header),
        }
    }
}
