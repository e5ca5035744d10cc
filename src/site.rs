//! Pages for people: the live page and the API reference.
//!
//! | module | what it is |
//! |---|---|
//! | `bundle` | modules of JavaScript, joined |
//! | `docs` | the API reference at `/docs` |
//! | `page` | the page and the JavaScript SDK |

mod bundle;
pub(crate) mod docs;
pub(crate) mod page;
