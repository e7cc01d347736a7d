//! Listeners can neither hold the relay up nor change what it does.

use std::sync::mpsc::channel;

use eventferry_relay::Happening;

use crate::broker::rejected;
use crate::figures::Lines;
use crate::scene::{Scene, attempts, hearing};

/// Many events of a few aggregates, one of them refused once.
fn many() -> Vec<String> {
    (0..1_000).flat_map(|nth| ["a", "b", "c"].map(|letter| format!("{letter}{nth:04}"))).collect()
}

fn in_order(bodies: &[String]) {
    for letter in ["a", "b", "c"] {
        let of_letter: Vec<_> = bodies.iter().filter(|body| body.starts_with(letter)).collect();
        assert_eq!(of_letter.len(), 1_000);
        assert!(of_letter.is_sorted(), "{letter} is out of order");
    }
}

async fn scene() -> Scene {
    let scene = Scene::new().await;
    let bodies = many();
    scene.broker.refuses(|message| (message.body == "b0500" && message.nth == 1).then(rejected));
    scene.enqueue("orders", &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    scene
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_never_comes_back_holds_nothing_up_and_hears_all_when_it_does() {
    let mut scene = scene().await;
    let (leave, wait) = channel::<()>();
    let (said, heard) = channel();
    let slow = move |happening| {
        // Until the test lets go of it.
        let _ = wait.recv();
        let _ = said.send(happening);
    };
    let relay = scene.relay().retry(attempts(5)).listen(slow);
    let finished = scene.run(relay, async |scene| scene.broker.count() == 3_000).await;
    assert_eq!((finished.shipped, finished.settled), (3_000, true));
    in_order(&scene.broker.bodies("orders"));
    assert!(heard.try_recv().is_err(), "it has heard nothing, and the relay has ended");

    drop(leave);
    let heard: Vec<Happening> = heard.iter().collect();
    let count = |of: fn(&Happening) -> u64| heard.iter().map(of).sum::<u64>();
    let read = |happening: &Happening| if let Happening::Read { records } = happening { *records } else { 0 };
    let shipped =
        |happening: &Happening| if let Happening::Shipped { records } = happening { *records } else { 0 };
    assert_eq!((count(read), count(shipped)), (3_000, 3_000));
    let at = |what: fn(&Happening) -> bool| heard.iter().position(what).unwrap();
    let gained = at(|happening| matches!(happening, Happening::LanesGained(_)));
    let parked = at(|happening| matches!(happening, Happening::Parked { .. }));
    let released = at(|happening| matches!(happening, Happening::Released { .. }));
    let gave = at(|happening| matches!(happening, Happening::LanesReleased(_)));
    assert!(gained < parked && parked < released && released < gave, "{heard:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_changes_nothing_for_events_and_other_listeners() {
    // `tracing` settles for good whether anybody hears of a line when it is first said: said in a thread that nobody
    // listens to, at the moment at which the test of that line begins to listen, it would never be heard.
    let _guard = tracing::subscriber::set_default(Lines::default());
    let mut scene = scene().await;
    let (listener, heard) = hearing();
    let panics = |_: Happening| panic!("a bug in the listener");
    let relay = scene.relay().retry(attempts(5)).listen(panics).listen(listener);
    let finished = scene.run(relay, async |scene| scene.broker.count() == 3_000).await;
    assert_eq!((finished.shipped, finished.settled), (3_000, true));
    in_order(&scene.broker.bodies("orders"));
    let heard: Vec<_> = heard.iter().collect();
    assert!(matches!(heard.last(), Some(Happening::LanesReleased(_))), "{heard:#?}");
}
