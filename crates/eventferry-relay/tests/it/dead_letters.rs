//! Events that were given up go to the dead-letter topic, and nothing is lost on the way.

use eventferry_core::parked::{Decision, Stage};
use eventferry_relay::{Happening, OnDead};

use crate::broker::rejected;
use crate::scene::{Scene, attempts, hearing};

async fn poisoned() -> Scene {
    let scene = Scene::new().await;
    scene.broker.refuses(|message| (message.topic == "orders" && message.body == "a1").then(rejected));
    scene.enqueue("orders", &["a1", "a2", "b1"]);
    scene
}

#[tokio::test(start_paused = true)]
async fn an_event_given_up_goes_to_the_dead_letter_topic_with_its_reason_and_its_aggregate_goes_on() {
    let mut scene = poisoned().await;
    let (listener, heard) = hearing();
    let relay = scene.relay().retry(attempts(3)).dead_letters("{topic}.dlq").dead_letter_detail(true);
    let finished = scene.run(relay.listen(listener), async |scene| scene.broker.count() == 3).await;
    assert_eq!(finished.shipped, 2, "a dead letter is not shipped");
    assert_eq!(scene.broker.bodies("orders"), ["b1", "a2"]);
    let taken = scene.broker.taken();
    let letter = taken.iter().find(|message| message.topic == "orders.dlq").unwrap();
    assert_eq!((letter.body.as_str(), letter.key.as_str()), ("a1", "a"));
    assert_eq!(letter.header("dlq-error-class"), Some("MessageTooLarge"));
    assert_eq!(letter.header("dlq-reason"), Some("larger than the topic allows"));
    assert_eq!(letter.header("dlq-original-topic"), Some("orders"));
    assert_eq!(letter.header("dlq-attempts"), Some("3"));
    let detail = letter.header("dlq-detail").unwrap();
    assert!(detail.starts_with("lane ") && detail.ends_with("carried by relay 1"), "{detail}");
    assert!(scene.shown().await.is_empty());
    let dead = heard.iter().filter_map(|happening| match happening {
        Happening::Dead { event, why, attempts, held } => Some((event.topic, why.class, attempts, held)),
        _ => None,
    });
    assert_eq!(dead.collect::<Vec<_>>(), [("orders".into(), "MessageTooLarge".into(), 3, false)]);
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_that_is_held_after_a_dead_letter_waits_for_its_release() {
    let mut scene = poisoned().await;
    // What the policy says counts less, in whatever order.
    let relay = scene.relay().on_dead(OnDead::Hold).retry(attempts(1)).dead_letters("dead");
    let held = async |scene: &Scene| scene.shown().await.iter().any(|event| event.stage == Stage::Held);
    scene.run(relay, held).await;
    assert_eq!(
        (scene.broker.bodies("dead"), scene.broker.bodies("orders")),
        (vec!["a1".into()], vec!["b1".into()])
    );

    let relay = scene.relay().dead_letters("dead");
    scene.decide(Decision::Release).await;
    scene.run(relay, async |scene| scene.broker.count() == 3).await;
    assert_eq!(
        (scene.broker.bodies("dead").len(), scene.broker.bodies("orders")),
        (1, vec!["b1".into(), "a2".into()])
    );
    assert!(scene.shown().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_dead_letter_is_said_by_the_policy_of_the_topic_it_comes_from() {
    let mut scene = Scene::new().await;
    scene.broker.refuses(|message| (message.topic != "dead" && message.body.ends_with('1')).then(rejected));
    scene.enqueue("orders", &["a1", "a2"]);
    scene.enqueue("bills", &["b1", "b2"]);
    let mut holding = attempts(1);
    holding.on_dead = OnDead::Hold;
    let relay = scene.relay().retry(attempts(1)).retry_for("bills", holding).dead_letters("dead");
    let done = async |scene: &Scene| {
        let held = scene.shown().await.iter().any(|event| event.stage == Stage::Held);
        held && scene.broker.count() == 3
    };
    scene.run(relay, done).await;
    assert_eq!(scene.broker.bodies("dead").len(), 2);
    assert_eq!((scene.broker.bodies("orders"), scene.broker.bodies("bills")), (vec!["a2".into()], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_topic_that_is_not_there_loses_nothing_and_delays_nobody_else() {
    let mut scene = poisoned().await;
    scene.broker.lacks("dead");
    let relay = scene.relay().retry(attempts(1)).dead_letters("dead");
    let dying =
        async |scene: &Scene| scene.shown().await.iter().any(|event| event.stage == Stage::DeadLetterTopic);
    scene.run(relay, dying).await;
    assert_eq!(scene.broker.bodies("orders"), ["b1"]);

    scene.broker.create("dead");
    let relay = scene.relay().retry(attempts(1)).dead_letters("dead");
    scene.run(relay, async |scene| scene.broker.count() == 3).await;
    assert_eq!(
        (scene.broker.bodies("dead"), scene.broker.bodies("orders")),
        (vec!["a1".into()], vec!["b1".into(), "a2".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_refused_stays_parked_with_its_first_cause_until_it_is_taken() {
    let mut scene = poisoned().await;
    scene.broker.refuses(|message| {
        let times = if message.topic == "dead" { 2 } else { u32::MAX };
        (message.body == "a1" && message.nth <= times).then(rejected)
    });
    let (listener, heard) = hearing();
    let relay = scene.relay().retry(attempts(2)).dead_letters("dead").listen(listener);
    scene.run(relay, async |scene| scene.broker.count() == 3).await;
    let taken = scene.broker.taken();
    let letter = taken.iter().find(|message| message.topic == "dead").unwrap();
    assert_eq!((letter.nth, letter.header("dlq-attempts")), (3, Some("2")), "its own refusals do not count");
    assert_eq!(scene.broker.bodies("orders"), ["b1", "a2"]);
    let refused = |happening: &Happening| matches!(happening, Happening::DeadLetterRefused { .. });
    assert_eq!(heard.iter().filter(refused).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_event_given_up_never_goes_to_its_own_topic_again() {
    let mut scene = poisoned().await;
    scene.broker.lacks("dead");
    let relay = scene.relay().retry(attempts(1)).dead_letters("dead");
    let dying =
        async |scene: &Scene| scene.shown().await.iter().any(|event| event.stage == Stage::DeadLetterTopic);
    scene.run(relay, dying).await;

    // Now its own topic would take it, and there is no dead-letter topic; then it is its own.
    scene.broker.refuses(|_| None);
    for topic in [None, Some("orders")] {
        let mut relay = scene.relay();
        if let Some(topic) = topic {
            relay = relay.dead_letters(topic);
        }
        let (listener, heard) = hearing();
        let begun = tokio::time::Instant::now();
        scene.run(relay.listen(listener), async |_| begun.elapsed().as_secs() > 60).await;
        let refused = |happening: &Happening| match happening {
            Happening::DeadLetterRefused { event, why } => {
                event.topic == "orders" && why.class == "NoDeadLetterTopic"
            }
            _ => false,
        };
        assert!(heard.iter().filter(refused).count() > 3);
        assert_eq!(scene.broker.bodies("orders"), ["b1"]);
        assert_eq!(scene.shown().await[0].stage, Stage::DeadLetterTopic);
    }

    scene.decide_on(&stage(Stage::DeadLetterTopic), Decision::Discard).await;
    let relay = scene.relay();
    scene.run(relay, async |scene| scene.broker.count() == 2).await;
    assert_eq!(scene.broker.bodies("orders"), ["b1", "a2"]);
}

fn stage(stage: Stage) -> eventferry_core::parked::ParkedFilter {
    eventferry_core::parked::ParkedFilter { stage: Some(stage), ..Default::default() }
}
