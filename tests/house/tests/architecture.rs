//! ARCHITECTURE.md's table of rooms is true: the manifests and the code have its arrows and no others.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use portico_house::rooms::{self, Arrows, Rooms, differences};
use portico_house::source::root;

fn documented() -> Rooms {
    let path = root().join("ARCHITECTURE.md");
    rooms::documented(&std::fs::read_to_string(path).unwrap())
}

fn assert_none(differences: &[String]) {
    assert!(differences.is_empty(), "cannot accept these arrows:\n{}", differences.join("\n"));
}

#[test]
fn table_has_every_package() {
    let (documented, declared) = (documented(), rooms::declared());
    let names = |rooms: &Rooms| -> Arrows { rooms.keys().cloned().collect() };
    assert_none(&differences("room", ("ARCHITECTURE.md", &names(&documented)), ("Cargo.toml", &names(&declared))));
}

#[test]
fn table_has_the_arrows_of_the_manifests() {
    let (documented, declared) = (documented(), rooms::declared());
    let mut found = Vec::new();
    for (name, room) in &declared {
        let Some(table) = documented.get(name) else { continue };
        let code = differences(name, ("ARCHITECTURE.md", &table.code), ("Cargo.toml", &room.code));
        let tests =
            differences(&format!("tests of {name}"), ("ARCHITECTURE.md", &table.tests), ("Cargo.toml", &room.tests));
        found.extend([code, tests].concat());
    }
    assert_none(&found);
}

#[test]
fn code_uses_the_arrows_of_the_table() {
    let documented = documented();
    let mut found = Vec::new();
    for (name, arrows) in rooms::used() {
        let Some(table) = documented.get(&name) else { continue };
        found.extend(differences(&name, ("ARCHITECTURE.md", &table.code), ("the code", &arrows)));
    }
    assert_none(&found);
}

#[test]
fn table_with_a_false_arrow_is_refused() {
    let rooms = rooms::documented("| room | x | y | z |\n|---|---|---|---|\n| `a/`, `b/c/` | text | `d` | none |\n");
    assert_eq!(rooms["a"], rooms["b/c"]);
    assert_eq!(
        differences("a", ("table", &rooms["a"].code), ("code", &Arrows::new())),
        ["a -> d: in table, not in code"]
    );
}
