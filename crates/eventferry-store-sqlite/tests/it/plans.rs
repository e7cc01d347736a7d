//! Hot queries find their rows by an index.

use crate::database::Database;

#[tokio::test]
async fn hot_queries_look_at_no_more_than_they_must() {
    let database = Database::with_lanes(64).await;
    let app = database.app();
    for (query, says) in [
        (
            include_str!("../../sql/read.sql"),
            "SEARCH eventferry_outbox USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            include_str!("../../sql/payload.sql"),
            "SEARCH eventferry_outbox USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/witness.sql"),
            "SEARCH eventferry_outbox USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (include_str!("../../sql/fence.sql"), "SEARCH eventferry_lane USING INTEGER PRIMARY KEY (rowid=?)"),
        (include_str!("../../sql/settle.sql"), "SEARCH eventferry_lane USING INTEGER PRIMARY KEY (rowid=?)"),
        (include_str!("../../sql/park.sql"), "SEARCH eventferry_outbox USING INTEGER PRIMARY KEY (rowid=?)"),
        (
            include_str!("../../sql/parked.sql"),
            "SEARCH eventferry_parked USING INDEX eventferry_parked_lane (lane=? AND id>?)",
        ),
        (
            include_str!("../../sql/gauge_lag.sql"),
            "SEARCH eventferry_outbox USING INTEGER PRIMARY KEY (rowid>?)",
        ),
        (include_str!("../../sql/gauge_parked.sql"), "USING COVERING INDEX eventferry_parked_lane"),
        (
            include_str!("../../sql/old_events.sql"),
            "SEARCH eventferry_outbox USING INTEGER PRIMARY KEY (rowid<?)",
        ),
        (
            include_str!("../../sql/sweep_event.sql"),
            "SEARCH eventferry_outbox USING INTEGER PRIMARY KEY (rowid=?)",
        ),
    ] {
        let mut statement = app.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        let steps: Vec<String> = statement
            .raw_query()
            .mapped(|row| row.get::<_, String>("detail"))
            .collect::<Result<_, _>>()
            .unwrap();
        let plan = steps.join("\n");
        assert!(plan.contains(says), "{query}\n{plan}");
        assert!(!plan.contains("SCAN eventferry_outbox") && !plan.contains("TEMP B-TREE"), "{query}\n{plan}");
    }
}
