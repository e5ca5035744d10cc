//! Descriptions of requests, responses and messages: OpenAPI for requests, AsyncAPI for the streams.
//!
//! The module [`message`](crate::message) has the schemas of messages. This module has everything else: parameters,
//! common responses, and the heads of both documents. Every route of the HTTP API has a description, because
//! [`utoipa_axum`] makes the route and its description from the same annotation of a handler.
//! `tests/it/descriptions.rs` compares the descriptions with a running server.
//!
//! | module | what it is |
//! |---|---|
//! | `address` | texts that stand for the address of the server |
//! | `tables` | responses that are tables |
//! | `answers` | responses that several paths share |
//! | `parameters` | parameters of requests |
//! | `protobuf` | the gRPC service |
//! | `openapi` | the OpenAPI document |
//! | `asyncapi` | the AsyncAPI document |

pub(crate) mod address;
pub(crate) mod answers;
pub(crate) mod asyncapi;
pub(crate) mod openapi;
pub(crate) mod parameters;
pub(crate) mod protobuf;
pub(crate) mod tables;
