//! Intents: calls that come late, and marks of another cluster.

use eventferry_core::store::{Intent, Ledger as _, Settlement, Verdict};
use eventferry_core::transaction::Agreement;
use eventferry_core::{Lease, Stamp};

use crate::server::{Read, Relay, on_every_server, query, read_by_owner};

const STAMP: Stamp = Stamp { number: 1, nonce: u64::MAX };

/// Writes down that the first transaction settles up to this record, under all leases.
async fn intend(relay: &mut Relay, record: &Read) -> Vec<Lease> {
    let prefix = [record.mark.clone()];
    let lease = relay.lease(record.lane);
    let leases = relay.leases.clone();
    let settlement = Settlement { lease, prefix: &prefix, park: vec![], changes: vec![], carries: None };
    let intent =
        Intent { stamp: STAMP, after: 0, settled: 0, settlements: vec![settlement], leases: &leases };
    assert_eq!(relay.roles.ledger.intend(intent).await.unwrap(), Verdict::Done);
    leases
}

/// The first call of `resolve` as the server gets it, word for word.
const FIRST_AGAIN: &str = "
    SELECT r.agreement FROM eventferry.resolve(
        'owner',
        (SELECT array_agg(l.lane) FROM eventferry.lane AS l),
        (SELECT array_agg(l.epoch) FROM eventferry.lane AS l),
        NULL, NULL, 1) AS r";

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_lost_connection_that_asks_what_was_shipped_forgets_nothing() {
    on_every_server(async |database| {
        let (mut relay, records) = read_by_owner(&database, 2).await;
        let leases = relay.leases.clone();
        for _ in 0..2 {
            let resolved = relay.roles.ledger.resolve(&leases, None).await.unwrap();
            assert_eq!(resolved.agreement, Agreement::Agreed);
        }
        intend(&mut relay, &records[0]).await;
        let app = database.client().await;
        assert_eq!(query::<String>(&app, FIRST_AGAIN).await, "fenced");
        assert_eq!(query::<i64>(&app, "SELECT count(*) FROM eventferry.intent").await, 1);
        let resolved = relay.roles.ledger.resolve(&leases, Some(STAMP)).await.unwrap();
        assert_eq!(resolved.agreement, Agreement::Agreed);
        relay.open_again().await;
        assert_eq!(relay.read_all().await, ["a/2"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_of_another_cluster_is_not_carried_out() {
    on_every_server(async |database| {
        let (mut relay, records) = read_by_owner(&database, 2).await;
        let leases = intend(&mut relay, &records[0]).await;
        // As a dump that is restored elsewhere brings it along.
        let app = database.client().await;
        app.batch_execute("UPDATE eventferry.intent SET system_identifier = 1").await.unwrap();
        let resolved = relay.roles.ledger.resolve(&leases, Some(STAMP)).await.unwrap();
        assert_eq!((resolved.agreement, resolved.newest), (Agreement::Parted, 1));
        assert_eq!(query::<i64>(&app, "SELECT count(*) FROM eventferry.intent").await, 0);
        relay.open_again().await;
        assert_eq!(relay.read_all().await, ["a/1", "a/2"]);
    })
    .await;
}
