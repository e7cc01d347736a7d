//! The ways in which an application enqueues, each with its own statement.

use eventferry::postgres::PostgresOutbox;
use eventferry::{Event, Header, MessageId};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::dice::Dice;
use super::feed::Feed;
use super::subjects::{Body, Draft, Way};
use super::writer::World;
use crate::failure::{Attempt as _, Failure, failure};

/// A function of the storm's own that enqueues or emits in a block and fails there: the event is undone, the rest goes
/// on. And a table of what was emitted.
pub(super) const SCHEMA: &str = "
    CREATE SCHEMA storm;
    CREATE FUNCTION storm.caught(emits boolean, topic text, aggregate_type text, aggregate_id text, payload bytea)
    RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF emits THEN
            PERFORM eventferry.emit(topic, aggregate_type, aggregate_id, payload);
        ELSE
            PERFORM eventferry.enqueue(topic, aggregate_type, aggregate_id, payload);
        END IF;
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
    END $$;
    CREATE TABLE storm.emitted (number bigint NOT NULL)";

const FUNCTION: [(&str, Body); 4] = [
    ("$4::text::jsonb", Body::Json),
    ("$4::text", Body::Text),
    ("$4::bytea", Body::Bytes),
    ("$4::bytea", Body::Tombstone),
];

const INSERT: &str = "
    INSERT INTO eventferry.outbox
        (message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers, partition)
    VALUES ($1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9)";

/// What stands behind `eventferry.emit(...)`, with the columns of an INSERT.
const EMIT: &str = "SELECT eventferry.emit_event($1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9)";

const NOTE: &str = "INSERT INTO storm.emitted SELECT unnest($1::bigint[])";

/// Enqueues events for one transaction, or emits them where relays carry messages; notes each before its statement is
/// sent.
pub(super) struct Enqueuer<'a> {
    pub(super) world: &'a World,
    pub(super) transaction: usize,
}

