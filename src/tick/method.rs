//! The numbers of the method by which prices are aggregated.

use serde::{Deserialize, Serialize};

/// What a computation of a tick's prices needs beside the inputs. Fields of newer versions are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MethodParameters {}
