//! The rules of the house that a compiler does not check.

use btcfeed::config::SETTINGS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the bottom up, as the table in src/lib.rs has them: each may use only those before it.
fn order() -> Vec<String> {
    named(&read("src/lib.rs"), "//! | [`")
}

/// The words that follow on `before` where a line begins with that.
fn named(text: &str, before: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix(before)).map(word).collect()
}

/// The word that a text begins with.
fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Whether somebody wrote it to be run or shown, in whatever language: scripts without an extension say so themselves.
fn is_code(path: &Path) -> bool {
    match path.extension() {
        Some(extension) => ["rs", "js", "css", "html", "lua", "py"].iter().any(|known| extension == *known),
        None => fs::read(path).unwrap().starts_with(b"#!"),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The modules that a text names as `crate::…`, also in groups: `use crate::{hub, leader}`.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (_, rest) in code.match_indices("crate::").map(|(at, _)| code[at..].split_at("crate::".len())) {
        match rest.strip_prefix('{').and_then(|group| group.split_once('}')) {
            Some((group, _)) => found.extend(group.split(',').map(|import| word(import.trim()))),
            None => found.push(word(rest)),
        }
    }
    found.retain(|import| !import.is_empty());
    found
}

#[test]
fn no_module_imports_what_stands_above_it() {
    let src = root().join("src");
    let order = order();
    let place = |module: &str| order.iter().position(|known| known == module);
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let own = place(module).unwrap_or_else(|| panic!("{module} has no place in the order"));
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            let other = place(&import).unwrap_or_else(|| panic!("{}: crate::{import} is no module", inside.display()));
            assert!(other <= own, "{} imports {import}, which stands above {module}", inside.display());
        }
    }
}

#[test]
fn every_module_has_its_place_in_the_order_and_in_the_code_map() {
    let code_map = read("ARCHITECTURE.md").split("\n## ").find(|part| part.starts_with("Code map")).unwrap().to_owned();
    assert_eq!(named(&code_map, "| `"), order(), "ARCHITECTURE.md has another order than src/lib.rs");
    let declared = named(&read("src/lib.rs"), "pub mod ");
    assert_eq!(BTreeSet::from_iter(declared), BTreeSet::from_iter(order()));
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::hub::Hub;\nuse crate::{source, store};\n// crate::nothing\nfn f() { crate::view::x() }";
    assert_eq!(imports(text), ["hub", "source", "store", "view"]);
}

#[test]
fn no_file_is_longer_than_400_lines() {
    let folders = ["src", "tests", "benches", "examples", "fuzz/fuzz_targets", ".ci"].map(|folder| root().join(folder));
    for path in folders.iter().flat_map(|folder| files(folder)).filter(|path| is_code(path)) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

#[test]
fn one_place_each_knows_redis_axum_tonic_reqwest_and_the_environment() {
    let src = root().join("src");
    let only = [
        ("redis::", &["store/redis"][..]),
        ("axum::", &["server"]),
        ("tonic::", &["server", "client"]),
        ("reqwest::", &["source", "client"]),
        ("std::env::var", &["config.rs"]),
    ];
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for (word, homes) in only {
                let foreign = line.trim_start().strip_prefix("use ").unwrap_or(line.trim_start());
                let uses = foreign.trim_start_matches("::").starts_with(word);
                let at_home = homes.iter().any(|home| inside.starts_with(home));
                assert!(!uses || at_home, "{inside} uses {word} outside {homes:?}: {line}");
            }
        }
    }
}

#[test]
fn no_route_for_clients_goes_around_its_description() {
    // The operators' port and gRPC have descriptions of their own, and the page is no API.
    let server = root().join("src/server");
    let apart = ["ops.rs", "page.rs", "grpc.rs"].map(|file| server.join(file));
    for path in sources(&server).iter().filter(|path| !apart.contains(path) && !path.ends_with("tests.rs")) {
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        assert!(!code.contains(".route("), "{} has a route that is not described", path.display());
    }
}

#[test]
fn the_stack_passes_every_setting_on_that_is_not_its_own_business() {
    // Its Redis is its own, its replicas are all alike and have their containers' names, and nginx knows their ports.
    let own = ["REDIS_URL", "BTCFEED_ROLE", "BTCFEED_REPLICA", "BTCFEED_LISTEN", "BTCFEED_OPS_LISTEN"];
    let text = fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let (_, list) = text.split_once("\n    environment:\n").unwrap();
    let lines = list.lines().map_while(|line| line.strip_prefix("      - "));
    let passed: BTreeSet<_> = lines.filter(|line| !line.contains('=')).collect();
    let wanted: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.env).filter(|name| !own.contains(name)).collect();
    assert_eq!(passed, wanted);
    assert!(own.iter().all(|name| SETTINGS.iter().any(|setting| setting.env == *name)), "a name of {own:?} is none");
    let example = fs::read_to_string(root().join(".env.example")).unwrap();
    assert!(example.contains(&format!("\n#   {}\n", own.join(" "))), "the example says which ones they are");
}
