//! A producer in a relay's process: what it was handed, what it sent, over which connection.

use std::collections::VecDeque;

use eventferry_core::machine::Outcome;
use eventferry_core::publisher::{Role, Token};

use crate::agenda::Time;
use crate::world::Transacting;

/// A message as its producer holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) token: Token,
    pub(crate) event: u32,
}

#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) sequence: u32,
    pub(crate) epoch: u16,
    pub(crate) messages: Vec<Message>,
    pub(crate) sent_at: Time,
}

/// A batch on its way to the broker.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) producer: u32,
    pub(crate) connection: u32,
    pub(crate) domain: usize,
    pub(crate) sequence: u32,
    pub(crate) epoch: u16,
    pub(crate) events: Vec<u32>,
    /// In which transaction.
    pub(crate) transaction: Option<usize>,
}

/// What one producer has for one partition.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) domain: usize,
    pub(crate) queue: VecDeque<Message>,
    pub(crate) flying: VecDeque<Batch>,
    pub(crate) next_sequence: u32,
    pub(crate) epoch: u16,
    pub(crate) lingers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// After a refusal: it sends nothing more and reports what is in flight.
    Dead,
    /// Its relay has ended it, or was killed.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) relay: usize,
    pub(crate) incarnation: u32,
    pub(crate) role: Role,
    pub(crate) life: Life,
    pub(crate) connection: u32,
    pub(crate) connected: bool,
    /// What is on the wire of a closed connection arrives all the same.
    pub(crate) drains: bool,
    /// This connection is broken: nothing more arrives through it, whether or not the client has noticed.
    pub(crate) cut: Option<u32>,
    /// The broker reads a connection in order: nothing arrives before this.
    pub(crate) wire_free_at: Time,
    pub(crate) answers_free_at: Time,
    pub(crate) streams: Vec<Stream>,
    /// Its transactions, if it has any.
    pub(crate) transacting: Option<Transacting>,
    /// Its relay waits for its last reports.
    pub(crate) ending: bool,
    /// Reports that come back with its end.
    pub(crate) last_reports: Vec<(Token, Outcome)>,
}

/// How many batches may be in flight to a partition.
const BATCHES_IN_FLIGHT: usize = 5;

impl Producer {
    pub(crate) fn new(relay: usize, incarnation: u32, role: Role) -> Self {
        Self {
            relay,
            incarnation,
            role,
            life: Life::Open,
            connection: 0,
            connected: true,
            drains: true,
            cut: None,
            wire_free_at: 0,
            answers_free_at: 0,
            streams: Vec::new(),
            transacting: None,
            ending: false,
            last_reports: Vec::new(),
        }
    }

    pub(crate) fn stream(&mut self, domain: usize) -> usize {
        if let Some(at) = self.streams.iter().position(|stream| stream.domain == domain) {
            return at;
        }
        self.streams.push(Stream { domain, ..Stream::default() });
        self.streams.len() - 1
    }

    /// Makes the next batch of a stream, if there is something to send and it may be sent. A refusal must speak of one
    /// record: outside the main session each goes by itself.
    pub(crate) fn next_batch(&mut self, stream: usize, records: usize, now: Time) -> bool {
        let (records, in_flight) =
            if self.role == Role::Main { (records, BATCHES_IN_FLIGHT) } else { (1, 1) };
        let begun = self.transacting.is_none_or(|transacting| transacting.open.is_some());
        let stream = &mut self.streams[stream];
        if !begun || self.life != Life::Open || stream.queue.is_empty() || stream.flying.len() >= in_flight {
            return false;
        }
        let count = stream.queue.len().min(records);
        let messages: Vec<Message> = stream.queue.drain(..count).collect();
        let (sequence, epoch) = (stream.next_sequence, stream.epoch);
        stream.next_sequence += count as u32;
        stream.flying.push_back(Batch { sequence, epoch, messages, sent_at: now });
        true
    }

    pub(crate) fn wire(&self, stream: usize, batch: usize) -> Wire {
        let Batch { sequence, epoch, messages, .. } = &self.streams[stream].flying[batch];
        Wire {
            producer: 0,
            connection: self.connection,
            domain: self.streams[stream].domain,
            sequence: *sequence,
            epoch: *epoch,
            events: messages.iter().map(|message| message.event).collect(),
            transaction: self.transacting.and_then(|transacting| transacting.open),
        }
    }

    /// Takes a batch out of flight, by its number.
    pub(crate) fn land(&mut self, stream: usize, sequence: u32, epoch: u16) -> Option<Vec<Message>> {
        let flying = &mut self.streams[stream].flying;
        let at = flying.iter().position(|batch| batch.sequence == sequence && batch.epoch == epoch)?;
        flying.remove(at).map(|batch| batch.messages)
    }

    /// Numbers what is in flight anew, as after a refusal that it outlives.
    pub(crate) fn renumber(&mut self, stream: usize) {
        let stream = &mut self.streams[stream];
        stream.epoch += 1;
        let mut sequence = 0;
        for batch in &mut stream.flying {
            (batch.sequence, batch.epoch) = (sequence, stream.epoch);
            sequence += batch.messages.len() as u32;
        }
        stream.next_sequence = sequence;
    }

    pub(crate) fn holds(&self) -> usize {
        self.streams
            .iter()
            .map(|stream| {
                stream.queue.len() + stream.flying.iter().map(|batch| batch.messages.len()).sum::<usize>()
            })
            .sum()
    }

    /// Whether something is to be answered that cannot be taken back.
    pub(crate) fn waits(&self) -> bool {
        self.holds() > 0 || self.transacting.is_some_and(|transacting| transacting.committing)
    }

    /// Gives up what is queued.
    pub(crate) fn purge_queue(&mut self) -> Vec<Message> {
        self.streams.iter_mut().flat_map(|stream| stream.queue.drain(..)).collect()
    }

    /// Gives up queue and flight together.
    pub(crate) fn purge(&mut self) -> Vec<Message> {
        let mut given_up = Vec::new();
        for stream in &mut self.streams {
            given_up.extend(stream.flying.drain(..).flat_map(|batch| batch.messages));
            given_up.extend(stream.queue.drain(..));
        }
        given_up
    }
}
