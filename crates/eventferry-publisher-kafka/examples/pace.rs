//! How fast a session sends, and what that costs: against librdkafka's mock cluster in this process, or the brokers
//! of `EVENTFERRY_TEST_KAFKA_BROKERS` and their topic `pace`.
//!
//! `cargo run --release -p eventferry-publisher-kafka --example pace -- events=1000000 payload_bytes=300 headers=0`
//!
//! `headers` counts the event's own; three more come with every event (its id and its aggregate's type and id).
//! Other arguments: `linger_us`, `batch_bytes`, `in_flight` (records), `partitions`, `topics`, `rate` (events a second;
//! 0: as many as go).

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::time::{Duration, Instant};

use eventferry_core::publisher::{Outcome, Publisher, Role, Route, Session, Taken, Token};
use eventferry_core::{Envelope, Event, MessageId, StoredEvent, Timestamp};
use eventferry_publisher_kafka::{KafkaConfig, KafkaPublisher};
use rdkafka::mocking::MockCluster;

/// librdkafka allocates in one thread what it frees in another, and most of its time is that: an allocator that is good
/// at it, put in place of C's own, saves a third of the CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error>;

struct Arguments(HashMap<String, u64>);

impl Arguments {
    fn read() -> Result<Self, Failure> {
        let pair = |argument: String| -> Result<(String, u64), Failure> {
            let (name, value) = argument.split_once('=').ok_or("give name=number")?;
            Ok((name.to_owned(), value.parse()?))
        };
        Ok(Self(std::env::args().skip(1).map(pair).collect::<Result<_, _>>()?))
    }

    fn get(&self, name: &str, default: u64) -> u64 {
        self.0.get(name).copied().unwrap_or(default)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::read()?;
    let topics = topics(&arguments);
    let real = std::env::var("EVENTFERRY_TEST_KAFKA_BROKERS").ok();
    let mock = MockCluster::new(1)?;
    if real.is_none() {
        for topic in &topics {
            mock.create_topic(topic, arguments.get("partitions", 12) as i32, 1)?;
        }
    }
    let mut config = KafkaConfig::new(real.unwrap_or_else(|| mock.bootstrap_servers()));
    config.linger = Duration::from_micros(arguments.get("linger_us", config.linger.as_micros() as u64));
    config.in_flight_records_max = arguments.get("in_flight", config.in_flight_records_max as u64) as usize;
    config.batch_bytes = arguments.get("batch_bytes", config.batch_bytes as u64) as usize;
    let publisher = KafkaPublisher::new(config)?;
    for topic in &topics {
        publisher.learn(topic).await?;
    }
    run(&publisher, &events(&arguments, &topics), &arguments).await
}

fn topics(arguments: &Arguments) -> Vec<String> {
    match arguments.get("topics", 1) {
        1 => vec!["pace".into()],
        many => (0..many).map(|topic| format!("pace-{topic}")).collect(),
    }
}

fn events(arguments: &Arguments, topics: &[String]) -> Vec<StoredEvent> {
    let stored = |id: u64| {
        let topic = &topics[id as usize % topics.len()];
        let payload = vec![b'x'; arguments.get("payload_bytes", 300) as usize];
        let mut event = Event::new(topic, ("order", id));
        event.payload = Some(payload);
        for header in 0..arguments.get("headers", 0) {
            event = event.header(format!("header-{header}"), "value");
        }
        StoredEvent {
            message_id: MessageId([id as u8; 16]),
            event,
            enqueued_at: Timestamp(1_700_000_000_000_000),
        }
    };
    (0..10_000).map(stored).collect()
}

async fn run(
    publisher: &KafkaPublisher,
    events: &[StoredEvent],
    arguments: &Arguments,
) -> Result<(), Failure> {
    let count = arguments.get("events", 1_000_000);
    let rate = arguments.get("rate", 0);
    let mut session = publisher.connect(Role::Main).await?;
    let mut latencies = Vec::new();
    let mut sent_at = HashMap::new();
    let (mut sent, mut reported, mut reports) = (0, 0, Vec::new());
    let before = cpu_by_thread()?;
    let started = Instant::now();
    while reported < count {
        let due = if rate == 0 {
            count
        } else {
            count.min(started.elapsed().as_micros() as u64 * rate / 1_000_000)
        };
        while sent < due {
            let envelope = Envelope::of(&events[sent as usize % events.len()]);
            let Route::To(domain) = publisher.route(&envelope) else { return Err("not routed".into()) };
            match session.send(Token(sent), domain, &envelope) {
                Taken::Yes => (),
                Taken::Full => break,
                Taken::Ended => return Err("the session ended".into()),
            }
            if rate > 0 {
                sent_at.insert(sent, Instant::now());
            }
            sent += 1;
        }
        if rate == 0 {
            session.reports(&mut reports).await;
        } else {
            drop(tokio::time::timeout(Duration::from_millis(1), session.reports(&mut reports)).await);
        }
        for report in reports.drain(..) {
            let Outcome::Acknowledged = report.outcome else {
                return Err(format!("{:?}", report.outcome).into());
            };
            reported += 1;
            latencies.extend(sent_at.remove(&report.token.0).map(|at: Instant| at.elapsed()));
        }
    }
    let elapsed = started.elapsed();
    let used = cpu_by_thread()?;
    println!("{count} events in {elapsed:.2?}: {:.0} events/s", count as f64 / elapsed.as_secs_f64());
    for (thread, cpu) in used {
        let cpu = cpu.saturating_sub(before.get(&thread).copied().unwrap_or_default());
        let each = cpu.as_secs_f64() * 1e6 / count as f64;
        if each >= 0.01 {
            println!("  {each:5.2} us of CPU an event in {thread}");
        }
    }
    latencies.sort_unstable();
    if let Some(last) = latencies.len().checked_sub(1) {
        println!("  send to report: p50 {:.2?}, p99 {:.2?}", latencies[last / 2], latencies[last * 99 / 100]);
    }
    session.abandon(Duration::from_secs(1)).await;
    Ok(())
}

/// CPU time so far, by thread name; Linux only, elsewhere nothing.
fn cpu_by_thread() -> Result<BTreeMap<String, Duration>, Failure> {
    let mut used: BTreeMap<String, Duration> = BTreeMap::new();
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Ok(used) };
    for thread in threads {
        let path = thread?.path();
        // A thread may end while it is looked at.
        let read = |file| std::fs::read_to_string(path.join(file));
        let (Ok(name), Ok(schedule)) = (read("comm"), read("schedstat")) else { continue };
        let nanos = schedule.split(' ').next().ok_or("no schedstat")?.parse()?;
        *used.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(nanos);
    }
    Ok(used)
}
