//! The names of the crate's types and tests.

use super::imports::is_hidden;
use std::collections::BTreeMap;
use std::fs;
use syn::visit::{self, Visit};

/// The name of a type for the options of a module. Every module may have one. Other modules write `hub::Options`.
const SHARED: &str = "Options";

/// The types of a file that other files can see.
#[derive(Default)]
struct Types(Vec<String>);

impl Types {
    fn note(&mut self, visibility: &syn::Visibility, name: &syn::Ident) {
        if !matches!(visibility, syn::Visibility::Inherited) {
            self.0.push(name.to_string());
        }
    }
}

impl<'ast> Visit<'ast> for Types {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_hidden(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.note(&item.vis, &item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.note(&item.vis, &item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.note(&item.vis, &item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.note(&item.vis, &item.ident);
    }
}

#[test]
fn no_two_types_have_the_same_name() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for path in super::sources(&super::root().join("src")) {
        let mut types = Types::default();
        types.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
        for name in types.0 {
            places.entry(name).or_default().push(path.display().to_string());
        }
    }
    assert!(places[SHARED].len() > 3 && places.len() > 300, "the types were read");
    places.retain(|name, places| name != SHARED && places.len() > 1);
    assert_eq!(places, BTreeMap::new(), "a type of the same name must be private to its file");
}

/// The maximum length of a test's name.
const MAX_TEST_NAME: usize = 45;

/// The tests of a file whose names are too long.
#[derive(Default)]
struct LongNames(Vec<String>);

impl<'ast> Visit<'ast> for LongNames {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let is_test = |attribute: &syn::Attribute| attribute.path().segments.last().is_some_and(|s| s.ident == "test");
        let name = item.sig.ident.to_string();
        if name.len() > MAX_TEST_NAME && item.attrs.iter().any(is_test) {
            self.0.push(name);
        }
    }
}

#[test]
fn test_names_are_short() {
    let mut long = LongNames::default();
    for path in ["src", "tests"].iter().flat_map(|folder| super::sources(&super::root().join(folder))) {
        long.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
    }
    assert_eq!(long.0, Vec::<String>::new(), "expected at most {MAX_TEST_NAME} characters");
}
