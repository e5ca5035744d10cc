//! The HTML head of the reference page and of the method page.

use maud::{Markup, html};

/// Returns the content of a page's `head`: its title and description, its icon and its style.
pub(super) fn head(title: &str, description: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        meta name="description" content=(description);
        title { (title) }
        link rel="icon" href="icon.svg" type="image/svg+xml";
        link rel="stylesheet" href="docs.css";
    }
}
