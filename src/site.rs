//! Pages for people: the live page, the method and the API reference.
//!
//! | module | what it is |
//! |---|---|
//! | `bundle` | modules of JavaScript, joined |
//! | `head` | the head of the reference and of the method |
//! | `docs` | the API reference at `/docs` |
//! | `method` | how the price is made, at `/method` |
//! | `page` | the live page and the JavaScript SDK |

mod bundle;
pub(crate) mod docs;
mod head;
pub(crate) mod method;
pub(crate) mod page;
