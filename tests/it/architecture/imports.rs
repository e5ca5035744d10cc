//! The imports between the files of the crate. A parser finds the `use` declarations and the paths in code that begin
//! with `crate::`, `super::`, `self::` or the name of a child module, also in the bodies of macros. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};

/// The files of a crate by their module paths (`net/reactor/shard`), each with the files that it uses.
pub(crate) struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    /// Reads all files in `src`, except tests.
    pub(crate) fn read(src: &Path) -> Graph {
        let texts = super::sources(src).into_iter().filter_map(|path| {
            let inside = path.strip_prefix(src).unwrap().with_extension("");
            let module = inside.to_str().unwrap().trim_end_matches("/mod").to_owned();
            let is_test = module.split('/').any(|part| part == "tests");
            (!is_test).then(|| (module, fs::read_to_string(&path).unwrap()))
        });
        Graph::parse(&texts.collect())
    }

    fn parse(texts: &BTreeMap<String, String>) -> Graph {
        let modules: BTreeSet<_> = texts.keys().cloned().collect();
        let edges = texts.iter().map(|(module, text)| {
            let mut reader = Reader { module, modules: &modules, found: BTreeSet::new() };
            reader.visit_file(&syn::parse_file(text).unwrap());
            reader.found.remove(module);
            (module.clone(), reader.found)
        });
        Graph(edges.collect())
    }

    /// Returns every pair of a file and a file that it uses.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(from, to)| to.iter().map(|to| (from.as_str(), to.as_str())))
    }

    /// Returns a cycle, if there is one.
    pub(crate) fn cycle(&self) -> Option<Vec<&str>> {
        let mut done = BTreeSet::new();
        self.0.keys().find_map(|start| self.cycle_from(start, &mut Vec::new(), &mut done))
    }

    fn cycle_from<'a>(
        &'a self,
        module: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<&'a str>> {
        if let Some(begin) = path.iter().position(|known| *known == module) {
            return Some(path[begin..].to_vec());
        }
        if done.contains(module) {
            return None;
        }
        path.push(module);
        let found = self.0[module].iter().find_map(|to| self.cycle_from(to, path, done));
        path.pop();
        done.insert(module);
        found
    }
}

struct Reader<'a> {
    module: &'a str,
    modules: &'a BTreeSet<String>,
    found: BTreeSet<String>,
}

impl Reader<'_> {
    /// Adds the file to which a path refers. It is the longest prefix of the path that is a module.
    fn note(&mut self, path: &[String]) {
        let mut parts: Vec<&str> = self.module.split('/').collect();
        let mut rest = path;
        let relative = match rest.first().map(String::as_str) {
            Some("crate") => {
                parts.clear();
                rest = &rest[1..];
                false
            }
            Some("self" | "super") => {
                while let Some(first @ ("self" | "super")) = rest.first().map(String::as_str) {
                    if first == "super" {
                        parts.pop();
                    }
                    rest = &rest[1..];
                }
                false
            }
            _ => true,
        };
        // A path without a keyword begins with a child module or with another crate.
        let child = rest.first().is_some_and(|first| self.modules.contains(&[&parts[..], &[first]].concat().join("/")));
        if !relative || child {
            self.note_longest(&parts, rest);
        }
    }

    fn note_longest(&mut self, parts: &[&str], rest: &[String]) {
        let mut parts = parts.to_vec();
        // If no part of `rest` is a module, the path refers to an item of the module `parts`.
        let mut longest = Some(parts.join("/"));
        for part in rest {
            parts.push(part);
            let module = parts.join("/");
            if self.modules.contains(&module) {
                longest = Some(module);
            } else {
                break;
            }
        }
        self.found.extend(longest.filter(|module| self.modules.contains(module)));
    }

    fn note_tree(&mut self, before: &mut Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.note_tree(before, &path.tree);
                before.pop();
            }
            syn::UseTree::Name(name) => self.note(&[&before[..], &[name.ident.to_string()]].concat()),
            syn::UseTree::Rename(name) => self.note(&[&before[..], &[name.ident.to_string()]].concat()),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(before, tree)),
        }
    }
}

/// Returns true if an item has a `cfg` for tests or documentation, so that the program does not contain it.
pub(super) fn is_hidden(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string();
        list.path.is_ident("cfg") && (condition.contains("test") || condition.contains("doc"))
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_hidden(&item.attrs) {
            self.note_tree(&mut Vec::new(), &item.tree);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_hidden(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.note(&names);
        }
        visit::visit_path(self, path);
    }

    /// Notes the paths in the body of a macro, of which the parser knows only the tokens.
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let text = item.tokens.to_string().replace(" :: ", "::");
        for path in text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
            let names: Vec<_> = path.split("::").map(str::to_owned).collect();
            if names.len() > 1 && names.iter().all(|name| !name.is_empty()) {
                self.note(&names);
            }
        }
        visit::visit_macro(self, item);
    }

    /// Ignores `pub(super)`, which is not an import.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "
        mod child;
        use crate::{hub::{self, Window}, store};
        use super::sibling::Thing;
        use child::Small;
        use serde::Serialize;
        pub(super) fn f() -> crate::feed::Entry { super::parents_own(); child::g() }
        fn h() { html! { p { (crate::text::list(&[1])) } } }
        // use crate::comment;
        #[cfg(test)]
        mod tests { use crate::only_in_tests; }
    ";
    let mut texts = BTreeMap::from([("room/file".to_owned(), text.to_owned())]);
    for module in ["hub", "hub/window", "store", "room", "room/sibling", "room/file/child", "feed", "text", "comment"] {
        texts.insert(module.to_owned(), String::new());
    }
    texts.insert("only_in_tests".to_owned(), String::new());
    let graph = Graph::parse(&texts);
    let found: Vec<_> = graph.edges().map(|(_, to)| to).collect();
    assert_eq!(found, ["feed", "hub", "room", "room/file/child", "room/sibling", "store", "text"]);
}

#[test]
fn cycles_through_parents_are_found() {
    let texts = [("room", "use child::A;"), ("room/child", "use super::B; use crate::other;"), ("other", "")];
    let parse = |texts: &[(&str, &str)]| {
        Graph::parse(&texts.iter().map(|(module, text)| ((*module).to_owned(), (*text).to_owned())).collect())
    };
    assert_eq!(parse(&texts).cycle(), Some(vec!["room", "room/child"]));
    assert_eq!(parse(&texts[1..]).cycle(), None);
}
