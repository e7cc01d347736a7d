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
