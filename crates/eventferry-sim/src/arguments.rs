//! What the runner is asked for.

use std::time::Duration;

use eventferry_sim::{FLAWS, Flaw};

pub(crate) const USAGE: &str = "\
usage: cargo xtask sim [--seeds N] [--from S] [--minutes M] [--flaw NAME] [--list]
       cargo xtask sim --seed S [--without ITEM,...] [--flaw NAME] [--whole]

  --seeds N      so many seeds; default 20000
  --from S       the first of them; default 0
  --minutes M    no longer than this; default 60
  --seed S       this one alone, told line by line
  --without A,B  without these items of its schedule: faults are numbered first, then transactions, then decisions
  --list         go on after a seed that breaks a promise, and list them all
  --whole        all lines, not only the last
  --flaw NAME    with something broken on purpose";

pub(crate) struct Arguments {
    pub(crate) from: u64,
    pub(crate) flaw: Option<Flaw>,
    pub(crate) work: Work,
}

pub(crate) enum Work {
    One { without: Vec<usize>, whole: bool },
    Many { seeds: u64, within: Duration, list: bool },
}

impl Arguments {
    pub(crate) fn of(words: &[String]) -> Result<Self, String> {
        let (mut from, mut flaw, mut one, mut whole, mut list) = (0, None, false, false, false);
        let (mut seeds, mut minutes, mut without) = (20_000, 60, Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--whole" => whole = true,
                "--list" => list = true,
                _ => {}
            }
            if matches!(word.as_str(), "--whole" | "--list") {
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--seeds" => seeds = number(word, value)?,
                "--from" => from = number(word, value)?,
                "--minutes" => minutes = number(word, value)?,
                "--seed" => (one, from) = (true, number(word, value)?),
                "--without" => {
                    let items = value.split(',').map(|item| number(word, item).map(|item| item as usize));
                    without = items.collect::<Result<_, _>>()?;
                }
                "--flaw" => flaw = Some(flaw_of(value)?),
                _ => return Err(format!("unknown argument `{word}`")),
            }
        }
        let within = Duration::from_secs(minutes * 60);
        let work = if one { Work::One { without, whole } } else { Work::Many { seeds, within, list } };
        Ok(Self { from, flaw, work })
    }
}

fn number(word: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{word} takes a number, not `{value}`"))
}

fn flaw_of(name: &str) -> Result<Flaw, String> {
    let found = FLAWS.iter().find(|flaw| format!("{flaw:?}") == name);
    found.copied().ok_or_else(|| format!("there is no flaw `{name}`: they are {FLAWS:?}"))
}
