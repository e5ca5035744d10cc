//! Pages for people: the live page and the API reference.
//!
//! | module | what it is |
//! |---|---|
//! | `docs` | the API reference at `/docs` |
//! | `page` | the page and the JavaScript SDK |

pub(crate) mod docs;
pub(crate) mod page;
