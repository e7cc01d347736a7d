//! A database that does not answer: nothing is told otherwise than before, and nothing is lost.

use eventferry_core::StoreFaultKind;
use eventferry_relay::{Happening, Whom};

use crate::broker::rejected;
use crate::scene::{Scene, attempts, hearing};
use crate::shaky::{Called, Connection, Fate, ShakyStore};

/// `a1` dies and `b1` is refused twice, under these fates of the ledger's calls.
async fn carried(fates: impl FnMut(Called) -> Fate + Send + 'static) -> (Scene, Connection, Vec<Happening>) {
    let mut scene = Scene::new().await;
    scene.broker.refuses(|message| {
        let refused =
            message.topic == "orders" && (message.body == "a1" || (message.body == "b1" && message.nth <= 2));
        refused.then(rejected)
    });
    let connection = Connection::new(fates);
    let (listener, heard) = hearing();
    let store = ShakyStore { store: scene.outbox.store(), connection: connection.clone() };
    let relay = scene.relay().retry(attempts(3)).dead_letters("dead").listen(listener).store(store);
    let done = async |scene: &Scene| {
        // One after the other, so that several settlements have something to tell.
        let next = ["a1", "a2", "b1", "b2", "c1"].get(scene.enqueued());
        if let Some(body) = next {
            scene.enqueue("orders", &[body]);
        }
        scene.broker.count() >= 5 && scene.shown().await.is_empty()
    };
    scene.run(relay, done).await;
    (scene, connection, heard.iter().collect())
}

fn firsts(mut bodies: Vec<String>, letter: char) -> Vec<String> {
    bodies.retain(|body| body.starts_with(letter));
    bodies.dedup();
    bodies
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_is_not_answered_is_told_again_unchanged() {
    let (mut settlements, mut others) = (0, 0);
    let (scene, connection, heard) = carried(move |called| match called {
        Called::Settle => {
            settlements += 1;
            [Fate::Answered, Fate::Lost, Fate::Failed(StoreFaultKind::Unavailable)][settlements % 3]
        }
        Called::Other => {
            others += 1;
            [Fate::Answered, Fate::Failed(StoreFaultKind::Contended)][others % 2]
        }
    })
    .await;
    let (repeated, failed) = connection.counted();
    assert!(repeated > 6 && failed > 12, "{repeated} of {failed}");
    let orders = scene.broker.bodies("orders");
    assert_eq!(orders.len(), 4, "an answer that is lost makes no duplicate: {orders:?}");
    assert_eq!(firsts(orders.clone(), 'b'), ["b1", "b2"]);
    assert_eq!((firsts(orders, 'a'), scene.broker.bodies("dead")), (vec!["a2".into()], vec!["a1".into()]));

    let mut away = false;
    for happening in &heard {
        match happening {
            Happening::OutageBegan { of: Whom::Store, message } => {
                assert!(!std::mem::replace(&mut away, true), "it is away already");
                assert_eq!(message, "the connection broke");
            }
            Happening::OutageEnded { of: Whom::Store } => assert!(std::mem::replace(&mut away, false)),
            _ => {}
        }
    }
    assert!(!away && heard.contains(&Happening::OutageEnded { of: Whom::Store }));
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_history_what_is_parked_is_found_again() {
    let mut calls = 0;
    let (scene, _, _) = carried(move |_| {
        calls += 1;
        if calls % 5 == 0 { Fate::Failed(StoreFaultKind::HistoryLost) } else { Fate::Answered }
    })
    .await;
    let orders = scene.broker.bodies("orders");
    assert_eq!(firsts(orders.clone(), 'b'), ["b1", "b2"]);
    assert_eq!((firsts(orders.clone(), 'a'), firsts(orders, 'c')), (vec!["a2".into()], vec!["c1".into()]));
    assert_eq!(firsts(scene.broker.bodies("dead"), 'a'), ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_by_itself_is_replaced_while_nothing_happens() {
    let mut scene = Scene::new().await;
    let relay = scene.relay();
    let done = async |scene: &Scene| {
        match (scene.enqueued(), scene.broker.opened()) {
            (0, _) => scene.enqueue("orders", &["a1"]),
            (1, 1) if scene.broker.count() == 1 => scene.broker.ends_sessions(),
            (1, 2) => scene.enqueue("orders", &["a2"]),
            _ => {}
        }
        scene.broker.count() == 2
    };
    scene.run(relay, done).await;
    assert_eq!(scene.broker.bodies("orders"), ["a1", "a2"]);
    assert_eq!(scene.broker.opened(), 2);
}
