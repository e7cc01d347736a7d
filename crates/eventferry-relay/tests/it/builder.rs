//! Putting a relay together.

use eventferry_relay::BuildError;

use crate::scene::{Scene, attempts};

#[tokio::test(start_paused = true)]
async fn what_contradicts_itself_is_refused_with_what_would_be_right() {
    let mut scene = Scene::new().await;
    let twice = scene.relay().dead_letters("{topic}-{topic}").build();
    assert!(matches!(twice, Err(BuildError::DeadLetterTopic(_))));
    assert!(matches!(scene.relay().dead_letters("").build(), Err(BuildError::DeadLetterTopic(_))));

    for (relay, words) in [
        (scene.relay().retry(attempts(0)), "give at least 1"),
        (
            scene.relay().retry_for("orders", attempts(0)),
            "the retry policy of topic `orders`: retry attempts (0)",
        ),
        (scene.relay().retry_for("", attempts(1)), "a topic of 0 characters"),
    ] {
        let error = relay.build().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let relay = scene.relay().retry(attempts(1)).dead_letters("{topic}.dlq").listen(drop).build().unwrap();
    assert!(format!("{relay:?}").contains("1 listeners"));
}
