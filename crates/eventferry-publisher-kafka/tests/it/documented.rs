//! docs/kafka.md links each feature to the test that shows it: those tests are there.

use std::path::Path;

#[test]
fn every_test_that_the_page_names_is_where_it_says() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = std::fs::read_to_string(docs.join("kafka.md")).unwrap();
    let mut seen = 0;
    for link in page.split("[`").skip(1) {
        let Some((name, rest)) = link.split_once("`](") else { continue };
        let Some((file, _)) = rest.split_once(')').filter(|(file, _)| file.ends_with(".rs")) else {
            continue;
        };
        let text = std::fs::read_to_string(docs.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {name}()")), "{file} has no test {name}");
        seen += 1;
    }
    assert!(seen > 20, "{seen} links");
}
