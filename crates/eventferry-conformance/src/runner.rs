//! The clauses as a test binary: one test a clause, with the usual command line of tests.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};

use crate::broken::Broken;
use crate::clause::{Ended, clauses};
use crate::subject::Subject;

/// Runs every clause against a back end, as the `main` of a test with `harness = false`.
///
/// One test a clause, named by promise and id (`05/old-epoch-is-fenced`), so that a filter on the command line picks
/// a promise or a clause. A clause that needs what the back end lacks is ignored, with the reason. A run without a
/// filter in which no clause said anything is a failure: a suite that asked nothing must not look like one that was
/// satisfied.
pub fn main<S: Subject>(subject: S) -> ExitCode {
    let subject = Arc::new(subject);
    let trials = clauses().map(|clause| {
        let subject = Arc::clone(&subject);
        trial(clause.to_string(), clause.sentence, move || clause.ask(&subject))
    });
    run(trials.collect())
}

/// Runs trials as the command line says.
pub(crate) fn run(trials: Vec<Trial>) -> ExitCode {
    let arguments = Arguments::from_args();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if asked_for_all(&arguments) && ran_nothing(&conclusion) {
        eprintln!("error: no clause was run, so nothing was found out");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// A clause as a test.
pub(crate) fn trial(
    name: String,
    sentence: &'static str,
    ask: impl FnOnce() -> Result<Ended, Broken> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match ask() {
        Ok(Ended::Kept) => Ok(Completion::Completed),
        Ok(Ended::NotApplicable(reason)) => Ok(Completion::ignored_with(reason)),
        Err(broken) => Err(Failed::from(format!("{sentence}\n{broken}"))),
    })
}

fn asked_for_all(arguments: &Arguments) -> bool {
    !arguments.list && !arguments.ignored && arguments.filter.is_none() && arguments.skip.is_empty()
}

fn ran_nothing(conclusion: &Conclusion) -> bool {
    conclusion.num_passed + conclusion.num_failed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conclusion(num_passed: u64, num_failed: u64) -> Conclusion {
        Conclusion { num_filtered_out: 0, num_passed, num_failed, num_ignored: 70, num_measured: 0 }
    }

    #[test]
    fn a_run_of_nothing_but_ignored_clauses_ran_nothing() {
        assert!(ran_nothing(&conclusion(0, 0)));
        assert!(!ran_nothing(&conclusion(1, 0)));
        assert!(!ran_nothing(&conclusion(0, 1)));
    }

    #[test]
    fn whoever_filters_asked_for_less() {
        let arguments = |line: &[&str]| Arguments::from_iter(["conformance"].iter().chain(line));
        assert!(asked_for_all(&arguments(&[])));
        for line in [&["05/"][..], &["--skip", "05/"], &["--list"], &["--ignored"]] {
            assert!(!asked_for_all(&arguments(line)), "{line:?}");
        }
    }
}
