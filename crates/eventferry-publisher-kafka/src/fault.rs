//! librdkafka's error codes, said as what to do now.
//!
//! The codes and their meaning are those of librdkafka's `rdkafka.h` (`rd_kafka_resp_err_t`; below zero its own) and
//! of the protocol guide, <https://kafka.apache.org/protocol.html#protocol_error_codes> (above zero).
//!
//! What can be mended at the broker's side while the relay waits (a quota, a permission, expired credentials) is
//! never `Misconfigured`: an outage is not a failure.
//!
//! *Quotas on sending* come as no code. A broker that throttles a client acknowledges at once, says for how long it
//! throttles, and reads nothing more from that connection meanwhile (KIP-219). librdkafka hands that time to a callback
//! that its binding does not offer, and to its statistics; neither is needed: requests wait in the client, the session
//! is full after a while, and the relay waits for acknowledgements as it does for a slow broker. So nothing is refused,
//! nothing counted, and sending goes on the moment the broker reads again. What does come as a code is the quota on
//! changes of topics and the like; its time is not told.

use std::time::Duration;

use PublishFaultKind::{Fenced, Misconfigured, Rejected, Throttled, TopicRefused, Unavailable, Unknown};
use eventferry_core::{PublishFault, PublishFaultKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaErrorCode as Code;

/// How long to pause on a quota that is told by a code, which says not how long: as long as a sample of Kafka's quotas
/// (`quota.window.size.seconds`).
const THROTTLE: Duration = Duration::from_secs(1);

/// Codes with their names, which are the classes of their faults.
type Codes = &'static [(Code, &'static str)];

/// These codes, each with its name.
macro_rules! codes {
    ($($code:ident),*) => { &[$((Code::$code, stringify!($code))),*] };
}

