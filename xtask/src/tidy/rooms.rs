//! ARCHITECTURE.md names every room, and no room that is not there.

use super::{Finding, Member, SourceFile};

const MAP: &str = "ARCHITECTURE.md";

pub(crate) fn rooms(files: &[SourceFile], members: &[Member]) -> Vec<Finding> {
    let Some(map) = files.iter().find(|file| file.path == MAP) else { return Vec::new() };
    let mut findings = Vec::new();
    for member in members.iter().filter(|member| !names(&map.text).any(|name| is_it(member, name))) {
        findings.push(Finding::of_member(member, format!("is not named in {MAP}")));
    }
    for (number, line) in (1..).zip(map.text.lines()) {
        for name in
            names(line).filter(|name| is_a_room(name) && !members.iter().any(|member| is_it(member, name)))
        {
            findings.push(Finding::of_line(map, number, format!("there is no room `{name}`")));
        }
    }
    findings
}

/// The runs of characters that a crate's name or folder may have.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_/*".contains(c);
    text.split(move |c| !is_part(c)).map(|name| name.trim_matches('/'))
}

fn is_it(member: &Member, name: &str) -> bool {
    let is_inside = name.strip_prefix(&*member.folder).is_some_and(|rest| rest.starts_with('/'));
    name == member.name || name == member.folder || is_inside
}

/// Written like one of our crates; `*` stands for a family.
fn is_a_room(name: &str) -> bool {
    let is_folder = name.strip_prefix("crates/").is_some_and(|rest| !rest.is_empty());
    (is_folder || (name.starts_with("eventferry-") && !name.contains('/'))) && !name.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(map: &str) -> Vec<String> {
        let member = |name: &str, folder: &str| Member {
            name: name.to_owned(),
            folder: folder.to_owned(),
            dependencies: Vec::new(),
        };
        let members = [member("eventferry-core", "crates/eventferry-core"), member("xtask", "xtask")];
        rooms(&[SourceFile::new(MAP, map)], &members).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_room_that_is_not_named_is_found() {
        assert_eq!(
            found("`xtask` and nothing else"),
            ["crates/eventferry-core: is not named in ARCHITECTURE.md"]
        );
        assert!(found("`crates/eventferry-core/src/machine.rs`, `xtask`").is_empty());
    }

    #[test]
    fn a_room_that_is_not_there_is_found() {
        let findings = found("eventferry-core, xtask\n\nthe `eventferry-attic` and crates/eventferry-cellar");
        assert_eq!(
            findings,
            [
                "ARCHITECTURE.md:3: there is no room `eventferry-attic`",
                "ARCHITECTURE.md:3: there is no room `crates/eventferry-cellar`",
            ]
        );
    }

    #[test]
    fn families_and_the_binary_are_no_rooms() {
        assert!(
            found("eventferry-core xtask crates/ eventferry-store-* crates/eventferry-store-* eventferry")
                .is_empty()
        );
    }

    #[test]
    fn a_house_without_a_map_is_tidy() {
        assert!(rooms(&[], &[]).is_empty());
    }
}
