//! The lengths of lines in comments and documents, and the length of the README.

use std::fs;
use std::path::{Path, PathBuf};

/// The maximum length of a line in comments and documents, in characters.
const MAX_COLUMNS: usize = 120;

/// Documents that tests generate. A paragraph or a row of a table is one line of any length.
const GENERATED: [&str; 2] = ["configuration.md", "metrics.md"];

/// Returns the lines of a Rust file that are comments, with their indexes.
fn comments(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"))
}

/// Returns the lines of a document that can be wrapped, with their indexes: no tables and no code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence && !line.starts_with('|')
    })
}

fn documents() -> Vec<PathBuf> {
    let top = fs::read_dir(super::root()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = top.chain(super::files(&super::root().join("docs"))).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.retain(|path| !GENERATED.iter().any(|name| path.ends_with(name)));
    found
}

#[test]
fn comments_and_documents_have_short_lines() {
    let mut long = Vec::new();
    let mut check = |path: &Path, line: (usize, &str)| {
        if line.1.chars().count() > MAX_COLUMNS {
            long.push(format!("{}:{}", path.display(), line.0 + 1));
        }
    };
    for path in ["src", "tests", "benches"].iter().flat_map(|folder| super::sources(&super::root().join(folder))) {
        comments(&fs::read_to_string(&path).unwrap()).for_each(|line| check(&path, line));
    }
    let documents = documents();
    assert!(documents.len() > 50, "the documents were read");
    for path in documents {
        prose(&fs::read_to_string(&path).unwrap()).for_each(|line| check(&path, line));
    }
    assert_eq!(long, Vec::<String>::new(), "expected at most {MAX_COLUMNS} characters");
}

#[test]
fn readme_is_short() {
    let lines = super::read("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
}
