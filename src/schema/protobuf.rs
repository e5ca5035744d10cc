//! The gRPC service as a JSON document, from the descriptors of `proto/`, with their comments.

use serde_json::Value;

/// Descriptors of the service and of everything that it imports.
#[cfg(feature = "grpc")]
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/btcfeed.v1.bin"));

/// Returns null, because this program has no gRPC.
#[cfg(not(feature = "grpc"))]
pub(crate) fn document() -> Value {
    Value::Null
}

/// Returns the service: its methods, messages and enumerations, in the order of the file.
#[cfg(feature = "grpc")]
pub(crate) fn document() -> Value {
    document::read().expect("the build wrote the descriptors")
}

#[cfg(feature = "grpc")]
mod document {
    use super::{DESCRIPTORS, Value};
    use prost::Message;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};
    use prost_types::{FileDescriptorSet, ServiceDescriptorProto};
    use serde_json::json;
    use std::collections::HashMap;

    /// Comments of a file by the path of what they describe (`SourceCodeInfo` in `descriptor.proto`).
    struct Comments(HashMap<Vec<i32>, String>);

    // Numbers of fields in `descriptor.proto`. A path consists of such numbers, and of places in repeated fields.
    const FILE_MESSAGE: i32 = 4;
    const FILE_ENUM: i32 = 5;
    const FILE_SERVICE: i32 = 6;
    const MESSAGE_FIELD: i32 = 2;
    const ENUM_VALUE: i32 = 2;
    const SERVICE_METHOD: i32 = 2;

    pub(super) fn read() -> Option<Value> {
        let files = FileDescriptorSet::decode(DESCRIPTORS).ok()?.file;
        let file = files.into_iter().find(|file| file.package() == "btcfeed.v1")?;
        let comments = Comments::of(&file);
        let messages: Vec<_> = (0..).zip(&file.message_type).map(|(at, it)| message(it, at, &comments)).collect();
        let enums: Vec<_> = (0..).zip(&file.enum_type).map(|(at, it)| enumeration(it, at, &comments)).collect();
        let mut document = service(file.service.first()?, &comments);
        document["package"] = file.package().into();
        document["messages"] = messages.into();
        document["enums"] = enums.into();
        Some(document)
    }

    impl Comments {
        fn of(file: &FileDescriptorProto) -> Comments {
            let locations = file.source_code_info.iter().flat_map(|info| &info.location);
            let comments = locations.filter_map(|it| Some((it.path.clone(), it.leading_comments.as_deref()?)));
            let lines = |text: &str| {
                let kept = text.lines().map(str::trim).filter(|line| !line.starts_with("buf:lint"));
                kept.collect::<Vec<_>>().join(" ").trim().to_owned()
            };
            Comments(comments.map(|(path, text)| (path, lines(text))).collect())
        }

        fn at(&self, path: &[i32]) -> &str {
            self.0.get(path).map_or("", String::as_str)
        }
    }

    fn service(service: &ServiceDescriptorProto, comments: &Comments) -> Value {
        let methods = (0..).zip(&service.method).map(|(at, method)| {
            json!({
                "name": method.name(), "description": comments.at(&[FILE_SERVICE, 0, SERVICE_METHOD, at]),
                "request": short(method.input_type()), "response": short(method.output_type()),
                "streams": method.server_streaming(),
            })
        });
        json!({
            "name": service.name(), "description": comments.at(&[FILE_SERVICE, 0]),
            "methods": methods.collect::<Vec<_>>(),
        })
    }

    fn message(message: &DescriptorProto, at: i32, comments: &Comments) -> Value {
        let fields = (0..).zip(&message.field).map(|(place, field)| {
            json!({
                "name": field.name(), "number": field.number(), "type": kind(field),
                "repeated": field.label() == Label::Repeated,
                "optional": field.proto3_optional(),
                "oneof": oneof(message, field),
                "description": comments.at(&[FILE_MESSAGE, at, MESSAGE_FIELD, place]),
            })
        });
        let description = comments.at(&[FILE_MESSAGE, at]);
        json!({"name": message.name(), "description": description, "fields": fields.collect::<Vec<_>>()})
    }

    /// Returns the name of the `oneof` to which a field belongs.
    fn oneof<'a>(message: &'a DescriptorProto, field: &FieldDescriptorProto) -> Option<&'a str> {
        let index = usize::try_from(field.oneof_index.filter(|_| !field.proto3_optional())?).ok()?;
        Some(message.oneof_decl.get(index)?.name())
    }

    fn enumeration(enumeration: &EnumDescriptorProto, at: i32, comments: &Comments) -> Value {
        let values = (0..).zip(&enumeration.value).map(|(place, value)| {
            let description = comments.at(&[FILE_ENUM, at, ENUM_VALUE, place]);
            json!({"name": value.name(), "number": value.number(), "description": description})
        });
        let description = comments.at(&[FILE_ENUM, at]);
        json!({"name": enumeration.name(), "description": description, "values": values.collect::<Vec<_>>()})
    }

    fn kind(field: &FieldDescriptorProto) -> String {
        match field.r#type() {
            Type::Message | Type::Enum => short(field.type_name()).to_owned(),
            scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        }
    }

    /// Returns the name of a type without our package.
    fn short(name: &str) -> &str {
        let name = name.trim_start_matches('.');
        name.strip_prefix("btcfeed.v1.").unwrap_or(name)
    }
}
