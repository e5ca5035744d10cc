//! Rules of the code's structure that the compiler does not check.

mod imports;
mod lines;
mod names;

use btcfeed::config::settings;
use imports::Graph;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the words that follow `prefix` at the beginning of a line.
fn words_after(text: &str, prefix: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix(prefix)).map(word).collect()
}

/// Returns the first word of a text.
fn word(text: &str) -> String {
    let text = text.trim_start_matches(['[', '`']);
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Returns the modules in the first column of the table in a file's head, in order.
fn table(file: &str) -> Vec<String> {
    let mut words = words_after(&read(file), "//! | ");
    words.retain(|word| word != "module" && word != "format");
    words
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            found.push(path);
        } else if !path.ends_with("node_modules") {
            found.extend(files(&path));
        }
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Returns true if a file is source code. Scripts without an extension begin with `#!`.
fn is_code(path: &Path) -> bool {
    match path.extension() {
        Some(extension) => ["rs", "js", "css", "html", "lua", "py"].iter().any(|known| extension == *known),
        None => fs::read(path).unwrap().starts_with(b"#!"),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn modules_import_only_earlier_modules() {
    let graph = Graph::read(&root().join("src"));
    // The order of the crate's modules, and the orders inside the modules whose head has a table.
    let mut orders = BTreeMap::from([(String::new(), table("src/lib.rs"))]);
    for parent in ["admission", "net", "api", "site", "session"] {
        orders.insert(parent.to_owned(), table(&format!("src/{parent}.rs")));
    }
    for (parent, order) in orders {
        assert!(order.len() > 1, "the head of {parent:?} has no table");
        let place = |file: &str| {
            let inside = if parent.is_empty() { file } else { file.strip_prefix(&format!("{parent}/"))? };
            let module = inside.split('/').next()?;
            Some(order.iter().position(|known| known == module).unwrap_or_else(|| panic!("{file} is in no table")))
        };
        for (from, to) in graph.edges() {
            if matches!(from, "main" | "lib" | "fuzz") {
                continue;
            }
            if let (Some(from_place), Some(to_place)) = (place(from), place(to)) {
                assert!(to_place <= from_place, "{from} imports {to}, which is later in the table");
            }
        }
    }
}

#[test]
fn imports_have_no_cycle() {
    let graph = Graph::read(&root().join("src"));
    assert!(graph.edges().count() > 300, "the imports were read");
    assert_eq!(graph.cycle(), None);
}

#[test]
fn modules_and_the_median_file_are_small() {
    let src = root().join("src");
    let (mut lines, mut modules) = (Vec::new(), BTreeMap::<String, usize>::new());
    for path in sources(&src) {
        let count = fs::read_to_string(&path).unwrap().lines().count();
        let inside = path.strip_prefix(&src).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        *modules.entry(module.to_owned()).or_default() += count;
        lines.push(count);
    }
    let all: usize = lines.iter().sum();
    for (module, count) in modules {
        assert!(count * 100 <= all * 15, "{module} has {count} of {all} lines, more than 15 %");
    }
    lines.sort_unstable();
    assert!(lines[lines.len() / 2] <= 180, "the median file has {} lines", lines[lines.len() / 2]);
}

#[test]
fn tables_and_code_map_list_every_module() {
    let code_map = read("ARCHITECTURE.md").split("\n## ").find(|part| part.starts_with("Code map")).unwrap().to_owned();
    let mut mapped = words_after(&code_map, "| `");
    mapped.dedup();
    assert_eq!(mapped, table("src/lib.rs"), "ARCHITECTURE.md has another order than src/lib.rs");
    let lib = read("src/lib.rs");
    let mut declared = BTreeSet::from_iter([words_after(&lib, "pub mod "), words_after(&lib, "mod ")].concat());
    declared.remove("fuzz");
    assert_eq!(declared, BTreeSet::from_iter(table("src/lib.rs")));
}

#[test]
fn no_file_is_longer_than_400_lines() {
    let folders =
        ["src", "sdk", "tests", "benches", "examples", "fuzz/fuzz_targets", ".ci"].map(|folder| root().join(folder));
    for path in folders.iter().flat_map(|folder| files(folder)).filter(|path| is_code(path)) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

#[test]
fn crates_are_used_only_in_their_modules() {
    let src = root().join("src");
    let allowed = [
        ("redis::", &["store/redis"][..]),
        ("redb::", &["store/disk"]),
        ("deadpool_redis::", &["store/redis"]),
        ("axum::", &["admission", "net", "api", "site", "server.rs", "fuzz.rs"]),
        ("tonic::", &["api", "client"]),
        ("reqwest::", &["source", "client", "cli/healthcheck.rs", "cli/check/peers.rs"]),
        ("std::env::var", &["config/lookup.rs"]),
    ];
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for (path, places) in allowed {
                let used = line.trim_start().strip_prefix("use ").unwrap_or(line.trim_start());
                let is_used = used.trim_start_matches("::").starts_with(path);
                let is_allowed = places.iter().any(|place| inside.starts_with(place));
                assert!(!is_used || is_allowed, "{inside} uses {path} outside {places:?}: {line}");
            }
        }
    }
}

#[test]
fn every_public_route_has_a_description() {
    // The operators' port and gRPC have their own descriptions, and the page is not an API.
    let undescribed = ["api/ops.rs", "api/grpc.rs", "site/page.rs"].map(|file| root().join("src").join(file));
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let exempt = undescribed.contains(&path) || path.ends_with("tests.rs");
        assert!(exempt || !code.contains(".route("), "{} has a route without a description", path.display());
    }
}

#[test]
fn stack_passes_every_setting_except_its_own() {
    // The stack has its own Redis. All its replicas have the same role and ports, and are named by their containers.
    let own =
        ["REDIS_URL", "REDIS_URL_FILE", "BTCFEED_ROLE", "BTCFEED_REPLICA", "BTCFEED_LISTEN", "BTCFEED_OPS_LISTEN"];
    let text = fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let (_, list) = text.split_once("\n    environment:\n").unwrap();
    let lines = list.lines().map_while(|line| line.strip_prefix("      ")).map(|line| line.trim_start_matches("- "));
    let lines = lines.filter(|line| !line.starts_with('#'));
    // `NAME` passes a setting on unchanged. `NAME=${NAME:-DEFAULT}` passes it on with another default. Other lines with
    // `=` do not pass a setting on.
    let passed = lines.map(|line| line.split_once("=${").map_or(line, |(name, _)| name));
    let passed: BTreeSet<_> = passed.filter(|line| !line.contains('=')).collect();
    let wanted: BTreeSet<_> = settings().iter().map(|setting| setting.env).filter(|name| !own.contains(name)).collect();
    assert_eq!(passed, wanted);
    assert!(
        own.iter().all(|name| settings().iter().any(|setting| setting.env == *name)),
        "{own:?} has an unknown setting"
    );
    let example = fs::read_to_string(root().join(".env.example")).unwrap();
    assert!(example.contains(&format!("\n#   {}\n", own.join(" "))), "the example does not list {own:?}");
}
