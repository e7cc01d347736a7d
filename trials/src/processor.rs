//! Processor time, by who spent it. Linux only; elsewhere, and where /proc shows nothing, it is zero.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The ticks of /proc/PID/stat: 100 a second on every Linux that matters (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

/// Processor time spent so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent {
    /// This process, threads that ended included.
    pub(crate) here: Duration,
    /// Its living threads, by name.
    pub(crate) threads: BTreeMap<String, Duration>,
    /// The backends of one database that are connected.
    pub(crate) postgres: Duration,
    pub(crate) kafka: Duration,
}

/// Whom to watch beside this process.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    database: String,
    broker: Option<u32>,
}

impl Watch {
    /// The backends of this database, and the process that listens on this broker's port.
    pub(crate) fn find(database: &str, brokers: &str) -> Self {
        let port = brokers.split(',').next().and_then(|broker| broker.rsplit(':').next()?.parse().ok());
        Self { database: database.to_owned(), broker: port.and_then(listener) }
    }

    /// What was spent so far.
    pub(crate) fn spent(&self) -> Spent {
        Spent {
            here: own(std::process::id()).unwrap_or_default(),
            threads: threads().unwrap_or_default(),
            postgres: backends(&self.database),
            kafka: self.broker.map_or(Duration::ZERO, |pid| own(pid).unwrap_or_default()),
        }
    }
}

impl Spent {
    /// What was spent since then.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let thread = |(name, spent): (&String, &Duration)| {
            (name.clone(), spent.saturating_sub(before.threads.get(name).copied().unwrap_or_default()))
        };
        Self {
            here: self.here.saturating_sub(before.here),
            threads: self.threads.iter().map(thread).collect(),
            postgres: self.postgres.saturating_sub(before.postgres),
            kafka: self.kafka.saturating_sub(before.kafka),
        }
    }
}

/// This process's threads, those of one name together. A thread that ended is not counted.
fn threads() -> Option<BTreeMap<String, Duration>> {
    let mut spent: BTreeMap<String, Duration> = BTreeMap::new();
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let path = thread.ok()?.path();
        let (Ok(name), Ok(schedule)) =
            (fs::read_to_string(path.join("comm")), fs::read_to_string(path.join("schedstat")))
        else {
            continue;
        };
        let nanos = schedule.split(' ').next()?.parse().ok()?;
        *spent.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(nanos);
    }
    Some(spent)
}

/// The fields of /proc/PID/stat after the name in brackets: the first is the state, field 3 of proc(5).
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn ticks(stat: &[String], fields: [usize; 2]) -> Duration {
    fields.iter().filter_map(|field| stat.get(*field)?.parse::<u32>().ok()).map(|ticks| TICK * ticks).sum()
}

fn own(pid: u32) -> Option<Duration> {
    Some(ticks(&stat(pid)?, [11, 12]))
}

/// The backends whose title names this database: `postgres: user database host(port) state`.
fn backends(database: &str) -> Duration {
    let spent = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let names = title.starts_with("postgres: ") && title.split(' ').any(|word| word == database);
        names.then(|| own(pid)).flatten()
    });
    spent.sum()
}

/// The process that listens on a port.
fn listener(port: u16) -> Option<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1)?.rsplit(':').next()?;
            let listens = fields.get(3) == Some(&"0A") && u16::from_str_radix(local, 16).ok()? == port;
            listens.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
        })
    })?;
    fs::read_dir("/proc").ok()?.find_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        files
            .any(|file| {
                file.ok().and_then(|file| fs::read_link(file.path()).ok()).as_deref()
                    == Some(Path::new(&inode))
            })
            .then_some(pid)
    })
}
