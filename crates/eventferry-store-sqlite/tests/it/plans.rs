//! Hot queries find their rows by an index.

use crate::database::Database;

#[tokio::test]
async fn hot_queries_look_at_no_more_than_they_must() {
    let database = Database::with_lanes(64).await;
    let app = database.app();
    let mut wrong = Vec::new();
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
        (include_str!("../../sql/park.sql"), "SEARCH event USING INTEGER PRIMARY KEY (rowid=?)"),
        (
            include_str!("../../sql/park.sql"),
            "SEARCH earlier USING COVERING INDEX eventferry_parked_aggregate \
             (lane=? AND aggregate_type=? AND aggregate_id=?)",
        ),
        (
            include_str!("../../sql/parked.sql"),
            "SEARCH eventferry_parked USING INDEX eventferry_parked_lane (lane=? AND ordinal>?)",
        ),
        (
            include_str!("../../sql/parked_lanes.sql"),
            "SEARCH eventferry_parked USING COVERING INDEX eventferry_parked_lane (lane>?)",
        ),
        (
            include_str!("../../sql/parked_row.sql"),
            "SEARCH eventferry_parked USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/is_parked.sql"),
            "SEARCH eventferry_parked USING INDEX eventferry_parked_message (message_id=?)",
        ),
        (
            include_str!("../../sql/change_refused.sql"),
            "SEARCH eventferry_parked USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/change_postponed.sql"),
            "SEARCH eventferry_parked USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/change_retried.sql"),
            "SEARCH eventferry_parked USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/change_held.sql"),
            "SEARCH eventferry_parked USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/change_settled.sql"),
            "SEARCH eventferry_parked USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/change_undecided.sql"),
            "SEARCH eventferry_parked USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/due_topic.sql"),
            "SEARCH eventferry_parked USING COVERING INDEX eventferry_parked_due (lane=? AND stage=? AND topic>?)",
        ),
        (
            include_str!("../../sql/due_heads.sql"),
            "SEARCH head USING INDEX eventferry_parked_due (lane=? AND stage=? AND topic=? AND due_at>? AND due_at<?)",
        ),
        (
            include_str!("../../sql/due_heads.sql"),
            "SEARCH earlier USING COVERING INDEX eventferry_parked_aggregate \
             (lane=? AND aggregate_type=? AND aggregate_id=? AND ordinal<?)",
        ),
        (
            include_str!("../../sql/due_next.sql"),
            "SEARCH eventferry_parked USING COVERING INDEX eventferry_parked_due \
             (lane=? AND stage=? AND topic=? AND due_at>?)",
        ),
        (include_str!("../../sql/due_run.sql"), "SEARCH head USING INTEGER PRIMARY KEY (rowid=?)"),
        (
            include_str!("../../sql/due_run.sql"),
            "SEARCH event USING INDEX eventferry_parked_aggregate (lane=? AND aggregate_type=? AND aggregate_id=?)",
        ),
        (
            include_str!("../../sql/decided.sql"),
            "SEARCH eventferry_parked USING INDEX eventferry_parked_decision (lane=?)",
        ),
        (
            include_str!("../../sql/went_back.sql"),
            "SEARCH eventferry_lane USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/select_parked.sql"),
            "SEARCH eventferry_parked USING INDEX eventferry_parked_lane (lane=? AND ordinal>? AND ordinal<?)",
        ),
        (
            include_str!("../../sql/places_of_message.sql"),
            "SEARCH eventferry_parked USING INDEX eventferry_parked_message (message_id=?)",
        ),
        (
            include_str!("../../sql/decide.sql"),
            "SEARCH eventferry_parked USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/audit_decision.sql"),
            "SEARCH eventferry_parked USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/old_parked.sql"),
            "SEARCH parked USING INDEX eventferry_parked_settled (settled_at<?)",
        ),
        (include_str!("../../sql/old_parked.sql"), "SEARCH event USING INTEGER PRIMARY KEY (rowid=?)"),
        (
            include_str!("../../sql/sweep_parked.sql"),
            "SEARCH eventferry_parked USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sql/gauge_lag.sql"),
            "SEARCH eventferry_outbox USING INTEGER PRIMARY KEY (rowid>?)",
        ),
        (
            include_str!("../../sql/gauge_parked.sql"),
            "SCAN eventferry_parked USING COVERING INDEX eventferry_parked_lane",
        ),
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
        let scans = steps.iter().filter(|step| step.contains("SCAN eventferry_parked"));
        if !plan.contains(says)
            || plan.contains("SCAN eventferry_outbox")
            || plan.contains("TEMP B-TREE")
            || !scans.into_iter().all(|step| step.contains("COVERING INDEX"))
        {
            wrong.push(format!("not {says}:\n{query}\n{plan}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
