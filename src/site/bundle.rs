//! Modules of JavaScript, joined into one file, so that a browser loads one file instead of thirty. Comments are left
//! out.
//!
//! Each module becomes a function that is called at once and returns the exports, so its other names stay private. This
//! needs no parser, because our modules use few forms: an import or an export begins a line, imports name what they
//! take (`{ a, b as c }` or `* as name`), and exports are declarations. A unit test joins all modules, and panics at an
//! export of any other form. Modules that are imported later, with `import()`, are files of their own.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Returns one file with the module `entry` and all modules that it imports. `read` returns the text of a path.
pub(super) fn bundle(entry: &str, read: &impl Fn(&str) -> &'static str) -> String {
    let mut bundle = Bundle { read, modules: BTreeMap::new(), text: String::new() };
    let name = bundle.add(entry);
    let exports = bundle.modules[entry].join(", ");
    if exports.is_empty() { bundle.text } else { format!("{}export const {{ {exports} }} = {name}\n", bundle.text) }
}

/// Removes indentation, empty lines, and comments that have lines of their own.
pub(super) fn without_comments(text: &str) -> String {
    let (mut kept, mut in_comment) = (String::with_capacity(text.len()), false);
    for line in text.lines().map(str::trim) {
        let begins = !in_comment && line.starts_with("/*");
        if in_comment || begins {
            in_comment = !line.ends_with("*/");
        } else if !line.is_empty() && !line.starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

struct Bundle<'a, F> {
    read: &'a F,
    /// The exports of each module.
    modules: BTreeMap<String, Vec<String>>,
    /// The modules, each after those that it imports.
    text: String,
}

impl<F: Fn(&str) -> &'static str> Bundle<'_, F> {
    /// Adds a module if it is not known, after all modules that it imports. Returns the name of the constant with its
    /// exports.
    fn add(&mut self, path: &str) -> String {
        let name = path.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        if self.modules.contains_key(path) {
            return name;
        }
        let text = without_comments((self.read)(path));
        let (mut body, mut exports, mut lines) = (String::new(), Vec::new(), text.lines());
        while let Some(line) = lines.next() {
            if line.starts_with("import ") {
                let mut statement = line.to_owned();
                while !statement.contains(" from '") {
                    statement.push_str(lines.next().expect("an import has an end"));
                }
                body.push_str(&self.import(path, &statement));
            } else if let Some(declaration) = line.strip_prefix("export ") {
                exports.push(declared(declaration).to_owned());
                body.push_str(declaration);
            } else {
                body.push_str(line);
            }
            body.push('\n');
        }
        let exported = exports.join(", ");
        writeln!(self.text, "const {name} = (() => {{\n{body}return {{ {exported} }}\n}})()").ok();
        self.modules.insert(path.to_owned(), exports);
        name
    }

    /// Adds the module that a statement of the file `path` imports. Returns a declaration that replaces the statement.
    fn import(&mut self, path: &str, statement: &str) -> String {
        let (taken, from) = statement["import ".len()..].split_once(" from '").expect("the statement has been read");
        let module = self.add(&resolve(path, from.trim_end_matches('\'')));
        // `* as name` takes all exports, `a as b` renames one.
        let taken = taken.strip_prefix("* as ").map_or_else(|| taken.replace(" as ", ": "), str::to_owned);
        format!("const {taken} = {module}")
    }
}

/// Returns the name that a declaration declares.
fn declared(declaration: &str) -> &str {
    let name =
        ["const ", "class ", "function ", "async function "].iter().find_map(|word| declaration.strip_prefix(word));
    let name = name.unwrap_or_else(|| panic!("unknown export: {declaration}"));
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    assert!(end > 0, "unknown export: {declaration}");
    &name[..end]
}

/// Returns the path to which a relative path in the file `from` refers.
pub(super) fn resolve(from: &str, relative: &str) -> String {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    match relative.strip_prefix("../") {
        Some(name) => format!("{}/{name}", folder.rsplit_once('/').map_or("", |(parent, _)| parent)),
        None => format!("{folder}/{}", relative.strip_prefix("./").unwrap_or(relative)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_left_out() {
        let text =
            "/* Style\n   of it. */\n\na {\n  b: c; /* kept */\n}\n  // Why.\n  call('https://x')\n/** One. */\nd\n";
        assert_eq!(without_comments(text), "a {\nb: c; /* kept */\n}\ncall('https://x')\nd\n");
    }

    #[test]
    fn modules_are_joined_in_order() {
        let read = |path: &str| match path {
            "/page/a.js" => {
                "import {\n  one,\n} from './b.js'\nimport * as c from '../c.js'\nexport const two = one + c.one\nimport('./d.js')\n"
            }
            "/page/b.js" => {
                "import { one as three } from '../c.js'\nconst own = 1\nexport function one() { return three + own }\n"
            }
            "/c.js" => "// Why.\nexport const one = 1\nexport class Two {}\n",
            _ => unreachable!("{path}"),
        };
        let joined = "\
            const _c_js = (() => {\nconst one = 1\nclass Two {}\nreturn { one, Two }\n})()\n\
            const _page_b_js = (() => {\nconst { one: three } = _c_js\nconst own = 1\n\
            function one() { return three + own }\nreturn { one }\n})()\n\
            const _page_a_js = (() => {\nconst {one,} = _page_b_js\nconst c = _c_js\nconst two = one + c.one\n\
            import('./d.js')\nreturn { two }\n})()\nexport const { two } = _page_a_js\n";
        assert_eq!(bundle("/page/a.js", &read), joined);
    }

    #[test]
    #[should_panic(expected = "unknown export: default 1")]
    fn unknown_export_is_not_joined() {
        bundle("/a.js", &|path| if path == "/a.js" { "import { b } from './b.js'" } else { "export default 1" });
    }
}
