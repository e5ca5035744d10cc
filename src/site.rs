//! What people look at in a browser: the page, and the reference at `/docs`.
//!
//! | module | what it is |
//! |---|---|
//! | `docs` | the reference |
//! | `page` | the page and the JavaScript SDK |

pub(crate) mod docs;
pub(crate) mod page;
