//! No test that is switched off, and none that sleeps and hopes.

use super::{Finding, SourceFile};

pub(crate) fn ignored_tests(file: &SourceFile) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let ignores =
        |line: &str| line.contains("#[ignore") || (line.contains("cfg_attr") && line.contains("ignore"));
    let lines = file.code_lines().into_iter().filter(|(_, line)| ignores(line));
    lines.map(|(number, _)| Finding::of_line(file, number, "an ignored test: run it or remove it")).collect()
}

/// A sleep in a test is allowed where its line, or the one above, says `// waits: why`.
pub(crate) fn sleeps(file: &SourceFile) -> Vec<Finding> {
    if !file.is_rust() || !file.path.split('/').any(|folder| folder == "tests") {
        return Vec::new();
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let says_why = |number: usize| {
        let own_and_above = &lines[number.saturating_sub(2)..number];
        own_and_above.iter().any(|line| line.contains("// waits: "))
    };
    let sleeping = |(number, line): &(usize, String)| {
        let calls = ["thread::sleep(", "time::sleep(", "sleep_until(", " sleep("];
        calls.iter().any(|call| line.contains(call)) && !line.contains("fn sleep") && !says_why(*number)
    };
    let found = file.code_lines().into_iter().filter(sleeping);
    let message = "sleeps: wait for the event itself, or say on the line `// waits: why`";
    found.map(|(number, _)| Finding::of_line(file, number, message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeps_in(path: &str, text: &str) -> usize {
        sleeps(&SourceFile::new(path, text)).len()
    }

    #[test]
    fn an_ignored_test_is_found() {
        let found = |text: &str| ignored_tests(&SourceFile::new("a.rs", text)).len();
        assert_eq!(found("#[test]\n#[ignore]\nfn f() {}"), 1);
        assert_eq!(found("#[ignore = \"slow\"]"), 1);
        assert_eq!(found("#[cfg_attr(windows, ignore)]"), 1);
        assert_eq!(found("// no #[ignore] here"), 0);
    }

    #[test]
    fn a_sleep_in_a_test_is_found_unless_it_says_why() {
        for call in [
            "std::thread::sleep(x);",
            "tokio::time::sleep(x).await;",
            "time::sleep(x).await;",
            "    sleep(x);",
        ] {
            assert_eq!(sleeps_in("a/tests/it/main.rs", call), 1, "{call}");
        }
        assert_eq!(sleeps_in("a/tests/it/main.rs", "thread::sleep(x); // waits: the lease must run out"), 0);
        assert_eq!(sleeps_in("a/tests/it/main.rs", "// waits: the lease must run out\nthread::sleep(x);"), 0);
        assert_eq!(sleeps_in("a/tests/it/main.rs", "// waits: no\n\nthread::sleep(x);"), 1);
    }

    #[test]
    fn only_code_in_test_folders_is_looked_at() {
        assert_eq!(sleeps_in("a/src/relay.rs", "tokio::time::sleep(x).await;"), 0);
        assert_eq!(sleeps_in("a/tests/it/main.rs", "// thread::sleep(x)\nlet s = \" sleep(\";"), 0);
    }
}