/// Codes, what to do about them, and why. A code that is not here is `Unknown`.
const TABLE: &[(Codes, PublishFaultKind, &str)] = &[
    (
        codes![MessageSizeTooLarge, MessageBatchTooLarge, InvalidMessageSize],
        Rejected,
        "the record, or the batch it travelled in, is over the topic's max.message.bytes",
    ),
    (
        codes![InvalidTimestamp],
        Rejected,
        "the record's time is out of the bounds the topic sets (message.timestamp.before.max.ms, after.max.ms)",
    ),
    (
        codes![InvalidRecord],
        Rejected,
        "the broker's checks refuse the record (no key in a compacted topic, a schema rule)",
    ),
    (
        codes![InvalidDifferentRecord],
        Rejected,
        "another record of its batch was refused: it goes through alone",
    ),
    (codes![PolicyViolation], Rejected, "a policy of the broker refuses the record"),
    (
        codes![UnknownTopicOrPartition, UnknownTopic, UnknownPartition, UnknownTopicId],
        TopicRefused,
        "the topic or partition does not exist: create it",
    ),
    (codes![InvalidTopic], TopicRefused, "the broker takes no such topic name, or the topic is internal"),
    (codes![TopicAuthorizationFailed], TopicRefused, "no permission: grant DESCRIBE and WRITE on the topic"),
    (
        codes![UnsupportedForMessageFormat],
        TopicRefused,
        "the topic's message format is too old for headers: raise its message.format.version",
    ),
    (codes![ThrottlingQuotaExceeded], Throttled(THROTTLE), "a quota is used up"),
    (codes![Fenced, ProducerFenced, TransactionCoordinatorFenced], Fenced, "a newer producer has taken over"),
    (
        codes![
            BrokerDestroy,
            BrokerTransportFailure,
            AllBrokersDown,
            DestroyBroker,
            BrokerNotAvailable,
            NetworkException,
            UnknownBroker,
            NodeUpdate,
            ListenerNotFound,
            RebootstrapRequired
        ],
        Unavailable,
        "no connection to the broker",
    ),
    (codes![Resolve], Unavailable, "the broker's name does not resolve; name services fail and come back"),
    (
        codes![MessageTimedOut, OperationTimedOut, TimedOutQueue, RequestTimedOut],
        Unavailable,
        "the broker did not answer in time",
    ),
    (
        codes![
            LeaderNotAvailable,
            NotLeaderForPartition,
            ReplicaNotAvailable,
            FencedLeaderEpoch,
            UnknownLeaderEpoch,
            PreferredLeaderNotAvailable,
            EligibleLeadersNotAvailable,
            ElectionNotNeeded,
            OffsetNotAvailable,
            StaleControllerEpoch,
            NotController,
            StaleBrokerEpoch,
            ReassignmentInProgress,
            NoReassignmentInProgress
        ],
        Unavailable,
        "the partition's leadership is moving",
    ),
    (
        codes![ISRInsufficient, NotEnoughReplicas, NotEnoughReplicasAfterAppend],
        Unavailable,
        "too few replicas are in sync (min.insync.replicas)",
    ),
    (
        codes![KafkaStorageError, LogDirNotFound, FileSystem, CriticalSystemResource],
        Unavailable,
        "a disk or another resource is in trouble",
    ),
    (
        codes![
            Authentication,
            SaslAuthenticationFailed,
            IllegalSASLState,
            DelegationTokenExpired,
            DelegationTokenNotFound,
            DelegationTokenAuthorizationFailed,
            DelegationTokenOwnerMismatch,
            DelegationTokenRequestNotAllowed,
            DelegationTokenAuthDisabled,
            InvalidPrincipalType,
            PrincipalDeserializationFailure,
            UnacceptableCredential
        ],
        Unavailable,
        "the broker does not accept the credentials: mend or renew them",
    ),
    (
        codes![SSL],
        Unavailable,
        "TLS failed: check the certificates, their dates and the broker's name in them",
    ),
    (
        codes![TransactionalIdAuthorizationFailed],
        Unavailable,
        "no permission: grant WRITE and DESCRIBE on the transactional ids that begin with `eventferry-`",
    ),
    (
        codes![ClusterAuthorizationFailed],
        Unavailable,
        "no permission: grant IDEMPOTENT_WRITE on the cluster (brokers before 3.0), or WRITE on the topics",
    ),
    (
        codes![Fatal, GaplessGuarantee, Inconsistent, PurgeQueue, PurgeInflight, Application, State],
        Unavailable,
        "the session has ended; a new one starts afresh",
    ),
    (
        codes![
            OutOfOrderSequenceNumber,
            DuplicateSequenceNumber,
            UnknownProducerId,
            InvalidProducerEpoch,
            InvalidProducerIdMapping
        ],
        Unavailable,
        "the broker's memory of this producer differs from the client's; a new session gets a new producer id",
    ),
    (
        codes![
            QueueFull,
            InProgress,
            PreviousInProgress,
            Conflict,
            WaitingForCoordinator,
            WaitCache,
            Interrupted,
            Partial,
            Retry,
            Noop,
            Outdated,
            CoordinatorLoadInProgress,
            CoordinatorNotAvailable,
            NotCoordinator,
            OperationNotAttempted,
            ConcurrentTransactions
        ],
        Unavailable,
        "busy: ask again",
    ),
    (
        codes![BadMessage, BadCompression, Fail, Underflow, InvalidMessage, InvalidRequest, Unknown],
        Unknown,
        "a failure of no stated cause (corruption on the way, a defect of client or broker)",
    ),
    (
        codes![
            InvalidArgument,
            NotImplemented,
            NotConfigured,
            UnknownProtocol,
            UnsupportedFeature,
            UnsupportedVersion,
            UnsupportedCompressionType,
            UnsupportedSASLMechanism,
            SecurityDisabled,
            InvalidRequiredAcks
        ],
        Misconfigured,
        "broker and settings do not fit: the broker must be Kafka 0.11 or newer and support what is set",
    ),
    (
        codes![InvalidTransactionTimeout],
        Misconfigured,
        "the brokers allow no transaction of 15 s: raise their transaction.max.timeout.ms",
    ),
    (
        codes![
            InvalidConfig,
            TopicAlreadyExists,
            InvalidPartitions,
            InvalidReplicationFactor,
            InvalidReplicaAssignment,
            TopicDeletionDisabled,
            InconsistentVoterSet,
            InvalidUpdateVersion,
            FeatureUpdateFailed,
            ResourceNotFound,
            DuplicateResource,
            UnknownSubscriptionId,
            TelemetryTooLarge,
            InvalidTransactionalState
        ],
        Unknown,
        "an answer to administration, telemetry or transactions, none of which a session does",
    ),
    (
        codes![
            PartitionEOF,
            UnknownGroup,
            ExistingSubscription,
            AssignPartitions,
            RevokePartitions,
            NoOffset,
            KeySerialization,
            ValueSerialization,
            KeyDeserialization,
            ValueDeserialization,
            ReadOnly,
            NoEnt,
            InvalidType,
            PollExceeded,
            AssignmentLost,
            AutoOffsetReset,
            LogTruncation,
            OffsetOutOfRange,
            OffsetMetadataTooLarge,
            IllegalGeneration,
            InconsistentGroupProtocol,
            InvalidGroupId,
            UnknownMemberId,
            InvalidSessionTimeout,
            RebalanceInProgress,
            InvalidCommitOffsetSize,
            GroupAuthorizationFailed,
            NonEmptyGroup,
            GroupIdNotFound,
            FetchSessionIdNotFound,
            InvalidFetchSessionEpoch,
            MemberIdRequired,
            GroupMaxSizeReached,
            FencedInstanceId,
            GroupSubscribedToTopic,
            UnstableOffsetCommit,
            FencedMemberEpoch,
            UnreleasedInstanceId,
            UnsupportedAssignor,
            StaleMemberEpoch
        ],
        Unknown,
        "an answer to a consumer, which a session is not",
    ),
];

/// The name of a code, what to do about it, and why.
fn row(code: RDKafkaErrorCode) -> Option<(&'static str, PublishFaultKind, &'static str)> {
    TABLE.iter().find_map(|(codes, kind, why)| {
        let (_, name) = codes.iter().find(|(listed, _)| *listed == code)?;
        Some((*name, *kind, *why))
    })
}

