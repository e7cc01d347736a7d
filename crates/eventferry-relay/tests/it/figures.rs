//! Figures for monitors, and lines for people.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use eventferry_core::store::LogGauge;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};

use crate::broker::rejected;
use crate::scene::{Scene, attempts};

/// Keeps every figure by its name and labels.
#[derive(Clone, Default)]
struct Figures(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Figures {
    fn place(&self, key: &Key) -> Arc<AtomicU64> {
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default())
    }

    fn counted(&self, name: &str) -> u64 {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        figures.get(name).unwrap_or_else(|| panic!("no {name} in {figures:#?}")).load(Ordering::Relaxed)
    }

    fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    fn gauged(&self, name: &str) -> f64 {
        f64::from_bits(self.counted(name))
    }
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.place(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.place(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

/// `a1` dies, and its dead letter is refused twice; `b secret` is refused once, and what follows them is shipped.
async fn poisoned() -> Scene {
    let scene = Scene::new().await;
    scene.broker.refuses(|message| {
        let refused = match message.body.as_str() {
            "a1" => message.topic == "orders" || message.nth <= 2,
            "b secret" => message.nth == 1,
            _ => false,
        };
        refused.then(rejected)
    });
    scene.enqueue("orders", &["a1", "a2", "a3", "b secret", "c1"]);
    scene
}

#[test]
fn what_happens_is_counted_once() {
    let figures = Figures::default();
    metrics::with_local_recorder(&figures, || {
        runtime().block_on(async {
            let mut scene = poisoned().await;
            let relay = scene.relay().retry(attempts(2)).dead_letters("dead");
            let parked_max = AtomicU64::new(0);
            let watch = async |scene: &Scene| {
                let parked = figures.gauged("eventferry_parked_events") as u64;
                parked_max.fetch_max(parked, Ordering::Relaxed);
                if parked > 0 {
                    assert_eq!(figures.gauged("eventferry_lanes"), 64.0);
                }
                scene.broker.count() == 5 && parked == 0
            };
            scene.run(relay, watch).await;
            assert_eq!(parked_max.into_inner(), 4);
        });
    });
    for (name, count) in [
        ("eventferry_events_read_total", 5),
        ("eventferry_events_shipped_total", 4),
        ("eventferry_events_parked_total why=refused", 2),
        ("eventferry_events_parked_total why=along", 2),
        ("eventferry_retries_total class=MessageTooLarge", 2),
        ("eventferry_retries_exhausted_total class=MessageTooLarge", 1),
        ("eventferry_events_released_total", 3),
        ("eventferry_dead_letters_total class=MessageTooLarge", 1),
        ("eventferry_dead_letters_refused_total class=MessageTooLarge", 2),
        ("eventferry_lanes_released_total", 64),
        ("eventferry_happenings_missed_total", 0),
    ] {
        assert_eq!(figures.counted(name), count, "{name}");
    }
    for name in
        ["lanes", "parked_events", "in_hand_events", "settle_lag_seconds", "topics_held", "away of=broker"]
    {
        assert_eq!(figures.gauged(&format!("eventferry_{name}")), 0.0, "{name}");
    }
}

/// Keeps every line for people.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Has a subscriber for every thread that has none of its own. Without one, a line that is met first on such a
    /// thread, while another thread sets its own subscriber, may be taken for one that nobody ever wants.
    pub(crate) fn are_wanted_everywhere() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(Self::default()).expect("it is the first"));
    }

    fn with(&self, part: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.contains(part)).cloned().collect()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("eventferry")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }
}

#[test]
fn people_hear_once_of_each_and_what_becomes_of_it() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    runtime().block_on(async {
        let mut scene = poisoned().await;
        scene.broker.lacks("nowhere");
        scene.enqueue("nowhere", &["d1", "e1"]);
        let panics = |_| panic!("a bug in the listener");
        let relay = scene.relay().retry(attempts(2)).dead_letters("dead").listen(panics);
        let done = async |scene: &Scene| scene.broker.count() == 5 && scene.shown().await.len() == 2;
        scene.run(relay, done).await;
    });
    for (line, times) in [
        ("parked an event that the broker refuses: it is tried again in 1s", 2),
        ("the broker refused an event as often as allowed: it goes to the dead-letter topic", 1),
        ("a dead letter is refused: its event stays parked", 1),
        ("an event is in the dead-letter topic", 1),
        ("the broker refuses this topic: its events wait", 1),
        ("create the topic, or grant", 1),
        ("a parked event is shipped", 3),
    ] {
        let found = lines.with(line);
        assert_eq!(found.len(), times, "{line}: {:#?}", lines.with(""));
    }
    let panicked = || lines.with("a listener panicked, which is a bug in it: it hears nothing more").len();
    let begun = Instant::now();
    while panicked() == 0 && begun.elapsed() < Duration::from_secs(60) {
        // waits: for the listener's thread, which the virtual clock does not move
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(panicked(), 1);
    assert!(lines.with("as often as allowed")[0].contains("MessageTooLarge"));
    assert!(lines.with("").iter().all(|line| !line.contains("secret")), "no payload");
}

#[test]
fn a_log_that_grows_is_gauged_and_warned_of_once_until_it_is_well_again() {
    let (figures, lines) = (Figures::default(), Lines::default());
    let _guard = tracing::subscriber::set_default(lines.clone());
    metrics::with_local_recorder(&figures, || {
        runtime().block_on(async {
            let mut scene = Scene::new().await;
            let relay = scene.relay().log_kept_max(1_000);
            let steps = [
                (900, None),
                (1_001, None),
                (2_000, None),
                (900, None),
                (1_001, None),
                (100, None),
                (600, Some(500)),
            ];
            let steps =
                steps.map(|(kept_bytes, spare_bytes)| LogGauge { kept_bytes, spare_bytes, lost: false });
            let short = steps[6];
            let gone = LogGauge { kept_bytes: 0, spare_bytes: None, lost: true };
            let well = LogGauge { kept_bytes: 7, spare_bytes: Some(8), lost: false };
            let steps: Vec<_> = steps.into_iter().chain([well, short, gone, gone]).collect();
            let step = AtomicU64::new(0);
            // Each stands until it was looked at, and once more.
            scene.outbox.keep_log(Some(steps[0]));
            let shown = |log: &LogGauge| {
                let lost = figures.gauged("eventferry_log_lost") > 0.0;
                (figures.gauged("eventferry_log_kept_bytes") as u64, lost) == (log.kept_bytes, log.lost)
            };
            let done = async |scene: &Scene| {
                let at = step.load(Ordering::Relaxed) as usize;
                if !figures.has("eventferry_log_kept_bytes") || !shown(&steps[at]) {
                    return false;
                }
                step.fetch_add(1, Ordering::Relaxed);
                scene.outbox.keep_log(steps.get(at + 1).copied());
                at + 1 == steps.len()
            };
            scene.run(relay, done).await;
            assert_eq!(figures.gauged("eventferry_log_spare_bytes"), 500.0);
        });
    });
    for (line, times) in
        [("keeps much of its log", 3), ("keeps little of its log again", 2), ("has let go", 1)]
    {
        assert_eq!(lines.with(line).len(), times, "{line}: {:#?}", lines.with("log"));
    }
}
