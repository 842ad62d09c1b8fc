//! ARCHITECTURE.md's rooms, held to the code: arrows between them point one way, and a room that may
//! know no bpf or no HTTP has none into the rooms of those.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The rooms that each room imports.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The files and folders of `src`: a room's file and its folder have one name.
fn arrows() -> Arrows {
    let mut arrows = Arrows::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(source).expect("a folder") {
        let path = entry.expect("an entry").path();
        let room = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        if !matches!(room, "lib" | "main") {
            imports(&path, arrows.entry(room.to_owned()).or_default());
        }
    }
    let rooms: BTreeSet<String> = arrows.keys().cloned().collect();
    for (room, others) in &mut arrows {
        others.retain(|other| other != room && rooms.contains(other));
    }
    arrows
}

/// Adds what stands behind `crate::` in a file, or in the files of a folder; their tests aside.
fn imports(path: &Path, names: &mut BTreeSet<String>) {
    if path.file_stem().is_some_and(|stem| stem == "tests") {
        return;
    }
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("a folder");
        return entries.for_each(|entry| imports(&entry.expect("an entry").path(), names));
    }
    let text = fs::read_to_string(path).expect("a text");
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String = code.lines().filter_map(|line| line.split("//").next()).collect();
    for behind in code.split("crate::").skip(1) {
        // `crate::{a, b::c}` names several.
        let several = behind.strip_prefix('{').and_then(|list| list.split(';').next());
        let list = several.unwrap_or_else(|| behind.split(',').next().unwrap_or_default());
        let first = |name: &str| {
            name.split(|c: char| c != '_' && !c.is_alphanumeric()).next().map(str::to_owned)
        };
        names.extend(list.split(',').filter_map(|name| first(name.trim())));
    }
}

#[test]
fn arrows_point_one_way() {
    let mut arrows = arrows();
    // Whoever knows nobody that is left goes, until nobody is left.
    while !arrows.is_empty() {
        let ground: BTreeSet<String> = arrows
            .iter()
            .filter(|(_, others)| others.is_empty())
            .map(|(room, _)| room.clone())
            .collect();
        assert!(!ground.is_empty(), "rooms of a circle, or above one: {arrows:#?}");
        arrows.retain(|room, _| !ground.contains(room));
        arrows.values_mut().for_each(|others| others.retain(|other| !ground.contains(other)));
    }
}

#[test]
fn a_room_knows_what_it_may() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");
    let page = fs::read_to_string(page).expect("the page");
    let arrows = arrows();
    let mut told = BTreeSet::new();
    for row in page.lines().filter(|row| row.starts_with("| `  src/")) {
        let [rooms, _, may] = row.trim_matches('|').split('|').collect::<Vec<_>>()[..] else {
            panic!("three columns: {row}");
        };
        for room in rooms.split(',') {
            let room = room.trim().trim_matches('`').trim().trim_start_matches("src/");
            let room = room.trim_end_matches(".rs");
            let known = arrows.get(room).unwrap_or_else(|| panic!("there is no room '{room}'"));
            told.insert(room.to_owned());
            match may.trim() {
                "nothing" => assert!(known.is_empty(), "{room} knows {known:?}"),
                "no bpf" => assert!(!known.contains("kernel"), "{room} knows the kernel's room"),
                "no HTTP" => assert!(!known.contains("http"), "{room} knows HTTP"),
                _ => {}
            }
        }
    }
    assert_eq!(told, arrows.into_keys().collect(), "every room stands on the page");
}
