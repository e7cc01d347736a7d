//! One reading of the slot: which transaction it is in, which event of it, and how far it has come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use eventferry_core::{Lane, PackedRow, Record, Row as _, StoreFault, StoreFaultKind};

use super::anchor::Stands;
use super::decode::{Layout, Message, Tuple};
use super::wire::{Wire, broken, refusal};
use crate::config::PostgresConfig;
use crate::window::{History, PostgresMark};

/// The prefix of messages that are events.
const PREFIX: &[u8] = b"eventferry";

struct Transaction {
    /// Where its commit record lies.
    commit: u64,
    xid: u32,
    /// How many events of it have come.
    ordinal: i64,
}

/// A stream of the slot, from some place on.
pub(super) struct Stream {
    wire: Wire,
    relations: BTreeMap<u32, Option<Layout>>,
    transaction: Option<Transaction>,
    /// All that was committed before has come.
    reached: u64,
}

/// Records, as far as there is room.
pub(super) struct Sheet {
    pub(super) records: Vec<Record<PostgresMark, PackedRow>>,
    records_max: usize,
    bytes: u64,
    bytes_max: u64,
}

impl Sheet {
    pub(super) fn new(records_max: u32, bytes_max: u64) -> Self {
        Self { records: Vec::new(), records_max: records_max as usize, bytes: 0, bytes_max }
    }
}

/// Why no more frames were looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The buffer has no whole one.
    Dry,
    /// There is no more room.
    Full,
}

/// Says, once, that somebody writes messages under our prefix that are none of ours. Nobody may stop a relay by that,
/// so they are passed over; a new form of ours would have a new prefix.
fn forged() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "a message in the log bears the prefix `eventferry` and was not written by eventferry.emit(): it is passed \
             over, as are others like it; let nobody write such: `eventferry init --tail --close-messages`"
        );
    }
}

impl Stream {
    /// Streams from `start` on, if the server is the one whose history is `history`.
    pub(super) async fn start(
        config: &PostgresConfig,
        slot: &str,
        start: u64,
        history: History,
    ) -> Result<Self, StoreFault> {
        let (wire, identity) = Wire::start(config, slot, start).await?;
        if (identity.system_identifier.cast_signed(), identity.timeline)
            != (history.system_identifier, history.timeline)
        {
            return Err(StoreFault::new(
                StoreFaultKind::HistoryLost,
                "replication is had from another cluster or timeline than the store's URL leads to",
            ));
        }
        Ok(Self { wire, relations: BTreeMap::new(), transaction: None, reached: start })
    }

    /// Up to where everything has come: a place in the log.
    pub(super) fn place(&self) -> (u64, i64) {
        match &self.transaction {
            Some(within) => (within.commit, within.ordinal),
            None => (self.reached, 0),
        }
    }

