//! A network that forgets its connections: they stay open, and nothing passes any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eventferry_core::StoreFaultKind;
use eventferry_core::store::{Claim, Feed as _, Lanes as _, Prepare, RelayId, Store as _, Wish};
use eventferry_store_postgres::{PostgresConfig, PostgresStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::server::{Database, on_every_server};

/// A way to the server.
struct Way {
    url: String,
    forgotten: watch::Sender<u32>,
    /// New connections are taken, and lead nowhere.
    closed: Arc<AtomicBool>,
}

impl Way {
    async fn to(database: &Database) -> Self {
        let (credentials, place) = database.url.rsplit_once('@').unwrap();
        let (server, rest) = place.split_once('/').unwrap();
        let (server, listener) = (server.to_owned(), TcpListener::bind(("127.0.0.1", 0)).await.unwrap());
        let url = format!("{credentials}@{}/{rest}", listener.local_addr().unwrap());
        let forgotten = watch::Sender::new(0);
        let closed = Arc::new(AtomicBool::new(false));
        let (seen, is_closed) = (forgotten.clone(), Arc::clone(&closed));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if is_closed.load(Ordering::SeqCst) {
                    tokio::spawn(async move {
                        let _held = near;
                        std::future::pending::<()>().await
                    });
                    continue;
                }
                let (server, mut forgotten) = (server.clone(), seen.subscribe());
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        // Neither side hears of it.
                        Ok(()) = forgotten.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { url, forgotten, closed }
    }

    /// Connections that are there fall silent for good; new ones can be made.
    fn forget(&self) {
        self.forgotten.send_modify(|times| *times += 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_on_an_old_connection_when_leases_had_to_be_asked_for_on_a_new_one() {
    on_every_server(async |database| {
        let way = Way::to(&database).await;
        let mut store = PostgresStore::new(PostgresConfig::from_url(&way.url).unwrap());
        store.prepare(Prepare::Check).await.unwrap();
        let mut roles = store.roles(&RelayId("forgotten".into()));
        let claim = || Claim { keep: Vec::new(), take_max: 64, lease: Duration::from_secs(2), whole: false };
        let leases = roles.lanes.hold(claim()).await.unwrap().leases;
        roles.feed.open(&leases).await.unwrap();
        way.forget();
        let lanes: Vec<_> = leases.iter().map(|lease| lease.lane).collect();
        let read = roles.feed.read(Wish { lanes: &lanes, records_max: 10, bytes_max: 1000 });
        let renewed = async {
            let fault = roles.lanes.hold(claim()).await.unwrap_err();
            assert_eq!(*fault.kind(), StoreFaultKind::Unavailable, "{fault}");
            roles.lanes.hold(claim()).await.unwrap();
        };
        // Long before the 30 s that a call may take.
        let both = Box::pin(async { tokio::join!(read, renewed) });
        let (read, ()) = tokio::time::timeout(Duration::from_secs(15), both).await.unwrap();
        assert_eq!(*read.map(drop).unwrap_err().kind(), StoreFaultKind::Unavailable);
        roles.feed.open(&leases).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_waits_no_longer_than_itself_for_a_server_that_takes_connections_and_says_nothing() {
    on_every_server(async |database| {
        let way = Way::to(&database).await;
        let mut store = PostgresStore::new(PostgresConfig::from_url(&way.url).unwrap());
        store.prepare(Prepare::Check).await.unwrap();
        let mut roles = store.roles(&RelayId("unheard".into()));
        way.closed.store(true, Ordering::SeqCst);
        let claim = Claim { keep: Vec::new(), take_max: 64, lease: Duration::from_secs(2), whole: false };
        let asked = Instant::now();
        let fault = roles.lanes.hold(claim).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Unavailable, "{fault}");
        assert!(asked.elapsed() < Duration::from_secs(8), "the driver's own limit is 15 s");
    })
    .await;
}
