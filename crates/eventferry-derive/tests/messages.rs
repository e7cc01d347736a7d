//! What the compiler says of a struct that is no event.

#[test]
fn what_is_wrong_with_an_event_is_said_where_it_is_written() {
    trybuild::TestCases::new().compile_fail("tests/ui/wrong_*.rs");
}
