//! Kafka's transactions: who may end one, when its end is known in which partition, and what a reader of committed
//! records sees.

use eventferry_core::Stamp;

/// How many transactional ids a session rotates.
pub(crate) const IDS: usize = 2;

/// What the coordinator knows, and what partitions hold of transactions.
pub(crate) struct Coordinator {
    ids: [Id; IDS],
    pub(crate) transactions: Vec<Transaction>,
    /// One for each domain, and the last one for stamps.
    logs: Vec<Log>,
    /// On purpose.
    fences_nobody: bool,
}

/// A transactional id.
#[derive(Clone, Copy, Debug, Default)]
struct Id {
    /// The producer that initialized it last.
    owner: Option<u32>,
    /// Its last transaction.
    last: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Transaction {
    id: usize,
    pub(crate) producer: u32,
    /// Whether it was committed; `None`: it is open.
    pub(crate) committed: Option<bool>,
    /// The partitions that do not know of its end.
    unmarked: Vec<usize>,
}

#[derive(Debug, Default)]
struct Log {
    records: Vec<(Content, usize)>,
    /// The transactions whose ends it knows.
    marked: Vec<usize>,
    /// How far a reader of committed records has come.
    read: usize,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Event(u32),
    Stamp(Stamp),
}

/// Why a request of a producer is not answered as it hoped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The last transaction of this id is not ended everywhere: ask again.
    Busy,
    /// Another producer has the id now.
    Fenced,
}