/// The fault of a code met while doing `what`. Its class is the code's name, such as `MessageSizeTooLarge`.
pub(crate) fn fault(what: &str, code: RDKafkaErrorCode) -> PublishFault {
    let number = code as i32;
    let made =
        |kind, why: &str| PublishFault::new(kind, format!("{what}: {why} (code {number})")).caused_by(code);
    match row(code) {
        Some((name, kind, why)) => made(kind, why).of_class(name),
        None => made(Unknown, "a code this version does not know"),
    }
}

/// Codes that mean something else, or more, to whoever reads a topic as a consumer group.
const READING: &[(&[Code], PublishFaultKind, &str)] = &[
    (&[Code::TopicAuthorizationFailed], TopicRefused, "no permission: grant DESCRIBE and READ on the topic"),
    (&[Code::GroupAuthorizationFailed], Misconfigured, "no permission: grant READ on the consumer group"),
    (&[Code::InvalidGroupId], Misconfigured, "the broker takes no such name for a group: choose another"),
    (
        &[
            Code::UnknownMemberId,
            Code::IllegalGeneration,
            Code::RebalanceInProgress,
            Code::FencedMemberEpoch,
            Code::StaleMemberEpoch,
            Code::UnreleasedInstanceId,
        ],
        Misconfigured,
        "another program consumes under this group: choose another group, or stop that program",
    ),
    (
        &[Code::AutoOffsetReset, Code::OffsetOutOfRange],
        Unknown,
        "the broker removed records before they were read: begin again, with what is left",
    ),
];

/// The fault of a code met while reading.
pub(crate) fn reading_fault(what: &str, code: RDKafkaErrorCode) -> PublishFault {
    match READING.iter().find(|(codes, _, _)| codes.contains(&code)) {
        Some((_, kind, why)) => {
            PublishFault::new(*kind, format!("{what}: {why} (code {})", code as i32)).caused_by(code)
        }
        None => fault(what, code),
    }
}

/// The code that lies below an error of the binding, if one does.
pub(crate) fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// The fault of an error of the binding met while doing `what`.
pub(crate) fn fault_of(what: &str, error: KafkaError) -> PublishFault {
    match code_of(&error) {
        Some(code) => fault(what, code),
        None => PublishFault::new(Unknown, format!("{what}: {error}")).caused_by(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    /// Every code of the binding, which is made from librdkafka's header.
    fn known() -> impl Iterator<Item = (RDKafkaErrorCode, i32)> {
        let bounds = [Code::Begin, Code::End, Code::NoError, Code::EndAll];
        (-1000..2000)
            .filter_map(|number| {
                Some((RDKafkaErrorCode::from(RDKafkaRespErr::try_from(number).ok()?), number))
            })
            .filter(move |(code, _)| !bounds.contains(code))
    }

    #[test]
    fn every_code_of_the_binding_has_exactly_one_row_and_a_name() {
        let (mut seen, mut missing) = (0, BTreeSet::new());
        for (code, number) in known() {
            seen += 1;
            match TABLE.iter().flat_map(|(codes, _, _)| *codes).filter(|(listed, _)| *listed == code).count()
            {
                1 => assert_eq!(row(code).unwrap().0, format!("{code:?}")),
                0 => drop(missing.insert(number)),
                rows => panic!("code {number} has {rows} rows"),
            }
        }
        assert!(seen > 150, "the binding has only {seen} codes");
        assert_eq!(missing, BTreeSet::new());
        assert!(TABLE.iter().all(|(_, _, why)| !why.is_empty()));
    }

    #[test]
    fn a_reader_hears_of_groups_and_of_its_own_permission() {
        let message = |code| reading_fault("reading", code).to_string();
        assert!(message(Code::TopicAuthorizationFailed).contains("READ on the topic"));
        assert!(message(Code::GroupAuthorizationFailed).contains("READ on the consumer group"));
        assert!(message(Code::UnknownMemberId).contains("choose another group"));
        assert!(message(Code::UnknownTopicOrPartition).contains("create it"));
        for (codes, _, _) in READING {
            for code in *codes {
                assert_eq!(
                    READING.iter().filter(|(codes, _, _)| codes.contains(code)).count(),
                    1,
                    "{code:?}"
                );
            }
        }
    }

    #[test]
    fn a_code_of_the_future_is_unknown() {
        assert_eq!(*fault("sending", RDKafkaErrorCode::EndAll).kind(), Unknown);
    }

    #[test]
    fn the_kinds_that_decide_most_are_as_promised() {
        for (code, kind) in [
            (Code::MessageSizeTooLarge, Rejected),
            (Code::UnknownTopicOrPartition, TopicRefused),
            (Code::TopicAuthorizationFailed, TopicRefused),
            (Code::BrokerTransportFailure, Unavailable),
            (Code::SaslAuthenticationFailed, Unavailable),
            (Code::ProducerFenced, Fenced),
        ] {
            let fault = fault("sending", code);
            assert_eq!(*fault.kind(), kind, "{fault}");
            assert!(fault.to_string().contains(&format!("(code {})", code as i32)));
            assert_eq!(fault.class(), Some(format!("{code:?}").as_str()));
        }
    }
}
