//! Counts of tests, and where they come from: what `cargo test` prints.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were skipped. It prints as the last line of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    pub(crate) fn of_one(passed: bool) -> Self {
        Self { passed: usize::from(passed), failed: usize::from(!passed), skipped: 0 }
    }

    /// The counts in `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`.
    fn from_result_line(line: &str) -> Option<Self> {
        let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        let count = |word: &str| {
            let mut parts = counts.split(';').filter_map(|part| part.trim().split_once(' '));
            parts.find(|(_, own)| *own == word)?.0.parse().ok()
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// What one test program, or the doc tests of one crate, did.
#[derive(Debug, PartialEq)]
pub(crate) struct Ran {
    /// The program's file name, which no other target has; or `Doc-tests NAME`.
    pub(crate) program: String,
    pub(crate) tally: Tally,
    printed_a_result: bool,
    /// How cargo says to run it again, if it failed.
    rerun: Option<String>,
}

/// Everything a `cargo test` did, read from its output.
#[derive(Debug, Default)]
pub(crate) struct TestLog {
    pub(crate) ran: Vec<Ran>,
    pub(crate) failed_tests: Vec<String>,
    /// What the failed tests printed.
    pub(crate) failure_lines: Vec<String>,
    reads_failures: bool,
}

/// A failed test's output is cut after this many lines; the log has it all.
const FAILURE_LINES_MAX: usize = 15;

impl TestLog {
    pub(crate) fn read(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines() {
            log.read_line(line);
        }
        for ran in &mut log.ran {
            match &ran.rerun {
                Some(rerun) if ran.tally.failed == 0 => {
                    // It crashed: what it had counted until then, it never said.
                    ran.tally.failed = 1;
                    log.failed_tests
                        .push(format!("cargo test {rerun} ended without saying which test failed"));
                }
                // A program with a harness of its own counts as one test.
                None if !ran.printed_a_result => ran.tally = Tally::of_one(true),
                _ => {}
            }
        }
        log
    }

    fn read_line(&mut self, line: &str) {
        if let Some(program) = program_started(line) {
            self.ran.push(Ran { program, tally: Tally::default(), printed_a_result: false, rerun: None });
            self.reads_failures = false;
        } else if line == "failures:" {
            self.reads_failures = false;
        } else if let Some(name) = failure_heading(line) {
            self.failure_lines.push(format!("---- {name}"));
            self.reads_failures = true;
        } else if self.reads_failures {
            self.read_failure_line(line);
        } else if let Some(name) = failed_test(line) {
            self.failed_tests.push(name.to_owned());
        } else if let Some(ran) = self.ran.last_mut() {
            if let Some(tally) = Tally::from_result_line(line) {
                ran.tally += tally;
                ran.printed_a_result = true;
            } else if let Some(rerun) = rerun(line) {
                ran.rerun = Some(rerun.to_owned());
            }
        }
    }

    fn read_failure_line(&mut self, line: &str) {
        let own = self.failure_lines.iter().rev().take_while(|line| !line.starts_with("---- ")).count();
        if own < FAILURE_LINES_MAX && !line.is_empty() {
            self.failure_lines.push(line.to_owned());
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for ran in &self.ran {
            sum += ran.tally;
        }
        sum
    }

    /// How many tests this program ran.
    pub(crate) fn count_of(&self, program: &str) -> usize {
        let own = self.ran.iter().filter(|ran| ran.program == program);
        own.map(|ran| ran.tally.passed + ran.tally.failed).sum()
    }
}

/// Cargo announces `     Running tests/it/main.rs (target/debug/deps/it-0123456789abcdef)` and `   Doc-tests NAME`.
fn program_started(line: &str) -> Option<String> {
    let line = line.strip_prefix("   ")?.trim_start();
    if line.starts_with("Doc-tests ") {
        return Some(line.to_owned());
    }
    let path = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once('(')?.1;
    Some(path.rsplit('/').next().unwrap_or(path).to_owned())
}

fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// The name in `---- module::test stdout ----`.
fn failure_heading(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// The arguments in ``error: test failed, to rerun pass `-p a --lib` ``.
fn rerun(line: &str) -> Option<&str> {
    let is_it = line.starts_with("error: ") && line.contains("test failed, to rerun pass");
    is_it.then(|| line.split('`').nth(1)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
   Compiling a v0.1.0
     Running unittests src/lib.rs (target/debug/deps/a-11)

running 2 tests
test one ... ok
test two ... FAILED

failures:

---- two stdout ----

thread 'two' panicked at src/lib.rs:1:1:
on purpose


failures:
    two

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `-p a --lib`
     Running tests/it/main.rs (/elsewhere/debug/deps/it-22)
test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests a
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn results_are_summed_over_all_targets() {
        let log = TestLog::read(LOG);
        assert_eq!(log.tally(), Tally { passed: 4, failed: 1, skipped: 3 });
        assert_eq!(log.tally().to_string(), "4 passed, 1 failed, 3 skipped");
        assert_eq!(log.failed_tests, ["two"]);
        assert_eq!(log.failure_lines, ["---- two", "thread 'two' panicked at src/lib.rs:1:1:", "on purpose"]);
    }

    #[test]
    fn a_target_that_ran_nothing_is_told_from_one_that_did() {
        let log = TestLog::read(LOG);
        assert_eq!((log.count_of("a-11"), log.count_of("it-22"), log.count_of("gone-33")), (2, 0, 0));
    }

    #[test]
    fn a_test_program_that_crashes_counts_as_a_failure() {
        let log = TestLog::read(
            "     Running unittests src/lib.rs (target/debug/deps/a-11)\n\nrunning 2 tests\n\
             error: test failed, to rerun pass `-p a --lib`\n\nCaused by:\n  process didn't exit successfully: \
             `a-11` (signal: 6, SIGABRT)\n     Running tests/it/main.rs (target/debug/deps/it-22)\n\
             test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(log.tally(), Tally { passed: 5, failed: 1, skipped: 0 });
        assert_eq!(log.failed_tests, ["cargo test -p a --lib ended without saying which test failed"]);
    }

    #[test]
    fn a_harness_of_its_own_counts_as_one_test() {
        let log = TestLog::read("     Running tests/own.rs (target/debug/deps/own-11)\nall is well\n");
        assert_eq!(log.tally(), Tally { passed: 1, failed: 0, skipped: 0 });
    }

    #[test]
    fn the_last_line_names_skipped_tests_only_where_there_are_any() {
        assert_eq!(Tally { passed: 7, failed: 0, skipped: 0 }.to_string(), "7 passed, 0 failed");
    }
}