impl Coordinator {
    /// Whether some partition does not know of the end of some transaction.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.transactions.iter().any(|transaction| !transaction.unmarked.is_empty())
    }

    pub(crate) fn new(domains: usize, fences_nobody: bool) -> Self {
        let logs = (0..=domains).map(|_| Log::default()).collect();
        Self { ids: [Id::default(); IDS], transactions: Vec::new(), logs, fences_nobody }
    }

    fn is_ended(&self, id: usize) -> bool {
        self.ids[id].last.is_none_or(|last| {
            let last = &self.transactions[last];
            last.committed.is_some() && last.unmarked.is_empty()
        })
    }

    fn open(&self, id: usize) -> Option<usize> {
        self.ids[id].last.filter(|last| self.transactions[*last].committed.is_none())
    }

    /// Gives an id to a producer. Its open transaction is aborted: `Err` with it, and `Busy` until that is known
    /// everywhere.
    pub(crate) fn init(&mut self, id: usize, producer: u32) -> Result<(), (Trouble, Option<usize>)> {
        if self.fences_nobody {
            (self.ids[id].owner, self.ids[id].last) = (Some(producer), None);
            return Ok(());
        }
        if let Some(open) = self.open(id) {
            self.ids[id].owner = None;
            self.end(open, false);
            return Err((Trouble::Busy, Some(open)));
        }
        if !self.is_ended(id) {
            return Err((Trouble::Busy, None));
        }
        self.ids[id].owner = Some(producer);
        Ok(())
    }

    /// Begins a transaction, whose first record is its stamp.
    pub(crate) fn begin(&mut self, id: usize, producer: u32, stamp: Stamp) -> Result<usize, Trouble> {
        if self.ids[id].owner != Some(producer) {
            return Err(Trouble::Fenced);
        }
        if !self.is_ended(id) {
            return Err(Trouble::Busy);
        }
        let number = self.transactions.len();
        let stamps = self.logs.len() - 1;
        let unmarked = Vec::from([stamps]);
        self.transactions.push(Transaction { id, producer, committed: None, unmarked });
        self.logs[stamps].records.push((Content::Stamp(stamp), number));
        self.ids[id].last = Some(number);
        Ok(number)
    }

    /// The open transaction of an id, if this producer began it.
    pub(crate) fn open_of(&self, id: usize, producer: u32) -> Option<usize> {
        self.open(id).filter(|open| self.transactions[*open].producer == producer)
    }

    /// Whether a producer may still write into its transaction.
    pub(crate) fn takes(&self, number: usize, producer: u32) -> bool {
        let transaction = &self.transactions[number];
        transaction.committed.is_none()
            && (self.ids[transaction.id].owner == Some(producer) || self.fences_nobody)
    }

    pub(crate) fn write(&mut self, number: usize, domain: usize, event: u32) {
        let unmarked = &mut self.transactions[number].unmarked;
        if !unmarked.contains(&domain) {
            unmarked.push(domain);
        }
        self.logs[domain].records.push((Content::Event(event), number));
    }

    /// Commits a transaction for its producer; says whether it was open.
    pub(crate) fn commit(&mut self, number: usize, producer: u32) -> Result<bool, Trouble> {
        let transaction = &self.transactions[number];
        let owned = self.ids[transaction.id].owner == Some(producer) || self.fences_nobody;
        match transaction.committed {
            Some(true) if owned => Ok(false),
            None if owned => {
                self.end(number, true);
                Ok(true)
            }
            _ => Err(Trouble::Fenced),
        }
    }

    /// Throws a transaction away for its producer; says whether it was open.
    pub(crate) fn abort(&mut self, number: usize, producer: u32) -> Result<bool, Trouble> {
        let transaction = &self.transactions[number];
        let owned = self.ids[transaction.id].owner == Some(producer);
        match transaction.committed {
            Some(false) if owned => Ok(false),
            None if owned => {
                self.end(number, false);
                Ok(true)
            }
            _ => Err(Trouble::Fenced),
        }
    }

    fn end(&mut self, number: usize, commits: bool) {
        self.transactions[number].committed = Some(commits);
    }

    /// It was open for too long: it is aborted, and whoever has its id is fenced. Says whether it was.
    pub(crate) fn time_out(&mut self, number: usize) -> bool {
        let open = self.transactions[number].committed.is_none();
        if open {
            self.ids[self.transactions[number].id].owner = None;
            self.end(number, false);
        }
        open
    }

    /// The partitions that must be told of a transaction's end.
    pub(crate) fn unmarked(&self, number: usize) -> Vec<usize> {
        self.transactions[number].unmarked.clone()
    }

    /// The events of a transaction, each with its domain.
    pub(crate) fn events(&self, number: usize) -> Vec<(u32, usize)> {
        let mut events = Vec::new();
        for (domain, log) in self.logs.iter().enumerate() {
            for (content, of) in &log.records {
                if let (Content::Event(event), true) = (content, *of == number) {
                    events.push((*event, domain));
                }
            }
        }
        events
    }

    /// A partition hears of a transaction's end. Answers with what can be read there now.
    pub(crate) fn mark(&mut self, number: usize, domain: usize) -> Vec<u32> {
        self.transactions[number].unmarked.retain(|unmarked| *unmarked != domain);
        let log = &mut self.logs[domain];
        log.marked.push(number);
        let mut seen = Vec::new();
        while let Some((content, of)) = log.records.get(log.read)
            && log.marked.contains(of)
        {
            log.read += 1;
            if let (Content::Event(event), Some(true)) = (content, self.transactions[*of].committed) {
                seen.push(*event);
            }
        }
        seen
    }

    /// The stamp of the transaction committed last, as a reader of committed records finds it.
    pub(crate) fn last_stamp(&self) -> Option<Stamp> {
        let log = self.logs.last()?;
        let seen = log.records[..log.read].iter().rev();
        seen.filter(|(_, of)| self.transactions[*of].committed == Some(true)).find_map(|(content, _)| {
            match content {
                Content::Stamp(stamp) => Some(*stamp),
                Content::Event(_) => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { number: 1, nonce: 7 };

    #[test]
    fn a_committed_record_is_seen_when_its_partition_knows() {
        let mut broker = Coordinator::new(2, false);
        broker.init(0, 5).unwrap();
        let number = broker.begin(0, 5, STAMP).unwrap();
        broker.write(number, 1, 42);
        assert_eq!(broker.commit(number, 5), Ok(true));
        assert_eq!(broker.begin(0, 5, STAMP), Err(Trouble::Busy), "not before every partition knows");
        assert_eq!(broker.mark(number, 1), [42]);
        assert_eq!(broker.last_stamp(), None);
        broker.mark(number, 2);
        assert_eq!(broker.last_stamp(), Some(STAMP));
        assert!(broker.begin(0, 5, STAMP).is_ok());
    }

    #[test]
    fn who_takes_an_id_aborts_what_was_open_and_fences_its_owner() {
        let mut broker = Coordinator::new(1, false);
        broker.init(0, 5).unwrap();
        let number = broker.begin(0, 5, STAMP).unwrap();
        broker.write(number, 0, 42);
        assert_eq!(broker.init(0, 6), Err((Trouble::Busy, Some(number))));
        assert_eq!(broker.commit(number, 5), Err(Trouble::Fenced));
        assert!(broker.mark(number, 0).is_empty());
        assert_eq!(broker.init(0, 6), Err((Trouble::Busy, None)));
        broker.mark(number, 1);
        assert_eq!(broker.init(0, 6), Ok(()));
        assert_eq!(broker.begin(0, 5, STAMP), Err(Trouble::Fenced));
    }
}
