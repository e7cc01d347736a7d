//! Putting a relay together.

use std::time::Duration;

use eventferry_relay::{Backoff, BuildError, RetryPolicy};

use crate::scene::{Scene, attempts};

#[tokio::test(start_paused = true)]
async fn what_contradicts_itself_is_refused_with_what_would_be_right() {
    let mut scene = Scene::new().await;
    let twice = scene.relay().dead_letters("{topic}-{topic}").build();
    assert!(matches!(twice, Err(BuildError::DeadLetterTopic(_))));
    assert!(matches!(scene.relay().dead_letters("").build(), Err(BuildError::DeadLetterTopic(_))));

    let mut shrinking = RetryPolicy::default();
    let (min, max) = (Duration::from_secs(2), Duration::from_secs(1));
    shrinking.backoff = Backoff::Exponential { min, max };
    for (relay, words) in [
        (scene.relay().retry(attempts(0)), "of all topics allows no attempt"),
        (scene.relay().retry_for("orders", attempts(0)), "of topic `orders` allows no attempt"),
        (scene.relay().retry_for("", attempts(1)), "is for no topic"),
        (scene.relay().retry_for("orders", shrinking), "begins with 2s"),
    ] {
        let error = relay.build().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let relay = scene.relay().retry(attempts(1)).dead_letters("{topic}.dlq").listen(drop).build().unwrap();
    assert!(format!("{relay:?}").contains("1 listeners"));
}