    /// All that was committed before this place has come.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    /// Hands over what the buffer has.
    pub(super) fn fill(
        &mut self,
        sheet: &mut Sheet,
        stands: &mut Stands,
        lanes_total: u16,
    ) -> Result<Stop, StoreFault> {
        while sheet.records.len() < sheet.records_max {
            let Some((tag, range)) = self.wire.frame()? else { return Ok(Stop::Dry) };
            let body = self.wire.bytes(range);
            match (tag, body.first()) {
                (b'd', Some(b'w')) => {}
                (b'd', Some(b'k')) => {
                    let end = body.get(1..9).and_then(|end| end.first_chunk()).ok_or_else(broken)?;
                    if self.transaction.is_none() {
                        self.reached = self.reached.max(u64::from_be_bytes(*end));
                    }
                    if body.get(17) == Some(&1) {
                        self.wire.pong();
                    }
                    continue;
                }
                (b'E', _) => return Err(refusal("read the log's tail", body)),
                // Notices, parameters and notifications go by.
                (b'N' | b'S' | b'A', _) => continue,
                // What is no message may have been an event.
                _ => return Err(broken()),
            }
            let message = Message::of(body.get(25..).ok_or_else(broken)?).ok_or_else(broken)?;
            let (tuple, is_row) = match message {
                Message::Insert { relation, tuple } => match self.relations.get(&relation) {
                    Some(Some(layout)) => (layout.tuple(tuple).ok_or_else(broken)?, true),
                    _ => continue,
                },
                Message::Emitted { prefix, content } if prefix == PREFIX => {
                    match Tuple::of_record(content).filter(Tuple::could_be_emitted) {
                        Some(tuple) => (tuple, false),
                        None => {
                            forged();
                            continue;
                        }
                    }
                }
                Message::Begin { commit, xid } => {
                    self.transaction = Some(Transaction { commit, xid, ordinal: 0 });
                    continue;
                }
                Message::Commit { end } => {
                    self.transaction = None;
                    self.reached = self.reached.max(end);
                    continue;
                }
                Message::Relation { id, body } => {
                    self.relations.insert(id, Layout::of(body));
                    continue;
                }
                Message::Emitted { .. } | Message::Other => continue,
            };
            let Some(within) = &mut self.transaction else { return Err(broken()) };
            let place = (within.commit, within.ordinal + 1);
            let (kind, id) = tuple.aggregate().ok_or_else(broken)?;
            let lane = Lane::of(kind, id, lanes_total);
            if (!is_row || tuple.is_of(within.xid)) && stands.wants(lane, place, within.xid, is_row) {
                let row = tuple.pack().ok_or_else(broken)?;
                let bytes = row.size_bytes() as u64;
                if !sheet.records.is_empty() && sheet.bytes + bytes > sheet.bytes_max {
                    self.wire.put_back();
                    return Ok(Stop::Full);
                }
                let mark = stands.mark(lane, place, tuple.id().unwrap_or(0)).ok_or_else(broken)?;
                sheet.bytes += bytes;
                sheet.records.push(Record { lane, mark, row });
            }
            within.ordinal += 1;
        }
        Ok(Stop::Full)
    }

    /// Takes in what has come, without waiting; whether there was something.
    pub(super) fn read_now(&mut self) -> Result<bool, StoreFault> {
        self.wire.read_now()
    }

    /// Waits for more to come.
    pub(super) async fn read(&mut self) -> Result<(), StoreFault> {
        self.wire.read().await
    }

    /// Asks how far the server has come.
    pub(super) fn ping(&self) {
        self.wire.ping();
    }

    /// All before this place is settled.
    pub(super) fn settled(&self, place: u64) {
        self.wire.settled(place);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What a stream says of these bytes from the server.
    async fn said(bytes: &[u8]) -> Result<u64, StoreFault> {
        let (mut server, client) = tokio::io::duplex(1 << 10);
        let mut stream =
            Stream { wire: Wire::over(client), relations: BTreeMap::new(), transaction: None, reached: 0 };
        server.write_all(bytes).await.unwrap();
        stream.read().await?;
        let (mut sheet, mut stands) = (Sheet::new(10, 1 << 20), Stands::of(4));
        stream.fill(&mut sheet, &mut stands, 4).map(|_| stream.reached())
    }

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
    }

    fn keepalive(end: u64) -> Vec<u8> {
        frame(b'd', &[&b"k"[..], &end.to_be_bytes(), &[0; 9]].concat())
    }

    #[tokio::test]
    async fn what_is_no_message_is_not_passed_over_for_it_may_have_been_an_event() {
        assert_eq!(said(&[frame(b'N', b"notice"), keepalive(7)].concat()).await.unwrap(), 7);
        for spoilt in [frame(0xfe, b"w and an event"), frame(b'd', b"? and an event"), frame(b'c', b"")] {
            let fault = said(&[spoilt, keepalive(7)].concat()).await.unwrap_err();
            assert_eq!(*fault.kind(), StoreFaultKind::Unavailable, "{fault}");
        }
        let unknown = [&[b'w'][..], &[0; 24], b"?"].concat();
        assert!(said(&[frame(b'd', &unknown), keepalive(7)].concat()).await.is_err());
    }

    #[tokio::test]
    async fn a_length_that_is_none_is_not_waited_for() {
        for length in [0u32, 3, 1 << 31] {
            let bytes = [&b"d"[..], &length.to_be_bytes(), b"k"].concat();
            assert!(said(&bytes).await.is_err(), "{length}");
        }
    }
}
