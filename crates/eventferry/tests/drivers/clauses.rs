//! What holds for each driver.

use eventferry::core::packed::packed_headers;
use eventferry::{EnqueueFaultKind, Event, MessageId};

use crate::database::{Database, Place, as_stored, on_each};
use crate::driver::{Driver, Fate, Placed, Script, Step, Told};

/// An event whose payload is this.
fn event(text: &str) -> Event {
    Event::new("orders", ("order", 1)).payload(text, "text/plain")
}

/// Events that have all that an event can have, and nothing of it.
fn all_sorts() -> Vec<Event> {
    let given = MessageId([9; 16]);
    let full = Event::new("orders.größe", ("Bestellung", r#"日"本\"#))
        .payload([0, 255, 1], "application/octet-stream")
        .key([0, 1])
        .header("b", [0, 255])
        .header("a", r#"{"\1"#)
        .header("b", "")
        .partition(7)
        .message_id(given);
    let bare = Event::new("orders", ("order", 1));
    let empty = Event::new("orders", ("order", 1)).payload("", "").key("").header("", "").partition(0);
    vec![full, bare, empty]
}

async fn play<D: Driver>(driver: &D, database: &Database, steps: Vec<Step>, end: Fate) -> Told {
    driver.play(&database.url(), Script { steps, end }).await
}

/// The payloads of what was committed.
async fn texts(database: &Database) -> Vec<String> {
    let events = database.events().await.into_iter();
    events.map(|event| String::from_utf8(event.payload.unwrap()).unwrap()).collect()
}

pub(crate) async fn committed<D: Driver>(driver: &D) {
    on_each(D::PLACE, async |database| {
        let mut sent = all_sorts();
        let mut steps: Vec<_> = all_sorts().into_iter().map(|event| Step::Enqueue(vec![event])).collect();
        steps.push(Step::Enqueue(vec![]));
        // In one call as well as one by one; the id that was given must not come twice.
        sent.extend(all_sorts());
        sent[3].message_id = None;
        steps.push(Step::Enqueue(sent[3..].to_vec()));
        let told = play(driver, database, steps, Fate::Kept).await;
        assert_eq!(told.ids[0], MessageId([9; 16]));
        assert_eq!(told.ids[1].0[6] >> 4, 4, "a random UUID is of version 4");
        let sent = sent.iter().zip(&told.ids).map(|(event, id)| as_stored(D::PLACE, event, *id));
        assert_eq!(database.events().await, sent.collect::<Vec<_>>());
    })
    .await;
}

pub(crate) async fn rolled_back<D: Driver>(driver: &D) {
    on_each(D::PLACE, async |database| {
        let steps = || vec![Step::Enqueue(vec![event("1")]), Step::Enqueue(vec![event("2"), event("3")])];
        assert_eq!(play(driver, database, steps(), Fate::RolledBack).await.ids.len(), 3);
        assert_eq!(texts(database).await, [""; 0]);
        play(driver, database, steps(), Fate::Kept).await;
        assert_eq!(texts(database).await, ["1", "2", "3"]);
    })
    .await;
}

pub(crate) async fn dropped<D: Driver>(driver: &D) {
    on_each(D::PLACE, async |database| {
        let steps = vec![Step::Enqueue(vec![event("1")]), Step::Enqueue(vec![event("2"), event("3")])];
        assert_eq!(play(driver, database, steps, Fate::Dropped).await.ids.len(), 3);
        assert_eq!(texts(database).await, [""; 0]);
    })
    .await;
}

pub(crate) async fn savepoint_released<D: Driver>(driver: &D) {
    on_each(D::PLACE, async |database| {
        let steps = || {
            vec![
                Step::Enqueue(vec![event("before")]),
                Step::Savepoint(vec![event("in it"), event("too")], Fate::Kept),
                Step::Enqueue(vec![event("after")]),
            ]
        };
        play(driver, database, steps(), Fate::RolledBack).await;
        assert_eq!(texts(database).await, [""; 0], "released, and its transaction rolled back");
        play(driver, database, steps(), Fate::Kept).await;
        assert_eq!(texts(database).await, ["before", "in it", "too", "after"]);
    })
    .await;
}

pub(crate) async fn savepoint_undone<D: Driver>(driver: &D) {
    on_each(D::PLACE, async |database| {
        let steps = vec![
            Step::Enqueue(vec![event("before")]),
            Step::Savepoint(vec![event("rolled back"), event("too")], Fate::RolledBack),
            Step::Enqueue(vec![event("between")]),
            Step::Savepoint(vec![event("dropped"), event("too")], Fate::Dropped),
            Step::Enqueue(vec![event("after")]),
        ];
        play(driver, database, steps, Fate::Kept).await;
        assert_eq!(texts(database).await, ["before", "between", "after"]);
    })
    .await;
}

pub(crate) async fn refused<D: Driver>(driver: &D) {
    on_each(D::PLACE, async |database| {
        let large = Event::new("orders", ("order", 1)).payload(vec![0; (16 << 20) + 1], "text/plain");
        let steps = vec![
            Step::Enqueue(vec![event("before")]),
            Step::Try(vec![event("with it"), Event::new("", ("order", 1)), event("too")]),
            Step::Try(vec![event("with it"), large]),
            Step::Enqueue(vec![event("after")]),
        ];
        let told = play(driver, database, steps, Fate::Kept).await;
        assert_eq!(told.tried.len(), 2);
        for (tried, says) in told.tried.into_iter().zip(["topic is empty", "over the limit of 16777216"]) {
            let fault = tried.unwrap_err();
            assert_eq!(fault.kind(), EnqueueFaultKind::Refused);
            assert!(fault.to_string().contains(says), "{fault}");
        }
        assert_eq!(texts(database).await, ["before", "after"]);
    })
    .await;
}

pub(crate) async fn refused_by_database<D: Driver>(driver: &D) {
    on_each(D::PLACE, async |database| {
        database.forbid().await;
        let forbidden = Event::new("forbidden", ("order", 1)).payload("sesame", "text/plain");
        let steps =
            vec![Step::Enqueue(vec![event("before")]), Step::Try(vec![event("with it"), forbidden.clone()])];
        let told = play(driver, database, steps, Fate::RolledBack).await;
        let fault = told.tried.into_iter().next().unwrap().unwrap_err();
        assert_eq!(fault.kind(), EnqueueFaultKind::Database);
        assert!(fault.to_string().contains("a_rule") && !fault.to_string().contains("sesame"), "{fault}");
        assert!(std::error::Error::source(&fault).is_some(), "the driver's own error is its source");
        assert_eq!(texts(database).await, [""; 0]);

        if D::PLACE == Place::Sqlite {
            // There a transaction goes on after an error; more than one statement takes is undone, too.
            let mut all = vec![event("with it"); 1500];
            all.push(forbidden);
            let steps = vec![Step::Try(all), Step::Enqueue(vec![event("after")])];
            let told = play(driver, database, steps, Fate::Kept).await;
            assert_eq!(told.tried[0].as_ref().unwrap_err().kind(), EnqueueFaultKind::Database);
            assert_eq!(texts(database).await, ["after"]);

            // SQLite may end the whole transaction, whatever the driver believes: what comes then is in none.
            database.end_at("ending").await;
            let ending = Event::new("ending", ("order", 1)).payload("", "text/plain");
            let steps = vec![
                Step::Enqueue(vec![event("before")]),
                Step::Try(vec![ending]),
                Step::Try(vec![event("outside")]),
                Step::Try(vec![event("outside"); 1500]),
            ];
            let told = play(driver, database, steps, Fate::Dropped).await;
            let kinds: Vec<_> = told.tried.into_iter().map(|tried| tried.unwrap_err().kind()).collect();
            let (by_database, refused) = (EnqueueFaultKind::Database, EnqueueFaultKind::Refused);
            assert_eq!(kinds, [by_database, refused, refused]);
            assert_eq!(texts(database).await, ["after"]);
        }
    })
    .await;
}

pub(crate) async fn typed<D: Driver>(driver: &D) {
    on_each(D::PLACE, async |database| {
        let told = play(driver, database, vec![Step::Typed(Placed { order: 42 })], Fate::Kept).await;
        assert_eq!(told.ids.len(), 3);
        let events = database.events().await;
        assert_eq!(events.len(), 3);
        let tenant = Event::new("t", ("t", 1)).header("tenant", "acme").headers;
        let header = match D::PLACE {
            Place::Postgres => &tenant[0].value,
            Place::Sqlite => &packed_headers(&tenant).unwrap(),
        };
        for (event, id) in events.iter().zip(told.ids) {
            assert_eq!((&*event.topic, &*event.aggregate.id), ("orders.placed", "42"));
            assert_eq!(event.payload.as_deref(), Some(&br#"{"order": 42}"#[..]));
            assert_eq!((event.message_id, &event.headers[0].value), (Some(id), header));
        }
    })
    .await;
}

pub(crate) async fn many<D: Driver>(driver: &D) {
    on_each(D::PLACE, async |database| {
        let sent: Vec<_> = (0..10_000).map(|number| event(&number.to_string())).collect();
        let told = play(driver, database, vec![Step::Enqueue(sent)], Fate::Kept).await;
        let events = database.events().await;
        let ids: Vec<_> = events.iter().filter_map(|event| event.message_id).collect();
        assert_eq!(ids, told.ids);
        let numbers = (0..10_000).map(|number| number.to_string());
        assert!(
            events.iter().map(|event| event.payload.clone().unwrap()).eq(numbers.map(String::into_bytes))
        );
    })
    .await;
}
