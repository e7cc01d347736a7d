//! The examples of docs/failures.md, run as they stand there.

use crate::kafka::{self, Topic};
use crate::parked::Shop;
use crate::program::{PATIENCE, within};

const PAGE: &str = include_str!("../../../../docs/failures.md");

/// The event that the page speaks of.
const ID: &str = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f";

/// The page's blocks of one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The commands of the page, each as its words.
fn commands() -> Vec<Vec<String>> {
    let lines = blocks("sh").into_iter().flat_map(str::lines);
    let lines = lines.filter_map(|line| line.strip_prefix("eventferry "));
    let words = |line: &str| {
        let line = line.split(" #").next().unwrap();
        // Every second part is in quotes.
        let parts = line.split('\'').enumerate();
        let words = parts.flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        words.collect::<Vec<_>>()
    };
    lines.map(words).collect()
}

#[test]
fn the_examples_of_the_page_on_failures_work() {
    for shop in Shop::both() {
        let dead = Topic::named(&format!("{}.dlq", shop.topic.name));
        let mended = Topic::named(&format!("{}.mended", shop.topic.name));
        let [settings] = &blocks("toml")[..] else { panic!("one file of settings") };
        let settings = settings.replace("orders.created", &shop.topic.name);
        std::fs::write(shop.program.path("eventferry.toml"), settings).unwrap();
        shop.enqueue("42", "@large", &["--message-id", ID]);
        // The file says 10 attempts for this topic, whatever the flag says.
        let mut relay = shop.relay(&[]);
        relay.says("relay started");
        shop.parked(1);
        for words in commands() {
            let words = words.into_iter().map(|word| {
                word.replace("orders.created", &shop.topic.name).replace("orders.mended", &mended.name)
            });
            let words: Vec<_> = words.collect();
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let broker = ["--publisher", &kafka::url()];
            let more = if words[0] == "dead-letters" { &broker[..] } else { &[] };
            shop.done(&[&words, more].concat());
            // Until a decision is carried out, no other is taken.
            within(PATIENCE, || {
                shop.listed(&[]).iter().all(|event| event["decision"].is_null()).then_some(())
            });
        }
        // The page discards the event, and replays a dead letter that is not there.
        within(PATIENCE, || shop.listed(&[]).is_empty().then_some(()));
        assert_eq!(dead.count(), 0);
    }
}

#[test]
fn the_page_names_every_setting_with_its_default() {
    let help = crate::program::Program::new().done(&["run", "--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (flag, default) in [
        ("--retry-attempts", "5"),
        ("--retry-backoff", "exponential:200ms:30s"),
        ("--dead-letter-topic", "none"),
        ("--on-dead", "continue"),
        ("--dead-letter-detail", "false"),
    ] {
        let rows = PAGE.lines().filter(|line| line.starts_with(&format!("| `{flag}`")));
        let cells: Vec<_> = rows.filter_map(|row| row.split('|').nth(2)).collect();
        assert!(cells.iter().any(|cell| cell.contains(default)), "{flag}: {cells:?}");
        let told = help.split(flag).nth(1).unwrap().split("[default: ").nth(1).unwrap();
        assert!(told.starts_with(default), "{flag}: {told}");
    }
}
