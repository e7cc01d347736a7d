//! Refused events are tried again as their policy says, and people decide on the rest.

use eventferry_core::PublishFault;
use eventferry_core::parked::{Decision, Next, Stage};
use eventferry_relay::Happening;

use crate::broker::{Message, rejected};
use crate::scene::{Scene, attempts, hearing};

/// Refuses these bodies so many times.
fn refusing(body: &'static str, times: u32) -> impl FnMut(&Message) -> Option<PublishFault> + Send {
    move |message| (message.body == body && message.nth <= times).then(rejected)
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_is_shipped_when_the_broker_takes_it_and_its_successors_after_it() {
    let mut scene = Scene::new().await;
    scene.broker.refuses(refusing("a1", 2));
    scene.enqueue("orders", &["a1", "a2", "b1"]);
    let (listener, heard) = hearing();
    let relay = scene.relay().retry(attempts(5)).listen(listener);
    let finished = scene.run(relay, async |scene| scene.broker.count() == 3).await;
    assert_eq!((finished.shipped, finished.settled), (3, true));
    assert_eq!(scene.broker.bodies("orders"), ["b1", "a1", "a2"], "the other aggregate does not wait");
    assert!(scene.shown().await.is_empty());

    let heard: Vec<_> = heard.iter().collect();
    let told = heard.iter().filter_map(|happening| match happening {
        Happening::Parked { event, why, next: Next::Retry(_) } => {
            Some(format!("parked {} {}", event.aggregate_id, why.class))
        }
        Happening::Retried { why, attempts, next: Next::Retry(_), .. } => {
            Some(format!("retried {} after {attempts}", why.class))
        }
        Happening::Released { event } => Some(format!("released {}", event.aggregate_id)),
        Happening::LanesGained(_) => Some("gained".into()),
        Happening::LanesReleased(_) => Some("gave".into()),
        _ => None,
    });
    let mut told: Vec<String> = told.collect();
    told.dedup();
    let in_order = [
        "gained",
        "parked a MessageTooLarge",
        "retried MessageTooLarge after 2",
        "released a",
        "released a",
        "gave",
    ];
    let mut expected: Vec<_> = in_order.to_vec();
    expected.dedup();
    assert_eq!(told, expected);
    let shipped = heard.iter().map(|happening| match happening {
        Happening::Shipped { records } => *records,
        _ => 0,
    });
    assert_eq!(shipped.sum::<u64>(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_a_dead_letter_topic_an_event_waits_for_a_person_with_its_cause() {
    let mut scene = Scene::new().await;
    scene.broker.refuses(refusing("a1", 2));
    scene.enqueue("orders", &["a1", "a2"]);
    let relay = scene.relay().retry(attempts(2));
    let waits = async |scene: &Scene| {
        let shown = scene.shown().await;
        assert!(shown.first().is_none_or(|event| event.class.as_deref() == Some("MessageTooLarge")));
        shown.iter().any(|event| event.stage == Stage::Waiting)
    };
    scene.run(relay, waits).await;
    let shown = scene.shown().await;
    assert_eq!((shown.len(), shown[0].attempts), (2, 2));
    assert_eq!(shown[0].class.as_deref(), Some("MessageTooLarge"));
    assert_eq!(shown[0].message.as_deref(), Some("larger than the topic allows"));
    assert_eq!(shown[1].class, None, "it only waits behind the first");

    scene.decide(Decision::Retry).await;
    let relay = scene.relay().retry(attempts(2));
    scene.run(relay, async |scene| scene.broker.count() == 2).await;
    assert_eq!(scene.broker.bodies("orders"), ["a1", "a2"]);
    assert!(scene.shown().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_before_it_is_sent_has_its_cause_each_time() {
    let mut scene = Scene::new().await;
    // The topic is known by then.
    scene.enqueue("orders", &["b1"]);
    let relay = scene.relay().retry(attempts(3));
    let done = async |scene: &Scene| {
        if scene.broker.count() == 1 && scene.enqueued() == 1 {
            scene.broker.routes_not("a1");
            scene.enqueue("orders", &["a1", "a2"]);
        }
        if let Some(first) = scene.shown().await.first() {
            assert_eq!(first.class.as_deref(), Some("MessageTooLarge"), "after {} attempts", first.attempts);
            if first.attempts == 3 {
                scene.broker.routes("a1");
                return first.stage == Stage::Waiting;
            }
        }
        false
    };
    scene.run(relay, done).await;
    scene.decide(Decision::Retry).await;
    let relay = scene.relay();
    scene.run(relay, async |scene| scene.broker.count() == 3).await;
    assert_eq!(scene.broker.bodies("orders"), ["b1", "a1", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn a_discarded_event_lets_its_successors_go() {
    let mut scene = Scene::new().await;
    scene.broker.refuses(refusing("a1", u32::MAX));
    scene.enqueue("orders", &["a1", "a2"]);
    let (listener, heard) = hearing();
    let relay = scene.relay().retry(attempts(1)).listen(listener);
    let decided = std::sync::atomic::AtomicBool::new(false);
    let done = async |scene: &Scene| {
        let waits = scene.shown().await.iter().any(|event| event.stage == Stage::Waiting);
        if waits && !decided.swap(true, std::sync::atomic::Ordering::Relaxed) {
            let filter =
                eventferry_core::parked::ParkedFilter { stage: Some(Stage::Waiting), ..Default::default() };
            scene.decide_on(&filter, Decision::Discard).await;
        }
        scene.broker.count() == 1
    };
    scene.run(relay, done).await;
    assert_eq!(scene.broker.bodies("orders"), ["a2"]);
    let carried_out =
        |happening| matches!(happening, Happening::Decided { decision: Decision::Discard, done: true, .. });
    assert!(heard.iter().any(carried_out));
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_retried_by_its_own_policy() {
    let mut scene = Scene::new().await;
    scene.broker.refuses(|message| message.topic.ends_with("poison").then(rejected));
    scene.enqueue("poison", &["a1"]);
    scene.enqueue("more poison", &["b1"]);
    let relay = scene.relay().retry_for("more poison", attempts(3)).retry(attempts(1));
    let wait = async |scene: &Scene| {
        let shown = scene.shown().await;
        shown.len() == 2 && shown.iter().all(|event| event.stage == Stage::Waiting)
    };
    scene.run(relay, wait).await;
    let shown = scene.shown().await;
    let mut attempts: Vec<_> = shown.iter().map(|event| (&*event.row.event.topic, event.attempts)).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [("more poison", 3), ("poison", 1)]);
}
