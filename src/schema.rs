//! Descriptions of everything that can be asked for and is answered: OpenAPI for requests, AsyncAPI for the streams.
//!
//! A route cannot be had without its description: [`utoipa_axum`] makes both from the annotation of a handler. What the
//! descriptions say of messages and parameters is compared with the running server by `tests/it/descriptions.rs`.

pub(crate) mod answers;
pub(crate) mod asyncapi;
pub(crate) mod bodies;
pub(crate) mod messages;
pub(crate) mod openapi;
pub(crate) mod parameters;
