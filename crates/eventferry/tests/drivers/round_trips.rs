//! However many events a call has, it takes one round trip once its statement is known to the driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventferry::Event;
use eventferry::postgres::FeedChoice;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::database::Database;
use crate::driver::{self, Driver, Fate, Script, Step};

/// How often a script is played.
const TIMES: usize = 5;

/// What a driver says passes through here, and what the server is asked to answer is counted.
struct Counter {
    url: String,
    round_trips: Arc<AtomicUsize>,
}

impl Counter {
    /// Before the server that `url` names.
    async fn before(url: &str) -> Self {
        let (login, rest) = url.split_once('@').unwrap();
        let (server, name) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{login}@{}/{name}?sslmode=disable", listener.local_addr().unwrap());
        let round_trips = Arc::new(AtomicUsize::new(0));
        let (server, count) = (server.to_owned(), Arc::clone(&round_trips));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = TcpStream::connect(&server).await.unwrap().into_split();
                tokio::spawn(carry_and_count(from_client, to_server, Arc::clone(&count)));
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            }
        });
        Self { url, round_trips }
    }

    /// How many round trips a script takes, its connection and transaction included: the fewest of some times, for
    /// what a connection says at its end may come while the next is counted.
    async fn count<D: Driver>(&self, driver: &D, calls: &[usize]) -> usize {
        let mut fewest = usize::MAX;
        for _ in 0..TIMES {
            self.round_trips.store(0, Ordering::Relaxed);
            let steps = calls.iter().map(|count| events(*count)).collect();
            driver.play(&self.url, Script { steps, end: Fate::Kept }).await;
            fewest = fewest.min(self.round_trips.load(Ordering::Relaxed));
        }
        fewest
    }
}

/// Messages of a client: a start without a letter; then a letter, and a length that counts itself and what follows. At
/// a Query (`Q`) and a Sync (`S`) the client waits for the answers
/// (<https://www.postgresql.org/docs/current/protocol-flow.html>). A Sync by itself asks for nothing: so sqlx's pools look
/// whether a connection that is given back is well, if they come to it before they are closed.
async fn carry_and_count(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, count: Arc<AtomicUsize>) {
    let (mut started, mut asks) = (false, false);
    loop {
        let mut head = Vec::new();
        if started {
            let Ok(letter) = from.read_u8().await else { return };
            if letter == b'Q' || (letter == b'S' && asks) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            asks = !matches!(letter, b'Q' | b'S');
            head.push(letter);
        }
        let Ok(length) = from.read_u32().await else { return };
        head.extend(length.to_be_bytes());
        let mut body = vec![0; length as usize - 4];
        if from.read_exact(&mut body).await.is_err() {
            return;
        }
        // A request for TLS comes before the start, and is none.
        started |= body.starts_with(&[0, 3, 0, 0]);
        if to.write_all(&head).await.is_err() || to.write_all(&body).await.is_err() {
            return;
        }
    }
}

fn events(count: usize) -> Step {
    let event =
        |number: usize| Event::new("orders", ("order", number % 7)).payload("x", "text/plain").key("k");
    Step::Enqueue((0..count).map(event).collect())
}

async fn takes_one_round_trip<D: Driver>(driver: &D) {
    let database = Database::newest_postgres(FeedChoice::Table).await;
    let counter = Counter::before(&database.url()).await;
    let few = counter.count(driver, &[2]).await;
    let more = counter.count(driver, &[2, 10_000]).await;
    assert_eq!(database.events().await.len(), TIMES * (2 + 2 + 10_000));
    assert_eq!(more, few + 1, "ten thousand events more took {} round trips", more - few);
    // At the first call some drivers have the statement prepared before: one more, whatever there is to append.
    let at_once = counter.count(driver, &[10_000]).await;
    assert_eq!(at_once, few);
    database.remove().await;
}

macro_rules! drivers {
    ($($name:ident: $driver:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            takes_one_round_trip(&$driver).await;
        }
    )*};
}

drivers! {
    ten_thousand_events_are_one_round_trip_by_tokio_postgres: driver::TokioPostgres;
    ten_thousand_events_are_one_round_trip_by_deadpool_postgres: driver::DeadpoolPostgres;
    ten_thousand_events_are_one_round_trip_by_sqlx: driver::Sqlx;
    ten_thousand_events_are_one_round_trip_by_sqlx_08: driver::Sqlx08;
    ten_thousand_events_are_one_round_trip_by_diesel: driver::Diesel;
    ten_thousand_events_are_one_round_trip_by_diesel_async: driver::DieselAsync;
    ten_thousand_events_are_one_round_trip_by_sea_orm: driver::SeaOrm;
}