impl Enqueuer<'_> {
    /// Enqueues these, in their order.
    pub(super) async fn enqueue(
        &self,
        client: &mut Client,
        dice: &mut Dice,
        way: Way,
        drafts: &[Draft],
    ) -> Result<(), Failure> {
        let mut numbers = Vec::new();
        if way == Way::Many {
            numbers = self.enqueue_many(client, drafts).await?;
        } else {
            for draft in drafts {
                numbers.push(match way {
                    Way::Function => self.call(client, draft).await?,
                    Way::Insert => self.insert(client, dice, draft).await?,
                    Way::Outbox | Way::Many => self.enqueue_one(client, draft).await?,
                });
            }
        }
        if self.world.notes_messages() {
            let numbers: Vec<i64> = numbers.into_iter().map(u64::cast_signed).collect();
            client
                .query_typed(NOTE, &[(&numbers, Type::INT8_ARRAY)])
                .await
                .attempt("note what was emitted")?;
        }
        Ok(())
    }

    fn emits(&self) -> bool {
        self.world.feed == Feed::Messages
    }

    /// Enqueues one in a block that is undone.
    pub(super) async fn enqueue_caught(&self, client: &Client, draft: &Draft) -> Result<(), Failure> {
        let (number, event) = self.note(draft);
        self.world.history.undo(self.transaction, number);
        let payload = event.payload.unwrap_or_default();
        let params: [(&(dyn ToSql + Sync), Type); 5] = [
            (&self.emits(), Type::BOOL),
            (&event.topic, Type::TEXT),
            (&event.aggregate.kind, Type::TEXT),
            (&event.aggregate.id, Type::TEXT),
            (&payload, Type::BYTEA),
        ];
        let call = "SELECT storm.caught($1, $2, $3, $4, $5)";
        client.query_typed(call, &params).await.attempt("enqueue in a block that fails")?;
        Ok(())
    }

    fn note(&self, draft: &Draft) -> (u64, Event) {
        let World { subjects, history, seed, .. } = self.world;
        history.enqueue(self.transaction, |number| subjects.event(draft, *seed, number))
    }

    async fn enqueue_one(&self, client: &mut Client, draft: &Draft) -> Result<u64, Failure> {
        let (number, event) = self.note(draft);
        let outbox = PostgresOutbox::new();
        let id = match self.emits() {
            true => outbox.emit(client, event).await.attempt("emit")?,
            false => outbox.enqueue(client, event).await.attempt("enqueue")?,
        };
        self.world.history.name(number, id);
        Ok(number)
    }

    async fn enqueue_many(&self, client: &mut Client, drafts: &[Draft]) -> Result<Vec<u64>, Failure> {
        let (numbers, events): (Vec<u64>, Vec<Event>) = drafts.iter().map(|draft| self.note(draft)).unzip();
        let outbox = PostgresOutbox::new();
        let ids = match self.emits() {
            true => outbox.emit_many(client, &events).await.attempt("emit many")?,
            false => outbox.enqueue_many(client, &events).await.attempt("enqueue many")?,
        };
        numbers.iter().zip(ids).for_each(|(number, id)| self.world.history.name(*number, id));
        Ok(numbers)
    }

    async fn call(&self, client: &Client, draft: &Draft) -> Result<u64, Failure> {
        let (number, event) = self.note(draft);
        let payload =
            FUNCTION.into_iter().find(|(_, body)| *body == draft.body).map_or("$4", |(text, _)| text);
        let verb = if self.emits() { "emit" } else { "enqueue" };
        let call = format!(
            "SELECT eventferry.{verb}($1::text, $2::text, $3::text, {payload}, key => $5::text, \
             headers => $6::text::json)::text"
        );
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let (key, headers, words) = (text(&event.key), json(&event.headers), text(&event.payload));
        let payload: (&(dyn ToSql + Sync), Type) = match draft.body {
            Body::Json | Body::Text => (&words, Type::TEXT),
            Body::Bytes | Body::Tombstone => (&event.payload, Type::BYTEA),
        };
        let params: [(&(dyn ToSql + Sync), Type); 6] = [
            (&event.topic, Type::TEXT),
            (&event.aggregate.kind, Type::TEXT),
            (&event.aggregate.id, Type::TEXT),
            payload,
            (&key, Type::TEXT),
            (&headers, Type::TEXT),
        ];
        let row = client.query_typed_one(&call, &params).await.attempt("call eventferry.enqueue or emit")?;
        let id: MessageId = row.get::<_, &str>(0).parse().attempt("read a message id")?;
        self.world.history.name(number, id);
        Ok(number)
    }

    async fn insert(&self, client: &Client, dice: &mut Dice, draft: &Draft) -> Result<u64, Failure> {
        let (number, event) = self.note(draft);
        // Whoever may not read the outbox gives the id itself.
        let id = MessageId(u128::from_be_bytes(wide(dice)).to_be_bytes());
        self.world.history.name(number, id);
        let headers: Vec<&[u8]> =
            event.headers.iter().flat_map(|header| [header.name.as_bytes(), &header.value]).collect();
        let headers = (!headers.is_empty()).then_some(headers);
        let id = id.to_string();
        let params: [(&(dyn ToSql + Sync), Type); 9] = [
            (&id, Type::TEXT),
            (&event.topic, Type::TEXT),
            (&event.aggregate.kind, Type::TEXT),
            (&event.aggregate.id, Type::TEXT),
            (&event.key, Type::BYTEA),
            (&event.payload, Type::BYTEA),
            (&event.content_type, Type::TEXT),
            (&headers, Type::BYTEA_ARRAY),
            (&event.partition, Type::INT4),
        ];
        let (statement, what) = match self.emits() {
            true => (EMIT, "emit an event"),
            false => (INSERT, "insert into the outbox"),
        };
        client.query_typed(statement, &params).await.attempt(what)?;
        Ok(number)
    }
}

fn wide(dice: &mut Dice) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&dice.throw().to_be_bytes());
    bytes[8..].copy_from_slice(&dice.throw().to_be_bytes());
    bytes
}

/// Headers as the function takes them: a JSON object, in which names may repeat.
fn json(headers: &[Header]) -> Option<String> {
    let quoted = |text: &[u8]| serde_json::Value::from(String::from_utf8_lossy(text)).to_string();
    let pair = |header: &Header| format!("{}: {}", quoted(header.name.as_bytes()), quoted(&header.value));
    let pairs: Vec<String> = headers.iter().map(pair).collect();
    (!pairs.is_empty()).then(|| format!("{{{}}}", pairs.join(", ")))
}

/// The server as the storm needs it.
pub(super) async fn check_server(client: &Client) -> Result<(), Failure> {
    let row = client.query_one("SELECT current_setting('max_prepared_transactions')::integer", &[]).await?;
    match row.get::<_, i32>(0) {
        room if room as usize >= super::prepared::MOST => Ok(()),
        room => Err(failure(format!(
            "the server has room for {room} prepared transactions; set max_prepared_transactions to {} or more",
            super::prepared::MOST
        ))),
    }
}
