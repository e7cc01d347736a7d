//! A trial's words: names first, then `--option value`.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::failure::{Failure, failure};

/// A trial's words, taken one by one; what is left over at the end is a mistake.
#[derive(Debug)]
pub(crate) struct Arguments {
    words: Vec<String>,
    options: BTreeMap<String, String>,
}

/// Whom `--only` names; without it, everybody.
#[derive(Debug)]
pub(crate) struct Only(Option<String>);

impl Only {
    /// Whether this one is meant.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|only| only.split(',').any(|only| only == name))
    }
}

impl Arguments {
    /// Reads words and options.
    pub(crate) fn read(all: &[String]) -> Result<Self, Failure> {
        let (mut words, mut options) = (Vec::new(), BTreeMap::new());
        let mut rest = all.iter();
        while let Some(word) = rest.next() {
            match word.strip_prefix("--") {
                None => words.push(word.clone()),
                Some(name) => {
                    let (name, value) = match name.split_once('=') {
                        Some((name, value)) => (name, value.to_owned()),
                        None => {
                            let value = rest.next();
                            (name, value.ok_or_else(|| failure(format!("--{name} has no value")))?.clone())
                        }
                    };
                    options.insert(name.to_owned(), value);
                }
            }
        }
        Ok(Self { words, options })
    }

    /// The next word that is no option.
    pub(crate) fn word(&mut self) -> Option<String> {
        (!self.words.is_empty()).then(|| self.words.remove(0))
    }

    /// An option's text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.options.remove(name)
    }

    /// The names in `--only`, separated by commas.
    pub(crate) fn only(&mut self) -> Only {
        Only(self.text("only"))
    }

    /// An option's value, if it was given.
    pub(crate) fn optional<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // 500_000 and 500,000 are numbers too.
        let digits: String = text.chars().filter(|letter| !matches!(letter, '_' | ',')).collect();
        let value = digits.parse().map_err(|_| failure(format!("--{name} {text}: give a number")))?;
        Ok(Some(value))
    }

    /// An option's value, or else this.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str, default: T) -> Result<T, Failure> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// An option's duration, such as `5s`, `500ms` or `5`, which are seconds.
    pub(crate) fn duration(&mut self, name: &str, default: Duration) -> Result<Duration, Failure> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len()));
        let wrong = || failure(format!("--{name} {text}: give a time such as 5s or 500ms"));
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let seconds = match unit {
            "s" | "" => number,
            "ms" => number / 1000.0,
            _ => return Err(wrong()),
        };
        Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
    }

    /// Complains of what nobody took.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let left = self.words.into_iter().chain(self.options.into_keys().map(|name| format!("--{name}")));
        match left.collect::<Vec<_>>() {
            left if left.is_empty() => Ok(()),
            left => Err(failure(format!("unknown: {}", left.join(" ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Arguments {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        Arguments::read(&words).unwrap()
    }

    #[test]
    fn options_take_the_word_after_them() {
        let mut arguments = read("drain --events 500_000 --json=out.json");
        assert_eq!(arguments.word().as_deref(), Some("drain"));
        assert_eq!(arguments.value("events", 1u64).unwrap(), 500_000);
        assert_eq!(arguments.text("json").as_deref(), Some("out.json"));
        assert_eq!(arguments.value("rounds", 3u32).unwrap(), 3);
        arguments.finish().unwrap();
    }

    #[test]
    fn only_names_those_between_commas_and_without_it_everybody() {
        let only = read("--only a,b").only();
        assert!(only.names("a") && only.names("b") && !only.names("a,b") && !only.names("c"));
        assert!(read("drain").only().names("c"));
    }

    #[test]
    fn times_have_units() {
        let mut arguments = read("--a 5s --b 250ms --c 2 --d 1h");
        let mut time = |name| arguments.duration(name, Duration::ZERO);
        assert_eq!(time("a").unwrap(), Duration::from_secs(5));
        assert_eq!(time("b").unwrap(), Duration::from_millis(250));
        assert_eq!(time("c").unwrap(), Duration::from_secs(2));
        assert!(time("d").is_err());
        assert_eq!(time("e").unwrap(), Duration::ZERO);
    }

    #[test]
    fn what_nobody_takes_is_named() {
        let left = read("drain --colour blue").finish().unwrap_err().to_string();
        assert!(left.contains("drain") && left.contains("--colour"), "{left}");
    }
}
