//! librdkafka's error codes, said as what to do now.
//!
//! The codes and their meaning are those of librdkafka's `rdkafka.h` (`rd_kafka_resp_err_t`; below zero its own) and
//! of the protocol guide, <https://kafka.apache.org/protocol.html#protocol_error_codes> (above zero).
//!
//! What can be mended at the broker's side while the relay waits (a quota, a permission, expired credentials) is
//! never `Misconfigured`: an outage is not a failure.

use std::time::Duration;

use PublishFaultKind::{Fenced, Misconfigured, Rejected, Throttled, TopicRefused, Unavailable, Unknown};
use eventferry_core::{PublishFault, PublishFaultKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaErrorCode as Code;

/// How long to pause on a quota: the broker says how long only to librdkafka, which waits by itself.
const THROTTLE: Duration = Duration::from_secs(1);

/// Codes, what to do about them, and why. A code that is not here is `Unknown`.
const TABLE: &[(&[Code], PublishFaultKind, &str)] = &[
    (
        &[Code::MessageSizeTooLarge, Code::MessageBatchTooLarge, Code::InvalidMessageSize],
        Rejected,
        "the record, or the batch it travelled in, is over the topic's max.message.bytes",
    ),
    (
        &[Code::InvalidTimestamp],
        Rejected,
        "the record's time is out of the bounds the topic sets (message.timestamp.before.max.ms, after.max.ms)",
    ),
    (
        &[Code::InvalidRecord],
        Rejected,
        "the broker's checks refuse the record (no key in a compacted topic, a schema rule)",
    ),
    (
        &[Code::InvalidDifferentRecord],
        Rejected,
        "another record of its batch was refused: it goes through alone",
    ),
    (&[Code::PolicyViolation], Rejected, "a policy of the broker refuses the record"),
    (
        &[Code::UnknownTopicOrPartition, Code::UnknownTopic, Code::UnknownPartition, Code::UnknownTopicId],
        TopicRefused,
        "the topic or partition does not exist: create it",
    ),
    (&[Code::InvalidTopic], TopicRefused, "the broker takes no such topic name, or the topic is internal"),
    (&[Code::TopicAuthorizationFailed], TopicRefused, "no permission: grant DESCRIBE and WRITE on the topic"),
    (
        &[Code::UnsupportedForMessageFormat],
        TopicRefused,
        "the topic's message format is too old for headers: raise its message.format.version",
    ),
    (&[Code::ThrottlingQuotaExceeded], Throttled(THROTTLE), "a quota is used up"),
    (
        &[Code::Fenced, Code::ProducerFenced, Code::TransactionCoordinatorFenced],
        Fenced,
        "a newer producer has taken over",
    ),
    (
        &[
            Code::BrokerDestroy,
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
            Code::DestroyBroker,
            Code::BrokerNotAvailable,
            Code::NetworkException,
            Code::UnknownBroker,
            Code::NodeUpdate,
            Code::ListenerNotFound,
            Code::RebootstrapRequired,
        ],
        Unavailable,
        "no connection to the broker",
    ),
    (&[Code::Resolve], Unavailable, "the broker's name does not resolve; name services fail and come back"),
    (
        &[Code::MessageTimedOut, Code::OperationTimedOut, Code::TimedOutQueue, Code::RequestTimedOut],
        Unavailable,
        "the broker did not answer in time",
    ),
    (
        &[
            Code::LeaderNotAvailable,
            Code::NotLeaderForPartition,
            Code::ReplicaNotAvailable,
            Code::FencedLeaderEpoch,
            Code::UnknownLeaderEpoch,
            Code::PreferredLeaderNotAvailable,
            Code::EligibleLeadersNotAvailable,
            Code::ElectionNotNeeded,
            Code::OffsetNotAvailable,
            Code::StaleControllerEpoch,
            Code::NotController,
            Code::StaleBrokerEpoch,
            Code::ReassignmentInProgress,
            Code::NoReassignmentInProgress,
        ],
        Unavailable,
        "the partition's leadership is moving",
    ),
    (
        &[Code::ISRInsufficient, Code::NotEnoughReplicas, Code::NotEnoughReplicasAfterAppend],
        Unavailable,
        "too few replicas are in sync (min.insync.replicas)",
    ),
    (
        &[Code::KafkaStorageError, Code::LogDirNotFound, Code::FileSystem, Code::CriticalSystemResource],
        Unavailable,
        "a disk or another resource is in trouble",
    ),
    (
        &[
            Code::Authentication,
            Code::SaslAuthenticationFailed,
            Code::IllegalSASLState,
            Code::DelegationTokenExpired,
            Code::DelegationTokenNotFound,
            Code::DelegationTokenAuthorizationFailed,
            Code::DelegationTokenOwnerMismatch,
            Code::DelegationTokenRequestNotAllowed,
            Code::DelegationTokenAuthDisabled,
            Code::InvalidPrincipalType,
            Code::PrincipalDeserializationFailure,
            Code::UnacceptableCredential,
        ],
        Unavailable,
        "the broker does not accept the credentials: mend or renew them",
    ),
    (
        &[Code::SSL],
        Unavailable,
        "TLS failed: check the certificates, their dates and the broker's name in them",
    ),
    (
        &[Code::ClusterAuthorizationFailed, Code::TransactionalIdAuthorizationFailed],
        Unavailable,
        "no permission: grant IDEMPOTENT_WRITE on the cluster (brokers before 3.0), or WRITE on the topics",
    ),
    (
        &[
            Code::Fatal,
            Code::GaplessGuarantee,
            Code::Inconsistent,
            Code::PurgeQueue,
            Code::PurgeInflight,
            Code::Application,
            Code::State,
        ],
        Unavailable,
        "the session has ended; a new one starts afresh",
    ),
    (
        &[
            Code::OutOfOrderSequenceNumber,
            Code::DuplicateSequenceNumber,
            Code::UnknownProducerId,
            Code::InvalidProducerEpoch,
            Code::InvalidProducerIdMapping,
        ],
        Unavailable,
        "the broker's memory of this producer differs from the client's; a new session gets a new producer id",
    ),
    (
        &[
            Code::QueueFull,
            Code::InProgress,
            Code::PreviousInProgress,
            Code::Conflict,
            Code::WaitingForCoordinator,
            Code::WaitCache,
            Code::Interrupted,
            Code::Partial,
            Code::Retry,
            Code::Noop,
            Code::Outdated,
            Code::CoordinatorLoadInProgress,
            Code::CoordinatorNotAvailable,
            Code::NotCoordinator,
            Code::OperationNotAttempted,
            Code::ConcurrentTransactions,
        ],
        Unavailable,
        "busy: ask again",
    ),
    (
        &[
            Code::BadMessage,
            Code::BadCompression,
            Code::Fail,
            Code::Underflow,
            Code::InvalidMessage,
            Code::InvalidRequest,
            Code::Unknown,
        ],
        Unknown,
        "a failure of no stated cause (corruption on the way, a defect of client or broker)",
    ),
    (
        &[
            Code::InvalidArgument,
            Code::NotImplemented,
            Code::NotConfigured,
            Code::UnknownProtocol,
            Code::UnsupportedFeature,
            Code::UnsupportedVersion,
            Code::UnsupportedCompressionType,
            Code::UnsupportedSASLMechanism,
            Code::SecurityDisabled,
            Code::InvalidRequiredAcks,
            Code::InvalidConfig,
        ],
        Misconfigured,
        "broker and settings do not fit: the broker must be Kafka 0.11 or newer and support what is set",
    ),
    (
        &[
            Code::TopicAlreadyExists,
            Code::InvalidPartitions,
            Code::InvalidReplicationFactor,
            Code::InvalidReplicaAssignment,
            Code::TopicDeletionDisabled,
            Code::InconsistentVoterSet,
            Code::InvalidUpdateVersion,
            Code::FeatureUpdateFailed,
            Code::ResourceNotFound,
            Code::DuplicateResource,
            Code::UnknownSubscriptionId,
            Code::TelemetryTooLarge,
            Code::InvalidTransactionalState,
            Code::InvalidTransactionTimeout,
        ],
        Unknown,
        "an answer to administration, telemetry or transactions, none of which a session does",
    ),
    (
        &[
            Code::PartitionEOF,
            Code::UnknownGroup,
            Code::ExistingSubscription,
            Code::AssignPartitions,
            Code::RevokePartitions,
            Code::NoOffset,
            Code::KeySerialization,
            Code::ValueSerialization,
            Code::KeyDeserialization,
            Code::ValueDeserialization,
            Code::ReadOnly,
            Code::NoEnt,
            Code::InvalidType,
            Code::PollExceeded,
            Code::AssignmentLost,
            Code::AutoOffsetReset,
            Code::LogTruncation,
            Code::OffsetOutOfRange,
            Code::OffsetMetadataTooLarge,
            Code::IllegalGeneration,
            Code::InconsistentGroupProtocol,
            Code::InvalidGroupId,
            Code::UnknownMemberId,
            Code::InvalidSessionTimeout,
            Code::RebalanceInProgress,
            Code::InvalidCommitOffsetSize,
            Code::GroupAuthorizationFailed,
            Code::NonEmptyGroup,
            Code::GroupIdNotFound,
            Code::FetchSessionIdNotFound,
            Code::InvalidFetchSessionEpoch,
            Code::MemberIdRequired,
            Code::GroupMaxSizeReached,
            Code::FencedInstanceId,
            Code::GroupSubscribedToTopic,
            Code::UnstableOffsetCommit,
            Code::FencedMemberEpoch,
            Code::UnreleasedInstanceId,
            Code::UnsupportedAssignor,
            Code::StaleMemberEpoch,
        ],
        Unknown,
        "an answer to a consumer, which a session is not",
    ),
];

fn row(code: RDKafkaErrorCode) -> Option<(PublishFaultKind, &'static str)> {
    TABLE.iter().find(|(codes, _, _)| codes.contains(&code)).map(|(_, kind, why)| (*kind, *why))
}

/// The fault of a code met while doing `what`.
pub(crate) fn fault(what: &str, code: RDKafkaErrorCode) -> PublishFault {
    let (kind, why) = row(code).unwrap_or((Unknown, "a code this version does not know"));
    PublishFault::new(kind, format!("{what}: {why} (code {})", code as i32)).caused_by(code)
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
    use std::ptr;

    use super::*;

    /// Every code librdkafka knows, from librdkafka itself.
    fn known() -> Vec<(RDKafkaErrorCode, i32)> {
        let mut descriptions = ptr::null();
        let mut count = 0;
        #[expect(unsafe_code, reason = "the binding has no safe way to list librdkafka's codes")]
        let descriptions = unsafe {
            rdkafka::bindings::rd_kafka_get_err_descs(&mut descriptions, &mut count);
            std::slice::from_raw_parts(descriptions, count)
        };
        descriptions
            .iter()
            .filter(|description| !description.name.is_null())
            .map(|description| (RDKafkaErrorCode::from(description.code), description.code as i32))
            .collect()
    }

    #[test]
    fn every_code_librdkafka_knows_has_exactly_one_row() {
        let mut missing = BTreeSet::new();
        let mut seen = 0;
        for (code, number) in known() {
            if matches!(code, RDKafkaErrorCode::Begin | RDKafkaErrorCode::End | RDKafkaErrorCode::NoError) {
                continue;
            }
            seen += 1;
            match TABLE.iter().filter(|(codes, _, _)| codes.contains(&code)).count() {
                1 => (),
                0 => drop(missing.insert(number)),
                rows => panic!("code {number} has {rows} rows"),
            }
        }
        assert!(seen > 150, "librdkafka listed only {seen} codes");
        assert_eq!(missing, BTreeSet::new());
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
                assert_eq!(READING.iter().filter(|(codes, _, _)| codes.contains(code)).count(), 1, "{code:?}");
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
        }
    }
}
