//! A topic that takes nothing: its events are parked, uncounted, and go out when it does.

use eventferry_relay::{Happening, Whom};

use crate::scene::{Scene, hearing};

#[tokio::test(start_paused = true)]
async fn events_for_a_missing_topic_are_parked_with_the_cause_and_go_out_when_it_is_there() {
    let mut scene = Scene::new().await;
    scene.broker.lacks("nowhere");
    scene.enqueue("nowhere", &["a1", "a2", "b1"]);
    scene.enqueue("orders", &["c1"]);
    let (listener, heard) = hearing();
    let relay = scene.relay().listen(listener);
    let done = async |scene: &Scene| {
        let shown = scene.shown().await;
        if shown.len() == 3 {
            let classes: Vec<_> =
                shown.iter().map(|event| (event.class.as_deref(), event.attempts)).collect();
            let (first, behind) = ((Some("UnknownTopic"), 0), (None, 0));
            assert_eq!(classes.iter().filter(|class| **class == first).count(), 2, "{classes:?}");
            assert_eq!(classes.iter().filter(|class| **class == behind).count(), 1, "{classes:?}");
            assert!(shown.iter().all(|event| event.class.is_none() || event.message.is_some()));
            scene.broker.create("nowhere");
        }
        scene.broker.count() == 4
    };
    scene.run(relay, done).await;
    assert_eq!(
        scene.broker.bodies("nowhere").iter().filter(|body| body.starts_with('a')).collect::<Vec<_>>(),
        ["a1", "a2"]
    );
    assert!(scene.shown().await.is_empty());

    let topic = || Whom::Topic("nowhere".into());
    let heard: Vec<_> = heard.iter().collect();
    let began = heard.iter().filter(|happening| {
        matches!(happening, Happening::OutageBegan { of, message } if *of == topic() && message.contains("nowhere"))
    });
    assert_eq!(began.count(), 1);
    assert_eq!(
        heard.iter().filter(|happening| **happening == Happening::OutageEnded { of: topic() }).count(),
        1
    );
    let along = heard.iter().map(|happening| match happening {
        Happening::ParkedAlong { records } => *records,
        _ => 0,
    });
    assert_eq!(along.sum::<u64>(), 3);
}
